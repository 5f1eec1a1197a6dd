//! Matrices of 4 bits an element: NF4 with double quantization (Dettmers et al. 2023, "QLoRA"), and FP4.
//!
//! A code selects one of 16 values, [`NF4_VALUES`] or [`FP4_VALUES`], which is multiplied by the largest magnitude
//! (*absmax*) of its block of 64 elements. Blocks are counted through the whole matrix, so that one may
//! continue in the next row. The absmax of all blocks may be quantized in turn to 8 bits, in blocks of
//! 256 (Dettmers 2016, "8-Bit Approximations for Parallelism in Deep Learning").

use std::sync::LazyLock;

/// The number of elements that share an absmax.
pub const NF4_BLOCK: usize = 64;

/// The number of blocks whose quantized absmax share an absmax of their own.
pub const NF4_NESTED_BLOCK: usize = 256;

/// The values of the 16 codes: quantiles of the normal distribution, and 0.
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

/// The values of the 16 codes of FP4, a sign, two bits of exponent and one of fraction: bitsandbytes' own, where 12 is
/// the largest, over that.
pub const FP4_VALUES: [f32; 16] = [
    0.0,
    0.062_5 / 12.0,
    8.0 / 12.0,
    1.0,
    4.0 / 12.0,
    6.0 / 12.0,
    2.0 / 12.0,
    3.0 / 12.0,
    -0.0,
    -0.062_5 / 12.0,
    -8.0 / 12.0,
    -1.0,
    -4.0 / 12.0,
    -6.0 / 12.0,
    -2.0 / 12.0,
    -3.0 / 12.0,
];

/// The values of the 256 codes of a quantized absmax.
pub type DynamicMap = [f32; 256];

/// A matrix of 4 bits an element, as matrix products read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nf4<'a> {
    pub(super) codes: &'a [u8],
    pub(super) absmax: Absmax<'a>,
    pub(super) len: usize,
    /// The values of the codes.
    pub(super) values: &'static [f32; 16],
}

/// The largest magnitude of each block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absmax<'a> {
    /// As f32.
    Plain(&'a [f32]),
    /// Quantized to 8 bits: `values[code] * absmax + offset`.
    Nested {
        /// The code of each block, an index into `values`.
        codes: &'a [u8],
        /// The largest magnitude, less the offset, of every [`NF4_NESTED_BLOCK`] blocks.
        absmax: &'a [f32],
        /// The mean of all blocks' absmax, which was subtracted before quantizing.
        offset: f32,
        /// [`dynamic_map`].
        values: &'a DynamicMap,
    },
}

impl<'a> Nf4<'a> {
    /// The codes, two a byte, the first in the upper four bits.
    #[inline(always)]
    pub fn codes(self) -> &'a [u8] {
        self.codes
    }

    /// The largest magnitude of each block.
    pub fn absmax(self) -> Absmax<'a> {
        self.absmax
    }

    /// The values of the 16 codes, which are multiplied by the absmax: [`NF4_VALUES`] or [`FP4_VALUES`].
    #[inline(always)]
    pub fn values(self) -> &'static [f32; 16] {
        self.values
    }

    /// The number of elements.
    pub(in crate::tensor) fn len(self) -> usize {
        self.len
    }

    /// The largest magnitude of block `block`.
    #[inline(always)]
    pub fn block_absmax(self, block: usize) -> f32 {
        match self.absmax {
            Absmax::Plain(absmax) => absmax[block],
            Absmax::Nested { codes, absmax, offset, values } => {
                values[usize::from(codes[block])] * absmax[block / NF4_NESTED_BLOCK] + offset
            }
        }
    }

    /// Copies the elements from index `start` on into `out`.
    #[inline(always)]
    pub(in crate::tensor) fn copy_to_f32(self, start: usize, out: &mut [f32]) {
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let block = at / NF4_BLOCK;
            let run = out.len().min((block + 1) * NF4_BLOCK - at);
            let (now, rest) = out.split_at_mut(run);
            let absmax = self.block_absmax(block);
            for (i, out) in now.iter_mut().enumerate() {
                let byte = self.codes[(at + i) / 2];
                let code = if (at + i).is_multiple_of(2) { byte >> 4 } else { byte & 15 };
                *out = self.values[usize::from(code)] * absmax;
            }
            (at, out) = (at + run, rest);
        }
    }
}

/// The values of the 256 codes of a quantized absmax, in ascending order (bitsandbytes'
/// `create_dynamic_map`): 0, 1, and of either sign, for every power of ten from -6 to 0, the midpoints of
/// twice as many steps as for the power before.
pub fn dynamic_map() -> &'static DynamicMap {
    static VALUES: LazyLock<DynamicMap> = LazyLock::new(|| {
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
        values[255] = 1.0; // values[254] stays 0
        values.sort_by(f32::total_cmp);
        values
    });
    &VALUES
}

/// The `i`th of `steps + 1` equidistant numbers from 0.1 to 1, computed from the nearer end as
/// `torch.linspace` does.
fn boundary(i: usize, steps: usize) -> f32 {
    let (first, last) = (0.1f32, 1.0f32);
    let step = (last - first) / steps as f32;
    if i < steps.div_ceil(2) {
        step.mul_add(i as f32, first)
    } else {
        step.mul_add(-((steps - i) as f32), last)
    }
}
