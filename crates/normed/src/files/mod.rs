//! Files on disk: read within a limit, written whole or not at all.
//!
//! Nothing here knows what a file means. Every floor above reads small files through
//! [`read_bounded`] and its relatives, so that no file can fill the memory, and writes through
//! [`write_atomically`], so that no file is ever half written. [`Inputs`] is the rule for what may be
//! overwritten.

mod destination;
mod directory;
mod hash;
mod hex;
mod output;
mod read;
mod relative_path;
mod stamp;
mod write;

pub use destination::{is_standard_output, is_stream, open_descriptor};
pub use directory::{NewDirectory, create_private_directory};
pub use hash::hash_file;
pub use hex::hex;
pub use output::Inputs;
pub use read::{
    CONFIG_LIMIT, IMAGE_LIMIT, TABLE_LIMIT, TOKENIZER_LIMIT, open_regular, read_bounded, read_json,
    read_once, read_text, read_text_once,
};
pub use relative_path::relative_path;
pub use stamp::FileStamp;
pub use write::{TEMPORARY_PREFIX, write_atomically};
