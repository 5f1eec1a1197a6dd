//! Images in a column of a parquet file, read one at a time.

use std::sync::{Arc, Mutex, PoisonError};

use super::file::ParquetFile;
use super::leaf::Leaf;
use crate::data::tables::ImageStore;
use crate::{Error, Result};

/// A column of images.
///
/// A row is found by skipping to its page, of those before which only the headers are read. The page that was read
/// last stays in memory, so that rows in order cost one page each time one begins.
pub(super) struct ImageColumn {
    file: Arc<ParquetFile>,
    /// The column of values that holds the images' bytes or texts, if it has any.
    leaf: Option<usize>,
    position: Mutex<Option<Position>>,
}

/// Where the column was read last.
struct Position {
    group: usize,
    /// The row of the group whose values were read last.
    row: usize,
    leaf: Leaf,
}

impl ImageColumn {
    pub fn new(file: Arc<ParquetFile>, leaf: Option<usize>) -> Self {
        Self { file, leaf, position: Mutex::new(None) }
    }

    /// The position after the values of `row` in `group` were read, from where the column was read last if that
    /// is before.
    fn go_to(
        &self,
        last: Option<Position>,
        leaf: usize,
        group: usize,
        row: usize,
    ) -> Result<Position> {
        let broken = |cause| self.file.broken(group, self.file.columns.leaf_name(leaf), cause);
        let (mut position, skip) = match last {
            Some(last) if last.group == group && last.row == row => return Ok(last),
            Some(last) if last.group == group && last.row < row => {
                let skip = row - last.row - 1;
                (last, skip)
            }
            _ => {
                let leaf = self.file.leaf(&self.file.source()?, group, leaf)?;
                (Position { group, row, leaf }, row)
            }
        };
        position.leaf.skip(skip).and_then(|()| position.leaf.read(1)).map_err(broken)?;
        position.row = row;
        Ok(position)
    }
}

impl ImageStore for ImageColumn {
    fn read(&self, row: usize, index: usize) -> Result<Vec<u8>> {
        let gone = || Error::failed(self.place(row), "the file has fewer images than before");
        let leaf = self.leaf.ok_or_else(gone)?;
        let (group, row_of_group) = self.file.find_row(row).ok_or_else(gone)?;
        // One page is in memory at a time, however many threads read. After a panic, the column is read anew.
        let mut last = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.go_to(last.take(), leaf, group, row_of_group)?;
        let position = last.insert(position);
        position.leaf.bytes(index).map(<[u8]>::to_vec).ok_or_else(gone)
    }

    fn place(&self, row: usize) -> String {
        format!("{}: row {}", self.file.path.display(), row + 1)
    }
}
