//! What values take and what operations do, counted: for a pass that is only planned, or to hold a
//! plan to the pass itself.

use std::ops::{Add, Mul, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;

/// Counts the bytes of the values that claim them, and the work of the operations on these values.
/// Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    peak: AtomicUsize,
    products: AtomicU64,
    packed: AtomicU64,
    attention: AtomicU64,
    elements: AtomicU64,
    /// The largest need so far of products and of attentions: both keep what they work in.
    scratch: [AtomicUsize; 2],
}

/// Work that was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Floating-point operations of matrix products.
    pub products: u64,
    /// Elements of their right factors, packed once a product: most of the time where rows are few.
    pub packed: u64,
    /// Floating-point operations of the products inside attentions.
    pub attention: u64,
    /// Elements that everything else passes over.
    pub elements: u64,
}

/// What an operation does to a value.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// A matrix product.
    Product {
        /// Floating-point operations.
        flop: usize,
        /// Elements of the right factor.
        packed: usize,
        /// The bytes that it works in.
        scratch: usize,
    },
    /// A direction of an attention.
    Attention {
        /// Floating-point operations of its products.
        flop: usize,
        /// The bytes that it works in.
        scratch: usize,
    },
    /// A pass over so many elements.
    Pass(usize),
}

impl Meter {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes claimed now.
    pub fn live(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// The most bytes that were claimed at a time.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// Bytes that operations work in, kept from one to the next and claimed by no value.
    pub fn scratch(&self) -> usize {
        self.0.scratch.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// The work done so far.
    pub fn work(&self) -> Work {
        let counts = &*self.0;
        Work {
            products: counts.products.load(Ordering::Relaxed),
            packed: counts.packed.load(Ordering::Relaxed),
            attention: counts.attention.load(Ordering::Relaxed),
            elements: counts.elements.load(Ordering::Relaxed),
        }
    }

    pub(super) fn claim(&self, bytes: usize) -> Claim {
        let live = self.0.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.0.peak.fetch_max(live, Ordering::Relaxed);
        Claim { meter: self.clone(), bytes }
    }

    fn count(&self, operation: Operation) {
        let counts = &*self.0;
        let [of_products, of_attention] = &counts.scratch;
        match operation {
            Operation::Product { flop, packed, scratch } => {
                counts.products.fetch_add(flop as u64, Ordering::Relaxed);
                counts.packed.fetch_add(packed as u64, Ordering::Relaxed);
                of_products.fetch_max(scratch, Ordering::Relaxed);
            }
            Operation::Attention { flop, scratch } => {
                counts.attention.fetch_add(flop as u64, Ordering::Relaxed);
                of_attention.fetch_max(scratch, Ordering::Relaxed);
            }
            Operation::Pass(elements) => {
                counts.elements.fetch_add(elements as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes on a meter, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    meter: Meter,
    bytes: usize,
}

impl Claim {
    /// So many bytes on the same meter.
    pub fn beside(&self, bytes: usize) -> Self {
        self.meter.claim(bytes)
    }

    /// As many bytes once more.
    pub fn again(&self) -> Self {
        self.meter.claim(self.bytes)
    }

    pub fn count(&self, operation: Operation) {
        self.meter.count(operation);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.meter.0.live.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            products: self.products - other.products,
            packed: self.packed - other.packed,
            attention: self.attention - other.attention,
            elements: self.elements - other.elements,
        }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            products: self.products + other.products,
            packed: self.packed + other.packed,
            attention: self.attention + other.attention,
            elements: self.elements + other.elements,
        }
    }
}

impl Mul<u64> for Work {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            products: self.products * times,
            packed: self.packed * times,
            attention: self.attention * times,
            elements: self.elements * times,
        }
    }
}
