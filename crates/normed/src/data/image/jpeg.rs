//! JPEG files: what their header says, and their pixels as libjpeg-turbo gives them.

use std::io::Cursor;

use libjpeg_turbo_rs::precision::{Image12, decompress_12bit_with_limits};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

use super::header::ImageHeader;
use super::jpeg_header::{JpegComponent, JpegHeader, JpegProcess, has_end};
use super::limits::{MAX_SIDE, check_length, check_size};
use super::options::ImageOptions;
use super::orientation::Orientation;
use super::pixels::Image;
use super::samples::{self, Channels};
use super::source::{self, Source, read_at};

/// How many bytes before the end of a file are searched for the end marker, before all of it is.
const TAIL: u64 = 64 << 10;

/// Reads the header of a JPEG file, and checks that [`decode`] supports it and that it is not cut short.
pub(super) fn check(
    source: &mut dyn Source,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let header = read_header(source)?;
    let length = source::length(source)?;
    let size = check_kind(&header, length)?;
    let tail = length.saturating_sub(TAIL).max(header.scan as u64);
    let ends = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == [0xff, 0xd9]);
    // Only a file with much behind its end is read as a whole.
    if !ends(&read_at(source, tail, (length - tail) as usize)?)
        && !has_end(&read_at(source, 0, length as usize)?)
    {
        return Err(broken(CUT));
    }
    let bits = header.precision.into();
    let image = ImageHeader::new("JPEG", size, bits, length, decoder_bytes(&header));
    Ok(Orientation::turn_header(header.orientation, options, image.with_range(options)))
}

/// Decodes a JPEG file.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let (header, size) = check_bytes(bytes)?;
    // The decoder fills the missing part of a file with gray, so that half a scan would pass for a whole one.
    if !has_end(bytes) {
        return Err(broken(CUT));
    }
    let image = match header.precision {
        12 => decode_12_bits(bytes, header.components.len(), size, options)?,
        _ => decode_8_bits(bytes)?,
    };
    Ok(Orientation::turn(header.orientation, options, image))
}

/// Reads the header of a file in memory, and checks that it can be decoded. Returns its width and height, too.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(JpegHeader, [usize; 2]), String> {
    let header = read_header(&mut Cursor::new(bytes))?;
    let size = check_kind(&header, bytes.len() as u64)?;
    Ok((header, size))
}

const CUT: &str = "the file is cut short, its end marker is missing";

/// What the decoder may be asked for.
pub(super) fn limits() -> DecodeLimits {
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
    colors: usize,
    size: [usize; 2],
    options: &ImageOptions,
) -> Result<Image, String> {
    let decoded = decompress_12bit_with_limits(bytes, &limits());
    let Image12 { data, .. } = decoded.map_err(|error| format!("cannot be decoded: {error}"))?;
    let samples: Vec<u16> = data.into_iter().map(|sample| sample.clamp(0, 4095) as u16).collect();
    let channels = Channels { colors, alpha: false };
    samples::from_deep(size, channels, &samples, 4095, options)
}

/// Reads the header of a file.
fn read_header(source: &mut dyn Source) -> Result<JpegHeader, String> {
    JpegHeader::read(source).map_err(|cause| broken(&cause))
}

/// Checks that a file of this header and length can be decoded. Returns its width and height.
fn check_kind(header: &JpegHeader, length: u64) -> Result<[usize; 2], String> {
    use JpegProcess::{
        Hierarchical, Lossless, LosslessArithmetic, Ls, Progressive, ProgressiveArithmetic,
        Sequential, SequentialArithmetic,
    };
    let count = header.components.len();
    let unsupported = |what: &str| {
        Err(format!("is a JPEG {what}, which is not supported. Convert it to PNG or baseline JPEG"))
    };
    match header.process {
        Lossless | LosslessArithmetic => return unsupported("without losses (SOF3)"),
        Hierarchical => return unsupported("of several frames (hierarchical)"),
        Ls => return unsupported("of the kind JPEG-LS"),
        Sequential | Progressive | SequentialArithmetic | ProgressiveArithmetic => {}
    }
    match (header.precision, header.process, count) {
        (8, _, 1 | 3 | 4) | (12, Sequential, 1 | 3) => {}
        (8, ..) => return unsupported(&format!("of {count} components")),
        (bits, ..) => return unsupported(&format!("of {count} components with {bits} bits")),
    }
    // The decoder takes the second and the third component, and the first and the fourth, to be equally large.
    if let [a, b, c, d] = &header.components[..]
        && (a.sampling != d.sampling || b.sampling != c.sampling)
    {
        return unsupported("with CMYK components of different sizes");
    }
    if header.components.iter().flat_map(|c| c.sampling).any(|factor| !(1..=4).contains(&factor)) {
        return Err(broken("its sampling factors are not 1 to 4"));
    }
    let bytes_per_pixel = if header.precision == 12 { 6 } else { count.max(3) as u64 };
    let size = check_size(header.width as u64, header.height as u64, bytes_per_pixel)?;
    let pixels = (header.width * header.height) as u64;
    // Huffman codes take two bits at least for eight by eight samples of a sequential file.
    if header.process == Sequential && pixels > 256 * length {
        return Err(broken("it claims more pixels than its bytes can hold"));
    }
    check_length(size, length)?;
    Ok(size)
}

/// Bytes that the decoder allocates besides the RGB image, at most: planes of samples, and the coefficients
/// of images of several scans.
fn decoder_bytes(header: &JpegHeader) -> u64 {
    let components = || header.components.iter();
    let most = |axis: usize| components().map(|c| u64::from(c.sampling[axis])).max().unwrap_or(1);
    let (across, down) = (most(0), most(1));
    let blocks = |side: usize, most: u64| (side as u64).div_ceil(8 * most) * 8;
    let (columns, rows) = (blocks(header.width, across), blocks(header.height, down));
    let plane = |c: &JpegComponent| {
        let [h, v] = c.sampling.map(u64::from);
        columns * h * rows * v
    };
    let samples: u64 = components().map(plane).sum();
    let count = header.components.len() as u64;
    match (header.precision, header.process) {
        (12, _) => 2 * (samples + 3 * count * (header.width * header.height) as u64),
        // One scan, which is decoded at once; files of several scans hold all coefficients.
        (_, JpegProcess::Sequential) if count == 1 => samples,
        _ => 3 * samples,
    }
}

fn broken(cause: &str) -> String {
    format!("cannot be decoded: {cause}. Copy or download it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_of_many_pixels_is_refused_before_it_is_decoded() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/image_files/progressive.jpg");
        let file = std::fs::read(path).unwrap();
        let frame = file.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
        // The markers of sequential and progressive images with Huffman and with arithmetic codes.
        for process in [0xc0, 0xc2, 0xc9, 0xca] {
            let mut claim = file.clone();
            claim[frame + 1] = process;
            assert!(check(&mut Cursor::new(&claim), &ImageOptions::default()).is_ok());
            // Height and width.
            claim[frame + 5..frame + 9].copy_from_slice(&[0x2f, 0, 0x2f, 0]);
            let cause = decode(&claim, &ImageOptions::default()).unwrap_err();
            assert!(cause.contains("claims"), "{process:x}: {cause}");
            let checked = check(&mut Cursor::new(&claim), &ImageOptions::default());
            assert_eq!(checked.unwrap_err(), cause);
        }
    }
}
