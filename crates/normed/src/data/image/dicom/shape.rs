//! The size of a frame, and the form of its samples.

use crate::data::image::limits::{MAX_DECODED_BYTES, MAX_SIDE};

/// The size of a frame, and the form of its samples.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub rows: usize,
    pub columns: usize,
    /// Samples per pixel, 1 or 3.
    pub samples: usize,
    /// 1, 8, 16 or 32; 32 or 64 of floating-point numbers.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
    /// Whether samples are floating-point numbers.
    pub floating: bool,
    /// Whether the samples are stored plane by plane, not pixel by pixel.
    pub planar: bool,
    /// Whether two adjacent pixels share Cb and Cr (4:2:2).
    pub halved: bool,
}

impl Shape {
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// The bits of an uncompressed frame.
    pub fn frame_bits(&self) -> usize {
        let samples = if self.halved { 2 } else { self.samples };
        self.pixels() * samples * usize::from(self.bits_allocated)
    }

    /// Whether stored values are kept as `f64`: not all of them are `i32`.
    pub fn is_wide(&self) -> bool {
        self.floating || self.bits_allocated > 16
    }

    /// The bytes of the stored values in memory.
    pub fn value_bytes(&self) -> usize {
        let each = if self.is_wide() { size_of::<f64>() } else { size_of::<i32>() };
        self.pixels() * self.samples * each
    }
}

/// Checks that the header describes an image that fits into memory. `samples_per_pixel` and
/// `name` are its SamplesPerPixel and PhotometricInterpretation.
pub(super) fn check_shape(shape: &Shape, samples_per_pixel: u16, name: &str) -> Result<(), String> {
    let Shape { rows, columns, samples, bits_allocated, bits_stored, high_bit, .. } = *shape;
    if rows == 0 || columns == 0 {
        return Err(format!("has {columns} x {rows} pixels"));
    }
    if rows.max(columns) > MAX_SIDE as usize || shape.value_bytes() as u64 > MAX_DECODED_BYTES {
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
    if shape.floating {
        return match samples {
            1 => Ok(()),
            _ => Err(format!("is {name} with floating-point samples, which is not supported")),
        };
    }
    if !matches!((bits_allocated, samples), (8 | 16, _) | (1 | 32, 1)) {
        return Err(format!(
            "its samples take {bits_allocated} bits; 8 and 16 are read, and of gray images 1 and 32"
        ));
    }
    if bits_stored == 0 || high_bit >= bits_allocated || bits_stored > high_bit + 1 {
        return Err(format!(
            "its BitsStored {bits_stored} and HighBit {high_bit} are not within its {bits_allocated} bits"
        ));
    }
    if shape.halved && columns % 2 != 0 {
        return Err(format!("is {name} with an odd number of columns"));
    }
    Ok(())
}
