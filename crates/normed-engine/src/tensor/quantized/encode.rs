//! Quantizing matrices. Rounding and ties are those of bitsandbytes' kernels for the CPU, so that codes
//! are the same.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::int8::LARGEST;
use super::matrix::{Quantization, QuantizedMatrix};
use super::nf4::{DynamicMap, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, dynamic_map};
use crate::tensor::factor::Factor;

/// The number of NF4 blocks that a thread quantizes at a time.
const BLOCKS_PER_TASK: usize = 256;

/// The divisor of a block of zeros.
const SMALLEST: f32 = 1e-38;

impl QuantizedMatrix {
    /// Quantizes a matrix `[rows, cols]`. `None` if an element is infinite or NaN, or if `to` is not one of
    /// [`Quantization::ALL`].
    ///
    /// # Panics
    /// If `matrix` has another number of elements.
    pub fn quantize(
        matrix: Factor<'_>,
        rows: usize,
        cols: usize,
        to: Quantization,
    ) -> Option<Self> {
        assert_eq!(matrix.len(), rows * cols, "the elements of a matrix [{rows}, {cols}]");
        match to {
            Quantization::Int8 => {
                let (codes, absmax) = encode_int8(matrix, rows, cols)?;
                Self::int8(rows, cols, codes.into(), absmax)
            }
            Quantization::Nf4 => {
                let (codes, absmax) = encode_nf4(matrix)?;
                let (absmax, nested_absmax, offset) = encode_absmax(&absmax);
                Self::nested_nf4(rows, cols, codes.into(), absmax.into(), nested_absmax, offset)
            }
            Quantization::Fp4 => None,
        }
    }
}

/// The codes and the largest magnitude of each row of an int8 matrix. `None` if an element is infinite or
/// NaN.
fn encode_int8(matrix: Factor<'_>, rows: usize, cols: usize) -> Option<(Vec<u8>, Vec<f32>)> {
    let (mut codes, mut absmax) = (vec![0; rows * cols], vec![0.0; rows]);
    let finite = AtomicBool::new(true);
    let each = codes.par_chunks_exact_mut(cols.max(1)).zip(&mut absmax).enumerate();
    each.for_each_init(
        || vec![0.0; cols],
        |elements, (row, (codes, absmax))| {
            matrix.copy_to_f32(row * cols, elements);
            if !elements.iter().all(|x| x.is_finite()) {
                finite.store(false, Ordering::Relaxed);
            }
            *absmax = elements.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            if *absmax == 0.0 {
                return;
            }
            // Two roundings, as when torch divides a number by a tensor.
            let scale = 1.0 / *absmax * LARGEST;
            for (code, x) in codes.iter_mut().zip(elements) {
                // The cast saturates, which it does only where `scale` is infinite.
                *code = ((*x * scale).round_ties_even() as i8).cast_unsigned();
            }
        },
    );
    finite.into_inner().then_some((codes, absmax))
}

/// The codes, two a byte, and the absmax of each block of an NF4 matrix. `None` if an element is infinite
/// or NaN.
fn encode_nf4(matrix: Factor<'_>) -> Option<(Vec<u8>, Vec<f32>)> {
    let len = matrix.len();
    let (mut codes, mut absmax) = (vec![0u8; len.div_ceil(2)], vec![0.0; len.div_ceil(NF4_BLOCK)]);
    let bounds: [f32; 15] = std::array::from_fn(|i| (NF4_VALUES[i] + NF4_VALUES[i + 1]) / 2.0);
    let finite = AtomicBool::new(true);
    let pieces = codes
        .par_chunks_mut(BLOCKS_PER_TASK * NF4_BLOCK / 2)
        .zip(absmax.par_chunks_mut(BLOCKS_PER_TASK));
    pieces.enumerate().for_each(|(piece, (codes, absmax))| {
        let mut block = [0.0; NF4_BLOCK];
        for (i, (codes, largest)) in codes.chunks_mut(NF4_BLOCK / 2).zip(absmax).enumerate() {
            let start = (piece * BLOCKS_PER_TASK + i) * NF4_BLOCK;
            let block = &mut block[..NF4_BLOCK.min(len - start)];
            matrix.copy_to_f32(start, block);
            if !block.iter().all(|x| x.is_finite()) {
                finite.store(false, Ordering::Relaxed);
            }
            *largest = block.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            if block.len() == NF4_BLOCK {
                let factor = 1.0 / largest.max(SMALLEST);
                block.iter_mut().for_each(|x| *x *= factor);
            } else {
                // bitsandbytes divides the elements of an incomplete last block.
                *largest = largest.max(SMALLEST);
                block.iter_mut().for_each(|x| *x /= *largest);
            }
            let code = |x: &f32| bounds.iter().map(|bound| u8::from(x > bound)).sum::<u8>();
            for (byte, pair) in codes.iter_mut().zip(block.chunks(2)) {
                *byte = code(&pair[0]) << 4 | pair.get(1).map_or(ZERO, code);
            }
        }
    });
    finite.into_inner().then_some((codes, absmax))
}

