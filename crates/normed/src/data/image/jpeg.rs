//! Whether a JPEG file is whole.

/// Whether a JPEG file has its end-of-image marker. The decoder silently fills the missing part of a truncated
/// file with gray, so that half a scan would pass for a whole one.
///
/// Segments are skipped by their lengths, since a thumbnail in one has an end marker of its own. Within the
/// data of a scan, 0xFF before 0x00 or a restart marker (0xD0 to 0xD7) is no segment (ITU T.81,
/// B.1.1).
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        match (first, marker) {
            (0xff, 0xd9) => return true,
            (0xff, 0x02..=0xcf | 0xda..=0xfe) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
            // The data of a scan, a restart marker, or padding.
            _ => at += 1,
        }
    }
    false
}
