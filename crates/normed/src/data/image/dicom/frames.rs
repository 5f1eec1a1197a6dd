//! Where the bytes of one frame are in the file.

use std::borrow::Cow;

use super::elements::{Element, Elements, Items, Tag};
use super::shape::Shape;

/// The Extended Offset Table and its lengths (C.7.6.3.1.8).
const EXTENDED_OFFSETS: Tag = (0x7fe0, 0x0001);
const EXTENDED_LENGTHS: Tag = (0x7fe0, 0x0002);

/// The bytes of frame `n` of `frames` uncompressed frames, all of which must be in the file. A frame of 1-bit
/// samples starts at the first bit of what is returned.
pub(super) fn native<'a>(
    pixels: &Element<'a>,
    shape: &Shape,
    n: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, String> {
    if pixels.undefined {
        return Err("its pixels are in fragments, which its transfer syntax does not allow".into());
    }
    let there = pixels.value.len();
    // All factors are limited: see `DicomFile::open` and `check_shape`.
    let bits = shape.frame_bits();
    let all = (bits as u128 * frames as u128).div_ceil(8);
    if all > there as u128 {
        return Err(format!(
            "is cut short: its pixels should have {all} bytes, and {there} are left"
        ));
    }
    if shape.halved && 2 * there as u128 >= 3 * all {
        return Err(
            "is YBR_FULL_422 with as many bytes as pixels without shared colors have; set its \
             PhotometricInterpretation to YBR_FULL or RGB"
                .into(),
        );
    }
    let (first, last) = (n * bits, (n + 1) * bits);
    let (bytes, shift) = (first / 8..last.div_ceil(8), first % 8);
    // Bytes of words (OW) in big endian change places; samples of 16 bits are read as they are.
    let value = if shape.bits_allocated > 8 { Cow::Borrowed(pixels.value) } else { pixels.bytes() };
    let frame = match value {
        Cow::Borrowed(value) => Cow::Borrowed(&value[bytes]),
        Cow::Owned(value) => value[bytes].to_vec().into(),
    };
    Ok(if shift == 0 { frame } else { shifted(&frame, shift).into() })
}

/// The bits of `bytes` from bit `shift` on, where the lowest bit of a byte is its first.
fn shifted(bytes: &[u8], shift: usize) -> Vec<u8> {
    let next = bytes.iter().skip(1).chain(&[0]);
    bytes.iter().zip(next).map(|(&low, &high)| (low >> shift) | (high << (8 - shift))).collect()
}

/// The bytes of frame `n` of `frames` frames in fragments (PS3.5, A.4).
pub(super) fn fragments<'a>(
    elements: &Elements<'a>,
    pixels: &Element<'a>,
    n: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, String> {
    if !pixels.undefined {
        return Err("its pixels are not in fragments, as its transfer syntax requires".into());
    }
    let mut items = Items::of(pixels);
    let table = items.next().transpose()?.unwrap_or_default();
    let fragments = items.collect::<Result<Vec<_>, _>>()?;
    if frames == 1 {
        return Ok(joined(fragments));
    }
    if fragments.len() == frames {
        return Ok(fragments[n].into());
    }
    let (starts, _) = table.as_chunks::<4>();
    let starts: Vec<_> = starts.iter().map(|&at| u64::from(u32::from_le_bytes(at))).collect();
    if starts.len() == frames {
        let end = starts.get(n + 1).copied().unwrap_or(u64::MAX);
        return Ok(joined(between(&fragments, starts[n], end)));
    }
    if let Some((start, length)) = extended_offset(elements, n, frames) {
        let frame = joined(between(&fragments, start, start.saturating_add(length)));
        return match usize::try_from(length).ok().filter(|&length| length <= frame.len()) {
            Some(length) => Ok(frame[..length].to_vec().into()),
            None => Err(format!("its frame {n} is not where its Extended Offset Table says")),
        };
    }
    by_end_markers(&fragments, n, frames)
}

fn joined(fragments: Vec<&[u8]>) -> Cow<'_, [u8]> {
    match fragments.as_slice() {
        [only] => (*only).into(),
        several => several.concat().into(),
    }
}

/// The fragments that start from `begin` on and before `end`, counted from the tag of the first one.
fn between<'a>(fragments: &[&'a [u8]], begin: u64, end: u64) -> Vec<&'a [u8]> {
    let mut at = 0;
    let mut found = Vec::new();
    for fragment in fragments {
        if (begin..end).contains(&at) {
            found.push(*fragment);
        }
        at += 8 + fragment.len() as u64;
    }
    found
}

/// The start and the length of frame `n` in the Extended Offset Table, if there is one.
fn extended_offset(elements: &Elements<'_>, n: usize, frames: usize) -> Option<(u64, u64)> {
    let entry = |tag| {
        let (entries, _) = elements.get(tag)?.value.as_chunks::<8>();
        (entries.len() == frames).then(|| u64::from_le_bytes(entries[n]))
    };
    entry(EXTENDED_OFFSETS).zip(entry(EXTENDED_LENGTHS))
}

/// Frame `n` of `frames`, each of which ends with the fragment that has the end marker of JPEG and JPEG 2000
/// among its last ten bytes, as in pydicom.
fn by_end_markers<'a>(
    fragments: &[&'a [u8]],
    n: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, String> {
    let is_last = |fragment: &&[u8]| {
        let end = &fragment[fragment.len().saturating_sub(10)..];
        end.windows(2).any(|pair| pair == [0xff, 0xd9])
    };
    let found: Vec<_> = fragments.split_inclusive(is_last).collect();
    match found.get(n) {
        Some(frame) if found.len() == frames => Ok(joined(frame.to_vec())),
        _ => Err(format!(
            "has {} fragments for {frames} frames, no table of where each frame starts, and end markers \
             of {} frames",
            fragments.len(),
            found.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_bits_start_anywhere_in_a_byte() {
        assert_eq!(shifted(&[0b1010_0000, 0b0000_0011], 5), [0b0001_1101, 0]);
        assert_eq!(shifted(&[0x80, 1], 7), [0b11, 0]);
    }

    #[test]
    fn frames_end_with_their_end_marker() {
        let fragments = [b"ab".as_slice(), b"c\xff\xd9", b"d", b"e", b"\xff\xd9\0"];
        let frame = |n| by_end_markers(&fragments, n, 2).unwrap().into_owned();
        assert_eq!((frame(0), frame(1)), (b"abc\xff\xd9".to_vec(), b"de\xff\xd9\0".to_vec()));
        let cause = by_end_markers(&fragments, 0, 3).unwrap_err();
        assert!(cause.contains("5 fragments for 3 frames") && cause.contains("of 2 frames"));
    }
}
