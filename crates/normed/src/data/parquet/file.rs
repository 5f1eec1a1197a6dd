//! One parquet file: its footer, checked, and its rows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::footer::{Footer, RowGroup};
use super::leaf::Leaf;
use super::pages::CheckedPages;
use super::schema::{Columns, Node};
use crate::data::panics;
use crate::data::tables::{Source, budget_of, describe_foreign};
use crate::files::open_regular;
use crate::{Error, Result};

/// A parquet file, whose footer is read and checked.
pub(in crate::data) struct ParquetFile {
    pub(super) path: PathBuf,
    pub(super) columns: Columns,
    pub(super) groups: Vec<RowGroup>,
    pub(super) metadata: Vec<(String, String)>,
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
        let source = open_source(path)?;
        let length = source.length();
        check_start(path, &source)?;
        let damaged = |cause: String| {
            Error::invalid(path.display(), format!("is not a complete parquet file: {cause}"))
                .with_remedy(DAMAGED)
        };
        let Some(footer) = read_footer(&source).map_err(damaged)? else {
            return Err(encrypted(path));
        };
        let Footer { schema, metadata, groups } =
            Footer::parse(&footer, length).map_err(damaged)?;
        let columns = Columns::new(&schema);
        let columns = columns.map_err(|cause| Error::invalid(path.display(), cause))?;
        let budget = budget_of(length);
        Ok(Self { path: path.to_owned(), columns, groups, metadata, budget })
    }

    /// A column of values in a row group. `source` is this file, opened.
    pub(super) fn leaf(&self, source: &Arc<Source>, group: usize, leaf: usize) -> Result<Leaf> {
        let chunk = self.groups[group].chunks[leaf];
        let refused = |cause: String| {
            Error::invalid(
                self.path.display(),
                format!("`{}` is {cause}, which is not supported", self.columns.leaf_name(leaf)),
            )
        };
        if chunk.is_encrypted {
            return Err(refused("encrypted".into()).with_remedy("write it without encryption"));
        }
        if !chunk.codec.is_supported() {
            return Err(refused(format!("compressed by {}", chunk.codec))
                .with_remedy("write the file again with snappy, pyarrow's default"));
        }
        let column = &self.columns.leaves[leaf];
        let leaf_of = || {
            let pages = CheckedPages::new(source.clone(), chunk, column);
            Ok(Leaf::new(column.clone(), Box::new(pages)))
        };
        panics::catch(leaf_of)
            .map_err(|cause| self.broken(group, self.columns.leaf_name(leaf), cause))
    }

    /// Whether a column has values that are encrypted.
    pub(super) fn is_encrypted(&self, node: &Node) -> bool {
        let leaves = node.leaves();
        self.groups.iter().any(|group| leaves.iter().any(|leaf| group.chunks[*leaf].is_encrypted))
    }

    /// The file, opened.
    pub(super) fn source(&self) -> Result<Arc<Source>> {
        open_source(&self.path).map(Arc::new)
    }

    /// The row group of row `row` of the file, and the number of the row in it.
    pub(super) fn find_row(&self, mut row: usize) -> Option<(usize, usize)> {
        for (number, group) in self.groups.iter().enumerate() {
            if row < group.rows {
                return Some((number, row));
            }
            row -= group.rows;
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
}

fn open_source(path: &Path) -> Result<Source> {
    let file = open_regular(path)?;
    let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
    Ok(Source::new(file, length))
}

fn encrypted(path: &Path) -> Error {
    Error::invalid(path.display(), "is an encrypted parquet file, which is not supported")
        .with_remedy("write it without encryption")
}

/// Checks how the file begins.
fn check_start(path: &Path, source: &Source) -> Result<()> {
    let length = source.length();
    let start = source.read(0, length.min(64));
    let start = start.map_err(|cause| Error::invalid(path.display(), cause))?;
    if start.starts_with(b"PARE") {
        return Err(encrypted(path));
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

/// The bytes of the footer, which is at the end, before its length and four letters; `None` if it is encrypted.
fn read_footer(source: &Source) -> std::result::Result<Option<Vec<u8>>, String> {
    const TAIL: u64 = 8;
    let cut = || "its end is missing".to_owned();
    let start = source.length().checked_sub(TAIL).ok_or_else(cut)?;
    let tail = source.read(start, TAIL)?;
    let (length, letters) = tail.split_first_chunk::<4>().ok_or_else(cut)?;
    match letters {
        b"PAR1" => {}
        b"PARE" => return Ok(None),
        _ => return Err(cut()),
    }
    let length = u32::from_le_bytes(*length).into();
    let start = start.checked_sub(length).ok_or("its footer is longer than the file")?;
    source.read(start, length).map(Some)
}

const DAMAGED: &str = "the file is damaged or cut short: `normed fetch ORG/NAME --dataset` checks it against its checksum \
     and downloads it again";
