//! One parquet file: its columns of bytes, read as a whole or one value at a time.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Type};
use parquet::column::page::{Page, PageReader};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::page::{Dictionary, decode_dictionary, decode_values};
use crate::data::content_hash::hash_of_file;
use crate::data::{Image, ImageOptions};
use crate::files::open_regular;
use crate::{Error, Result};

/// A parquet file, whose footer is read and checked.
pub(super) struct Shard {
    path: PathBuf,
    metadata: ParquetMetaData,
}

/// A column of bytes or text.
#[derive(Clone)]
pub(super) struct Column {
    index: usize,
    name: String,
    /// The definition level of a value that is not null.
    defined: i16,
}

/// Rows that are stored together.
pub(super) struct RowGroup {
    pub index: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of the first row in the file.
    pub first: usize,
}

impl Shard {
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        let damaged = |cause: &str| {
            Error::invalid(path.display(), format!("is not a complete parquet file: {cause}"))
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
            // A file cannot have more rows than bytes: such a claim would fill the memory.
            if group.num_rows() < 0 || group.num_rows().cast_unsigned() > length || !chunks {
                return Err(damaged("its footer describes data that it does not have"));
            }
        }
        Ok(Self { path: path.to_owned(), metadata })
    }

    /// Finds the column with the first of `names` that exists.
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
            return Err(wrong(format!("is {kind}; text or bytes are expected")));
        }
        for group in self.metadata.row_groups() {
            let compression = group.column(index).compression();
            if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(wrong(format!(
                    "is compressed by {compression}, which is not supported"
                ))
                .with_remedy("write the file again with snappy, pyarrow's default"));
            }
        }
        Ok(Some(Column { index, name, defined: column.max_def_level() }))
    }

    /// As [`Shard::find`]; it is an error if none of them exists.
    pub fn require(&self, names: &[&str]) -> Result<Column> {
        self.find(names)?.ok_or_else(|| {
            let schema = self.metadata.file_metadata().schema_descr();
            let there: Vec<_> = schema.columns().iter().map(|c| c.path().string()).collect();
            let cause = format!("it has no column `{}`", names[names.len() - 1]);
            Error::invalid(self.path.display(), cause).with_remedy(format!(
                "its columns are {}; rename the one that is meant",
                there.join(", ")
            ))
        })
    }

    /// The row groups of the file, in order.
    pub fn row_groups(&self) -> impl Iterator<Item = RowGroup> {
        let mut first = 0;
        self.metadata.row_groups().iter().enumerate().map(move |(index, group)| {
            let rows = group.num_rows() as usize; // not below 0, nor beyond the file: see `open`
            first += rows;
            RowGroup { index, rows, first: first - rows }
        })
    }

    /// The file and the number of a row, counted from 1, for messages.
    pub fn place(&self, row: usize) -> String {
        format!("{}: row {}", self.path.display(), row + 1)
    }

    /// Calls `take` with each row's value in `column`, `None` where it is null.
    pub fn for_each(
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

    /// Reads the value of one row in `column`; of the pages before it only the headers are read.
    fn read_value(
        &self,
        group: usize,
        column: &Column,
        mut row: usize,
    ) -> Result<Option<ByteArray>> {
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
        // A file handle of its own: clones share their position, and several threads read at a time.
        let file = open_regular(&self.path)?;
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

/// The pages of a column in a row group, in order.
struct Pages<'a> {
    shard: &'a Shard,
    group: usize,
    column: &'a Column,
    reader: SerializedPageReader<File>,
    dictionary: Option<Dictionary>,
}

impl Pages<'_> {
    /// Reads the values of the next page: at least one, at most `max_rows`.
    fn read(&mut self, max_rows: usize) -> Result<Vec<Option<ByteArray>>> {
        loop {
            let page = self.reader.get_next_page().map_err(|error| self.broken(error))?;
            let Some(page) = page else { return Err(self.broken("ends before its last row")) };
            let read = match &page {
                Page::DictionaryPage { .. } => decode_dictionary(&page).map(|dictionary| {
                    self.dictionary = Some(dictionary);
                    Vec::new()
                }),
                _ => decode_values(&page, self.column.defined, self.dictionary.as_ref(), max_rows),
            };
            let values = read.map_err(|cause| self.broken(cause))?;
            if !values.is_empty() {
                return Ok(values);
            }
        }
    }

    /// Skips the pages that end before `row`. Returns the number of skipped rows.
    fn skip(&mut self, row: usize) -> Result<usize> {
        let mut skipped = 0;
        loop {
            let next = self.reader.peek_next_page().map_err(|error| self.broken(error))?;
            // Without lists, each value is one row.
            let rows = next.and_then(|page| if page.is_dict { None } else { page.num_levels });
            match rows {
                Some(rows) if rows <= row - skipped => {
                    self.reader.skip_next_page().map_err(|error| self.broken(error))?;
                    skipped += rows;
                }
                Some(_) => return Ok(skipped),
                // Later pages need the dictionary. At the end, the next read fails.
                None => {
                    let page = self.reader.get_next_page().map_err(|error| self.broken(error))?;
                    let Some(page) = page else { return Ok(skipped) };
                    let dictionary =
                        decode_dictionary(&page).map_err(|cause| self.broken(cause))?;
                    self.dictionary = Some(dictionary);
                }
            }
        }
    }

    fn broken(&self, cause: impl fmt::Display) -> Error {
        self.shard.broken(self.group, self.column, cause)
    }
}

const DAMAGED: &str = "the file is damaged or cut short: `normed fetch ORG/NAME --dataset` checks it against its checksum \
     and downloads it again";

/// An image in a parquet file, which is read whenever its pixels are needed.
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
    pub fn decode(&self, view: &ImageOptions) -> Result<Image> {
        let bytes = self.shard.read_value(self.group, &self.column, self.row)?;
        let bytes = bytes.as_ref().map(ByteArray::data).unwrap_or_default();
        if hash_of_file(bytes) != self.hash {
            return Err(Error::failed(self.place(), "the file has changed since the run started")
                .with_remedy("start again, and do not write to the file during a run"));
        }
        Image::from_bytes(bytes, view).map_err(|cause| Error::invalid(self.place(), cause))
    }

    /// The file and the number of its row.
    pub(in crate::data) fn place(&self) -> String {
        let before = self.shard.row_groups().nth(self.group).map_or(0, |group| group.first);
        self.shard.place(before + self.row)
    }
}

impl fmt::Debug for ParquetImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetImage({})", self.place())
    }
}

/// Images with the same content are equal, wherever they are.
impl PartialEq for ParquetImage {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}
