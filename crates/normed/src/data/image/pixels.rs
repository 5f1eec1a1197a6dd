//! An image in memory.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::{Error, Result};

/// A decoded image: RGB with 8 bits per channel.
///
/// ```
/// use normed::data::{Image, ImageOptions, Window};
///
/// // The lung window of a CT: Hounsfield units from -1350 to 150.
/// let lung = Window::At { center: -600.0, width: 1500.0 };
/// let options = ImageOptions { window: lung, ..ImageOptions::default() };
/// let image = Image::decode("tests/golden/medical/ct.dcm".as_ref(), &options)?;
/// assert_eq!(image.rgb.len(), 3 * image.width * image.height);
/// # Ok::<(), normed::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The channel values `[height, width, 3]`, row-major.
    pub rgb: Vec<u8>,
}

impl Image {
    /// The image as a PNG file.
    ///
    /// # Errors
    ///
    /// If the image cannot be encoded.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut png = Vec::new();
        let (width, height) = (self.width as u32, self.height as u32); // at most 16,384
        PngEncoder::new(&mut png)
            .write_image(&self.rgb, width, height, ExtendedColorType::Rgb8)
            .map_err(|error| Error::failed("the image", format!("cannot be encoded: {error}")))?;
        Ok(png)
    }
}

/// Changes whenever a decoder gives other pixels for the same file, so that nothing computed from the old ones is used.
pub const DECODERS_VERSION: &[u8] = b"image decoders 3\n";

/// RGB with three equal channels.
pub(super) fn gray(levels: impl Iterator<Item = u8>) -> Vec<u8> {
    levels.flat_map(|level| [level; 3]).collect()
}
