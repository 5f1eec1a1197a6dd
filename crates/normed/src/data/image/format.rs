//! Recognizes the format of an image file by its first bytes.

use super::{dicom, nifti};

/// The format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Bmp,
    Dicom,
    Gif,
    Jpeg,
    Jpeg2000,
    JpegXl,
    Nifti,
    Png,
    Pnm,
    Tiff,
    WebP,
}

/// Formats that are read, and the bytes that their files start with.
const MAGIC: [(&[u8], Format); 12] = [
    (b"\xff\xd8", Format::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"BM", Format::Bmp),
    (b"II\x2a\0", Format::Tiff),
    (b"MM\0\x2a", Format::Tiff),
    (b"II\x2b\0", Format::Tiff),
    (b"MM\0\x2b", Format::Tiff),
    (b"GIF8", Format::Gif),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Format::Jpeg2000),
    (b"\xff\x4f\xff\x51", Format::Jpeg2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Format::JpegXl),
    (b"\xff\x0a", Format::JpegXl),
];

/// Files that are not read, what they are, and the remedy.
const OTHERS: [(&[u8], &str, &str); 12] = [
    (b"\0\0\x01\0", "an icon (ICO)", TO_PNG),
    (b"8BPS", "a Photoshop document", TO_PNG),
    (b"%PDF", "a PDF document", "Save its pages as PNG: pdftoppm -png IN OUT"),
    (b"<svg", "a vector image (SVG)", TO_PNG),
    (b"\x76\x2f\x31\x01", "OpenEXR", TO_PNG),
    (b"II\xbc\x01", "JPEG XR", TO_PNG),
    (b"PK\x03\x04", "a zip archive", "Unpack it"),
    (b"\x89HDF", "HDF5", "Save each image as PNG"),
    (b"\x93NUMPY", "a numpy array", "Save each image as PNG"),
    (b"version https://git-lfs", "a pointer of Git LFS", "Fetch the file itself: git lfs pull"),
    (b"<!DOCTYPE", "a web page", "Download the image again"),
    (b"<html", "a web page", "Download the image again"),
];

const TO_PNG: &str = "Convert it to PNG";

impl Format {
    /// The format of a file that starts with `head`.
    ///
    /// # Errors
    ///
    /// If it is none of these; the error names what the file is, where that is known, and a remedy.
    pub fn recognize(head: &[u8]) -> Result<Self, String> {
        if nifti::is_nifti(head) {
            return Ok(Self::Nifti);
        }
        if dicom::is_dicom(head) {
            return Ok(Self::Dicom);
        }
        let magic = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
        match (magic, head) {
            (Some((_, format)), _) => Ok(*format),
            (None, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]) => {
                Ok(Self::WebP)
            }
            (None, [b'P', b'1'..=b'6', after, ..])
                if after.is_ascii_whitespace() || *after == b'#' =>
            {
                Ok(Self::Pnm)
            }
            _ => Err(unsupported(head)),
        }
    }

    /// The name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bmp => "BMP",
            Self::Dicom => "DICOM",
            Self::Gif => "GIF",
            Self::Jpeg => "JPEG",
            Self::Jpeg2000 => "JPEG 2000",
            Self::JpegXl => "JPEG XL",
            Self::Nifti => "NIfTI",
            Self::Png => "PNG",
            Self::Pnm => "PNM",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
        }
    }
}

/// Why a file that starts with `head` is no supported image, and the remedy.
fn unsupported(head: &[u8]) -> String {
    let brand = match head {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => brand.get(..4).unwrap_or_default(),
        _ => &[],
    };
    let starts = |other: &&(&[u8], &str, &str)| head.trim_ascii_start().starts_with(other.0);
    let (what, remedy) = match (brand, OTHERS.iter().find(starts)) {
        (b"avif" | b"avis", _) => ("AVIF", TO_PNG),
        (b"heic" | b"heix" | b"hevc" | b"heim" | b"mif1" | b"msf1", _) => ("HEIC", TO_PNG),
        (_, Some((_, what, remedy))) => (*what, *remedy),
        _ if head.is_empty() => ("an empty file", "Copy or download it again"),
        _ => {
            return format!(
                "is not a supported image: the content is none of JPEG, PNG, BMP, TIFF, WebP, GIF, \
                 PNM, JPEG 2000, JPEG XL, DICOM, NIfTI. {TO_PNG}"
            );
        }
    };
    format!("is not a supported image: it is {what}. {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognized_by_their_first_bytes() {
        for (head, format) in [
            (b"\xff\xd8\xff\xe0".as_slice(), Format::Jpeg),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Format::WebP),
            (b"P5 2 2 255 ", Format::Pnm),
            (b"MM\0\x2b\0\x08", Format::Tiff),
            (b"\xff\x0a\x30", Format::JpegXl),
        ] {
            assert_eq!(Format::recognize(head), Ok(format));
        }
    }

    #[test]
    fn other_files_are_named() {
        for (head, what) in [
            (b"\0\0\0\x1cftypavif\0\0\0\0".as_slice(), "it is AVIF. Convert it to PNG"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC"),
            (b"", "an empty file"),
            (b"\n<html>404</html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
            (b"RIFF\x10\0\0\0WAVE", "the content is none of JPEG, PNG"),
            (b"P5000", "the content is none of"),
            (b"\0\0\0\x1cftyp", "the content is none of"),
        ] {
            let error = Format::recognize(head).unwrap_err();
            assert!(error.contains("is not a supported image") && error.contains(what), "{error}");
        }
    }
}
