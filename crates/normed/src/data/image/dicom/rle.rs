//! RLE: each byte of each sample is a segment of its own, the highest first (PS3.5, annex G).

use super::shape::Shape;

/// Checks that `frame` can be decoded as pixels of this shape, and returns the positions of its segments.
pub(super) fn check(frame: &[u8], shape: &Shape) -> Result<Vec<usize>, String> {
    let cut = || "its RLE frame is cut short".to_owned();
    if !matches!(shape.bits_allocated, 8 | 16 | 32) {
        return Err(format!("is compressed by RLE with samples of {} bits", shape.bits_allocated));
    }
    let (header, _) = frame.first_chunk::<64>().ok_or_else(cut)?.as_chunks::<4>();
    let header: Vec<_> = header.iter().map(|&word| u32::from_le_bytes(word) as usize).collect();
    let segments = shape.samples * usize::from(shape.bits_allocated / 8);
    if header[0] != segments {
        return Err(format!("its RLE frame has {} segments, and not {segments}", header[0]));
    }
    // Two bytes encode at most 128 bytes.
    if shape.pixels() > frame.len().saturating_mul(64) {
        return Err(cut());
    }
    Ok(header[1..=segments].to_vec())
}

/// Decodes a frame to the bytes of an uncompressed one in little endian, the samples of each pixel adjacent.
pub(super) fn decode(frame: &[u8], shape: &Shape) -> Result<Vec<u8>, String> {
    let cut = || "its RLE frame is cut short".to_owned();
    let bytes = usize::from(shape.bits_allocated / 8);
    let bytes_per_pixel = shape.samples * bytes;
    let mut decoded = vec![0; shape.pixels() * bytes_per_pixel];
    for (segment, start) in check(frame, shape)?.into_iter().enumerate() {
        let packed = frame.get(start..).ok_or_else(cut)?;
        let plane = unpack_bits(packed, shape.pixels()).ok_or_else(cut)?;
        let (sample, highest) = (segment / bytes, bytes - 1);
        let first = sample * bytes + highest - segment % bytes;
        for (to, byte) in decoded[first..].iter_mut().step_by(bytes_per_pixel).zip(plane) {
            *to = byte;
        }
    }
    Ok(decoded)
}

/// Decodes `length` bytes of PackBits (G.3.2).
fn unpack_bits(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (&head, rest) = packed.split_first()?;
        packed = match head {
            0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(head) + 1)?;
                bytes.extend_from_slice(literal);
                rest
            }
            128 => rest,
            129..=255 => {
                let (&byte, rest) = rest.split_first()?;
                bytes.resize(bytes.len() + 257 - usize::from(head), byte);
                rest
            }
        };
    }
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_bits_are_decoded() {
        // A run, a literal, a byte without meaning.
        let packed = [254, 7, 128, 1, 8, 9, 0, 5];
        assert_eq!(unpack_bits(&packed, 6).unwrap(), [7, 7, 7, 8, 9, 5]);
        assert_eq!(unpack_bits(&packed, 2).unwrap(), [7, 7]);
        assert_eq!(unpack_bits(&packed, 7), None);
        assert_eq!(unpack_bits(&[3, 1], 1), None);
        assert_eq!(unpack_bits(&[200], 1), None);
    }
}
