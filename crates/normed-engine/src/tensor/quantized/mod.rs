//! Matrices that are kept in 8 or 4 bits an element, as bitsandbytes keeps them. Products alone read
//! them, an element at a time as they pack it.

mod bytes;
mod int8;
mod nf4;

pub use bytes::Bytes;
pub use int8::Int8;
pub use nf4::{Absmax, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, dynamic_map};

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Factor;

/// How a matrix is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// 8 bits an element and a scale a row (Dettmers et al. 2022, "LLM.int8()", without its
    /// outliers).
    Int8,
    /// 4 bits an element and a scale for every 64 of them, itself quantized (Dettmers et al. 2023,
    /// "QLoRA": NF4 with double quantization).
    Nf4,
}

impl Quantization {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Nf4];

    /// What commands and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
        }
    }

    /// What a matrix of `rows` and `cols` takes in it, its statistics included.
    pub fn bytes(self, rows: usize, cols: usize) -> usize {
        let elements = rows * cols;
        match self {
            Self::Int8 => elements + size_of::<f32>() * rows,
            Self::Nf4 => {
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
    statistics: Statistics,
}

/// What codes are multiplied by.
#[derive(Debug, Clone)]
enum Statistics {
    /// The largest magnitude of every row, which code 127 stands for.
    OfRows(Vec<f32>),
    /// The largest magnitude of every block.
    OfBlocks(Vec<f32>),
    /// The same in 8 bits: codes of [`dynamic_map`], times the largest magnitude of every 256 of
    /// them, plus an offset.
    Nested { codes: Bytes, absmax: Vec<f32>, offset: f32 },
}

impl QuantizedMatrix {
    /// A matrix in 8 bits: `codes [rows, cols]` of two's complement, `absmax [rows]`. None if their
    /// lengths differ from that.
    pub fn int8(rows: usize, cols: usize, codes: Bytes, absmax: Vec<f32>) -> Option<Self> {
        let fits = rows.checked_mul(cols) == Some(codes.len()) && absmax.len() == rows;
        fits.then_some(Self { rows, cols, codes, statistics: Statistics::OfRows(absmax) })
    }

    /// A matrix in 4 bits, two elements a byte, the first in the upper half, with the largest
    /// magnitude of every [`NF4_BLOCK`] elements. None if the lengths do not fit.
    pub fn nf4(rows: usize, cols: usize, codes: Bytes, absmax: Vec<f32>) -> Option<Self> {
        let elements = rows.checked_mul(cols)?;
        let fits =
            codes.len() == elements.div_ceil(2) && absmax.len() == elements.div_ceil(NF4_BLOCK);
        fits.then_some(Self { rows, cols, codes, statistics: Statistics::OfBlocks(absmax) })
    }

    /// As [`QuantizedMatrix::nf4`], the magnitudes themselves in 8 bits: `absmax` codes, the largest
    /// magnitude of every [`NF4_NESTED_BLOCK`] of them, and an offset.
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
        let statistics = Statistics::Nested { codes: absmax, absmax: nested_absmax, offset };
        fits.then_some(Self { rows, cols, codes, statistics })
    }

    /// Quantizes `matrix [rows, cols]`. None if an element is infinite or no number.
    pub fn quantize(
        matrix: Factor<'_>,
        rows: usize,
        cols: usize,
        to: Quantization,
    ) -> Option<Self> {
        assert_eq!(matrix.len(), rows * cols, "a matrix of {rows} by {cols}");
        match to {
            Quantization::Int8 => {
                let (codes, absmax) = int8::quantize(matrix, rows, cols)?;
                Self::int8(rows, cols, codes.into(), absmax)
            }
            Quantization::Nf4 => {
                let (codes, absmax) = nf4::quantize(matrix)?;
                let (maxima, nested, offset) = nf4::quantize_maxima(&absmax);
                Self::nested_nf4(rows, cols, codes.into(), maxima.into(), nested, offset)
            }
        }
    }

    /// How it is quantized.
    pub fn quantization(&self) -> Quantization {
        match self.statistics {
            Statistics::OfRows(_) => Quantization::Int8,
            Statistics::OfBlocks(_) | Statistics::Nested { .. } => Quantization::Nf4,
        }
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// What it takes, its statistics included.
    pub fn bytes(&self) -> usize {
        self.codes.len()
            + match &self.statistics {
                Statistics::OfRows(absmax) | Statistics::OfBlocks(absmax) => 4 * absmax.len(),
                Statistics::Nested { codes, absmax, .. } => codes.len() + 4 * absmax.len(),
            }
    }

    /// As products read it.
    pub fn factor(&self) -> Factor<'_> {
        let codes = &*self.codes;
        match &self.statistics {
            Statistics::OfRows(absmax) => Factor::Int8(Int8 { codes, absmax, cols: self.cols }),
            Statistics::OfBlocks(absmax) => {
                Factor::Nf4(Nf4 { codes, maxima: Absmax::Plain(absmax), len: self.len() })
            }
            Statistics::Nested { codes: maxima, absmax, offset } => {
                let values = dynamic_map();
                let maxima = Absmax::Nested { codes: maxima, absmax, offset: *offset, values };
                Factor::Nf4(Nf4 { codes, maxima, len: self.len() })
            }
        }
    }

    fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Lets the memory go that mapped codes take: they are read again if they are needed again.
    pub fn let_go(&self) {
        self.codes.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * i % 997) as f32 / 498.5 - 1.0).collect()
    }

    #[test]
    fn bytes_are_those_that_a_matrix_takes() {
        for (rows, cols) in [(1, 1), (3, 64), (5, 13), (130, 1000)] {
            let elements = ramp(rows * cols);
            for to in Quantization::ALL {
                let matrix =
                    QuantizedMatrix::quantize(Factor::F32(&elements), rows, cols, to).unwrap();
                assert_eq!(matrix.bytes(), to.bytes(rows, cols), "{to} {rows} {cols}");
                assert_eq!((matrix.quantization(), matrix.shape()), (to, [rows, cols]));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_quantized() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 63, 64, 129] {
                let mut elements = ramp(130);
                elements[at] = bad;
                for to in Quantization::ALL {
                    assert!(
                        QuantizedMatrix::quantize(Factor::F32(&elements), 10, 13, to).is_none(),
                        "{bad} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn statistics_must_fit_the_matrix() {
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
