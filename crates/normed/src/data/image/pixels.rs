//! An image in memory.

/// A decoded picture, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Three equal channels.
pub(super) fn gray(levels: impl Iterator<Item = u8>) -> Vec<u8> {
    levels.flat_map(|level| [level; 3]).collect()
}
