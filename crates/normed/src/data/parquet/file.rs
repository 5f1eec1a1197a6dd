//! One parquet file: its footer, checked, and its rows.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::decompress;
use super::leaf::Leaf;
use super::pages::CheckedPages;
use super::schema::Node;
use crate::data::panics;
use crate::data::tables::{budget_of, describe_foreign, max_rows_of};
use crate::files::open_regular;
use crate::{Error, Result};

/// A parquet file, whose footer is read and checked.
pub(in crate::data) struct ParquetFile {
    pub(super) path: PathBuf,
    pub(super) metadata: ParquetMetaData,
    pub(super) columns: Vec<Node>,
    /// How many bytes of text and data its rows may have.
    pub(super) budget: usize,
}

impl ParquetFile {
    /// Opens a file and checks its footer.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no parquet file, is encrypted, or if its footer says more than the file can hold.
    pub fn open(path: &Path) -> Result<Self> {
        let at = |e: std::io::Error| Error::io(path, &e);
        let file = open_regular(path)?;
        let length = file.metadata().map_err(at)?.len();
        check_ends(path, &file, length)?;
        let damaged = |cause: String| {
            Error::invalid(path.display(), format!("is not a complete parquet file: {cause}"))
                .with_remedy(DAMAGED)
        };
        let metadata = panics::catch(|| {
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
            metadata.map_err(|error| error.to_string())
        });
        let metadata = metadata.map_err(damaged)?;
        check_sizes(&metadata, length).map_err(damaged)?;
        let schema = metadata.file_metadata().schema();
        let columns =
            Node::columns(schema).map_err(|cause| Error::invalid(path.display(), cause))?;
        Ok(Self { path: path.to_owned(), metadata, columns, budget: budget_of(length) })
    }

    /// A column of values in a row group. `file` is this file, opened: clones of a handle share their position, and
    /// several threads read at a time.
    pub(super) fn leaf(&self, file: &Arc<File>, group: usize, leaf: usize) -> Result<Leaf> {
        let row_group = self.metadata.row_group(group);
        let chunk = row_group.column(leaf);
        let compression = chunk.compression();
        if !decompress::is_supported(compression) {
            let cause = format!(
                "`{}` is compressed by {compression}, which is not supported",
                chunk.column_path()
            );
            return Err(Error::invalid(self.path.display(), cause)
                .with_remedy("write the file again with snappy, pyarrow's default"));
        }
        let rows = row_group.num_rows() as usize; // not below 0, nor beyond the file: see `open`
        let leaf = panics::catch(|| {
            let pages = CheckedPages::new(file.clone(), chunk, rows);
            let pages = pages.map_err(|error| error.to_string())?;
            Ok(Leaf::new(chunk.column_descr_ptr(), Box::new(pages)))
        });
        leaf.map_err(|cause| self.broken(group, chunk.column_path(), cause))
    }

    /// A handle of the file.
    pub(super) fn handle(&self) -> Result<Arc<File>> {
        open_regular(&self.path).map(Arc::new)
    }

    /// The row group of row `row` of the file, and the number of the row in it.
    pub(super) fn find_row(&self, mut row: usize) -> Option<(usize, usize)> {
        for (group, metadata) in self.metadata.row_groups().iter().enumerate() {
            let rows = metadata.num_rows() as usize; // not below 0: see `open`
            if row < rows {
                return Some((group, row));
            }
            row -= rows;
        }
        None
    }

    /// The error that a column of values in a row group cannot be read.
    pub(super) fn broken(&self, group: usize, column: impl fmt::Display, cause: String) -> Error {
        let error = Error::invalid(
            self.path.display(),
            format!("row group {group}, column `{column}`: {cause}"),
        );
        match cause.contains("not supported") || cause.contains("more text") {
            true => error.with_remedy("write the file again with pyarrow's defaults"),
            false => error.with_remedy(DAMAGED),
        }
    }

    /// The name of a column of values.
    pub(super) fn leaf_name(&self, leaf: usize) -> String {
        self.metadata.file_metadata().schema_descr().column(leaf).path().string()
    }
}

/// Checks how the file begins and ends.
fn check_ends(path: &Path, file: &File, length: u64) -> Result<()> {
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start).map_err(|e| Error::io(path, &e))?;
    if start.starts_with(b"PARE") {
        return Err(Error::invalid(
            path.display(),
            "is an encrypted parquet file, which is not supported",
        )
        .with_remedy("write it without encryption"));
    }
    if start.starts_with(b"PAR1") {
        return Ok(());
    }
    Err(match describe_foreign(&start) {
        Some((is, remedy)) => {
            let cause = format!("is not a parquet file: it is {is}");
            Error::invalid(path.display(), cause).with_remedy(remedy)
        }
        None => {
            let cause = format!("is not a parquet file: its {length} bytes do not begin with PAR1");
            Error::invalid(path.display(), cause).with_remedy(DAMAGED)
        }
    })
}

/// Checks the sizes in the footer of a file of `length` bytes.
fn check_sizes(metadata: &ParquetMetaData, length: u64) -> std::result::Result<(), String> {
    // So many rows or values that they alone would fill the memory.
    let too_many = |count: i64| u64::try_from(count).map_or(true, |n| n > max_rows_of(length));
    let mut rows: i64 = 0;
    for group in metadata.row_groups() {
        rows = rows.saturating_add(group.num_rows());
        let chunks = group.columns().iter().all(|column| {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            start >= 0
                && end.is_some_and(|end| start <= end && end.cast_unsigned() <= length)
                && !too_many(column.num_values())
        });
        if group.num_rows() < 0 || too_many(rows) || !chunks {
            return Err("its footer describes data that it does not have".into());
        }
    }
    Ok(())
}

const DAMAGED: &str = "the file is damaged or cut short: `normed fetch ORG/NAME --dataset` checks it against its checksum \
     and downloads it again";
