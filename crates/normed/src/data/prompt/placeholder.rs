//! What stands for an image in the text of a prompt.

/// The place of an image in a prompt's text.
pub(super) const IMAGE_TEXT: &str = "<image>";

/// LLaVA's tokens around the picture, where config.json's `mm_use_im_start_end` is set.
pub(super) const IM_START_END: [&str; 2] = ["<im_start>", "<im_end>"];
/// How the picture stands in the text that is tokenised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePlaceholder {
    /// As in transformers: the special token `<image>`, whose id config.json has, in one text.
    Token(u32),
    /// As in LLaVA: the text before the picture is tokenised apart from that behind it.
    Between {
        /// Whether `<im_start>` and `<im_end>` stand around the picture, `mm_use_im_start_end`.
        start_end: bool,
    },
}
