//! How large a decoded image may be.

/// Maximum length of a side, in pixels: a small file could claim more and fill the memory.
pub(super) const MAX_SIDE: u32 = 16_384;
/// Maximum memory of a decoder, in bytes.
pub(super) const MAX_DECODED_BYTES: u64 = 512 << 20;

/// An image of so many pixels may come from a file of any length.
const SMALL_PIXELS: u64 = 4 << 20;
/// The most pixels for each byte of a larger image's file: a mask of a few areas has about as many.
const MAX_PIXELS_PER_BYTE: u64 = 4096;

/// Checks that a file is long enough for the size that its header states, where the format itself stores a blank image
/// of any size in a few bytes.
pub(super) fn check_length([width, height]: [usize; 2], file_bytes: u64) -> Result<(), String> {
    let pixels = width as u64 * height as u64;
    if pixels > SMALL_PIXELS && pixels / MAX_PIXELS_PER_BYTE > file_bytes {
        return Err(format!("claims {width} x {height} pixels, and has {file_bytes} bytes"));
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_image_needs_a_file_of_some_length() {
        assert_eq!(check_length([2048, 2048], 1), Ok(()));
        assert_eq!(check_length([16_384, 8192], 32_768), Ok(()));
        let cause = check_length([16_384, 8192], 32_767).unwrap_err();
        assert_eq!(cause, "claims 16384 x 8192 pixels, and has 32767 bytes");
    }
}
