//! Bounds the memory of images that are decoded at the same time.
//!
//! Small images are decoded in parallel. Large ones wait for each other, so that the memory that decoding takes
//! does not grow with the number of threads.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that images being decoded take together, at most, unless a single one takes more.
const MAX_BYTES: u64 = 64 << 20;

/// Bytes of the images that are being decoded.
static USED: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Bytes that decoding takes at most, where each image takes up to `largest` and so many `threads` decode.
pub(super) fn parallel_bytes(largest: u64, threads: usize) -> u64 {
    largest.saturating_mul(threads as u64).min(largest.max(MAX_BYTES))
}

/// Waits until there is room for an image of `bytes`, and calls `decode`.
pub(super) fn within_bounds<T>(bytes: u64, decode: impl FnOnce() -> T) -> T {
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    while *used > 0 && used.saturating_add(bytes) > MAX_BYTES {
        used = FREED.wait(used).unwrap_or_else(PoisonError::into_inner);
    }
    *used = used.saturating_add(bytes);
    drop(used);
    let _place = Place { bytes };
    decode()
}

/// The room of an image that is being decoded. It is free again even if the decoder panics.
struct Place {
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.bytes);
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn large_images_are_decoded_one_after_another() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    within_bounds(MAX_BYTES, || {
                        most.fetch_max(
                            running.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(parallel_bytes(10, 4), 40);
        assert_eq!(parallel_bytes(MAX_BYTES - 1, 4), MAX_BYTES);
        assert_eq!(parallel_bytes(3 * MAX_BYTES, 4), 3 * MAX_BYTES);
    }
}
