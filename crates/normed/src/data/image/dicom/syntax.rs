//! Transfer syntaxes: how a file stores its elements and its pixels (PS3.5, chapter 10).

use super::elements::Encoding;

/// A transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TransferSyntax {
    /// The encoding of the elements.
    pub encoding: Encoding,
    /// Whether the data set is deflated.
    pub deflated: bool,
    pub pixels: PixelCoding,
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelCoding {
    /// Uncompressed, in one piece.
    Native,
    /// Uncompressed, in fragments.
    Fragments,
    Rle,
    /// JPEG or JPEG-LS: the frame says which.
    Jpeg,
    Jpeg2000,
    JpegXl,
    /// In fragments, in a file that does not name its transfer syntax: the frame says how.
    Unnamed,
}

/// Transfer syntaxes that are not supported: the prefix of the UID, a description, and a remedy.
const UNSUPPORTED: [(&str, &str, &str); 6] = [
    ("1.2.840.10008.1.2.4.10", "compressed by MPEG", TO_PNG),
    ("1.2.840.10008.1.2.4.20", "compressed by HTJ2K", HTJ2K_REMEDY),
    ("1.2.840.10008.1.2.4.9", "compressed by JPEG 2000 Part 2, or on a server (JPIP)", REMEDY),
    ("1.2.840.10008.1.2.7", "a video stream (SMPTE ST 2110)", TO_PNG),
    ("1.2.840.10008.1.2.8.", "compressed by Deflate, frame by frame", PYDICOM),
    ("1.2.840.10008.1.2.4.", "compressed in an unknown way", PYDICOM),
];

pub(super) const TO_PNG: &str = "save its frames as PNG";
const PYDICOM: &str = "decompress it with pydicom: Dataset.decompress()";
/// What a user may do about HTJ2K, which few programs read.
pub(super) const HTJ2K_REMEDY: &str =
    "decompress it with pydicom and pylibjpeg-openjpeg: Dataset.decompress()";

/// What a user may do about pixels that are not supported.
pub(super) const REMEDY: &str = "convert it to Explicit VR Little Endian: gdcmconv --raw IN OUT";

impl TransferSyntax {
    const EXPLICIT: Self =
        Self { encoding: Encoding::EXPLICIT, deflated: false, pixels: PixelCoding::Native };

    /// The transfer syntax with a UID.
    pub fn named(uid: &str) -> Result<Self, String> {
        let big_endian = Encoding { explicit: true, big_endian: true };
        let compressed = |pixels| Self { pixels, ..Self::EXPLICIT };
        match uid {
            "1.2.840.10008.1.2" => Ok(Self { encoding: Encoding::IMPLICIT, ..Self::EXPLICIT }),
            "1.2.840.10008.1.2.1" => Ok(Self::EXPLICIT),
            "1.2.840.10008.1.2.2" => Ok(Self { encoding: big_endian, ..Self::EXPLICIT }),
            "1.2.840.10008.1.2.1.98" => Ok(compressed(PixelCoding::Fragments)),
            "1.2.840.10008.1.2.1.99" => Ok(Self { deflated: true, ..Self::EXPLICIT }),
            "1.2.840.10008.1.2.5" => Ok(compressed(PixelCoding::Rle)),
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => {
                Ok(compressed(PixelCoding::Jpeg))
            }
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => {
                Ok(compressed(PixelCoding::Jpeg2000))
            }
            "1.2.840.10008.1.2.4.110" | "1.2.840.10008.1.2.4.111" | "1.2.840.10008.1.2.4.112" => {
                Ok(compressed(PixelCoding::JpegXl))
            }
            // Of 17 kinds of JPEG, most are retired: frames say which of them they are.
            _ if is_jpeg(uid) => Ok(compressed(PixelCoding::Jpeg)),
            _ => {
                let kind = UNSUPPORTED.iter().find(|(begin, ..)| uid.starts_with(begin));
                let (kind, remedy) = kind
                    .map_or(("stored in an unknown way", REMEDY), |(_, kind, remedy)| {
                        (kind, remedy)
                    });
                Err(format!("is {kind} (transfer syntax {uid}), which is not supported; {remedy}"))
            }
        }
    }

    /// The transfer syntax of a data set whose file names none, by its first element.
    pub fn guessed(data_set: &[u8]) -> Self {
        let encoding = Encoding::IMPLICIT.of_data_set(data_set);
        Self { encoding, deflated: false, pixels: PixelCoding::Unnamed }
    }
}

/// Whether a UID is one of JPEG's, 1.2.840.10008.1.2.4.50 to .70.
fn is_jpeg(uid: &str) -> bool {
    let number = uid.strip_prefix("1.2.840.10008.1.2.4.").and_then(|last| last.parse().ok());
    number.is_some_and(|number: u32| (50..=70).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_syntaxes_are_named_with_a_remedy() {
        for (uid, kind, remedy) in [
            ("1.2.840.10008.1.2.4.201", "HTJ2K", "pylibjpeg-openjpeg"),
            ("1.2.840.10008.1.2.4.202", "HTJ2K", "pylibjpeg-openjpeg"),
            ("1.2.840.10008.1.2.4.203", "HTJ2K", "pylibjpeg-openjpeg"),
            ("1.2.840.10008.1.2.4.102", "MPEG", "PNG"),
            ("1.2.840.10008.1.2.4.94", "JPIP", "gdcmconv --raw"),
            ("1.2.840.10008.1.2.8.1", "frame by frame", "pydicom"),
            ("1.2.3", "unknown way", "gdcmconv --raw"),
        ] {
            let cause = TransferSyntax::named(uid).unwrap_err();
            assert!(cause.contains(kind) && cause.contains(remedy), "{cause}");
        }
    }

    #[test]
    fn a_missing_syntax_is_guessed_by_the_first_element() {
        let encoding = |bytes: &[u8]| {
            let Encoding { explicit, big_endian } = TransferSyntax::guessed(bytes).encoding;
            (explicit, big_endian)
        };
        assert_eq!(encoding(b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), (true, false));
        assert_eq!(encoding(b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100"), (false, false));
        assert_eq!(encoding(b"\0\x08\0\x05CS\0\x0aISO_IR 100"), (true, true));
    }
}
