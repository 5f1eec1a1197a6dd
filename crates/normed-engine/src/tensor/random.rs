//! Random initial values: a parameter's depend on a seed and on its name alone, not on the order in
//! which parameters are initialized.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// `n` samples of the normal distribution with mean 0 and standard deviation `deviation` (Box & Muller
/// 1958), from the stream that `seed` and `name` select.
pub fn random_normal(n: usize, deviation: f32, seed: u64, name: &str) -> Vec<f32> {
    let mut uniform = stream(seed, name);
    let mut samples = Vec::with_capacity(n + 1);
    while samples.len() < n {
        let radius = f64::from(deviation) * (-2.0 * uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
        samples.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    samples.truncate(n);
    samples
}

/// `n` samples of the uniform distribution over (`-bound`, `bound`), from the stream that `seed` and
/// `name` select.
pub fn random_uniform(n: usize, bound: f32, seed: u64, name: &str) -> Vec<f32> {
    let mut uniform = stream(seed, name);
    (0..n).map(|_| ((2.0 * uniform() - 1.0) * f64::from(bound)) as f32).collect()
}

/// Samples from the open interval (0, 1), whose logarithms are finite.
fn stream(seed: u64, name: &str) -> impl FnMut() -> f64 {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut rng = ChaCha8Rng::from_seed(digest.into());
    move || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_depend_on_seed_and_name() {
        let first = random_normal(5, 1.0, 1, "a");
        assert_eq!(first, random_normal(6, 1.0, 1, "a")[..5]);
        assert_ne!(first, random_normal(5, 1.0, 2, "a"));
        assert_ne!(first, random_normal(5, 1.0, 1, "b"));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let variance = |samples: &[f32]| {
            samples.iter().map(|x| f64::from(x * x)).sum::<f64>() / samples.len() as f64
        };
        let normal = variance(&random_normal(20_000, 0.5, 0, "n"));
        assert!((normal - 0.25).abs() < 0.01, "{normal}");
        let uniform = random_uniform(20_000, 3.0, 0, "u");
        assert!(uniform.iter().all(|x| x.abs() < 3.0));
        assert!((variance(&uniform) - 3.0).abs() < 0.1);
    }
}
