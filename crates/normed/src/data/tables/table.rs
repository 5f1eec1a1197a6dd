//! What the readers of parquet and Arrow files provide.

use std::path::Path;
use std::sync::Arc;

use super::{Cell, ImageStore};
use crate::Result;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct Column {
    pub name: String,
    /// Its type in words, as in `a text` or `a list of structs`.
    pub kind: String,
    /// Whether its values are texts, numbers, or true and false.
    pub is_plain: bool,
}

/// A file of rows. Its header is read and checked.
pub(in crate::data) trait Table: Send + Sync {
    /// The file.
    fn path(&self) -> &Path;

    /// The columns, in the file's order.
    fn columns(&self) -> Vec<Column>;

    /// The text that the file's metadata has under `key`.
    fn metadata(&self, key: &str) -> Option<&str>;

    /// Calls `take` with the number of each row, counted from 0, and its values in `columns`, by their numbers.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is damaged.
    fn for_each_row(&self, columns: &[usize], take: &mut dyn FnMut(usize, Vec<Cell>))
    -> Result<()>;

    /// The images in a column, by its number.
    fn images(self: Arc<Self>, column: usize) -> Arc<dyn ImageStore>;
}
