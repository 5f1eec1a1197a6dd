//! How large a decoded image may be.

/// Maximum length of a side, in pixels: a small file could claim more and fill the memory.
pub(super) const MAX_SIDE: u32 = 16_384;
/// Maximum memory of a decoder, in bytes.
pub(super) const MAX_DECODED_BYTES: u64 = 512 << 20;
