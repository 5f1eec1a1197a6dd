//! How the rows of a data set are read, and the data set that comes of it.

use std::sync::Arc;

use super::{Dataset, ImageOptions, OnBadExample};

/// How the rows of a data set are read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadOptions {
    pub on_bad_example: OnBadExample,
    /// How pictures are looked at.
    pub image: ImageOptions,
}

/// A data set, opened.
pub struct OpenedDataset {
    /// All its examples; [`Example::split`] says which part each belongs to.
    pub dataset: Arc<dyn Dataset>,
    /// Rows that were left out: file, line and cause.
    pub skipped: Vec<String>,
    /// What a user should know about this data.
    pub warnings: Vec<String>,
}
