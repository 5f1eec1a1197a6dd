//! JPEG files: what their header says, and their pixels as libjpeg-turbo gives them.

use libjpeg_turbo_rs::precision::{Image12, decompress_12bit_with_limits};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

use super::header::ImageHeader;
use super::limits::{MAX_SIDE, check_size};
use super::options::ImageOptions;
use super::orientation::Orientation;
use super::pixels::Image;
use super::samples::{self, Channels};
use super::source::{self, Source, read_at};

/// How many bytes before the end of a file are searched for the end marker, before all of it is.
const TAIL: u64 = 64 << 10;

/// What a JPEG file says of itself before its first scan.
struct Head {
    /// The marker of the frame header, which names the process.
    process: u8,
    precision: u8,
    width: u16,
    height: u16,
    /// The sampling factors of each component, across and down.
    sampling: Vec<[u8; 2]>,
    orientation: Option<Orientation>,
    /// Where the first scan starts.
    scan: u64,
}

/// Reads the header of a JPEG file, and checks that [`decode`] supports it and that it is not cut short.
pub(super) fn check(
    source: &mut dyn Source,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let head = Head::read(source)?;
    let size = head.check()?;
    let length = source::length(source)?;
    let tail = length.saturating_sub(TAIL).max(head.scan);
    let ends = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == [0xff, 0xd9]);
    // Only a file with much behind its end is read as a whole.
    if !ends(&read_at(source, tail, (length - tail) as usize)?)
        && !is_whole(&read_at(source, 0, length as usize)?)
    {
        return Err(CUT.into());
    }
    if head.process == 0xc0 && head.pixels() > 256 * length {
        // Eight by eight samples take two bits at least.
        return Err("claims more pixels than its bytes can hold".into());
    }
    let bits = head.precision.into();
    let header = ImageHeader::new("JPEG", size, bits, length, head.decoder_bytes());
    Ok(Orientation::turn_header(head.orientation, options, header.with_range(options)))
}

/// Decodes a JPEG file.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let head = Head::read(&mut std::io::Cursor::new(bytes))?;
    let size = head.check()?;
    // The decoder fills the missing part of a file with gray, so that half a scan would pass for a whole one.
    if !is_whole(bytes) {
        return Err(CUT.into());
    }
    let image = match head.precision {
        12 => decode_12_bits(bytes, &head, size, options)?,
        _ => decode_8_bits(bytes)?,
    };
    Ok(Orientation::turn(head.orientation, options, image))
}

const CUT: &str = "cannot be decoded: the file is cut short, its end marker is missing. Copy or download it again";

fn limits() -> DecodeLimits {
    DecodeLimits {
        max_width: MAX_SIDE as usize,
        max_height: MAX_SIDE as usize,
        max_scans: 1000,
        ..DecodeLimits::default()
    }
}

fn decode_8_bits(bytes: &[u8]) -> Result<Image, String> {
    let failed = |error: libjpeg_turbo_rs::JpegError| format!("cannot be decoded: {error}");
    let mut decoder = Decoder::new_with_limits(bytes, limits()).map_err(failed)?;
    decoder.set_output_format(PixelFormat::Rgb);
    let decoded = decoder.decode_image().map_err(failed)?;
    Ok(Image { width: decoded.width, height: decoded.height, rgb: decoded.data })
}

fn decode_12_bits(
    bytes: &[u8],
    head: &Head,
    size: [usize; 2],
    options: &ImageOptions,
) -> Result<Image, String> {
    let decoded = decompress_12bit_with_limits(bytes, &limits());
    let Image12 { data, .. } = decoded.map_err(|error| format!("cannot be decoded: {error}"))?;
    let samples: Vec<u16> = data.into_iter().map(|sample| sample.clamp(0, 4095) as u16).collect();
    let channels = Channels { colors: head.sampling.len(), alpha: false };
    samples::from_deep(size, channels, &samples, 4095, options)
}

