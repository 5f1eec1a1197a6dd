//! Random numbers that are a function of their key alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of a stream. Streams with different purposes share no numbers, so that a change in how images are
/// drawn changes no question.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The anatomy.
    Scene,
    /// The questions.
    Ask,
    /// Texture and noise of the image.
    Draw,
}

/// A stream of random numbers.
pub struct RandomStream(ChaCha8Rng);

impl RandomStream {
    /// The stream of image `index` of split number `split` for one purpose.
    pub fn new(seed: u64, split: u64, index: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, split, index, purpose as u64]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Uniform in `0..n`; `n` is small, so the bias of the multiplication (below `n / 2^24`) is nil.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f32) as usize
    }

    /// One of `items`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// About normal, mean 0 and deviation 1: the sum of four bytes, centered and scaled. Cheap, and
    /// bounded by 3.5, which is all that the noise of an image needs.
    pub fn normal(&mut self) -> f32 {
        let sum: u32 = self.0.next_u32().to_le_bytes().into_iter().map(u32::from).sum();
        // The variance of one uniform byte is (256^2 - 1) / 12, of four 4 times that.
        const SCALE: f32 = 1.0 / 147.800_54;
        (sum as f32 - 510.0) * SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_its_whole_key() {
        let first =
            |seed, split, index, purpose| RandomStream::new(seed, split, index, purpose).unit();
        let base = first(1, 2, 3, Purpose::Scene);
        assert_eq!(base, first(1, 2, 3, Purpose::Scene));
        assert_ne!(base, first(2, 2, 3, Purpose::Scene));
        assert_ne!(base, first(1, 3, 3, Purpose::Scene));
        assert_ne!(base, first(1, 2, 4, Purpose::Scene));
        assert_ne!(base, first(1, 2, 3, Purpose::Ask));
    }

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut random = RandomStream::new(0, 0, 0, Purpose::Draw);
        let draws: Vec<f32> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut random = RandomStream::new(0, 0, 0, Purpose::Draw);
        let mut seen = [0; 5];
        for _ in 0..10_000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|&n| (1_800..2_200).contains(&n)), "{seen:?}");
    }
}
