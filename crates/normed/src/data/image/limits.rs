//! How large a decoded image may be.

/// Maximum length of a side, in pixels: a small file could claim more and fill the memory.
pub(super) const MAX_SIDE: u32 = 16_384;
/// Maximum memory of a decoder, in bytes.
pub(super) const MAX_DECODED_BYTES: u64 = 512 << 20;

/// Checks the size that a header states, for a decoder that needs `bytes_per_pixel`.
pub(super) fn check_size(
    width: u64,
    height: u64,
    bytes_per_pixel: u64,
) -> Result<[usize; 2], String> {
    if width == 0 || height == 0 {
        return Err(format!("has {width} x {height} pixels"));
    }
    let side = width.max(height);
    if side > u64::from(MAX_SIDE) || width * height * bytes_per_pixel > MAX_DECODED_BYTES {
        return Err(format!(
            "has {width} x {height} pixels, beyond the limit of {MAX_SIDE} a side and {} MiB. Make it smaller",
            MAX_DECODED_BYTES >> 20
        ));
    }
    Ok([width as usize, height as usize])
}
