//! One parquet file: its columns of bytes, read through or one value at a time.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Type};
use parquet::column::page::{Page, PageReader};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::page::{self, Dictionary};
use crate::data::content_hash::hash_of_file;
use crate::data::{Image, ImageOptions};
use crate::{Error, Result};

/// A parquet file whose footer is read.
pub(super) struct Shard {
    path: PathBuf,
    metadata: ParquetMetaData,
}

/// A column of bytes or text.
#[derive(Clone)]
pub(super) struct Column {
    index: usize,
    name: String,
    /// The definition level of a value that is there.
    defined: i16,
}

/// Some rows that are stored together.
pub(super) struct RowGroup {
    pub index: usize,
    /// How many.
    pub rows: usize,
    /// The first one's number in the file.
    pub first: usize,
}

impl Shard {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        let damaged = |cause: &str| {
            Error::invalid(path.display(), format!("is no whole parquet file: {cause}"))
                .with_remedy(DAMAGED)
        };
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
        let metadata = metadata.map_err(|error| damaged(&error.to_string()))?;
        for group in metadata.row_groups() {
            let chunks = group.columns().iter().all(|column| {
                let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
                let end = start.checked_add(column.compressed_size());
                start >= 0 && end.is_some_and(|end| start <= end && end.cast_unsigned() <= length)
            });
            // More rows than bytes would be a claim that only fills the memory.
            if group.num_rows() < 0 || group.num_rows().cast_unsigned() > length || !chunks {
                return Err(damaged("its footer describes what is not in it"));
            }
        }
        Ok(Self { path: path.to_owned(), metadata })
    }

    /// The column with the first of `names` that there is.
    pub fn find(&self, names: &[&str]) -> Result<Option<Column>> {
        let schema = self.metadata.file_metadata().schema_descr();
        let found = names.iter().find_map(|name| {
            schema.columns().iter().enumerate().find(|(_, column)| column.path().string() == *name)
        });
        let Some((index, column)) = found else { return Ok(None) };
        let name = column.path().string();
        let wrong =
            |cause: String| Error::invalid(self.path.display(), format!("`{name}` {cause}"));
        if column.physical_type() != Type::BYTE_ARRAY || column.max_rep_level() > 0 {
            let kind = if column.max_rep_level() > 0 { "a list" } else { "numbers" };
            return Err(wrong(format!("is {kind}, not text or bytes")));
        }
        for group in self.metadata.row_groups() {
            let compression = group.column(index).compression();
            if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(wrong(format!(
                    "is compressed by {compression}, which is not read here"
                ))
                .with_remedy("write the file again with snappy, pyarrow's default"));
            }
        }
        Ok(Some(Column { index, name, defined: column.max_def_level() }))
    }

    /// The same, where it is a mistake that there is none.
    pub fn require(&self, names: &[&str]) -> Result<Column> {
        self.find(names)?.ok_or_else(|| {
            let schema = self.metadata.file_metadata().schema_descr();
            let there: Vec<_> = schema.columns().iter().map(|c| c.path().string()).collect();
            let cause = format!("there is no column `{}`", names[names.len() - 1]);
            Error::invalid(self.path.display(), cause)
                .with_remedy(format!("there are {}; rename what is meant", there.join(", ")))
        })
    }

    /// All rows, as they are stored together.
    pub fn row_groups(&self) -> impl Iterator<Item = RowGroup> {
        let mut first = 0;
        self.metadata.row_groups().iter().enumerate().map(move |(index, group)| {
            let rows = group.num_rows() as usize; // not below 0, nor beyond the file: see `open`
            first += rows;
            RowGroup { index, rows, first: first - rows }
        })
    }

    /// File and row, counted from 1.
    pub fn place(&self, row: usize) -> String {
        format!("{}: row {}", self.path.display(), row + 1)
    }

    /// Gives `take` each row's value in `column`, none where it is null.
    pub fn each(
        &self,
        group: &RowGroup,
        column: &Column,
        mut take: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        let mut pages = self.pages(group.index, column)?;
        let mut at = 0;
        while at < group.rows {
            for value in pages.read(group.rows - at)? {
                take(at, value.as_ref().map(ByteArray::data));
                at += 1;
            }
        }
        Ok(())
    }

    /// The value in `column` of one row of a group; of the pages before it only headers are read.
    fn value(&self, group: usize, column: &Column, mut row: usize) -> Result<Option<ByteArray>> {
        let mut pages = self.pages(group, column)?;
        row -= pages.skip(row)?;
        let mut values = pages.read(self.metadata.row_group(group).num_rows() as usize)?;
        if row < values.len() {
            Ok(values.swap_remove(row))
        } else {
            Err(pages.broken("has fewer rows than before"))
        }
    }

    fn pages<'a>(&'a self, group: usize, column: &'a Column) -> Result<Pages<'a>> {
        // A handle of its own: clones of one share their position, and threads read at a time.
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, &e))?;
        let metadata = self.metadata.row_group(group);
        let chunk = metadata.column(column.index);
        let rows = metadata.num_rows() as usize; // not below 0: see `open`
        let reader = SerializedPageReader::new(Arc::new(file), chunk, rows, None);
        let reader = reader.map_err(|error| self.broken(group, column, error))?;
        Ok(Pages { shard: self, group, column, reader, dictionary: None })
    }

    fn broken(&self, group: usize, column: &Column, cause: impl fmt::Display) -> Error {
        let cause = format!("row group {group}, column `{}`: {cause}", column.name);
        Error::invalid(self.path.display(), cause).with_remedy(DAMAGED)
    }
}

