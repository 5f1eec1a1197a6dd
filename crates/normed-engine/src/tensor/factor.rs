//! What a product can read a factor from: more than other operations read their values from.

use half::{bf16, f16};

use super::Elements;
use super::quantized::{Int8, Nf4};

/// The elements of a factor of products.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Factor<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// bf16.
    Bf16(&'a [bf16]),
    /// Half precision, of weights that came so.
    F16(&'a [f16]),
    /// 8 bits.
    Int8(Int8<'a>),
    /// 4 bits.
    Nf4(Nf4<'a>),
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
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::Int8(matrix) => matrix.codes().len(),
            Self::Nf4(matrix) => matrix.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements from `start` on in f32, as many as `out` has.
    #[inline(always)]
    pub fn widen(self, start: usize, out: &mut [f32]) {
        fn each<T: Copy>(data: &[T], out: &mut [f32], wide: impl Fn(T) -> f32) {
            out.iter_mut().zip(data).for_each(|(out, &x)| *out = wide(x));
        }
        match self {
            Self::F32(data) => out.copy_from_slice(&data[start..][..out.len()]),
            Self::Bf16(data) => each(&data[start..][..out.len()], out, bf16::to_f32),
            Self::F16(data) => each(&data[start..][..out.len()], out, wide_f16),
            Self::Int8(matrix) => matrix.widen(start, out),
            Self::Nf4(matrix) => matrix.widen(start, out),
        }
    }
}

/// f16 to f32 without a branch, for loops that compilers turn into vectors: the bits at their places
/// in an f32 of another exponent, scaled, which is exact and takes subnormals along.
#[inline(always)]
fn wide_f16(x: f16) -> f32 {
    const SCALE: f32 = f32::from_bits((254 - 15) << 23);
    const ENDLESS: u32 = 0x7c00 << 13;
    let bits = u32::from(x.to_bits());
    let magnitude = (bits & 0x7fff) << 13;
    let exponent = if magnitude >= ENDLESS { 0xff << 23 } else { 0 };
    let scaled = (f32::from_bits(magnitude) * SCALE).to_bits();
    f32::from_bits(scaled | exponent | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_widens_as_it_should() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            let (got, want) = (wide_f16(x), x.to_f32());
            assert!(got.to_bits() == want.to_bits() || x.is_nan() && got.is_nan(), "{bits:#x}");
        }
    }
}
