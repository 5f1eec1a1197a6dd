//! The options for reading a data set, and an opened data set.

use std::sync::Arc;

use super::{Dataset, ImageOptions, OnBadExample};

/// Options for reading the rows of a data set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadOptions {
    pub on_bad_example: OnBadExample,
    pub answers: Answers,
    /// How DICOM files and NIfTI volumes become images.
    pub image: ImageOptions,
}

/// Whether every row needs an answer, or a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answers {
    /// To train and to score: a row without one is broken.
    #[default]
    Required,
    /// To ask: an answer that is there is read.
    Optional,
}

/// An opened data set.
pub struct OpenedDataset {
    /// All examples; [`Example::split`](super::Example::split) is the split of each.
    pub dataset: Arc<dyn Dataset>,
    /// The rows that were skipped: file, line and cause of each.
    pub skipped: Vec<String>,
    /// Warnings about the data for the user.
    pub warnings: Vec<String>,
    /// Bytes that decoding takes at most, for all images that are decoded at the same time. 0 if images are drawn.
    pub decoding_bytes: u64,
}
