//! Sampling tokens: softmax at a temperature over the most likely tokens whose probabilities sum to at least
//! `top_p` (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751), as by transformers'
//! `TemperatureLogitsWarper` and `TopPLogitsWarper`, in that order.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::generation_config::GenerationConfig;

/// Draws the tokens of one example. They depend on the settings, the example's key and the logits alone: not on
/// the batch or on threads.
pub(super) struct Sampler {
    temperature: f32,
    top_p: f64,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// None if `rule` does not sample: its temperature is 0.
    pub fn new(rule: &GenerationConfig, key: u64) -> Option<Self> {
        let seed = Sha256::new()
            .chain_update("sampling")
            .chain_update(rule.seed.to_le_bytes())
            .chain_update(key.to_le_bytes());
        (rule.temperature > 0.0).then(|| Self {
            temperature: rule.temperature,
            top_p: f64::from(rule.top_p),
            rng: ChaCha8Rng::from_seed(seed.finalize().into()),
        })
    }

    /// Draws the next token, given `logits [V]`.
    pub fn next(&mut self, logits: &[f32]) -> u32 {
        let kept = nucleus(logits, self.temperature, self.top_p);
        let mass: f64 = kept.iter().map(|(_, p)| p).sum();
        let mut left = f64::from(self.rng.next_u32()) / 4_294_967_296.0 * mass;
        for &(token, p) in &kept {
            left -= p;
            if left < 0.0 {
                return token;
            }
        }
        // Only rounding leads here. A row of logits is never empty.
        kept.last().map_or(0, |&(token, _)| token)
    }
}

/// The tokens that may be drawn, and their probabilities before the others are excluded; most likely first, ties
/// in order. A token is excluded if the more likely ones sum to `top_p` already.
fn nucleus(logits: &[f32], temperature: f32, top_p: f64) -> Vec<(u32, f64)> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: f32| (f64::from(x - top) / f64::from(temperature)).exp();
    let total: f64 = logits.iter().map(|&x| weight(x)).sum();
    let mut tokens: Vec<_> = (0..).zip(logits.iter().map(|&x| weight(x) / total)).collect();
    tokens.sort_by(|(_, a): &(u32, f64), (_, b)| b.total_cmp(a));
    let mut above = 0.0;
    let kept = tokens.iter().take_while(|(_, p)| {
        // transformers skips the filter at 1; otherwise rounding would exclude tokens.
        let keep = above < top_p || top_p >= 1.0;
        above += p;
        keep
    });
    let kept = kept.count();
    tokens.truncate(kept);
    tokens
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        logits: Vec<f32>,
        temperature: f32,
        top_p: f64,
        /// Of every token, 0 where it is left out.
        probabilities: Vec<f64>,
    }

    /// Goldens by reference/make_sampling_goldens.py.
    #[test]
    fn probabilities_are_transformers() {
        let cases = include_str!("../../tests/golden/sampling.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() > 10);
        for Case { logits, temperature, top_p, probabilities } in cases {
            let kept = nucleus(&logits, temperature, top_p);
            let mass: f64 = kept.iter().map(|(_, p)| p).sum();
            let mut ours = vec![0.0; logits.len()];
            kept.iter().for_each(|&(token, p)| ours[token as usize] = p / mass);
            for (token, (a, b)) in ours.iter().zip(&probabilities).enumerate() {
                let what = format!("token {token} at {temperature}, {top_p}: {a}, not {b}");
                // What is left out is exactly 0; so is what underflows in f32.
                let same_cut = if *b == 0.0 { *a == 0.0 } else { *a > 0.0 || *b < 1e-12 };
                assert!((a - b).abs() < 1e-6 && same_cut, "{what}");
            }
        }
    }

    #[test]
    fn tokens_come_as_often_as_they_are_likely() {
        let rule =
            GenerationConfig { temperature: 2.0, top_p: 0.85, ..GenerationConfig::default() };
        let logits = [1.0, 3.0, -2.0, 2.0, 0.0];
        let mut sampler = Sampler::new(&rule, 5).unwrap();
        let mut counts = [0.0; 5];
        const DRAWS: usize = 20_000;
        for _ in 0..DRAWS {
            counts[sampler.next(&logits) as usize] += 1.0 / DRAWS as f64;
        }
        // softmax(logits / 2) is 0.161, 0.439, 0.036, 0.266, 0.098: the first two and the fourth have 0.866.
        let kept = nucleus(&logits, 2.0, f64::from(0.85_f32));
        assert_eq!(kept.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 0]);
        let mass: f64 = kept.iter().map(|(_, p)| p).sum();
        for (token, p) in kept {
            assert!((counts[token as usize] - p / mass).abs() < 0.01, "{counts:?}");
        }
        assert_eq!((counts[2], counts[4]), (0.0, 0.0));
    }

    #[test]
    fn streams_differ_by_seed_and_example() {
        let logits = vec![0.0; 1000];
        let draw = |seed, key| {
            let rule = GenerationConfig { temperature: 1.0, seed, ..GenerationConfig::default() };
            let mut sampler = Sampler::new(&rule, key).unwrap();
            [(); 4].map(|()| sampler.next(&logits))
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(2, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert!(Sampler::new(&GenerationConfig::default(), 0).is_none());
    }
}
