//! Opens a data set in tables.

use std::path::Path;
use std::sync::Arc;

use super::Table;
use super::files::{Format, find_files, missing_files_warning};
use super::rows::{ReadTables, RowReader};
use crate::Result;
use crate::data::OpenedDataset;
use crate::data::arrow::ArrowFile;
use crate::data::parquet::ParquetFile;

/// Opens the parquet and Arrow files in `root`, or the file `root`. The split of each file is in its name.
///
/// Rows are read, images are hashed and their headers checked. An image is read again from its file when it is
/// needed.
pub(in crate::data) fn open(root: &Path, how: ReadTables<'_>) -> Result<OpenedDataset> {
    let files = find_files(root)?;
    let mut rows = RowReader::new(root, how);
    for file in &files {
        let table: Arc<dyn Table> = match file.format {
            Format::Parquet => Arc::new(ParquetFile::open(&file.path)?),
            Format::Arrow => Arc::new(ArrowFile::open(&file.path)?),
        };
        rows.read(file.split, &table)?;
    }
    rows.finish(missing_files_warning(&files))
}
