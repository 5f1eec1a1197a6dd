//! Images in the rows of a file, which are read again whenever their pixels are needed.

use std::fmt;
use std::sync::Arc;

use super::picture::image_file;
use crate::data::content_hash::hash_of_file;
use crate::data::{Image, ImageOptions};
use crate::{Error, Result};

/// A column of images in a file.
pub(in crate::data) trait ImageStore: Send + Sync {
    /// The bytes or the text of an image: number `index` of those in row `row` that are not null, both counted from 0.
    fn read(&self, row: usize, index: usize) -> Result<Vec<u8>>;

    /// The file and the number of a row, counted from 1, for messages.
    fn place(&self, row: usize) -> String;
}

/// An image in a row of a parquet or Arrow file, which is read whenever its pixels are needed.
pub struct EmbeddedImage {
    store: Arc<dyn ImageStore>,
    row: usize,
    index: usize,
    hash: [u8; 32],
}

impl EmbeddedImage {
    pub(super) fn new(
        store: Arc<dyn ImageStore>,
        (row, index): (usize, usize),
        hash: [u8; 32],
    ) -> Self {
        Self { store, row, index, hash }
    }

    /// Its [`content_hash`](crate::data::ImageSource::content_hash) when the data set was opened.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Reads and decodes the image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, if the image cannot be decoded, or if it has changed since the data set was
    /// opened.
    pub fn decode(&self, options: &ImageOptions) -> Result<Image> {
        let invalid = |cause| Error::invalid(self.place(), cause);
        let value = self.store.read(self.row, self.index)?;
        let bytes = image_file(&value).map_err(invalid)?;
        if hash_of_file(&bytes) != self.hash {
            return Err(Error::failed(self.place(), "the file has changed since the run started")
                .with_remedy("start again, and do not write to the file during a run"));
        }
        Image::from_bytes(&bytes, options).map_err(invalid)
    }

    /// The file and the number of its row.
    pub(in crate::data) fn place(&self) -> String {
        self.store.place(self.row)
    }
}

impl fmt::Debug for EmbeddedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedImage({})", self.place())
    }
}

/// Images with the same content are equal, wherever they are.
impl PartialEq for EmbeddedImage {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}
