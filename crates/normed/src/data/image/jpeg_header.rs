//! What a JPEG or JPEG-LS image says of itself before its first scan (ITU T.81 and T.87).

/// How the samples of a JPEG image are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JpegProcess {
    /// Sequential DCT with Huffman codes: baseline and extended.
    Sequential,
    Progressive,
    Lossless,
    /// JPEG-LS.
    Ls,
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
    /// Start of the first scan's header segment, at its length.
    pub scan: usize,
}

impl JpegHeader {
    /// Reads the segments before the first scan. The error is the cause alone.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err("it does not start as JPEG does".into());
        }
        let mut at = 2;
        let (mut frame, mut jfif, mut adobe_transform, mut restart_interval) =
            (None, false, None, 0);
        let scan = loop {
            let (marker, segment, next) = segment(bytes, at)?;
            match marker {
                0xda => break next,
                0xe0 => jfif |= segment.starts_with(b"JFIF"),
                0xee if segment.starts_with(b"Adobe") => {
                    adobe_transform = segment.get(11).copied().or(adobe_transform);
                }
                0xdd => {
                    restart_interval =
                        segment.iter().fold(0, |sum: u32, &byte| (sum << 8) | u32::from(byte));
                }
                // Tables, and an extension of JPEG that is not used, are no frames.
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf | 0xf7 if frame.is_none() => frame = Some(read_frame(marker, segment)?),
                0xd9 => return Err("it has no scan".into()),
                _ => {}
            }
            at = next;
        };
        let (process, precision, [height, width], components) =
            frame.ok_or("it has no frame header")?;
        Ok(Self {
            process,
            precision,
            width,
            height,
            components,
            jfif,
            adobe_transform,
            restart_interval,
            scan,
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

/// The marker at `at`, the segment after it without its length, and where the next one starts. Fill bytes
/// before a marker are skipped.
fn segment(bytes: &[u8], at: usize) -> Result<(u8, &[u8], usize), String> {
    const CUT: &str = "its header is cut short";
    let fill = bytes.get(at..).ok_or(CUT)?.iter().take_while(|&&byte| byte == 0xff).count();
    if fill == 0 {
        return Err("its header has no marker where one should be".into());
    }
    let marker = *bytes.get(at + fill).ok_or(CUT)?;
    let start = at + fill + 1;
    // Markers without a segment.
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return Ok((marker, &[], start));
    }
    let length = bytes.get(start..start + 2).ok_or(CUT)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let segment = bytes.get(start + 2..start + length).ok_or(CUT)?;
    // The scan's header is not skipped: see `JpegHeader::scan`.
    Ok((marker, segment, if marker == 0xda { start } else { start + length }))
}

type Frame = (JpegProcess, u8, [usize; 2], Vec<JpegComponent>);

/// Reads a frame header (T.81, B.2.2): process, precision, height and width, components.
fn read_frame(marker: u8, segment: &[u8]) -> Result<Frame, String> {
    let process = match marker {
        0xc0 | 0xc1 => JpegProcess::Sequential,
        0xc2 => JpegProcess::Progressive,
        0xc3 => JpegProcess::Lossless,
        0xf7 => JpegProcess::Ls,
        0xc9..=0xcb | 0xcd..=0xcf => return Err("it has arithmetic codes".into()),
        _ => return Err("it is hierarchical".into()),
    };
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
    Ok((process, precision, [side(a, b), side(c, d)], components.iter().map(component).collect()))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_markers_state_the_color_space() {
        use JpegColors::{Rgb, YCbCr};
        let plain = [[1, 0x11, 0], [2, 0x11, 0], [3, 0x11, 0]];
        let named = [[b'R', 0x11, 0], [b'G', 0x11, 0], [b'B', 0x11, 0]];
        let sampled = [[1, 0x21, 0], [2, 0x11, 0], [3, 0x11, 0]];
        let colors = |segments: &[&[u8]], components| {
            JpegHeader::read(&image(segments, components)).unwrap().colors()
        };
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
        let header = JpegHeader::read(&bytes).unwrap();
        assert_eq!((header.width, header.height, header.precision), (3, 2, 8));
        assert_eq!(header.components, [JpegComponent { id: 1, sampling: [2, 1] }]);
        assert_eq!((header.process, header.restart_interval), (JpegProcess::Sequential, 0x102));
        assert_eq!(bytes[header.scan..header.scan + 2], [0, 3]);
        for keep in 0..bytes.len() - 1 {
            assert!(keep + 3 >= bytes.len() || JpegHeader::read(&bytes[..keep]).is_err(), "{keep}");
        }
        let mut other = bytes;
        let at = other.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        other[at + 1] = 0xc9;
        assert_eq!(JpegHeader::read(&other).unwrap_err(), "it has arithmetic codes");
        other[at + 1] = 0xc5;
        assert_eq!(JpegHeader::read(&other).unwrap_err(), "it is hierarchical");
    }
}
