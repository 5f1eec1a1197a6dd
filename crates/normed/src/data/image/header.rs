//! What the header of an image says before its pixels are decoded.

use super::options::{ImageOptions, Window};

/// What the header of an image says before its pixels are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHeader {
    /// The name of the format, as in "JPEG".
    pub format: &'static str,
    /// Width of the decoded image in pixels.
    pub width: usize,
    /// Height of the decoded image in pixels.
    pub height: usize,
    /// Bits of a sample in the file.
    pub bits: u32,
    /// Whether the image is deeper than 8 bits and shown over the full range of its samples, not through a window.
    pub shows_full_range: bool,
    /// What the user should know about how the image is read.
    pub remarks: Vec<Remark>,
    /// What of the file is shown, and how: names and values for the user, such as `frame` and `5 of 12 (from 0)`.
    pub view: Vec<(&'static str, String)>,
    /// Bytes that are allocated at the same time while the image is decoded, at most: those of the file, where
    /// it is read as a whole, of the decoder and of the decoded image.
    pub decoding_bytes: u64,
}

/// What the user should know about an image: the object of "12 of 340 images have ...". Equal remarks are counted
/// together, so nothing in one depends on the image.
///
/// ```
/// use normed::data::Remark;
///
/// const EMPTY_WINDOW: Remark = Remark("a window of width 0; their full range is shown instead");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remark(pub &'static str);

/// A number from 0 among `n`, for [`ImageHeader::view`].
pub(super) fn of(i: usize, n: usize) -> String {
    format!("{i} of {n} (counted from 0)")
}

impl ImageHeader {
    /// A header without remarks. `file_bytes` are those of the file that are in memory during decoding,
    /// `decoder_bytes` are those that the decoder allocates besides the RGB image.
    pub(super) fn new(
        format: &'static str,
        [width, height]: [usize; 2],
        bits: u32,
        file_bytes: u64,
        decoder_bytes: u64,
    ) -> Self {
        let rgb_bytes = 3 * width as u64 * height as u64;
        let decoding_bytes = file_bytes.saturating_add(decoder_bytes).saturating_add(rgb_bytes);
        Self {
            format,
            width,
            height,
            bits,
            shows_full_range: false,
            remarks: Vec::new(),
            view: Vec::new(),
            decoding_bytes,
        }
    }

    /// The same header of an image whose samples have a range of their own: of more than 8 bits, it is shown over all
    /// of it unless `options` set a window.
    pub(super) fn with_range(mut self, options: &ImageOptions) -> Self {
        self.shows_full_range = self.bits > 8 && options.window == Window::Header;
        if self.bits > 8 {
            let window = match options.window {
                Window::Header => format!(
                    "0 to {}, the full range of its samples",
                    (1_u64 << self.bits.min(32)) - 1
                ),
                window => window.to_string(),
            };
            self.view.push(("window", window));
        }
        self
    }
}
