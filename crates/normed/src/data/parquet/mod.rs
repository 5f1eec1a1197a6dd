//! Data sets in parquet files that contain the images, as on the Hugging Face hub.
//!
//! A row has `question`, `answer` and `image` (a struct of `bytes` and `path`, or the bytes alone), and optionally
//! `answer_type` and `group`. flaviagiammarino/vqa-rad, flaviagiammarino/path-vqa and
//! mdwiratathya/SLAKE-vqa-english are published so; none of the three has answer types.
//!
//! The name of an image is the hash of its content: the files repeat an image in every row that asks about it, and
//! splits and confidence intervals must know that it is one image.

mod page;
mod rows;
mod shard;

pub(super) use rows::open;
pub use shard::ParquetImage;
