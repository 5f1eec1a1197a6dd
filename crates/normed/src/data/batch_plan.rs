//! Which examples form which batch.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The largest number of batches that are sorted together: enough for even lengths, few enough that each epoch
/// differs.
const MAX_WINDOW: usize = 32;

/// The smallest number of windows that are sorted apart. Of `n` batches that are sorted together, each has an `n`th
/// of the lengths, so that some have short answers alone, as yes and no. An epoch of many steps averages that out, one
/// of few does not.
const MIN_WINDOWS: usize = 64;

/// Plans one epoch of training: every index of `lengths` once, in batches of `batch_size`.
///
/// The examples are shuffled by `seed` and `epoch`. If the epoch has at least 128 batches, windows of a 64th of
/// them, 32 batches at most, are sorted by length, so that less is padding; then the batches are shuffled. Batches of
/// shorter epochs are random samples. At most one batch is smaller than the others.
pub fn training_batches(
    lengths: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let batch_size = batch_size.max(1);
    let mut rng = stream(seed, epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    shuffle(&mut order, &mut rng);
    let window = (lengths.len() / batch_size / MIN_WINDOWS).clamp(1, MAX_WINDOW);
    for window in order.chunks_mut(window * batch_size) {
        window.sort_by_key(|&i| lengths[i]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    shuffle(&mut batches, &mut rng);
    batches
}

/// Plans an evaluation: every index of `lengths` once, from the shortest to the longest.
pub fn evaluation_batches(lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
}

/// The random stream with this number of `seed`.
pub(super) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Shuffles `items` (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(i + 1, rng));
    }
}

/// A random number in `0..end`: the high half of a 128-bit product, whose bias of `end / 2^64` is negligible.
pub(super) fn below(end: usize, rng: &mut ChaCha8Rng) -> usize {
    ((u128::from(rng.next_u64()) * end as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        (0..1003).map(|i| i * i % 37).collect()
    }

    #[test]
    fn every_index_once_and_one_short_batch() {
        let plan = training_batches(&lengths(), 8, 1, 0);
        let mut seen = plan.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1003).collect::<Vec<_>>());
        assert_eq!(plan.iter().filter(|batch| batch.len() != 8).count(), 1);
    }

    #[test]
    fn an_epoch_is_a_function_of_seed_and_number() {
        let plan = |seed, epoch| training_batches(&lengths(), 8, seed, epoch);
        assert_eq!(plan(1, 2), plan(1, 2));
        assert_ne!(plan(1, 2), plan(1, 3));
        assert_ne!(plan(1, 2), plan(2, 2));
    }

    /// The tokens of all batches with padding, divided by those without.
    fn padded(lengths: &[usize], plan: &[Vec<usize>]) -> f64 {
        let longest = |batch: &Vec<usize>| batch.iter().map(|&i| lengths[i]).max().unwrap_or(0);
        let padded: usize = plan.iter().map(|batch| longest(batch) * batch.len()).sum();
        padded as f64 / lengths.iter().sum::<usize>() as f64
    }

    #[test]
    fn little_of_a_long_epoch_is_padding_and_the_order_is_not_by_length() {
        let lengths: Vec<usize> = (0..32 * 64 * 8).map(|i| i * i % 37).collect();
        let plan = training_batches(&lengths, 8, 1, 0);
        assert!(padded(&lengths, &plan) < 1.1, "{}", padded(&lengths, &plan));
        assert!(!plan.iter().map(|batch| lengths[batch[0]]).is_sorted());
        // Windows grow with the epoch.
        let shorter = &lengths[..4 * 64 * 8];
        let plan = training_batches(shorter, 8, 1, 0);
        assert!((1.1..1.5).contains(&padded(shorter, &plan)), "{}", padded(shorter, &plan));
    }

    #[test]
    fn each_batch_of_a_short_epoch_has_all_kinds_of_answers() {
        // Half of the answers are short: one of 32,768 random batches of 16 has one kind alone.
        let lengths: Vec<usize> = (0..16 * 127).map(|i| if i % 2 == 0 { 3 } else { 9 }).collect();
        for batch in training_batches(&lengths, 16, 1, 0) {
            let short = batch.iter().filter(|&&i| lengths[i] == 3).count();
            assert!((1..16).contains(&short), "{short} of 16 are short");
        }
    }

    #[test]
    fn evaluation_goes_by_length() {
        assert_eq!(evaluation_batches(&[3, 1, 3, 2], 3), [vec![1, 3, 0], vec![2]]);
        assert!(evaluation_batches(&[], 3).is_empty());
    }
}
