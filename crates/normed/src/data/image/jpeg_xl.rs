//! JPEG XL files.

use jxl_oxide::{AllocTracker, InitializeResult, JxlImage, JxlThreadPool, PixelFormat};

use super::header::ImageHeader;
use super::limits::{MAX_DECODED_BYTES, check_size};
use super::options::ImageOptions;
use super::pixels::Image;
use super::samples::{self, Channels};

/// Reads the header of a JPEG XL file, and checks that [`decode`] supports it and that it is not cut short.
pub(super) fn check(bytes: &[u8], options: &ImageOptions) -> Result<ImageHeader, String> {
    let image = open(bytes)?;
    let (size, channels, bits) = shape(&image)?;
    // The decoder works on planes of 32 bits, several at a time.
    let decoder_bytes = (size[0] * size[1] * channels.count() * 16) as u64;
    Ok(ImageHeader::new("JPEG XL", size, bits, bytes.len() as u64, decoder_bytes)
        .with_range(options))
}

/// Decodes a JPEG XL file; of an animation, the first frame. It is upright.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let image = open(bytes)?;
    let (size, channels, bits) = shape(&image)?;
    let render = image.render_frame(0).map_err(cause_of)?;
    let mut stream = render.stream();
    let count = size[0] * size[1] * channels.count();
    if stream.channels() as usize != channels.count() {
        return Err(cause_of("its channels are not those of its header"));
    }
    if bits <= 8 {
        let mut values = vec![0_u8; count];
        stream.write_to_buffer(&mut values);
        return Ok(samples::from_8_bits(size, channels, &values));
    }
    let mut values = vec![0_u16; count];
    stream.write_to_buffer(&mut values);
    samples::from_deep(size, channels, &values, u16::MAX, options)
}

fn open(bytes: &[u8]) -> Result<JxlImage, String> {
    let mut image = JxlImage::builder()
        .pool(JxlThreadPool::none())
        .alloc_tracker(AllocTracker::with_limit(2 * MAX_DECODED_BYTES as usize))
        .build_uninit();
    image.feed_bytes(bytes).map_err(cause_of)?;
    let InitializeResult::Initialized(mut image) = image.try_init().map_err(cause_of)? else {
        return Err(CUT.into());
    };
    image.finalize().map_err(cause_of)?;
    match image.is_loading_done() {
        true => Ok(image),
        false => Err(CUT.into()),
    }
}

const CUT: &str = "cannot be decoded: the file is cut short. Copy or download it again";

/// The size, the channels and the bits of a sample.
fn shape(image: &JxlImage) -> Result<([usize; 2], Channels, u32), String> {
    let channels = |colors, alpha| Channels { colors, alpha };
    let channels = match image.pixel_format() {
        PixelFormat::Gray => channels(1, false),
        PixelFormat::Graya => channels(1, true),
        PixelFormat::Rgb => channels(3, false),
        PixelFormat::Rgba => channels(3, true),
        PixelFormat::Cmyk | PixelFormat::Cmyka => {
            return Err(
                "is JPEG XL with CMYK colors, which is not supported. Convert it to PNG".into()
            );
        }
    };
    let bits = image.image_header().metadata.bit_depth.bits_per_sample();
    let (width, height) = (image.width(), image.height());
    let size = check_size(width.into(), height.into(), 4 * channels.count() as u64)?;
    Ok((size, channels, bits))
}

fn cause_of(error: impl std::fmt::Display) -> String {
    format!("cannot be decoded: {error}. Convert it to PNG")
}
