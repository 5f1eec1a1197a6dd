//! Examples, and how they become batches. Host data only: nothing here knows of a model.

mod batch;
mod example;
mod image;

pub use batch::{Batch, IGNORE, TextRule, TokenRows};
pub use example::{AnswerType, Dataset, Example, ImageSource, Split};
pub use image::Picture;
