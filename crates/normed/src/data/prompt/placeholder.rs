//! What stands for an image in the text of a prompt.

/// The place of an image in a prompt's text.
pub(super) const IMAGE_TEXT: &str = "<image>";

/// LLaVA's tokens around an image, where config.json sets `mm_use_im_start_end`.
pub(super) const IM_START_END: [&str; 2] = ["<im_start>", "<im_end>"];
/// What stands for an image in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePlaceholder {
    /// The special token `<image>` with this id, as in transformers.
    Token(u32),
    /// Nothing: the texts before and after the image are tokenized separately, as in LLaVA.
    Between {
        /// Whether `<im_start>` and `<im_end>` surround the image, `mm_use_im_start_end`.
        start_end: bool,
    },
}
