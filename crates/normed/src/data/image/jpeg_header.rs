//! What a JPEG or JPEG-LS image says of itself before its first scan (ITU T.81 and T.87), and whether it has an end.

use super::orientation::Orientation;
use super::source::{Source, read_at};

/// How the samples of a JPEG image are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JpegProcess {
    /// Sequential DCT with Huffman codes: baseline and extended.
    Sequential,
    Progressive,
    Lossless,
    /// Sequential DCT with arithmetic codes.
    SequentialArithmetic,
    ProgressiveArithmetic,
    LosslessArithmetic,
    /// Several frames of one image.
    Hierarchical,
    /// JPEG-LS.
    Ls,
}

impl JpegProcess {
    /// The process that the marker of a frame header names (T.81, table B.1).
    fn from_marker(marker: u8) -> Self {
        match marker {
            0xc0 | 0xc1 => Self::Sequential,
            0xc2 => Self::Progressive,
            0xc3 => Self::Lossless,
            0xc9 => Self::SequentialArithmetic,
            0xca => Self::ProgressiveArithmetic,
            0xcb => Self::LosslessArithmetic,
            0xf7 => Self::Ls,
            _ => Self::Hierarchical,
        }
    }
}

/// One component of an image, such as Cb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JpegComponent {
    pub id: u8,
    /// How many samples there are for each of the coarsest component's, across and down.
    pub sampling: [u8; 2],
}

/// The color space of an image of three components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JpegColors {
    Rgb,
    YCbCr,
}

/// The header of a JPEG or JPEG-LS image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JpegHeader {
    pub process: JpegProcess,
    /// Bits of a sample.
    pub precision: u8,
    pub width: usize,
    pub height: usize,
    pub components: Vec<JpegComponent>,
    /// Whether there is a JFIF marker.
    pub jfif: bool,
    /// The transform in the Adobe marker, if there is one.
    pub adobe_transform: Option<u8>,
    /// The samples (JPEG-LS: lines) between restart markers; 0 if there are none.
    pub restart_interval: u32,
    /// The orientation in the EXIF or XMP metadata.
    pub orientation: Option<Orientation>,
    /// Start of the first scan's header segment, at its length.
    pub scan: usize,
}

impl JpegHeader {
    /// Reads the segments before the first scan. The error is the cause alone.
    pub fn read(source: &mut dyn Source) -> Result<Self, String> {
        if read_at(source, 0, 2)? != [0xff, 0xd8] {
            return Err("it does not start as JPEG does".into());
        }
        let mut at = 2;
        let (mut frame, mut jfif, mut adobe_transform, mut restart_interval) =
            (None, false, None, 0);
        let (mut exif, mut xmp) = (Vec::new(), None);
        let scan = loop {
            let Marker { code, start, next } = Marker::read(source, at)?;
            let mut segment = || read_at(source, start + 2, (next - start) as usize - 2);
            match code {
                0xda => break start,
                0xe0 => jfif |= segment()?.starts_with(b"JFIF"),
                0xe1 => {
                    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
                    let segment = segment()?;
                    if let Some(part) = segment.strip_prefix(b"Exif\0\0") {
                        exif.extend_from_slice(part);
                    } else if let Some(packet) = segment.strip_prefix(XMP) {
                        xmp = Some(packet.to_owned());
                    }
                }
                0xee => {
                    let segment = segment()?;
                    let transform = segment.get(11).filter(|_| segment.starts_with(b"Adobe"));
                    adobe_transform = transform.copied().or(adobe_transform);
                }
                0xdd => {
                    restart_interval =
                        segment()?.iter().fold(0, |sum: u32, &byte| (sum << 8) | u32::from(byte));
                }
                // Tables, and an extension of JPEG that is not used, are no frames.
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf | 0xf7 if frame.is_none() => frame = Some((code, segment()?)),
                0xd8 | 0xd9 => return Err("it has no scan".into()),
                _ => {}
            }
            at = next;
        };
        let (marker, frame) = frame.ok_or("it has no frame header")?;
        let (precision, [height, width], components) = read_frame(&frame)?;
        let exif = (!exif.is_empty()).then_some(exif.as_slice());
        Ok(Self {
            process: JpegProcess::from_marker(marker),
            precision,
            width,
            height,
            components,
            jfif,
            adobe_transform,
            restart_interval,
            orientation: Orientation::from_metadata(exif, xmp.as_deref()),
            scan: scan as usize,
        })
    }

    /// The color space that the image's own markers state, if they do: of three components with the names
    /// R, G and B it is RGB; a JFIF marker means YCbCr; an Adobe marker says which. Colors that are stored at a
    /// lower resolution than brightness are not RGB.
    pub fn colors(&self) -> Option<JpegColors> {
        let ids: Vec<_> = self.components.iter().map(|component| component.id).collect();
        let is_sampled = self.components.iter().any(|c| c.sampling != self.components[0].sampling);
        match self.adobe_transform {
            _ if ids.len() != 3 => None,
            _ if ids.eq_ignore_ascii_case(b"RGB") => Some(JpegColors::Rgb),
            _ if self.jfif => Some(JpegColors::YCbCr),
            Some(0) if !is_sampled => Some(JpegColors::Rgb),
            Some(1) => Some(JpegColors::YCbCr),
            _ if is_sampled => Some(JpegColors::YCbCr),
            _ => None,
        }
    }
}

/// A marker in a header.
struct Marker {
    code: u8,
    /// Where its segment starts, at its length.
    start: u64,
    /// Where the next marker starts.
    next: u64,
}

