//! Four bits an element: the place of the nearest of 16 values, in blocks of 64 elements that are
//! divided by their largest magnitude. Blocks are counted through the whole matrix, so that one may run
//! over the end of a row. The magnitudes are quantized in turn, to 8 bits in blocks of 256.
//!
//! After Dettmers et al. 2023, "QLoRA", and Dettmers 2016, "8-Bit Approximations for Parallelism in Deep
//! Learning"; rounding and ties as in bitsandbytes' kernels for the CPU, so that codes are the same.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::tensor::Factor;

/// Elements that share a magnitude.
pub const NF4_BLOCK: usize = 64;

/// Magnitudes that share one.
pub const NF4_NESTED_BLOCK: usize = 256;

/// What the codes stand for: quantiles of the normal distribution, 0 among them.
pub const NF4_VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Blocks that a thread quantizes at a time.
const AT_ONCE: usize = 256;

/// What divides a block without elements other than 0.
const SMALLEST: f32 = 1e-38;

/// What the 256 codes of a magnitude stand for.
pub type DynamicValues = [f32; 256];

/// A matrix in 4 bits, as products read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nf4<'a> {
    pub(super) codes: &'a [u8],
    pub(super) maxima: Absmax<'a>,
    pub(super) len: usize,
}

/// The largest magnitude of every block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absmax<'a> {
    /// As numbers.
    Plain(&'a [f32]),
    /// In 8 bits.
    Nested {
        /// Places in `values`.
        codes: &'a [u8],
        /// The largest magnitude of every [`NF4_NESTED_BLOCK`] of them.
        absmax: &'a [f32],
        /// What was taken off all of them.
        offset: f32,
        /// [`dynamic_map`].
        values: &'a DynamicValues,
    },
}

impl<'a> Nf4<'a> {
    /// The codes, two a byte, the first in the upper half.
    #[inline(always)]
    pub fn codes(self) -> &'a [u8] {
        self.codes
    }

    /// The largest magnitudes of blocks.
    pub fn absmax(self) -> Absmax<'a> {
        self.maxima
    }

    /// The number of elements.
    pub(in crate::tensor) fn len(self) -> usize {
        self.len
    }

    /// The largest magnitude of a block.
    #[inline(always)]
    pub fn block_absmax(self, block: usize) -> f32 {
        match self.maxima {
            Absmax::Plain(absmax) => absmax[block],
            Absmax::Nested { codes, absmax, offset, values } => {
                values[usize::from(codes[block])] * absmax[block / NF4_NESTED_BLOCK] + offset
            }
        }
    }

    /// The elements from `start` on, as many as `out` has.
    #[inline(always)]
    pub(in crate::tensor) fn widen(self, start: usize, out: &mut [f32]) {
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let block = at / NF4_BLOCK;
            let run = out.len().min((block + 1) * NF4_BLOCK - at);
            let (now, rest) = out.split_at_mut(run);
            let maximum = self.block_absmax(block);
            for (i, out) in now.iter_mut().enumerate() {
                let byte = self.codes[(at + i) / 2];
                let code = if (at + i).is_multiple_of(2) { byte >> 4 } else { byte & 15 };
                *out = NF4_VALUES[usize::from(code)] * maximum;
            }
            (at, out) = (at + run, rest);
        }
    }
}

/// What the 256 codes of a magnitude stand for: for every power of ten from -6 to 0 the middles of
/// twice as many steps as for the one before, of either sign, and 0 and 1 (`create_dynamic_map`).
pub fn dynamic_map() -> &'static DynamicValues {
    static VALUES: LazyLock<DynamicValues> = LazyLock::new(|| {
        let mut values = [0.0; 256];
        let mut at = 0;
        for exponent in 0..7 {
            let steps = 1 << exponent;
            let power = 10f64.powi(exponent - 6) as f32;
            for i in 0..steps {
                let middle = (boundary(i, steps) + boundary(i + 1, steps)) / 2.0;
                values[at] = power * middle;
                values[at + 1] = -power * middle;
                at += 2;
            }
        }
        values[255] = 1.0; // and 254 stays 0
        values.sort_by(f32::total_cmp);
        values
    });
    &VALUES
}

/// The `i`th of `steps + 1` numbers from 0.1 to 1, counted from the nearer end as `torch.linspace` does.
fn boundary(i: usize, steps: usize) -> f32 {
    let (first, last) = (0.1f32, 1.0f32);
    let step = (last - first) / steps as f32;
    if i < steps.div_ceil(2) {
        step.mul_add(i as f32, first)
    } else {
        step.mul_add(-((steps - i) as f32), last)
    }
}

