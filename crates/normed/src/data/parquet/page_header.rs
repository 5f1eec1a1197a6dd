//! The header before each page of a column.

use super::thrift::{Flaw, Kind, Reader};
use crate::data::tables::Source;

/// How many bytes of a header are read first. Statistics may make it longer.
const FIRST_READ: u64 = 512;

/// What the header of a page says.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PageHeader {
    pub kind: PageKind,
    /// The bytes of the page, as it is stored.
    pub length: u64,
    /// The checksum of these bytes.
    pub crc: Option<u32>,
    pub values: u32,
    /// The numbers of the encodings of values, definition levels and repetition levels.
    pub encodings: [i32; 3],
    pub nulls: u32,
    pub rows: u32,
    /// How many bytes the definition and the repetition levels take; of pages of version 2 alone.
    pub level_bytes: [u32; 2],
    pub is_compressed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Data,
    Data2,
    Dictionary,
    /// A page that holds no values.
    #[default]
    Other,
}

impl PageHeader {
    /// Reads the header at `start`, and where the page itself begins. The column ends at `end`.
    ///
    /// # Errors
    ///
    /// If it is damaged, if its page ends beyond the column, or if the file cannot be read.
    pub fn read(source: &Source, start: u64, end: u64) -> Result<(Self, u64), String> {
        let left = end.saturating_sub(start);
        let mut size = FIRST_READ.min(left);
        let (header, length) = loop {
            let bytes = source.read(start, size)?;
            let mut reader = Reader::new(&bytes);
            match Self::parse(&mut reader) {
                Ok(header) => break (header, (bytes.len() - reader.left()) as u64),
                Err(Flaw::Ends) if size < left => size = size.saturating_mul(8).min(left),
                Err(Flaw::Ends) => return Err("is cut short".into()),
                Err(Flaw::Damaged) => return Err("has a damaged page header".into()),
            }
        };
        let page = start + length; // inside of what was read
        match page.checked_add(header.length) {
            Some(page_end) if page_end <= end => Ok((header, page)),
            _ => Err("has a page that ends beyond the column".into()),
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Flaw> {
        let mut header = Self { is_compressed: true, ..Self::default() };
        reader.fields(Kind::OUTERMOST, |reader, number, kind| {
            match number {
                1 => {
                    header.kind = match reader.integer::<i32>(kind)? {
                        0 => PageKind::Data,
                        2 => PageKind::Dictionary,
                        3 => PageKind::Data2,
                        _ => PageKind::Other,
                    }
                }
                3 => header.length = reader.integer(kind)?,
                // The checksum is written as a number with a sign.
                4 => header.crc = Some(reader.integer::<i32>(kind)?.cast_unsigned()),
                5 | 7 => reader.fields(kind, |reader, number, kind| {
                    match number {
                        1 => header.values = reader.integer(kind)?,
                        2 => header.encodings[0] = reader.integer(kind)?,
                        // A dictionary says here whether it is sorted.
                        3 | 4 if header.kind == PageKind::Data => {
                            header.encodings[number as usize - 2] = reader.integer(kind)?;
                        }
                        _ => reader.pass(kind)?,
                    }
                    Ok(())
                })?,
                8 => reader.fields(kind, |reader, number, kind| {
                    match number {
                        1 => header.values = reader.integer(kind)?,
                        2 => header.nulls = reader.integer(kind)?,
                        3 => header.rows = reader.integer(kind)?,
                        4 => header.encodings[0] = reader.integer(kind)?,
                        5 | 6 => header.level_bytes[number as usize - 5] = reader.integer(kind)?,
                        7 => header.is_compressed = reader.truth(kind)?,
                        _ => reader.pass(kind)?,
                    }
                    Ok(())
                })?,
                _ => reader.pass(kind)?,
            }
            Ok(())
        })?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What the header in a file of these bytes says, and where its page begins.
    fn read(bytes: &[u8]) -> Result<(PageHeader, u64), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let length = bytes.len() as u64;
        PageHeader::read(&Source::new(file, length), 0, length)
    }

    /// A dictionary of 3 values in 2 bytes, whose header has `more` before its end.
    fn dictionary(more: &[u8]) -> Vec<u8> {
        let fields = [0x15, 4, 0x15, 4, 0x15, 4, 0x4c, 0x15, 6, 0x15, 0, 0x12, 0];
        [&fields[..], more, &[0], &[7, 7]].concat()
    }

    #[test]
    fn a_header_of_any_length_is_read() {
        // A field of a later version: a text of 5,000 bytes.
        let text = [&[0x28, 0x88, 0x27][..], &[0xff; 5000]].concat();
        for more in [&[][..], &text] {
            let bytes = dictionary(more);
            let (header, page) = read(&bytes).unwrap();
            assert_eq!((header.kind, header.values), (PageKind::Dictionary, 3));
            assert_eq!((header.length, page), (2, bytes.len() as u64 - 2));
            assert_eq!(
                read(&bytes[..bytes.len() - 1]).unwrap_err(),
                "has a page that ends beyond the column"
            );
            assert_eq!(read(&bytes[..bytes.len() - 3]).unwrap_err(), "is cut short");
        }
    }

    #[test]
    fn a_header_that_says_more_than_it_holds_is_refused() {
        // 2^31 - 1 booleans.
        let booleans = dictionary(&[0x29, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07]);
        assert_eq!(read(&booleans).unwrap_err(), "is cut short");
        let mut deep = dictionary(&[]);
        deep.truncate(13);
        deep.push(0x29);
        deep.resize(1_000_000, 0x19);
        assert_eq!(read(&deep).unwrap_err(), "has a damaged page header");
        // A length below 0.
        assert_eq!(read(&[0x35, 1, 0]).unwrap_err(), "has a damaged page header");
    }
}
