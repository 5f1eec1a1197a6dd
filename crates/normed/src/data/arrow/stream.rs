//! The messages of a stream: the schema, then dictionaries and record batches, of which only the layout is read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use super::flat::Table;
use super::schema::{Field, read_fields, read_metadata};

/// The most bytes that the head of a message may have: 64 MiB.
const MAX_HEAD: usize = 64 << 20;

/// A file that is read at any place.
pub(super) struct Source {
    /// Its position is that of the last read.
    file: Mutex<File>,
    length: u64,
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    pub start: u64,
    pub length: u64,
}

/// The layout of a record batch or of a dictionary.
#[derive(Debug)]
pub(super) struct Batch {
    pub rows: usize,
    /// The number of values of each column and part of one, in the order of the schema.
    pub nodes: Vec<usize>,
    /// The buffers of the columns, in order.
    pub buffers: Vec<Extent>,
    /// The number of data buffers of each column of views.
    pub view_buffers: Vec<usize>,
    /// The dictionaries by their numbers.
    pub dictionaries: Dictionaries,
}

/// The batches that make up each dictionary.
pub(super) type Dictionaries = HashMap<i64, Vec<Arc<Batch>>>;

/// What a stream contains.
pub(super) struct Stream {
    pub fields: Vec<Field>,
    pub metadata: Vec<(String, String)>,
    pub batches: Vec<Batch>,
}

impl Source {
    pub fn new(file: File, length: u64) -> Self {
        Self { file: Mutex::new(file), length }
    }

    /// Reads `length` bytes from `start` on.
    ///
    /// # Errors
    ///
    /// If the file has fewer, before anything is allocated.
    pub fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, String> {
        let end = start.checked_add(length).filter(|end| *end <= self.length);
        let (Some(_), Ok(size)) = (end, usize::try_from(length)) else {
            return Err("is cut short".into());
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; size];
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| format!("cannot be read: {error}"))?;
        Ok(bytes)
    }
}

impl Stream {
    /// Reads the layout of a stream that begins at `start`.
    ///
    /// # Errors
    ///
    /// If it is damaged, cut short, or has what is not supported.
    pub fn read(source: &Source, start: u64) -> Result<Self, String> {
        let mut at = start;
        let mut schema = None;
        let mut batches = Vec::new();
        let mut dictionaries = Dictionaries::new();
        while let Some((head, body)) = next_head(source, &mut at)? {
            let message = Table::root(&head).ok_or("is damaged: a message has no head")?;
            let length = u64::try_from(message.i64(3)).map_err(|_| "is damaged".to_owned())?;
            let body = Extent { start: body, length };
            at = body.start.checked_add(length).filter(|end| *end <= source.length).ok_or_else(
                || format!("is cut short: batch {} ends beyond the file", batches.len() + 1),
            )?;
            let content = message.table(2).ok_or("is damaged: a message is empty")?;
            match message.u8(1) {
                1 => schema = Some((read_fields(content)?, read_metadata(content))),
                2 => {
                    let data = content.table(1).ok_or("is damaged: a dictionary is empty")?;
                    let batch = Batch::read(data, body, Dictionaries::new())?;
                    let known = dictionaries.entry(content.i64(0)).or_default();
                    let is_added_to = content.u8(2) != 0;
                    if !is_added_to {
                        known.clear();
                    }
                    known.push(Arc::new(batch));
                }
                3 => batches.push(Batch::read(content, body, dictionaries.clone())?),
                _ => return Err("holds tensors, not a table".into()),
            }
        }
        let (fields, metadata) = schema.ok_or("is damaged: it has no schema")?;
        Ok(Self { fields, metadata, batches })
    }
}

/// Reads the head of the next message, and where its body begins; `None` at the end of the stream.
fn next_head(source: &Source, at: &mut u64) -> Result<Option<(Vec<u8>, u64)>, String> {
    // Some writers leave out the mark of the end.
    if *at == source.length {
        return Ok(None);
    }
    let start = source.read(*at, 8)?;
    let [mark, size] =
        [0, 4].map(|i| u32::from_le_bytes([start[i], start[i + 1], start[i + 2], start[i + 3]]));
    if mark != u32::MAX {
        return Err("is damaged: a message does not begin where it should".into());
    }
    if size == 0 {
        return Ok(None);
    }
    if size as usize > MAX_HEAD {
        return Err(format!("is damaged: the head of a message has {size} bytes"));
    }
    let head = source.read(*at + 8, size.into())?;
    Ok(Some((head, *at + 8 + u64::from(size))))
}

impl Batch {
    fn read(table: Table<'_>, body: Extent, dictionaries: Dictionaries) -> Result<Self, String> {
        if let Some(compression) = table.table(3) {
            let codec = if compression.u8(0) == 0 { "LZ4" } else { "Zstandard" };
            return Err(format!("is compressed by {codec}, which is not supported"));
        }
        let damaged = || "is damaged: the layout of a batch is broken".to_owned();
        let count = |number: i64| usize::try_from(number).map_err(|_| damaged());
        let nodes =
            table.vector(1, 16).and_then(|nodes| nodes.numbers::<2>()).ok_or_else(damaged)?;
        let buffers = table.vector(2, 16).and_then(|buffers| buffers.numbers::<2>());
        let views =
            table.vector(4, 8).and_then(|counts| counts.numbers::<1>()).ok_or_else(damaged)?;
        let extent = |[offset, length]: [i64; 2]| {
            let (offset, length) = (u64::try_from(offset).ok()?, u64::try_from(length).ok()?);
            let inside = offset.checked_add(length)? <= body.length;
            inside.then_some(Extent { start: body.start + offset, length })
        };
        let buffers = buffers.ok_or_else(damaged)?.into_iter().map(extent);
        Ok(Self {
            rows: count(table.i64(0))?,
            nodes: nodes.into_iter().map(|[length, _]| count(length)).collect::<Result<_, _>>()?,
            buffers: buffers.collect::<Option<_>>().ok_or_else(damaged)?,
            view_buffers: views.into_iter().map(|[n]| count(n)).collect::<Result<_, _>>()?,
            dictionaries,
        })
    }
}
