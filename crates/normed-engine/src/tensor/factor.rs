//! The factors of matrix products: they may have more dtypes than the values of other operations.

use half::{bf16, f16};

use super::codes::CodeMatrix;
use super::elements::Elements;
use super::quantized::{Int8, Nf4};

/// The elements of a factor of a matrix product, row-major. Packing widens them to f32 or rounds them to
/// bf16, so that no widened matrix is ever in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Factor<'a> {
    /// f32.
    F32(&'a [f32]),
    /// bf16.
    Bf16(&'a [bf16]),
    /// f16, as some checkpoints have.
    F16(&'a [f16]),
    /// A matrix quantized to 8 bits.
    Int8(Int8<'a>),
    /// A matrix quantized to 4 bits.
    Nf4(Nf4<'a>),
    /// A matrix as codes for products in int8.
    Codes(&'a CodeMatrix),
}

impl<'a> From<Elements<'a>> for Factor<'a> {
    fn from(elements: Elements<'a>) -> Self {
        match elements {
            Elements::F32(data) => Self::F32(data),
            Elements::Bf16(data) => Self::Bf16(data),
        }
    }
}

impl Factor<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::Int8(matrix) => matrix.codes().len(),
            Self::Nf4(matrix) => matrix.len(),
            Self::Codes(matrix) => matrix.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the elements from index `start` on into `out`, as f32.
    #[inline(always)]
    pub fn copy_to_f32(self, start: usize, out: &mut [f32]) {
        fn each<T: Copy>(data: &[T], out: &mut [f32], to_f32: impl Fn(T) -> f32) {
            out.iter_mut().zip(data).for_each(|(out, &x)| *out = to_f32(x));
        }
        match self {
            Self::F32(data) => out.copy_from_slice(&data[start..][..out.len()]),
            Self::Bf16(data) => each(&data[start..][..out.len()], out, bf16::to_f32),
            Self::F16(data) => each(&data[start..][..out.len()], out, f16_to_f32),
            Self::Int8(matrix) => matrix.copy_to_f32(start, out),
            Self::Nf4(matrix) => matrix.copy_to_f32(start, out),
            Self::Codes(matrix) => matrix.copy_to_f32(start, out),
        }
    }
}

/// f16 to f32 without a branch, so that the compiler can vectorize a loop over it. The bits are moved to
/// their positions in an f32 whose exponent is too small by a constant; a product with a power of two
/// corrects that. It is exact, for subnormal numbers too.
#[inline(always)]
fn f16_to_f32(x: f16) -> f32 {
    const SCALE: f32 = f32::from_bits((254 - 15) << 23);
    const INFINITY: u32 = 0x7c00 << 13;
    let bits = u32::from(x.to_bits());
    let magnitude = (bits & 0x7fff) << 13;
    let exponent = if magnitude >= INFINITY { 0xff << 23 } else { 0 };
    let scaled = (f32::from_bits(magnitude) * SCALE).to_bits();
    f32::from_bits(scaled | exponent | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_becomes_the_same_f32() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            let (got, want) = (f16_to_f32(x), x.to_f32());
            assert!(got.to_bits() == want.to_bits() || x.is_nan() && got.is_nan(), "{bits:#x}");
        }
    }
}
