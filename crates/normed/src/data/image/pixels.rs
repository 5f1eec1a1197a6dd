//! An image in memory.

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

/// Changes whenever a decoder gives other pixels for the same file, so that nothing computed from the old ones is used.
pub const DECODERS_VERSION: &[u8] = b"image decoders 3\n";

/// RGB with three equal channels.
pub(super) fn gray(levels: impl Iterator<Item = u8>) -> Vec<u8> {
    levels.flat_map(|level| [level; 3]).collect()
}