impl Head {
    /// Reads the segments before the first scan.
    fn read(source: &mut dyn Source) -> Result<Self, String> {
        let (mut frame, mut exif, mut xmp) = (None, Vec::new(), None);
        let mut at = 2;
        loop {
            let marker = read_at(source, at, 2)?;
            match marker[..] {
                // Fill bytes.
                [0xff, 0xff] => {
                    at += 1;
                    continue;
                }
                [0xff, 0x01 | 0xd0..=0xd7] => {
                    at += 2;
                    continue;
                }
                [0xff, 0xd8 | 0xd9 | 0x00] => return Err(broken("it has no scan")),
                [0xff, _] => {}
                [_, _] => return Err(broken("its header has no marker where one should be")),
                _ => return Err(CUT.into()),
            }
            let length = read_at(source, at + 2, 2)?;
            let &[high, low] = &length[..] else { return Err(CUT.into()) };
            let length = u64::from(u16::from_be_bytes([high, low])).max(2);
            let segment = |source: &mut dyn Source| read_at(source, at + 4, length as usize - 2);
            match marker[1] {
                0xda => break,
                0xe1 => {
                    let segment = segment(source)?;
                    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
                    if let Some(part) = segment.strip_prefix(b"Exif\0\0") {
                        exif.extend_from_slice(part);
                    } else if let Some(packet) = segment.strip_prefix(XMP) {
                        xmp = Some(packet.to_owned());
                    }
                }
                // Huffman tables, and tables of arithmetic codes, are no frames.
                0xc4 | 0xc8 | 0xcc => {}
                process @ 0xc0..=0xcf => frame = Some((process, segment(source)?)),
                _ => {}
            }
            at += 2 + length;
        }
        let (process, frame) = frame.ok_or_else(|| broken("it has no frame header"))?;
        let exif = (!exif.is_empty()).then_some(exif.as_slice());
        let orientation = Orientation::from_metadata(exif, xmp.as_deref());
        Self::from_frame(process, &frame, orientation, at)
    }

    /// Reads a frame header (ITU T.81, B.2.2).
    fn from_frame(
        process: u8,
        frame: &[u8],
        orientation: Option<Orientation>,
        scan: u64,
    ) -> Result<Self, String> {
        let cut = || broken("its frame header is cut short");
        let (&[precision, a, b, c, d, count], components) =
            frame.split_first_chunk().ok_or_else(cut)?;
        let (components, _) = components.as_chunks::<3>();
        let components = components.get(..count.into()).ok_or_else(cut)?;
        Ok(Self {
            process,
            precision,
            width: u16::from_be_bytes([c, d]),
            height: u16::from_be_bytes([a, b]),
            sampling: components
                .iter()
                .map(|[_, factors, _]| [factors >> 4, factors & 15])
                .collect(),
            orientation,
            scan,
        })
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Checks that the file can be decoded. Returns its width and height.
    fn check(&self) -> Result<[usize; 2], String> {
        let count = self.sampling.len();
        let unsupported = |what: &str| {
            Err(format!(
                "is a JPEG {what}, which is not supported. Convert it to PNG or baseline JPEG"
            ))
        };
        match self.process {
            0xc3 | 0xcb => return unsupported("without losses (SOF3)"),
            0xc0..=0xc2 | 0xc9 | 0xca => {}
            _ => return unsupported("of several frames (hierarchical)"),
        }
        match (self.precision, self.process, count) {
            (8, _, 1 | 3 | 4) | (12, 0xc1, 1 | 3) => {}
            (8, ..) => return unsupported(&format!("of {count} components")),
            (bits, ..) => return unsupported(&format!("of {count} components with {bits} bits")),
        }
        if self.sampling.iter().flatten().any(|factor| !(1..=4).contains(factor)) {
            return Err(broken("its sampling factors are not 1 to 4"));
        }
        let bytes_per_pixel = if self.precision == 12 { 6 } else { count.max(3) as u64 };
        check_size(self.width.into(), self.height.into(), bytes_per_pixel)
    }

    /// Bytes that the decoder allocates besides the RGB image, at most: planes of samples, and the coefficients
    /// of images of several scans.
    fn decoder_bytes(&self) -> u64 {
        let most = |axis: usize| {
            self.sampling.iter().map(|factors| u64::from(factors[axis])).max().unwrap_or(1)
        };
        let (across, down) = (most(0), most(1));
        let blocks = |side: u16, most: u64| u64::from(side).div_ceil(8 * most) * 8;
        let (columns, rows) = (blocks(self.width, across), blocks(self.height, down));
        let plane = |[h, v]: &[u8; 2]| columns * u64::from(*h) * rows * u64::from(*v);
        let samples: u64 = self.sampling.iter().map(plane).sum();
        match (self.precision, self.process) {
            (12, _) => 2 * (samples + 3 * self.sampling.len() as u64 * self.pixels()),
            // One scan, which is decoded at once; files of several scans hold all coefficients.
            (_, 0xc0 | 0xc1) if self.sampling.len() == 1 => samples,
            _ => 3 * samples,
        }
    }
}

fn broken(cause: &str) -> String {
    format!("cannot be decoded: {cause}")
}

/// Whether a JPEG file has its end-of-image marker.
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
