//! Data sets as the Hugging Face hub has them: parquet files with the pictures inside.
//!
//! A row has `question`, `answer` and `image`, a struct of `bytes` and `path` or the bytes alone; and,
//! if given, `answer_type` and `group`. This is how flaviagiammarino/vqa-rad,
//! flaviagiammarino/path-vqa and mdwiratathya/SLAKE-vqa-english are published; none of the three has
//! answer types.
//!
//! A picture is called by its content. The files repeat it in every row that asks about it, and only
//! so do splits and intervals know that it is one picture.

mod page;
mod rows;
mod shard;

pub(super) use rows::open;
pub use shard::ParquetImage;
