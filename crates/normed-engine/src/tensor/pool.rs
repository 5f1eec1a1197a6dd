//! Memory that large values leave behind, for the values that come after them: a step then allocates
//! nothing that the step before did not. Fresh memory costs a page fault for every 4 KiB.

use std::sync::{Mutex, PoisonError};

use half::bf16;

/// Smaller ones are the allocator's, in bytes.
const SMALLEST: usize = 1 << 15;

/// What a value can be made of.
pub(super) trait Pooled: Copy + Default + Send + 'static {
    /// What was given back, the longest ago first.
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

/// `len` numbers, whatever they are.
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
        // What nobody asked for makes room: the pools never add to the largest need so far.
        let wanted = len * size_of::<T>();
        let room = let_go::<T>(wanted);
        if room < wanted {
            let_go::<f32>(wanted - room);
            let_go::<bf16>(wanted - room);
        }
    }
    vec![T::default(); len]
}

/// Frees what was given back the longest ago, `wanted` bytes if there are so many; how many it was.
fn let_go<T: Pooled>(wanted: usize) -> usize {
    let mut pool = T::pool().lock().unwrap_or_else(PoisonError::into_inner);
    let mut room = 0;
    while room < wanted && !pool.is_empty() {
        room += pool.remove(0).capacity() * size_of::<T>();
    }
    room
}

/// Takes back what [`take`] gave, or any other vector.
pub(super) fn give<T: Pooled>(data: Vec<T>) {
    if data.capacity() * size_of::<T>() >= SMALLEST {
        T::pool().lock().unwrap_or_else(PoisonError::into_inner).push(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again() {
        // Lengths that no other test's values have.
        const LEN: usize = 1_000_003;
        let fresh = take::<f32>(LEN);
        let address = fresh.as_ptr();
        assert!(fresh.iter().all(|&x| x == 0.0));
        give(fresh);
        let again = take::<f32>(LEN - 5);
        assert_eq!((again.as_ptr(), again.len()), (address, LEN - 5));
        give(again);
        // Much larger than what is asked for: not taken, but let go for the room it had.
        let large = take::<f32>(2 * LEN);
        assert!(large.iter().all(|&x| x == 0.0));
        let pool = f32::pool().lock().unwrap();
        assert!(pool.iter().all(|v| v.capacity() != LEN));
    }
}