/// Codes, two a byte, and the largest magnitude of every block; None if an element is no number.
pub(super) fn quantize(matrix: Factor<'_>) -> Option<(Vec<u8>, Vec<f32>)> {
    let len = matrix.len();
    let (mut codes, mut absmax) = (vec![0u8; len.div_ceil(2)], vec![0.0; len.div_ceil(NF4_BLOCK)]);
    let bounds: [f32; 15] = std::array::from_fn(|i| (NF4_VALUES[i] + NF4_VALUES[i + 1]) / 2.0);
    let finite = AtomicBool::new(true);
    let pieces = codes.par_chunks_mut(AT_ONCE * NF4_BLOCK / 2).zip(absmax.par_chunks_mut(AT_ONCE));
    pieces.enumerate().for_each(|(piece, (codes, absmax))| {
        let mut block = [0.0; NF4_BLOCK];
        for (i, (codes, maximum)) in codes.chunks_mut(NF4_BLOCK / 2).zip(absmax).enumerate() {
            let start = (piece * AT_ONCE + i) * NF4_BLOCK;
            let block = &mut block[..NF4_BLOCK.min(len - start)];
            matrix.widen(start, block);
            if !block.iter().all(|x| x.is_finite()) {
                finite.store(false, Ordering::Relaxed);
            }
            *maximum = block.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            if block.len() == NF4_BLOCK {
                let factor = 1.0 / maximum.max(SMALLEST);
                block.iter_mut().for_each(|x| *x *= factor);
            } else {
                // bitsandbytes divides in a last block that is not whole.
                *maximum = maximum.max(SMALLEST);
                block.iter_mut().for_each(|x| *x /= *maximum);
            }
            let code = |x: &f32| bounds.iter().map(|bound| u8::from(x > bound)).sum::<u8>();
            for (byte, pair) in codes.iter_mut().zip(block.chunks(2)) {
                *byte = code(&pair[0]) << 4 | pair.get(1).map_or(NOTHING, code);
            }
        }
    });
    finite.into_inner().then_some((codes, absmax))
}

/// The code of 0, which fills the last byte of an odd number of elements.
const NOTHING: u8 = 7;

/// Codes of magnitudes, the largest of every block of them less the offset, and the offset, their mean.
pub(super) fn quantize_maxima(absmax: &[f32]) -> (Vec<u8>, Vec<f32>, f32) {
    let sum: f64 = absmax.iter().map(|&x| f64::from(x)).sum();
    let offset = (sum / absmax.len().max(1) as f64) as f32;
    let values = dynamic_map();
    let mut codes = Vec::with_capacity(absmax.len());
    let nested = absmax.chunks(NF4_NESTED_BLOCK).map(|block| {
        let maximum = block.iter().fold(0.0f32, |a, x| a.max((x - offset).abs()));
        let factor = 1.0 / maximum;
        let code = |x| if maximum > 0.0 { nearest(values, (x - offset) * factor) } else { 0 };
        codes.extend(block.iter().map(code));
        maximum
    });
    let nested = nested.collect();
    (codes, nested, offset)
}

/// The place of the value nearest to `x`, the lower one of two, after `x` has been rounded to one of 65536
/// steps from -1 to 1: bitsandbytes looks the place up by them.
fn nearest(values: &DynamicValues, x: f32) -> u8 {
    const STEPS: f32 = 65535.0;
    let step = ((x.clamp(-1.0, 1.0) + 1.0) * 0.5 * STEPS + 0.5).floor();
    let x = -1.0 + 2.0 * step / STEPS;
    let place = values.windows(2).filter(|pair| 0.5 * (pair[0] + pair[1]) < x).count();
    place as u8 // there are 255 pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_value_and_the_lower_of_two() {
        let values = dynamic_map();
        assert!(values.is_sorted());
        for (place, &value) in values.iter().enumerate() {
            // Near 0 the values lie closer than the steps.
            if value.abs() > 1e-2 {
                assert_eq!(usize::from(nearest(values, value)), place);
            }
        }
        assert_eq!((nearest(values, -1.0), nearest(values, 1.0)), (0, 255));
    }

    /// Against bitsandbytes; `matrix` is that of reference/bnb_golden.py.
    #[test]
    fn maxima_are_those_of_bitsandbytes_bit_for_bit() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../normed/tests/golden/quantised.safetensors");
        let file = std::fs::read(path).unwrap();
        let golden = safetensors::SafeTensors::deserialize(&file).unwrap();
        for (name, rows, cols) in
            [("even", 6, 64), ("uneven", 10, 50), ("odd", 7, 13), ("large", 266, 65)]
        {
            let number = |i: usize| ((i * i + 7919 * i) % 2003) as f32 - 1001.0;
            let element = |i: usize| match i / cols {
                1 => 0.0,
                _ => number(i) * (1 + i / 64 % 13) as f32 / 262_144.0,
            };
            let matrix: Vec<_> = (0..rows * cols).map(element).collect();
            let (_, maxima) = quantize(Factor::F32(&matrix)).unwrap();
            let wanted = golden.tensor(&format!("{name}.float32.maxima")).unwrap();
            let bytes: Vec<u8> = maxima.iter().flat_map(|maximum| maximum.to_le_bytes()).collect();
            assert_eq!(bytes, wanted.data(), "{name}");
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zeros() {
        let (codes, absmax) = quantize(Factor::F32(&[0.0; 65])).unwrap();
        assert_eq!(codes, [0x77; 33]);
        assert_eq!(absmax, [0.0, SMALLEST]);
        let matrix = Nf4 { codes: &codes, maxima: Absmax::Plain(&absmax), len: 65 };
        let mut out = [1.0; 65];
        matrix.widen(0, &mut out);
        assert_eq!(out, [0.0; 65]);
    }
}
