//! The data set of a DICOM file: where it is in the file, and how it is encoded.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::DeflateDecoder;

use super::elements::{Elements, Encoding, Tag, is_value_representation};
use super::syntax::{PixelCoding, TransferSyntax};
use crate::data::image::limits::MAX_DECODED_BYTES;

const MEDIA_STORAGE_CLASS: Tag = (0x0002, 0x0002);
const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);

/// The four bytes after the preamble.
const PREFIX: &[u8] = b"DICM";

/// The data set of a DICOM file.
pub(super) struct DataSet<'a> {
    bytes: Cow<'a, [u8]>,
    encoding: Encoding,
    pub pixels: PixelCoding,
    /// The class of the object, as the file meta information names it.
    pub class: Option<String>,
}

/// Whether `bytes`, the first of a file, start as a DICOM file does (PS3.10, 7.1), or as one that lacks its
/// preamble, or its preamble and its file meta information.
pub(in crate::data::image) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(PREFIX) || bytes.starts_with(PREFIX) || starts_with_element(bytes)
}

/// Whether `bytes` start with an element of one of the groups that data sets start with.
fn starts_with_element(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d, e, f, g, h]) = bytes.first_chunk() else { return false };
    let is_first = |group: u16| matches!(group, 0x0002 | 0x0008);
    if is_first(u16::from_be_bytes([a, b])) {
        return is_value_representation(&[e, f]);
    }
    if !is_first(u16::from_le_bytes([a, b])) {
        return false;
    }
    if is_value_representation(&[e, f]) {
        return true;
    }
    // An implicit element, and after it another with a larger tag.
    let length = u32::from_le_bytes([e, f, g, h]) as usize;
    let next = bytes.get(8..).and_then(|rest| rest.get(length..)?.first_chunk());
    next.is_some_and(|&[i, j, k, l]| [j, i, l, k] > [b, a, d, c] && j == 0)
}

impl<'a> DataSet<'a> {
    /// Finds the data set in a file.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let body = match bytes.get(128..132) {
            Some(PREFIX) => &bytes[132..],
            _ => bytes.strip_prefix(PREFIX).unwrap_or(bytes),
        };
        let meta_encoding = Encoding::EXPLICIT.of_data_set(body);
        let (meta, at) = Elements::read(body, meta_encoding, |(group, _)| group == 2)?;
        let rest = &body[at..];
        let TransferSyntax { encoding, deflated, pixels } = match meta.text(TRANSFER_SYNTAX) {
            Some(uid) => TransferSyntax::named(uid)?,
            None => TransferSyntax::guessed(rest),
        };
        let bytes = if deflated { inflate(rest)?.into() } else { Cow::Borrowed(rest) };
        let encoding = encoding.of_data_set(&bytes);
        let class = meta.text(MEDIA_STORAGE_CLASS).map(str::to_owned);
        Ok(Self { bytes, encoding, pixels, class })
    }

    /// The elements of the data set.
    pub fn elements(&self) -> Result<Elements<'_>, String> {
        Elements::read(&self.bytes, self.encoding, |_| true).map(|(elements, _)| elements)
    }

    /// The length of the data set in bytes.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the data set was inflated into memory of its own.
    pub fn is_inflated(&self) -> bool {
        matches!(self.bytes, Cow::Owned(_))
    }
}

/// Inflates a deflated data set (PS3.5, A.5).
fn inflate(deflated: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Memory grows with what is inflated, up to the limit.
    let read = DeflateDecoder::new(deflated).take(MAX_DECODED_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| format!("is deflated, and cannot be inflated: {e}"))?;
    if bytes.len() as u64 > MAX_DECODED_BYTES {
        let limit = MAX_DECODED_BYTES >> 20;
        return Err(format!("is deflated, and has more than {limit} MiB when inflated"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_preamble_are_recognized() {
        for bytes in [
            b"\x02\0\0\0UL\x04\0\0\0\0\0".as_slice(),
            b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
            b"\0\x08\0\x05CS\0\x0aISO_IR 100",
            b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x08\0\x08\0",
            b"DICM\x02\0\0\0UL\x04\0\0\0\0\0",
        ] {
            assert!(is_dicom(bytes), "{bytes:?}");
        }
        for bytes in [
            b"".as_slice(),
            b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x07\0\x08\0",
            b"\x08\0\x05\0\xff\xff\xff\xff\x08\0\x08\0",
            b"II*\0\x08\0\0\0\x08\0\x05\0CS\x0a\0",
            b"\x01\0\x05\0CS\x0a\0ISO_IR 100",
        ] {
            assert!(!is_dicom(bytes), "{bytes:?}");
        }
    }
}
