//! Random numbers that parameters start from: those of a parameter depend on a seed and its name alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// `n` normal numbers (Box & Muller 1958) from the stream that `seed` and `name` choose.
pub fn random_normal(n: usize, deviation: f32, seed: u64, name: &str) -> Vec<f32> {
    let mut uniform = stream(seed, name);
    let mut numbers = Vec::with_capacity(n + 1);
    while numbers.len() < n {
        let radius = f64::from(deviation) * (-2.0 * uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
        numbers.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    numbers.truncate(n);
    numbers
}

/// `n` numbers, uniform in (`-bound`, `bound`), from that stream.
pub fn random_uniform(n: usize, bound: f32, seed: u64, name: &str) -> Vec<f32> {
    let mut uniform = stream(seed, name);
    (0..n).map(|_| ((2.0 * uniform() - 1.0) * f64::from(bound)) as f32).collect()
}

/// Numbers in (0, 1): a logarithm of one is finite.
fn stream(seed: u64, name: &str) -> impl FnMut() -> f64 {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut rng = ChaCha8Rng::from_seed(digest.into());
    move || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0
}
