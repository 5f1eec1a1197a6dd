//! JPEG XL: files, and the codestreams that DICOM files hold as well.

use jxl_oxide::image::BitDepth;
use jxl_oxide::{
    AllocTracker, FrameBufferSample, InitializeResult, JxlImage, JxlThreadPool, PixelFormat,
};

use super::header::ImageHeader;
use super::limits::{MAX_DECODED_BYTES, check_length, check_size};
use super::options::ImageOptions;
use super::pixels::Image;
use super::samples::{self, Channels};

/// Reads the header of a JPEG XL file, and checks that [`decode`] supports it and that it is not cut short.
pub(super) fn check(bytes: &[u8], options: &ImageOptions) -> Result<ImageHeader, String> {
    let stream = open(bytes)?;
    check_length(stream.size, bytes.len() as u64)?;
    let bits = stream.depth().bits_per_sample();
    // The decoder works on planes of 32 bits, several at a time.
    let decoder_bytes = (16 * stream.size[0] * stream.size[1] * stream.channels.count()) as u64;
    let header = ImageHeader::new("JPEG XL", stream.size, bits, bytes.len() as u64, decoder_bytes);
    Ok(header.with_range(options))
}

/// Decodes a JPEG XL file; of an animation, the first frame. It is upright.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let stream = open(bytes)?;
    let Codestream { size, channels, .. } = stream;
    if stream.depth().bits_per_sample() <= 8 {
        let samples = stream.samples().map_err(cause_of)?;
        return Ok(samples::from_8_bits(size, channels, &samples));
    }
    let samples: Vec<u16> = stream.samples().map_err(cause_of)?;
    samples::from_deep(size, channels, &samples, u16::MAX, options)
}

/// What the decoder may allocate while a file is loaded, besides twice its length, in bytes.
const LOADING_BYTES: usize = 1 << 20;

/// An image whose header is read and which is not cut short; its size is not limited. Errors are the cause alone.
pub(super) struct Codestream {
    image: JxlImage,
    pub size: [usize; 2],
    pub channels: Channels,
}

impl Codestream {
    /// Opens a codestream, or one in the boxes of a file.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        const CUT: &str = "it is cut short";
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| error.to_string();
        // While the file is loaded, the decoder allocates what its table of contents says of it.
        let memory = AllocTracker::with_limit(LOADING_BYTES + 2 * bytes.len());
        let mut image = JxlImage::builder()
            .pool(JxlThreadPool::none())
            .alloc_tracker(memory.clone())
            .build_uninit();
        image.feed_bytes(bytes).map_err(failed)?;
        let InitializeResult::Initialized(mut image) = image.try_init().map_err(failed)? else {
            return Err(CUT.into());
        };
        image.finalize().map_err(failed)?;
        if !image.is_loading_done() {
            return Err(CUT.into());
        }
        memory.expand_limit(2 * MAX_DECODED_BYTES as usize);
        let channels = |colors, alpha| Channels { colors, alpha };
        let channels = match image.pixel_format() {
            PixelFormat::Gray => channels(1, false),
            PixelFormat::Graya => channels(1, true),
            PixelFormat::Rgb => channels(3, false),
            PixelFormat::Rgba => channels(3, true),
            PixelFormat::Cmyk | PixelFormat::Cmyka => {
                return Err("it has CMYK colors, which are not supported".into());
            }
        };
        let (width, height) = (image.width(), image.height());
        Ok(Self { image, size: [width as usize, height as usize], channels })
    }

    fn depth(&self) -> BitDepth {
        self.image.image_header().metadata.bit_depth
    }

    /// The bits of a sample, if samples are whole numbers of 1 to 16 bits.
    pub fn whole_number_bits(&self) -> Option<u16> {
        match self.depth() {
            BitDepth::IntegerSample { bits_per_sample: bits @ 1..=16 } => Some(bits as u16),
            _ => None,
        }
    }

    /// Whether decoding reverses a transform of colors, so that they are RGB.
    pub fn transforms_colors(&self) -> bool {
        let of_frame = self.image.frame_header(0).is_some_and(|frame| frame.do_ycbcr);
        of_frame || self.image.image_header().metadata.xyb_encoded
    }

    /// The samples of the first frame, those of a pixel adjacent, over the full range of their type: from 0 to 1 of
    /// `f32`.
    pub fn samples<T: FrameBufferSample + Clone>(&self) -> Result<Vec<T>, String> {
        let render = self.image.render_frame(0).map_err(|error| error.to_string())?;
        let mut stream = render.stream();
        if stream.channels() as usize != self.channels.count() {
            return Err("its channels are not those of its header".into());
        }
        let mut samples = vec![T::default(); self.size[0] * self.size[1] * self.channels.count()];
        stream.write_to_buffer(&mut samples);
        Ok(samples)
    }
}

/// Opens a file whose image is not too large.
fn open(bytes: &[u8]) -> Result<Codestream, String> {
    let stream = Codestream::open(bytes).map_err(cause_of)?;
    let [width, height] = stream.size.map(|side| side as u64);
    check_size(width, height, 4 * stream.channels.count() as u64)?;
    Ok(stream)
}

fn cause_of(cause: String) -> String {
    format!(
        "cannot be decoded as JPEG XL: {cause}. Copy or download it again, or convert it to PNG"
    )
}
