//! The orientation of an image: how its pixels are turned to be upright.

use super::header::{ImageHeader, Remark};
use super::options::{ImageOptions, OrientationUse};
use super::pixels::Image;

/// An orientation of EXIF or TIFF other than upright, 2 to 8 (TIFF 6.0, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u8);

/// The tag of the orientation.
const TAG: u64 = 0x0112;

impl Orientation {
    /// The remark on an image whose EXIF orientation is applied, and on one whose orientation is not.
    pub const APPLIED: Remark =
        Remark("an EXIF orientation, which is applied (data.image.orientation = \"apply\")");
    pub const IGNORED: Remark =
        Remark("an EXIF orientation, which is ignored (data.image.orientation = \"ignore\")");

    /// The orientation with this number, if pixels have to be turned.
    pub fn from_number(number: u64) -> Option<Self> {
        (2..=8).contains(&number).then_some(Self(number as u8))
    }

    /// The orientation in the metadata of an image, as Pillow finds it: in EXIF, or else in XMP.
    pub fn from_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Option<Self> {
        let number = exif.and_then(exif_number).or_else(|| xmp.and_then(xmp_number))?;
        Self::from_number(number)
    }

    /// The orientation that `options` apply, and the remark on it.
    fn chosen(found: Option<Self>, options: &ImageOptions) -> (Option<Self>, Option<Remark>) {
        match options.orientation {
            OrientationUse::Apply => (found, found.map(|_| Self::APPLIED)),
            OrientationUse::Ignore => (None, found.map(|_| Self::IGNORED)),
        }
    }

    /// Whether the upright image is as wide as the stored one is high.
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// The size `[width, height]` of the upright image.
    pub fn upright_size(self, [width, height]: [usize; 2]) -> [usize; 2] {
        if self.swaps_sides() { [height, width] } else { [width, height] }
    }

    /// The header of the upright image, for a stored one whose EXIF orientation is `found`.
    pub fn turn_header(
        found: Option<Self>,
        options: &ImageOptions,
        mut header: ImageHeader,
    ) -> ImageHeader {
        let (orientation, remark) = Self::chosen(found, options);
        header.remarks.extend(remark);
        if let Some(Self(number)) = found {
            let use_of_it = if orientation.is_some() { "turned upright" } else { "ignored" };
            header.view.push(("orientation", format!("EXIF {number}, {use_of_it}")));
        }
        if let Some(orientation) = orientation {
            [header.width, header.height] = orientation.upright_size([header.width, header.height]);
            // Both images are in memory for a while.
            header.decoding_bytes += 3 * (header.width * header.height) as u64;
        }
        header
    }

    /// The upright image, for a stored one whose EXIF orientation is `found`.
    pub fn turn(found: Option<Self>, options: &ImageOptions, image: Image) -> Image {
        match Self::chosen(found, options) {
            (Some(orientation), _) => orientation.apply(&image),
            (None, _) => image,
        }
    }

    /// The upright image.
    pub fn apply(self, image: &Image) -> Image {
        let (columns, rows) = (image.width, image.height);
        let [width, height] = self.upright_size([columns, rows]);
        let mut rgb = Vec::with_capacity(image.rgb.len());
        for y in 0..height {
            for x in 0..width {
                let (right, bottom) = (columns - 1, rows - 1);
                let (column, row) = match self.0 {
                    2 => (right - x, y),
                    3 => (right - x, bottom - y),
                    4 => (x, bottom - y),
                    5 => (y, x),
                    6 => (y, bottom - x),
                    7 => (right - y, bottom - x),
                    _ => (right - y, x),
                };
                let at = 3 * (row * columns + column);
                rgb.extend_from_slice(&image.rgb[at..at + 3]);
            }
        }
        Image { width, height, rgb }
    }
}

