//! Pages of a column, checked before the `parquet` crate decodes their values.
//!
//! The crate's decoders allocate what counts in a page say. Here each count is held to the bytes of the page and to
//! the number of values of the column first.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::decompress::{decompress, limit_of};
use super::delta::{check_byte_arrays, check_lengths, check_numbers};

/// The pages of a column in a row group, decompressed and checked.
pub(super) struct CheckedPages {
    /// Reads pages as they are stored: to it, the column is not compressed.
    stored: SerializedPageReader<File>,
    compression: Compression,
    /// Definition and repetition level of a value, the highest.
    levels: [i16; 2],
    /// The fewest bytes that an entry of a dictionary takes.
    min_entry: usize,
    /// How many values may still come.
    values_left: usize,
}

impl CheckedPages {
    /// The pages of `chunk` in `file`, a column of a row group with `rows` rows, whose sizes are checked.
    pub fn new(file: Arc<File>, chunk: &ColumnChunkMetaData, rows: usize) -> Result<Self> {
        let column = chunk.column_descr();
        let min_entry = match column.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.type_length())?.max(1),
        };
        let stored =
            chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Self {
            stored: SerializedPageReader::new(file, &stored, rows, None)?,
            compression: chunk.compression(),
            levels: [column.max_rep_level(), column.max_def_level()],
            min_entry,
            values_left: usize::try_from(chunk.num_values())?,
        })
    }

    fn open(&mut self, page: Page) -> Result<Page> {
        self.decompress_and_check(page).map_err(ParquetError::General)
    }

    fn decompress_and_check(&mut self, mut page: Page) -> Result<Page, String> {
        if page.is_data_page() {
            let values = page.num_values() as usize;
            self.values_left = self.values_left.checked_sub(values).ok_or_else(|| {
                format!("has a page of {values} values where {} are left", self.values_left)
            })?;
        }
        match &mut page {
            Page::DataPage { buf, .. } => *buf = decompress(self.compression, buf)?.into(),
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                let (levels, values) = buf.split_at_checked(levels).ok_or("has a damaged page")?;
                if *is_compressed {
                    let mut whole = levels.to_vec();
                    whole.extend(decompress(self.compression, values)?);
                    *buf = whole.into();
                }
            }
            Page::DictionaryPage { buf, num_values, encoding, .. } => {
                *buf = decompress(self.compression, buf)?.into();
                if *num_values as usize > buf.len() / self.min_entry {
                    return Err(format!(
                        "has a dictionary of {num_values} values in {} bytes",
                        buf.len()
                    ));
                }
                if !matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
                    return Err(format!("has a dictionary that is encoded as {encoding}"));
                }
                return Ok(page);
            }
        }
        self.check_values(&page)?;
        Ok(page)
    }

    /// Checks the counts that the encoding of a data page has of its own.
    fn check_values(&self, page: &Page) -> Result<(), String> {
        let check = match page.encoding() {
            Encoding::PLAIN
            | Encoding::PLAIN_DICTIONARY
            | Encoding::RLE_DICTIONARY
            | Encoding::RLE
            | Encoding::BYTE_STREAM_SPLIT => return Ok(()),
            Encoding::DELTA_BINARY_PACKED => check_numbers,
            Encoding::DELTA_LENGTH_BYTE_ARRAY => check_lengths,
            Encoding::DELTA_BYTE_ARRAY => check_byte_arrays,
            other => return Err(format!("is encoded as {other}, which is not supported")),
        };
        let values = self.values_of(page).ok_or("has a damaged page")?;
        check(values, page.num_values() as usize, limit_of(page.buffer().len()))
    }

    /// The encoded values of a data page, without the levels before them.
    fn values_of<'a>(&self, page: &'a Page) -> Option<&'a [u8]> {
        let (mut rest, encodings) = match page {
            Page::DataPage { buf, rep_level_encoding, def_level_encoding, .. } => {
                (&buf[..], [rep_level_encoding, def_level_encoding])
            }
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                return buf.get(*def_levels_byte_len as usize + *rep_levels_byte_len as usize..);
            }
            Page::DictionaryPage { .. } => return None,
        };
        for (max, encoding) in self.levels.into_iter().zip(encodings) {
            let length = match encoding {
                _ if max == 0 => 0,
                Encoding::RLE => 4 + u32::from_le_bytes(*rest.first_chunk()?) as usize,
                _ => {
                    // Packed bits, an encoding of old writers.
                    let width = (16 - max.cast_unsigned().leading_zeros()) as usize;
                    (page.num_values() as usize * width).div_ceil(8)
                }
            };
            rest = rest.get(length..)?;
        }
        Some(rest)
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.stored.get_next_page()?;
        page.map(|page| self.open(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.stored.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.stored.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.stored.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.stored.take_deferred_dictionary()?;
        page.map(|page| self.open(page)).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.stored.at_record_boundary()
    }
}
