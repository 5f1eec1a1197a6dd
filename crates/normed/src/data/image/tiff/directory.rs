//! The directories of a TIFF file, one for each page (TIFF 6.0, section 2; BigTIFF).

use std::collections::HashMap;

use crate::data::image::options::SliceIndex;
use crate::data::image::source::{Source, read_at};

/// The tags of a page, and the byte order of the file.
pub(super) struct Directory {
    pub is_big_endian: bool,
    values: HashMap<u16, Vec<u64>>,
}

/// Pages of a file that are followed, and entries of a directory that are read, at most.
const MAX_PAGES: usize = 1 << 16;
const MAX_ENTRIES: u64 = 1 << 12;
/// Values of a tag that are read, at most: the longest list has the offsets of all tiles.
const MAX_VALUES: u64 = 1 << 22;

impl Directory {
    /// Reads the directory of the page that `page` names; the first is the default.
    pub fn read(source: &mut dyn Source, page: SliceIndex) -> Result<Self, String> {
        let wanted = match page {
            SliceIndex::Middle => 0,
            SliceIndex::At(page) => page,
        };
        let file = File::open(source)?;
        let mut at = file.first;
        let mut pages = 0;
        while at != 0 && pages < MAX_PAGES {
            if pages == wanted {
                return file.directory(source, at);
            }
            at = file.next(source, at)?;
            pages += 1;
        }
        // Names the last page.
        SliceIndex::At(wanted).resolve(pages, "page")?;
        Err("cannot be decoded: it has no page".into())
    }

    /// The whole numbers under `tag`.
    pub fn numbers(&self, tag: u16) -> Option<&[u64]> {
        self.values.get(&tag).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    /// The first whole number under `tag`.
    pub fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag).map(|values| values[0])
    }
}

/// What the header of a file says.
struct File {
    is_big_endian: bool,
    /// Whether counts and offsets have 64 bits.
    is_big: bool,
    /// The offset of the first directory.
    first: u64,
}

impl File {
    fn open(source: &mut dyn Source) -> Result<Self, String> {
        let header = read_at(source, 0, 16)?;
        let is_big_endian = header.starts_with(b"MM");
        let mut file = Self { is_big_endian, is_big: false, first: 0 };
        let part = |from: usize, to: usize| header.get(from..to).ok_or_else(cut);
        file.is_big = file.number(part(2, 4)?) == 43;
        file.first = file.number(if file.is_big { part(8, 16)? } else { part(4, 8)? });
        Ok(file)
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let append = |sum: u64, &byte: &u8| (sum << 8) | u64::from(byte);
        match self.is_big_endian {
            true => bytes.iter().fold(0, append),
            false => bytes.iter().rev().fold(0, append),
        }
    }

    fn number_at(&self, source: &mut dyn Source, at: u64, length: usize) -> Result<u64, String> {
        let bytes = read_at(source, at, length)?;
        if bytes.len() < length { Err(cut()) } else { Ok(self.number(&bytes)) }
    }

    /// The number of entries of the directory at `at`, and the offset of the first.
    fn entries(&self, source: &mut dyn Source, at: u64) -> Result<(u64, u64), String> {
        let length = if self.is_big { 8 } else { 2 };
        let count = self.number_at(source, at, length)?;
        if count > MAX_ENTRIES {
            return Err("cannot be decoded: its directory has too many entries".into());
        }
        Ok((count, at + length as u64))
    }

    fn entry_bytes(&self) -> u64 {
        if self.is_big { 20 } else { 12 }
    }

    /// The offset of the directory after the one at `at`, or 0.
    fn next(&self, source: &mut dyn Source, at: u64) -> Result<u64, String> {
        let (count, start) = self.entries(source, at)?;
        let length = if self.is_big { 8 } else { 4 };
        self.number_at(source, start + count * self.entry_bytes(), length)
    }

    fn directory(&self, source: &mut dyn Source, at: u64) -> Result<Directory, String> {
        let (count, start) = self.entries(source, at)?;
        let bytes = read_at(source, start, (count * self.entry_bytes()) as usize)?;
        if (bytes.len() as u64) < count * self.entry_bytes() {
            return Err(cut());
        }
        let mut values = HashMap::new();
        for entry in bytes.chunks_exact(self.entry_bytes() as usize) {
            let tag = self.number(&entry[..2]) as u16;
            if let Some(numbers) = self.values(source, entry)? {
                values.entry(tag).or_insert(numbers);
            }
        }
        Ok(Directory { is_big_endian: self.is_big_endian, values })
    }

    /// The whole numbers of an entry; none if it has others.
    fn values(&self, source: &mut dyn Source, entry: &[u8]) -> Result<Option<Vec<u64>>, String> {
        // Bytes, shorts, longs, undefined bytes, and numbers of 64 bits.
        let length = match self.number(&entry[2..4]) {
            1 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 13 => 4,
            16..=18 => 8,
            _ => return Ok(None),
        };
        let (count, content) =
            if self.is_big { entry[4..].split_at(8) } else { entry[4..].split_at(4) };
        let count = self.number(count);
        if count > MAX_VALUES {
            return Ok(None);
        }
        let all = (count * length) as usize;
        let read;
        let bytes = match content.get(..all) {
            Some(bytes) => bytes,
            None => {
                read = read_at(source, self.number(content), all)?;
                &read
            }
        };
        if bytes.len() < all {
            return Err(cut());
        }
        Ok(Some(bytes.chunks_exact(length as usize).map(|value| self.number(value)).collect()))
    }
}

fn cut() -> String {
    "cannot be decoded: the file is cut short. Copy or download it again".into()
}
