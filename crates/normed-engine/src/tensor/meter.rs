//! Counting the memory of values and the arithmetic of operations.
//!
//! A [`Meter`] serves a pass over planned values, which computes nothing and only counts; and it serves
//! a real pass, to check that the plan was right.

use std::ops::{Add, Mul, Sub};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

/// Counts the bytes of the values that claim them, and the arithmetic of the operations on those
/// values. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    peak: AtomicUsize,
    product_flops: AtomicU64,
    packed_elements: AtomicU64,
    attention_flops: AtomicU64,
    elementwise: AtomicU64,
    /// The largest scratch memory so far of a product and of an attention, in bytes. Each of the two
    /// keeps its scratch memory from one call to the next.
    scratch: [AtomicUsize; 2],
}

/// The arithmetic of operations, as counted by a [`Meter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OperationCounts {
    /// Floating-point operations of matrix products.
    #[serde(rename = "products")]
    pub product_flops: u64,
    /// Elements of right factors, packed once for each product. With few rows this takes most of a
    /// product's time.
    #[serde(rename = "packed")]
    pub packed_elements: u64,
    /// Floating-point operations of the matrix products inside attentions.
    #[serde(rename = "attention")]
    pub attention_flops: u64,
    /// Elements that all other operations pass over.
    #[serde(rename = "elements")]
    pub elementwise: u64,
}

/// The arithmetic and the scratch memory of one operation.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// A matrix product.
    Product {
        /// Floating-point operations.
        flop: usize,
        /// Elements of the right factor, which are packed.
        packed: usize,
        /// Scratch memory in bytes.
        scratch: usize,
    },
    /// The forward or the backward of an attention.
    Attention {
        /// Floating-point operations of its matrix products.
        flop: usize,
        /// Scratch memory in bytes.
        scratch: usize,
    },
    /// Any other operation: the number of elements that it passes over.
    Elementwise(usize),
}

impl Meter {
    /// A meter on which nothing is counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes that values claim at present.
    pub fn live_bytes(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// The most bytes that values have claimed at one time.
    pub fn peak_bytes(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// The scratch memory of operations in bytes. No value claims it.
    pub fn scratch_bytes(&self) -> usize {
        self.0.scratch.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// The arithmetic counted so far.
    pub fn operation_counts(&self) -> OperationCounts {
        let counts = &*self.0;
        OperationCounts {
            product_flops: counts.product_flops.load(Ordering::Relaxed),
            packed_elements: counts.packed_elements.load(Ordering::Relaxed),
            attention_flops: counts.attention_flops.load(Ordering::Relaxed),
            elementwise: counts.elementwise.load(Ordering::Relaxed),
        }
    }

    pub(super) fn claim(&self, bytes: usize) -> Claim {
        let live = self.0.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.0.peak.fetch_max(live, Ordering::Relaxed);
        Claim { meter: self.clone(), bytes, extension: OnceLock::new() }
    }

    fn count(&self, operation: Operation) {
        let counts = &*self.0;
        let [of_products, of_attention] = &counts.scratch;
        match operation {
            Operation::Product { flop, packed, scratch } => {
                counts.product_flops.fetch_add(flop as u64, Ordering::Relaxed);
                counts.packed_elements.fetch_add(packed as u64, Ordering::Relaxed);
                of_products.fetch_max(scratch, Ordering::Relaxed);
            }
            Operation::Attention { flop, scratch } => {
                counts.attention_flops.fetch_add(flop as u64, Ordering::Relaxed);
                of_attention.fetch_max(scratch, Ordering::Relaxed);
            }
            Operation::Elementwise(elements) => {
                counts.elementwise.fetch_add(elements as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes claimed on a meter until the claim is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    meter: Meter,
    bytes: usize,
    /// What was claimed in addition, until this claim is dropped.
    extension: OnceLock<Box<Claim>>,
}

impl Claim {
    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Claims `bytes` in addition, until this claim is dropped. Only the first call does.
    pub fn extend_once(&self, bytes: usize) {
        self.extension.get_or_init(|| Box::new(self.meter.claim(bytes)));
    }

    /// The bytes of the claim and of what was claimed in addition.
    pub fn total_bytes(&self) -> usize {
        self.bytes + self.extension.get().map_or(0, |more| more.bytes)
    }

    /// A further claim of `bytes` on the same meter.
    pub fn claim(&self, bytes: usize) -> Self {
        self.meter.claim(bytes)
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

impl Sub for OperationCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            product_flops: self.product_flops - other.product_flops,
            packed_elements: self.packed_elements - other.packed_elements,
            attention_flops: self.attention_flops - other.attention_flops,
            elementwise: self.elementwise - other.elementwise,
        }
    }
}

impl Add for OperationCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            product_flops: self.product_flops + other.product_flops,
            packed_elements: self.packed_elements + other.packed_elements,
            attention_flops: self.attention_flops + other.attention_flops,
            elementwise: self.elementwise + other.elementwise,
        }
    }
}

impl Mul<u64> for OperationCounts {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            product_flops: self.product_flops * times,
            packed_elements: self.packed_elements * times,
            attention_flops: self.attention_flops * times,
            elementwise: self.elementwise * times,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_live_until_they_are_dropped() {
        let meter = Meter::new();
        let first = meter.claim(100);
        let second = first.claim(30);
        assert_eq!((meter.live_bytes(), meter.peak_bytes(), second.bytes()), (130, 130, 30));
        drop(first);
        assert_eq!((meter.live_bytes(), meter.peak_bytes()), (30, 130));
        drop(second);
        assert_eq!((meter.live_bytes(), meter.peak_bytes()), (0, 130));
    }

    #[test]
    fn a_claim_is_extended_once() {
        let meter = Meter::new();
        let claim = meter.claim(100);
        assert_eq!(claim.total_bytes(), 100);
        claim.extend_once(30);
        claim.extend_once(30);
        assert_eq!((meter.live_bytes(), claim.bytes(), claim.total_bytes()), (130, 100, 130));
        drop(claim);
        assert_eq!((meter.live_bytes(), meter.peak_bytes()), (0, 130));
    }

    #[test]
    fn arithmetic_adds_up_and_scratch_memory_is_the_largest() {
        let meter = Meter::new();
        for scratch in [7, 5] {
            meter.count(Operation::Product { flop: 10, packed: 3, scratch });
            meter.count(Operation::Attention { flop: 2, scratch: 2 * scratch });
            meter.clone().count(Operation::Elementwise(4));
        }
        let counts = meter.operation_counts();
        let once = OperationCounts {
            product_flops: 10,
            packed_elements: 3,
            attention_flops: 2,
            elementwise: 4,
        };
        assert_eq!(meter.scratch_bytes(), 7 + 14);
        assert_eq!((counts, counts - once, once + once), (once * 2, once, once * 2));
    }
}
