//! Pages of a column, checked before the `parquet` crate decodes their values.
//!
//! The crate's decoders allocate what counts in a page say. Here each count is held to the bytes of the page and to
//! the number of values of the column first.

use std::sync::Arc;

use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;

use super::decompress::{Codec, decompress, limit_of};
use super::delta::{check_byte_arrays, check_lengths, check_numbers};
use super::footer::Chunk;
use super::page_header::{PageHeader, PageKind};
use crate::data::tables::Source;

/// The pages of a column in a row group, decompressed and checked.
pub(super) struct CheckedPages {
    source: Arc<Source>,
    /// Where the next header begins, and the column ends.
    at: u64,
    end: u64,
    /// The header of the next page, and where the page begins, once it is read.
    next: Option<(PageHeader, u64)>,
    /// The dictionary that was passed over, and where it is.
    dictionary: Option<(PageHeader, u64)>,
    codec: Codec,
    /// Definition and repetition level of a value, the highest.
    levels: [i16; 2],
    /// The fewest bytes that an entry of a dictionary takes.
    min_entry: usize,
    /// How many values may still come.
    values_left: usize,
}

impl CheckedPages {
    /// The pages of `chunk`, a part of `column` whose place is inside of the file.
    pub fn new(source: Arc<Source>, chunk: Chunk, column: &ColumnDescriptor) -> Self {
        let min_entry = match column.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.type_length()).unwrap_or(0).max(1),
        };
        Self {
            source,
            at: chunk.start,
            end: chunk.start + chunk.length,
            next: None,
            dictionary: None,
            codec: chunk.codec,
            levels: [column.max_rep_level(), column.max_def_level()],
            min_entry,
            values_left: chunk.values,
        }
    }

    /// The header of the next page that holds values, and where the page begins; `None` after the last one.
    fn peek(&mut self) -> Result<Option<(PageHeader, u64)>, String> {
        while self.next.is_none() && self.at < self.end {
            let (header, page) = PageHeader::read(&self.source, self.at, self.end)?;
            self.at = page + header.length;
            self.next = (header.kind != PageKind::Other).then_some((header, page));
        }
        Ok(self.next)
    }

    /// Reads a page.
    fn read(&mut self, (header, page): (PageHeader, u64)) -> Result<Page, String> {
        let bytes = self.source.read(page, header.length)?;
        if let Some(crc) = header.crc {
            let mut found = flate2::Crc::new();
            found.update(&bytes);
            if found.sum() != crc {
                return Err("has a damaged page: its checksum is another one".into());
            }
        }
        let PageHeader { values: num_values, nulls: num_nulls, rows: num_rows, .. } = header;
        let [encoding, def_level_encoding, rep_level_encoding] = header.encodings;
        let (buf, encoding) = (bytes.into(), encoding_of(encoding)?);
        self.decompress_and_check(match header.kind {
            PageKind::Dictionary => {
                Page::DictionaryPage { buf, num_values, encoding, is_sorted: false }
            }
            PageKind::Data2 => Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len: header.level_bytes[0],
                rep_levels_byte_len: header.level_bytes[1],
                is_compressed: header.is_compressed,
                statistics: None,
            },
            PageKind::Data | PageKind::Other => Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: encoding_of(def_level_encoding)?,
                rep_level_encoding: encoding_of(rep_level_encoding)?,
                statistics: None,
            },
        })
    }

    fn decompress_and_check(&mut self, mut page: Page) -> Result<Page, String> {
        if page.is_data_page() {
            let values = page.num_values() as usize;
            self.values_left = self.values_left.checked_sub(values).ok_or_else(|| {
                format!("has a page of {values} values where {} are left", self.values_left)
            })?;
        }
        match &mut page {
            Page::DataPage { buf, .. } => *buf = decompress(self.codec, buf)?.into(),
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
                    whole.extend(decompress(self.codec, values)?);
                    *buf = whole.into();
                }
            }
            Page::DictionaryPage { buf, num_values, encoding, .. } => {
                *buf = decompress(self.codec, buf)?.into();
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
        let next = self.peek().map_err(ParquetError::General)?;
        self.next = None;
        next.map(|next| self.read(next)).transpose().map_err(ParquetError::General)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let metadata = |(header, _): (PageHeader, u64)| {
            let is_dict = header.kind == PageKind::Dictionary;
            PageMetadata {
                num_rows: (header.kind == PageKind::Data2).then_some(header.rows as usize),
                num_levels: (!is_dict).then_some(header.values as usize),
                is_dict,
            }
        };
        Ok(self.peek().map_err(ParquetError::General)?.map(metadata))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let next = self.peek().map_err(ParquetError::General)?;
        self.next = None;
        let is_dictionary = |(header, _): &(PageHeader, u64)| header.kind == PageKind::Dictionary;
        self.dictionary = next.filter(is_dictionary).or(self.dictionary);
        Ok(())
    }

    fn supports_deferred_dictionary(&self) -> bool {
        true
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let dictionary = self.dictionary.take();
        dictionary.map(|page| self.read(page)).transpose().map_err(ParquetError::General)
    }
}

/// The encoding with this number in the format.
fn encoding_of(number: i32) -> Result<Encoding, String> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        // The crate would have nobody write it so, and reads levels in it all the same.
        #[allow(deprecated, reason = "an encoding of old files")]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(format!("is encoded by encoding {number}, which is not supported")),
    })
}