/// The pages of a column in a row group, one after another.
struct Pages<'a> {
    shard: &'a Shard,
    group: usize,
    column: &'a Column,
    reader: SerializedPageReader<File>,
    dictionary: Option<Dictionary>,
}

impl Pages<'_> {
    /// The values of the next page, `most` at most and at least one.
    fn read(&mut self, most: usize) -> Result<Vec<Option<ByteArray>>> {
        loop {
            let page = self.reader.get_next_page().map_err(|error| self.broken(error))?;
            let Some(page) = page else { return Err(self.broken("ends before its last row")) };
            let read = match &page {
                Page::DictionaryPage { .. } => page::dictionary(&page).map(|dictionary| {
                    self.dictionary = Some(dictionary);
                    Vec::new()
                }),
                _ => page::values(&page, self.column.defined, self.dictionary.as_ref(), most),
            };
            let values = read.map_err(|cause| self.broken(cause))?;
            if !values.is_empty() {
                return Ok(values);
            }
        }
    }

    /// Passes over the pages that end before `row`. How many rows that is.
    fn skip(&mut self, row: usize) -> Result<usize> {
        let mut passed = 0;
        loop {
            let next = self.reader.peek_next_page().map_err(|error| self.broken(error))?;
            // Without lists, a value is a row.
            let rows = next.and_then(|page| if page.is_dict { None } else { page.num_levels });
            match rows {
                Some(rows) if rows <= row - passed => {
                    self.reader.skip_next_page().map_err(|error| self.broken(error))?;
                    passed += rows;
                }
                Some(_) => return Ok(passed),
                // The dictionary is needed by what comes; an end is found out by who reads on.
                None => {
                    let page = self.reader.get_next_page().map_err(|error| self.broken(error))?;
                    let Some(page) = page else { return Ok(passed) };
                    let dictionary = page::dictionary(&page).map_err(|cause| self.broken(cause))?;
                    self.dictionary = Some(dictionary);
                }
            }
        }
    }

    fn broken(&self, cause: impl fmt::Display) -> Error {
        self.shard.broken(self.group, self.column, cause)
    }
}

const DAMAGED: &str = "the file is damaged or cut short: `normed fetch ORG/NAME --dataset` holds it to its checksum \
     and fetches it anew";

/// A picture that is read from a parquet file whenever it is needed.
pub struct ParquetImage {
    shard: Arc<Shard>,
    column: Column,
    group: usize,
    row: usize,
    hash: [u8; 32],
}

impl ParquetImage {
    pub(super) fn new(
        shard: Arc<Shard>,
        column: Column,
        (group, row): (usize, usize),
        hash: [u8; 32],
    ) -> Self {
        Self { shard, column, group, row, hash }
    }

    /// What it was when the data set was opened: [`content_hash`](crate::data::ImageSource::content_hash).
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Reads and decodes it. To be another than when the data set was opened is an error.
    pub fn decode(&self, view: &ImageOptions) -> Result<Image> {
        let bytes = self.shard.value(self.group, &self.column, self.row)?;
        let bytes = bytes.as_ref().map(ByteArray::data).unwrap_or_default();
        if hash_of_file(bytes) != self.hash {
            return Err(Error::failed(self.place(), "is not what it was: the file has changed")
                .with_remedy("start again, with nobody writing to the file"));
        }
        Image::from_bytes(bytes, view).map_err(|cause| Error::invalid(self.place(), cause))
    }

    fn place(&self) -> String {
        let before = self.shard.row_groups().nth(self.group).map_or(0, |group| group.first);
        self.shard.place(before + self.row)
    }
}

impl fmt::Debug for ParquetImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetImage({})", self.place())
    }
}

/// The same content is the same picture, wherever it is.
impl PartialEq for ParquetImage {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}