/// The code of 0, which fills the last byte of an odd number of elements.
const ZERO: u8 = 7;

/// The codes of blocks' absmax, the absmax of these less the offset in every [`NF4_NESTED_BLOCK`] blocks,
/// and the offset, which is their mean.
fn encode_absmax(absmax: &[f32]) -> (Vec<u8>, Vec<f32>, f32) {
    let sum: f64 = absmax.iter().map(|&x| f64::from(x)).sum();
    let offset = (sum / absmax.len().max(1) as f64) as f32;
    let values = dynamic_map();
    let mut codes = Vec::with_capacity(absmax.len());
    let nested = absmax.chunks(NF4_NESTED_BLOCK).map(|block| {
        let largest = block.iter().fold(0.0f32, |a, x| a.max((x - offset).abs()));
        let factor = 1.0 / largest;
        let code = |x| if largest > 0.0 { nearest(values, (x - offset) * factor) } else { 0 };
        codes.extend(block.iter().map(code));
        largest
    });
    let nested = nested.collect();
    (codes, nested, offset)
}

/// The code of the value nearest to `x`, the lower one of two that are equally near. `x` is rounded first
/// to one of 65536 steps from -1 to 1, since bitsandbytes looks codes up in a table of that size.
fn nearest(values: &DynamicMap, x: f32) -> u8 {
    const STEPS: f32 = 65535.0;
    let step = ((x.clamp(-1.0, 1.0) + 1.0) * 0.5 * STEPS + 0.5).floor();
    let x = -1.0 + 2.0 * step / STEPS;
    let code = values.windows(2).filter(|pair| 0.5 * (pair[0] + pair[1]) < x).count();
    code as u8 // there are 255 pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::quantized::nf4::{Absmax, Nf4};

    #[test]
    fn the_nearest_value_and_the_lower_of_two() {
        let values = dynamic_map();
        assert!(values.is_sorted());
        for (code, &value) in values.iter().enumerate() {
            // Near 0 the values are closer than the 65536 steps.
            if value.abs() > 1e-2 {
                assert_eq!(usize::from(nearest(values, value)), code);
            }
        }
        assert_eq!((nearest(values, -1.0), nearest(values, 1.0)), (0, 255));
    }

    /// The golden file and `matrix` are those of reference/bnb_golden.py.
    #[test]
    fn absmax_is_that_of_bitsandbytes_bit_for_bit() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../normed/tests/golden/quantized.safetensors");
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
            let (_, absmax) = encode_nf4(Factor::F32(&matrix)).unwrap();
            let wanted = golden.tensor(&format!("{name}.float32.maxima")).unwrap();
            let bytes: Vec<u8> = absmax.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(bytes, wanted.data(), "{name}");
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zeros() {
        let (codes, absmax) = encode_nf4(Factor::F32(&[0.0; 65])).unwrap();
        assert_eq!(codes, [0x77; 33]);
        assert_eq!(absmax, [0.0, SMALLEST]);
        let absmax = Absmax::Plain(&absmax);
        let matrix = Nf4 { codes: &codes, absmax, len: 65, values: &NF4_VALUES };
        let mut out = [1.0; 65];
        matrix.copy_to_f32(0, &mut out);
        assert_eq!(out, [0.0; 65]);
    }

    fn ramp(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * i % 997) as f32 / 498.5 - 1.0).collect()
    }

    #[test]
    fn bytes_are_computed_without_the_matrix() {
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
    fn infinite_and_nan_elements_are_refused() {
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
}
