//! Bytes as hexadecimal text, which is how checksums are written.

use std::fmt::Write as _;

/// Writes `bytes` as lowercase hexadecimal, two digits a byte.
///
/// ```
/// assert_eq!(normed::files::hex(&[0, 10, 255]), "000aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
