//! How large a decoded image may be.

/// The longest side that is decoded, in pixels: beyond it a small file could fill the memory.
pub(super) const MAX_SIDE: u32 = 16_384;
/// The most memory that a decoder may take, in bytes.
pub(super) const MAX_DECODED_BYTES: u64 = 512 << 20;
