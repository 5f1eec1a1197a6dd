//! A pool of the memory of dropped values, for the values that come after them.
//!
//! A training step makes values of the same sizes as the step before. Fresh memory from the operating
//! system costs a page fault for every 4 KiB, which the pool avoids.

use std::sync::{Mutex, PoisonError};

use half::bf16;

/// The smallest vector that is pooled, in bytes; smaller ones are left to the allocator.
const SMALLEST: usize = 1 << 15;

/// A type of element, with a pool of its own.
pub(super) trait Pooled: Copy + Default + Send + 'static {
    /// The free vectors, the oldest first.
    fn pool() -> &'static Mutex<Vec<Vec<Self>>>;
}

impl Pooled for f32 {
    fn pool() -> &'static Mutex<Vec<Vec<Self>>> {
        static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
        &POOL
    }
}

impl Pooled for bf16 {
    fn pool() -> &'static Mutex<Vec<Vec<Self>>> {
        static POOL: Mutex<Vec<Vec<bf16>>> = Mutex::new(Vec::new());
        &POOL
    }
}

/// A vector of `len` elements with unspecified values.
pub(super) fn take<T: Pooled>(len: usize) -> Vec<T> {
    if len * size_of::<T>() >= SMALLEST {
        let mut pool = T::pool().lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |v: &Vec<T>| (len..=len + len / 4).contains(&v.capacity());
        let best = (0..pool.len()).filter(|&i| fits(&pool[i])).min_by_key(|&i| pool[i].capacity());
        if let Some(i) = best {
            let mut data = pool.remove(i);
            data.resize(len, T::default());
            return data;
        }
        drop(pool);
        // None fits. Free as much as is allocated now, so that the pools never hold memory beyond the
        // largest need so far.
        let wanted = len * size_of::<T>();
        let freed = free_oldest::<T>(wanted);
        if freed < wanted {
            free_oldest::<f32>(wanted - freed);
            free_oldest::<bf16>(wanted - freed);
        }
    }
    vec![T::default(); len]
}

/// Frees the oldest vectors of a pool until at least `wanted` bytes are freed or the pool is empty.
/// Returns the number of bytes.
fn free_oldest<T: Pooled>(wanted: usize) -> usize {
    let mut pool = T::pool().lock().unwrap_or_else(PoisonError::into_inner);
    let mut freed = 0;
    while freed < wanted && !pool.is_empty() {
        freed += pool.remove(0).capacity() * size_of::<T>();
    }
    freed
}

/// Adds a vector to the pool, whether it came from [`take`] or not.
pub(super) fn give_back<T: Pooled>(data: Vec<T>) {
    if data.capacity() * size_of::<T>() >= SMALLEST {
        T::pool().lock().unwrap_or_else(PoisonError::into_inner).push(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused() {
        // A length that no other test uses.
        const LEN: usize = 1_000_003;
        let fresh = take::<f32>(LEN);
        let address = fresh.as_ptr();
        assert!(fresh.iter().all(|&x| x == 0.0));
        give_back(fresh);
        let again = take::<f32>(LEN - 5);
        assert_eq!((again.as_ptr(), again.len()), (address, LEN - 5));
        give_back(again);
        // Too small for what is asked for: it is freed, not used.
        let large = take::<f32>(2 * LEN);
        assert!(large.iter().all(|&x| x == 0.0));
        let pool = f32::pool().lock().unwrap();
        assert!(pool.iter().all(|v| v.capacity() != LEN));
    }
}
