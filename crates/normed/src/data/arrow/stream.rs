//! The messages of a stream: the schema, then dictionaries and record batches, of which only the layout is read.

use super::batch::{Batch, Extent};
use super::dictionaries::Dictionaries;
use super::flat::Table;
use super::schema::{Field, read_fields, read_metadata};
use crate::data::tables::Source;

/// The most bytes that the head of a message may have: 64 MiB.
const MAX_HEAD: usize = 64 << 20;

/// What a stream contains.
#[derive(Default)]
pub(super) struct Stream {
    pub fields: Vec<Field>,
    pub metadata: Vec<(String, String)>,
    pub batches: Vec<Batch>,
    pub dictionaries: Dictionaries,
}

impl Stream {
    /// Reads the layout of a file that is a stream.
    ///
    /// # Errors
    ///
    /// If it is damaged, cut short, or has what is not supported.
    pub fn read(source: &Source) -> Result<Self, String> {
        let mut stream = Self::default();
        let mut at = 0;
        let mut has_schema = false;
        while let Some(message) = Message::read(source, &mut at)? {
            if let (Some(schema), true) = (message.content(), message.kind() == SCHEMA) {
                (stream.fields, stream.metadata) = (read_fields(schema)?, read_metadata(schema));
                has_schema = true;
            } else {
                stream.add(&message)?;
            }
        }
        if has_schema { Ok(stream) } else { Err("is damaged: it has no schema".into()) }
    }

    /// Reads the layout of a file with a table of contents at its end. Its messages may be anywhere.
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub fn read_contents(source: &Source) -> Result<Self, String> {
        const TAIL: u64 = 10;
        let cut = || "is cut short: the table of contents at its end is missing".to_owned();
        let start = source.length().checked_sub(TAIL).ok_or_else(cut)?;
        let tail = source.read(start, TAIL)?;
        let (length, letters) = tail.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length);
        let start = start.checked_sub(length.into()).filter(|_| letters == b"ARROW1");
        if length as usize > MAX_HEAD {
            return Err(format!("is damaged: its table of contents has {length} bytes"));
        }
        let contents = source.read(start.ok_or_else(cut)?, length.into())?;
        let damaged = || "is damaged: its table of contents is broken".to_owned();
        let contents = Table::root(&contents).ok_or_else(damaged)?;
        let schema = contents.table(1).ok_or("is damaged: it has no schema")?;
        let (fields, metadata) = (read_fields(schema)?, read_metadata(schema));
        let mut stream = Self { fields, metadata, ..Self::default() };
        // Messages do not overlap, so that their heads together are no longer than the file.
        let mut left = source.length();
        for list in [2, 3] {
            // Where a message begins, and the lengths of its head and its body, which it has itself.
            let blocks = contents.vector(list, 24).and_then(|blocks| blocks.numbers::<3>());
            for [at, ..] in blocks.ok_or_else(damaged)? {
                let mut at = u64::try_from(at).map_err(|_| damaged())?;
                let message = Message::read(source, &mut at)?.ok_or_else(damaged)?;
                left = left.checked_sub(message.head.len() as u64).ok_or_else(damaged)?;
                stream.add(&message)?;
            }
        }
        Ok(stream)
    }

    /// Adds what a message holds: a record batch, or a dictionary.
    fn add(&mut self, message: &Message) -> Result<(), String> {
        let content = message.content().ok_or("is damaged: a message is empty")?;
        match message.kind() {
            DICTIONARY => {
                let data = content.table(1).ok_or("is damaged: a dictionary is empty")?;
                let values = Batch::read(data, message.body)?;
                let (id, is_added_to) = (content.i64(0), content.u8(2) != 0);
                self.dictionaries.add(id, values, is_added_to, self.batches.len());
            }
            BATCH => self.batches.push(Batch::read(content, message.body)?),
            _ => return Err("holds tensors, not a table".into()),
        }
        Ok(())
    }
}

/// The kinds of messages.
const SCHEMA: u8 = 1;
const DICTIONARY: u8 = 2;
const BATCH: u8 = 3;

/// A message: its head, and where its body is.
struct Message {
    head: Vec<u8>,
    body: Extent,
}

impl Message {
    /// Reads the head of the message at `at`, which is moved behind the message; `None` at the end of the stream.
    fn read(source: &Source, at: &mut u64) -> Result<Option<Self>, String> {
        let Some((head, start)) = next_head(source, *at)? else { return Ok(None) };
        let table = Table::root(&head).ok_or("is damaged: a message has no head")?;
        let length = u64::try_from(table.i64(3)).map_err(|_| "is damaged".to_owned())?;
        let end = start.checked_add(length).filter(|end| *end <= source.length());
        *at = end.ok_or("is cut short: a message ends beyond the file")?;
        Ok(Some(Self { head, body: Extent { start, length } }))
    }

    fn kind(&self) -> u8 {
        Table::root(&self.head).map_or(0, |table| table.u8(1))
    }

    fn content(&self) -> Option<Table<'_>> {
        Table::root(&self.head)?.table(2)
    }
}

/// Reads the head of the message at `at`, and where its body begins; `None` at the end of the stream.
fn next_head(source: &Source, at: u64) -> Result<Option<(Vec<u8>, u64)>, String> {
    // Some writers leave out the mark of the end.
    if at == source.length() {
        return Ok(None);
    }
    let start = source.read(at, 8)?;
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
    let head = source.read(at + 8, size.into())?;
    Ok(Some((head, at + 8 + u64::from(size))))
}