/// The orientation's number in EXIF, which is a TIFF directory after an optional mark.
fn exif_number(exif: &[u8]) -> Option<u64> {
    const MARK: &[u8] = b"Exif\0\0";
    let exif = exif.strip_prefix(MARK).unwrap_or(exif);
    let exif = exif.strip_prefix(MARK).unwrap_or(exif);
    let is_big_endian = match exif.get(..2)? {
        b"II" => false,
        b"MM" => true,
        _ => return None,
    };
    let number = |at: usize, length: usize| {
        let bytes = exif.get(at..at.checked_add(length)?)?;
        let append = |sum: u64, &byte: &u8| (sum << 8) | u64::from(byte);
        Some(match is_big_endian {
            true => bytes.iter().fold(0, append),
            false => bytes.iter().rev().fold(0, append),
        })
    };
    let start = usize::try_from(number(4, 4)?).ok()?;
    let entries = number(start, 2)? as usize;
    let entry = (0..entries).map(|i| start + 2 + 12 * i).find(|&at| number(at, 2) == Some(TAG))?;
    match (number(entry + 2, 2)?, number(entry + 4, 4)?) {
        (3 | 8, 1) => number(entry + 8, 2),
        (4 | 9, 1) => number(entry + 8, 4),
        _ => None,
    }
}

/// The orientation's number in XMP: `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
fn xmp_number(xmp: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let digit = |rest: &[u8]| {
        let rest = rest.strip_prefix(NAME)?;
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|byte| byte.is_ascii_digit()).map(|byte| u64::from(byte - b'0'))
    };
    (0..xmp.len()).find_map(|at| digit(&xmp[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF with one entry.
    fn exif(big_endian: bool, kind: u16, count: u32, value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |value: u32, length: usize| {
            let all = value.to_be_bytes();
            let mut part = all[4 - length..].to_vec();
            if !big_endian {
                part.reverse();
            }
            bytes.extend(part);
        };
        put(if big_endian { 0x4d4d } else { 0x4949 }, 2);
        for (value, length) in [(42, 2), (8, 4), (1, 2), (0x0112, 2), (kind.into(), 2), (count, 4)]
        {
            put(value, length);
        }
        put(value, if kind == 3 { 2 } else { 4 });
        put(0, 4);
        put(0, if kind == 3 { 2 } else { 0 });
        bytes
    }

    #[test]
    fn the_orientation_is_in_exif_or_else_in_xmp() {
        let found = |exif: Option<&[u8]>, xmp: Option<&[u8]>| {
            Orientation::from_metadata(exif, xmp).map(|orientation| orientation.0)
        };
        for big_endian in [false, true] {
            assert_eq!(found(Some(&exif(big_endian, 3, 1, 6)), None), Some(6));
            assert_eq!(found(Some(&exif(big_endian, 4, 1, 8)), None), Some(8));
            let marked = [b"Exif\0\0".as_slice(), &exif(big_endian, 3, 1, 3)].concat();
            assert_eq!(found(Some(&marked), None), Some(3));
            for (kind, count, value) in [(3, 2, 6), (3, 1, 9), (3, 1, 0), (2, 1, 6)] {
                assert_eq!(found(Some(&exif(big_endian, kind, count, value)), None), None);
            }
            let whole = exif(big_endian, 3, 1, 6);
            (0..20).for_each(|keep| assert_eq!(found(Some(&whole[..keep]), None), None));
        }
        let xmp = b"<x tiff:Orientation=\"7\"/>".as_slice();
        assert_eq!(found(None, Some(xmp)), Some(7));
        assert_eq!(found(None, Some(b"<tiff:Orientation>2</tiff:Orientation>")), Some(2));
        assert_eq!(found(Some(&exif(false, 3, 1, 1)), Some(xmp)), None);
        assert_eq!(found(Some(&exif(false, 3, 1, 5)), Some(xmp)), Some(5));
    }

    #[test]
    fn pixels_are_turned() {
        // 1 2
        // 3 4
        // 5 6
        let gray = |levels: &[u8]| levels.iter().flat_map(|level| [*level; 3]).collect();
        let image = Image { width: 2, height: 3, rgb: gray(&[1, 2, 3, 4, 5, 6]) };
        for (number, width, levels) in [
            (2, 2, [2, 1, 4, 3, 6, 5]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (4, 2, [5, 6, 3, 4, 1, 2]),
            (5, 3, [1, 3, 5, 2, 4, 6]),
            (6, 3, [5, 3, 1, 6, 4, 2]),
            (7, 3, [6, 4, 2, 5, 3, 1]),
            (8, 3, [2, 4, 6, 1, 3, 5]),
        ] {
            let expected = Image { width, height: 6 / width, rgb: gray(&levels) };
            let orientation = Orientation::from_number(number).unwrap();
            assert_eq!(orientation.apply(&image), expected, "{number}");
        }
        assert!([0, 1, 9].into_iter().all(|number| Orientation::from_number(number).is_none()));
    }
}
