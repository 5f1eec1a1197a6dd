//! One Arrow file: its rows, and its images one at a time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::array::{Array, Loader};
use super::stream::Stream;
use crate::data::tables::{
    Cell, Column, ImageStore, Picture, Source, Table, budget_of, describe_foreign, max_rows_of,
    pictures_of,
};
use crate::files::open_regular;
use crate::{Error, Result};

/// An Arrow file, whose schema and layout are read.
pub(in crate::data) struct ArrowFile {
    path: PathBuf,
    source: Source,
    stream: Stream,
    /// How many bytes of text and data its rows may have.
    budget: usize,
}

/// How files with a table of contents begin: Feather's, and those that polars writes.
const WITH_CONTENTS: &[u8; 6] = b"ARROW1";

impl ArrowFile {
    /// Opens a file and reads its layout.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no Arrow file, or is damaged or compressed.
    pub fn open(path: &Path) -> Result<Self> {
        let at = |e: std::io::Error| Error::io(path, &e);
        let mut file = open_regular(path)?;
        let length = file.metadata().map_err(at)?.len();
        let mut start = Vec::new();
        (&mut file).take(64).read_to_end(&mut start).map_err(at)?;
        let has_contents = start.starts_with(WITH_CONTENTS);
        if !has_contents && !start.starts_with(&[0xff; 4]) {
            let (is, remedy) = describe_foreign(&start).unwrap_or(("something else", WRITE_AGAIN));
            let cause = format!("is not an Arrow file: it is {is}");
            return Err(Error::invalid(path.display(), cause).with_remedy(remedy));
        }
        let source = Source::new(file, length);
        let stream = match has_contents {
            true => Stream::read_contents(&source),
            false => Stream::read(&source),
        };
        let stream = stream.and_then(|stream| {
            let rows = stream.batches.iter().map(|batch| batch.rows as u64);
            match rows.fold(0, u64::saturating_add) <= max_rows_of(length) {
                true => Ok(stream),
                false => Err("is damaged: it says that it has more rows than bytes".into()),
            }
        });
        let stream = stream
            .map_err(|cause| Error::invalid(path.display(), cause).with_remedy(WRITE_AGAIN))?;
        Ok(Self { path: path.to_owned(), source, stream, budget: budget_of(length) })
    }

    fn array(&self, batch: usize, column: usize) -> Result<Array> {
        let array =
            Loader::new(&self.source, &self.stream, batch).column(&self.stream.fields, column);
        array.map_err(|cause| self.broken(column, cause))
    }

    fn broken(&self, column: usize, cause: String) -> Error {
        let cause = format!("column `{}` {cause}", self.stream.fields[column].name);
        Error::invalid(self.path.display(), cause).with_remedy(WRITE_AGAIN)
    }
}

const WRITE_AGAIN: &str = "write it again: `save_to_disk` of the datasets library writes such files, `to_parquet` those \
     of the hub";

impl Table for ArrowFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> Vec<Column> {
        let fields = self.stream.fields.iter();
        let column = fields.map(|field| Column {
            name: field.name.clone(),
            kind: field.describe(),
            is_plain: field.is_plain(),
        });
        column.collect()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        let pair = self.stream.metadata.iter().find(|(known, _)| known == key);
        pair.map(|(_, value)| value.as_str())
    }

    fn for_each_row(
        &self,
        columns: &[usize],
        take: &mut dyn FnMut(usize, Vec<Cell>),
    ) -> Result<()> {
        let (mut row, mut budget) = (0, self.budget);
        for (number, batch) in self.stream.batches.iter().enumerate() {
            let arrays = columns.iter().map(|column| Ok((*column, self.array(number, *column)?)));
            let arrays: Vec<(usize, Array)> = arrays.collect::<Result<_>>()?;
            for i in 0..batch.rows {
                let cell = |(column, array): &(usize, Array)| {
                    let cell = array.cell(i, &self.source, &mut budget);
                    cell.map_err(|cause| self.broken(*column, cause))
                };
                take(row, arrays.iter().map(cell).collect::<Result<_>>()?);
                row += 1;
            }
        }
        Ok(())
    }

    fn images(self: Arc<Self>, column: usize) -> Arc<dyn ImageStore> {
        Arc::new(ImageColumn { file: self, column })
    }
}

/// A column of images.
struct ImageColumn {
    file: Arc<ArrowFile>,
    column: usize,
}

impl ImageStore for ImageColumn {
    fn read(&self, row: usize, index: usize) -> Result<Vec<u8>> {
        let gone = || Error::failed(self.place(row), "the file has fewer images than before");
        let mut i = row;
        for (number, batch) in self.file.stream.batches.iter().enumerate() {
            if i >= batch.rows {
                i -= batch.rows;
                continue;
            }
            let mut budget = self.file.budget;
            let array = self.file.array(number, self.column)?;
            let pictures = array.cell(i, &self.file.source, &mut budget).and_then(pictures_of);
            let pictures = pictures.map_err(|cause| self.file.broken(self.column, cause))?;
            let value = pictures.into_iter().find_map(|picture| match picture {
                Picture::Inside { value, index: other } if other == index => Some(value),
                _ => None,
            });
            return value.ok_or_else(gone);
        }
        Err(gone())
    }

    fn place(&self, row: usize) -> String {
        format!("{}: row {}", self.file.path.display(), row + 1)
    }
}
