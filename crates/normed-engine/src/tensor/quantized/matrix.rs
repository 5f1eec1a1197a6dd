//! A quantized matrix, and the formats there are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::int8::Int8;
use super::nf4::{Absmax, FP4_VALUES, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, dynamic_map};
use crate::tensor::factor::Factor;

/// A format of quantized matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// 8 bits an element and a scale a row (Dettmers et al. 2022, "LLM.int8()", without its
    /// outliers).
    Int8,
    /// 4 bits an element and a scale for every 64 elements, itself quantized (Dettmers et al. 2023,
    /// "QLoRA": NF4 with double quantization).
    Nf4,
    /// 4 bits an element as NF4, but with the values of a small floating-point number: bitsandbytes' default. It is
    /// read, but not written.
    Fp4,
}

impl Quantization {
    /// The formats that matrices are quantized to.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Nf4];

    /// The name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }

    /// The bytes of a matrix `[rows, cols]` in this format, scales included.
    pub fn bytes(self, rows: usize, cols: usize) -> usize {
        let elements = rows * cols;
        match self {
            Self::Int8 => elements + size_of::<f32>() * rows,
            Self::Nf4 | Self::Fp4 => {
                let blocks = elements.div_ceil(NF4_BLOCK);
                elements.div_ceil(2) + blocks + size_of::<f32>() * blocks.div_ceil(NF4_NESTED_BLOCK)
            }
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A quantized matrix, row-major.
#[derive(Debug, Clone)]
pub struct QuantizedMatrix {
    rows: usize,
    cols: usize,
    codes: Bytes,
    scales: Scales,
    /// The values of the codes of 4 bits.
    values: &'static [f32; 16],
}

/// The largest magnitudes, by which codes are scaled.
#[derive(Debug, Clone)]
enum Scales {
    /// Int8: of each row.
    Rows(Vec<f32>),
    /// NF4: of each block.
    Blocks(Vec<f32>),
    /// NF4: of each block, quantized; see [`Absmax::Nested`].
    Nested { codes: Bytes, absmax: Vec<f32>, offset: f32 },
}

impl QuantizedMatrix {
    /// A matrix of 8 bits an element: `codes [rows, cols]` in two's complement and the largest magnitude
    /// of each row, `absmax [rows]`. `None` if the lengths do not fit.
    pub fn int8(rows: usize, cols: usize, codes: Bytes, absmax: Vec<f32>) -> Option<Self> {
        let fits = rows.checked_mul(cols) == Some(codes.len()) && absmax.len() == rows;
        fits.then_some(Self {
            rows,
            cols,
            codes,
            scales: Scales::Rows(absmax),
            values: &NF4_VALUES,
        })
    }

    /// A matrix of 4 bits an element: two codes a byte, the first in the upper four bits, and the largest
    /// magnitude of every [`NF4_BLOCK`] elements. `None` if the lengths do not fit.
    pub fn nf4(rows: usize, cols: usize, codes: Bytes, absmax: Vec<f32>) -> Option<Self> {
        let elements = rows.checked_mul(cols)?;
        let fits =
            codes.len() == elements.div_ceil(2) && absmax.len() == elements.div_ceil(NF4_BLOCK);
        fits.then_some(Self {
            rows,
            cols,
            codes,
            scales: Scales::Blocks(absmax),
            values: &NF4_VALUES,
        })
    }

    /// As [`QuantizedMatrix::nf4`], with the largest magnitudes quantized to 8 bits; see
    /// [`Absmax::Nested`].
    pub fn nested_nf4(
        rows: usize,
        cols: usize,
        codes: Bytes,
        absmax: Bytes,
        nested_absmax: Vec<f32>,
        offset: f32,
    ) -> Option<Self> {
        let elements = rows.checked_mul(cols)?;
        let blocks = elements.div_ceil(NF4_BLOCK);
        let fits = codes.len() == elements.div_ceil(2)
            && absmax.len() == blocks
            && nested_absmax.len() == blocks.div_ceil(NF4_NESTED_BLOCK);
        let scales = Scales::Nested { codes: absmax, absmax: nested_absmax, offset };
        fits.then_some(Self { rows, cols, codes, scales, values: &NF4_VALUES })
    }

    /// The same codes and scales of a matrix of 4 bits, read as FP4.
    #[must_use]
    pub fn as_fp4(self) -> Self {
        Self { values: &FP4_VALUES, ..self }
    }

    /// The format.
    pub fn quantization(&self) -> Quantization {
        match self.scales {
            Scales::Rows(_) => Quantization::Int8,
            _ if self.values == &FP4_VALUES => Quantization::Fp4,
            Scales::Blocks(_) | Scales::Nested { .. } => Quantization::Nf4,
        }
    }

    /// `[rows, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Its bytes, scales included.
    pub fn bytes(&self) -> usize {
        self.codes.len()
            + match &self.scales {
                Scales::Rows(absmax) | Scales::Blocks(absmax) => 4 * absmax.len(),
                Scales::Nested { codes, absmax, .. } => codes.len() + 4 * absmax.len(),
            }
    }

    /// The matrix as matrix products read it.
    pub fn factor(&self) -> Factor<'_> {
        let codes = &*self.codes;
        match &self.scales {
            Scales::Rows(absmax) => Factor::Int8(Int8 { codes, absmax, cols: self.cols }),
            Scales::Blocks(absmax) => self.four_bits(Absmax::Plain(absmax)),
            Scales::Nested { codes, absmax, offset } => {
                let values = dynamic_map();
                self.four_bits(Absmax::Nested { codes, absmax, offset: *offset, values })
            }
        }
    }

    fn four_bits<'a>(&'a self, absmax: Absmax<'a>) -> Factor<'a> {
        let (codes, len) = (&*self.codes, self.len());
        Factor::Nf4(Nf4 { codes, absmax, len, values: self.values })
    }

    fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Releases the memory of mapped codes. They are read from their file again when needed.
    pub fn release_pages(&self) {
        self.codes.release_pages();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_fit_the_matrix() {
        let bytes = |n| Bytes::from(vec![0; n]);
        assert!(QuantizedMatrix::int8(2, 3, bytes(6), vec![0.0; 2]).is_some());
        assert!(QuantizedMatrix::int8(2, 3, bytes(6), vec![0.0; 3]).is_none());
        assert!(QuantizedMatrix::int8(usize::MAX, 3, bytes(6), vec![0.0; 2]).is_none());
        assert!(QuantizedMatrix::nf4(5, 13, bytes(33), vec![0.0; 2]).is_some());
        assert!(QuantizedMatrix::nf4(5, 13, bytes(32), vec![0.0; 2]).is_none());
        assert!(QuantizedMatrix::nf4(5, 13, bytes(33), vec![0.0; 1]).is_none());
        let nested = |blocks, outer| {
            QuantizedMatrix::nested_nf4(5, 13, bytes(33), bytes(blocks), vec![0.0; outer], 0.0)
                .is_some()
        };
        assert!(nested(2, 1) && !nested(3, 1) && !nested(2, 2));
    }
}