impl Marker {
    /// Reads the marker at `at`, before which there may be fill bytes.
    fn read(source: &mut dyn Source, mut at: u64) -> Result<Self, String> {
        const CUT: &str = "its header is cut short";
        let code = loop {
            match read_at(source, at, 2)?[..] {
                // A fill byte.
                [0xff, 0xff] => at += 1,
                [0xff, code] => break code,
                [0xff] | [] => return Err(CUT.into()),
                _ => return Err("its header has no marker where one should be".into()),
            }
        };
        let start = at + 2;
        // Markers without a segment.
        if matches!(code, 0x01 | 0xd0..=0xd9) {
            return Ok(Self { code, start, next: start });
        }
        let &[high, low] = &read_at(source, start, 2)?[..] else { return Err(CUT.into()) };
        let next = start + u64::from(u16::from_be_bytes([high, low])).max(2);
        // The last byte of the segment tells whether all are there.
        match read_at(source, next - 1, 1)?.is_empty() {
            true => Err(CUT.into()),
            false => Ok(Self { code, start, next }),
        }
    }
}

type Frame = (u8, [usize; 2], Vec<JpegComponent>);

/// Reads a frame header (T.81, B.2.2): precision, height and width, components.
fn read_frame(segment: &[u8]) -> Result<Frame, String> {
    let cut = || "its frame header is cut short".to_owned();
    let (&[precision, a, b, c, d, count], components) =
        segment.split_first_chunk().ok_or_else(cut)?;
    let (components, _) = components.as_chunks::<3>();
    let components = components.get(..count.into()).filter(|c| !c.is_empty()).ok_or_else(cut)?;
    let component = |&[id, sampling, _]: &[u8; 3]| JpegComponent {
        id,
        sampling: [sampling >> 4, sampling & 15],
    };
    let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
    Ok((precision, [side(a, b), side(c, d)], components.iter().map(component).collect()))
}

/// Whether a JPEG file has its end-of-image marker.
///
/// Segments are skipped by their lengths, since a thumbnail in one has an end marker of its own. Within the
/// data of a scan, 0xFF before 0x00 or a restart marker (0xD0 to 0xD7) is no segment (ITU T.81,
/// B.1.1).
pub(super) fn has_end(bytes: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An image of 3 x 2 pixels with these segments before its frame header, and these components.
    fn image(segments: &[&[u8]], components: &[[u8; 3]]) -> Vec<u8> {
        let count = components.len() as u8;
        let mut bytes = [b"\xff\xd8", segments.concat().as_slice()].concat();
        bytes.extend([0xff, 0xc0, 0, 8 + 3 * count, 8, 0, 2, 0, 3, count]);
        bytes.extend(components.as_flattened());
        bytes.extend(b"\xff\xda\0\x03\0");
        bytes
    }

    const JFIF: &[u8] = b"\xff\xe0\0\x07JFIF\0";

    fn adobe(transform: u8) -> Vec<u8> {
        [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0", [transform].as_slice()].concat()
    }

    fn read(bytes: &[u8]) -> Result<JpegHeader, String> {
        JpegHeader::read(&mut Cursor::new(bytes))
    }

    #[test]
    fn the_markers_state_the_color_space() {
        use JpegColors::{Rgb, YCbCr};
        let plain = [[1, 0x11, 0], [2, 0x11, 0], [3, 0x11, 0]];
        let named = [[b'R', 0x11, 0], [b'G', 0x11, 0], [b'B', 0x11, 0]];
        let sampled = [[1, 0x21, 0], [2, 0x11, 0], [3, 0x11, 0]];
        let colors =
            |segments: &[&[u8]], components| read(&image(segments, components)).unwrap().colors();
        assert_eq!(colors(&[], &plain), None);
        assert_eq!(colors(&[JFIF], &plain), Some(YCbCr));
        assert_eq!(colors(&[&adobe(1)], &plain), Some(YCbCr));
        assert_eq!(colors(&[&adobe(0)], &plain), Some(Rgb));
        assert_eq!(colors(&[&adobe(2)], &plain), None);
        assert_eq!(colors(&[JFIF, &adobe(0)], &plain), Some(YCbCr));
        assert_eq!(colors(&[], &named), Some(Rgb));
        assert_eq!(colors(&[JFIF], &named), Some(Rgb));
        assert_eq!(colors(&[], &sampled), Some(YCbCr));
        assert_eq!(colors(&[JFIF], &[[1, 0x11, 0]]), None);
    }

    #[test]
    fn headers_are_read() {
        let bytes = image(&[JFIF, b"\xff\xdd\0\x04\x01\x02", b"\xff"], &[[1, 0x21, 0]]);
        let header = read(&bytes).unwrap();
        assert_eq!((header.width, header.height, header.precision), (3, 2, 8));
        assert_eq!(header.components, [JpegComponent { id: 1, sampling: [2, 1] }]);
        assert_eq!((header.process, header.restart_interval), (JpegProcess::Sequential, 0x102));
        assert_eq!(bytes[header.scan..header.scan + 2], [0, 3]);
        for keep in 0..bytes.len() - 1 {
            assert!(keep + 3 >= bytes.len() || read(&bytes[..keep]).is_err(), "{keep}");
        }
        let mut other = bytes;
        let at = other.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        for (marker, process) in [
            (0xc2, JpegProcess::Progressive),
            (0xc9, JpegProcess::SequentialArithmetic),
            (0xc5, JpegProcess::Hierarchical),
        ] {
            other[at + 1] = marker;
            assert_eq!(read(&other).unwrap().process, process);
        }
        // A second start, an end, or nothing where a marker should be.
        for (found, cause) in [
            (b"\xff\xd8".as_slice(), "it has no scan"),
            (b"\xff\xd9", "it has no scan"),
            (b"\0\0", "no marker where one should be"),
        ] {
            let error = read(&[b"\xff\xd8", found].concat()).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }
}
