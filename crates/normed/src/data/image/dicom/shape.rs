//! The size of a frame, and the form of its samples.

use crate::data::image::limits::{MAX_DECODED_BYTES, MAX_SIDE};

/// The size of a frame, and the form of its samples.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub rows: usize,
    pub columns: usize,
    /// Samples per pixel, 1 or 3.
    pub samples: usize,
    /// 8 or 16.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
    /// Whether the samples are stored plane by plane, not pixel by pixel.
    pub planar: bool,
    /// Whether two adjacent pixels share Cb and Cr (4:2:2).
    pub halved: bool,
}

impl Shape {
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }
}

/// Checks that the header describes an image that fits into memory. `samples_per_pixel` and
/// `name` are its SamplesPerPixel and PhotometricInterpretation.
pub(super) fn check_shape(shape: &Shape, samples_per_pixel: u16, name: &str) -> Result<(), String> {
    let Shape { rows, columns, samples, bits_allocated, bits_stored, high_bit, .. } = *shape;
    if rows == 0 || columns == 0 {
        return Err(format!("has {columns} x {rows} pixels"));
    }
    let bytes = (rows * columns * samples * size_of::<i32>()) as u64;
    if rows.max(columns) > MAX_SIDE as usize || bytes > MAX_DECODED_BYTES {
        return Err(format!(
            "has {columns} x {rows} pixels, beyond the limit of {MAX_SIDE} a side and {} MiB",
            MAX_DECODED_BYTES >> 20
        ));
    }
    if usize::from(samples_per_pixel) != samples {
        return Err(format!(
            "is {name} with {samples_per_pixel} samples a pixel, and not {samples}"
        ));
    }
    if bits_allocated != 8 && bits_allocated != 16 {
        return Err(format!("its samples take {bits_allocated} bits; only 8 and 16 are read"));
    }
    if bits_stored == 0 || high_bit >= bits_allocated || bits_stored > high_bit + 1 {
        return Err(format!(
            "its BitsStored {bits_stored} and HighBit {high_bit} are not within its {bits_allocated} bits"
        ));
    }
    if shape.halved && (columns % 2 != 0 || bits_allocated != 8) {
        return Err("is YBR_FULL_422 with an odd number of columns, or not of 8 bits".into());
    }
    Ok(())
}
