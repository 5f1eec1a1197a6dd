//! The footer of a parquet file: its schema, and where its columns are.
//!
//! Format: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use parquet::basic::{Repetition, Type as PhysicalType};

use super::decompress::Codec;
use super::thrift::{Flaw, Kind, Reader};
use crate::data::tables::max_rows_of;

/// What a footer says.
#[derive(Debug, Default)]
pub(super) struct Footer {
    /// The nodes of the schema, each before those below it; the first is the root.
    pub schema: Vec<SchemaElement>,
    pub metadata: Vec<(String, String)>,
    pub groups: Vec<RowGroup>,
}

/// A node of a schema.
#[derive(Debug, Default)]
pub(super) struct SchemaElement {
    pub name: String,
    /// The type of its values, if it has any.
    pub physical: Option<PhysicalType>,
    /// Bytes of a value, where all have the same.
    pub length: i32,
    pub repetition: Option<Repetition>,
    pub children: usize,
    pub meaning: Meaning,
}

/// What the values of a node mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What their type says.
    #[default]
    Plain,
    Text,
    List,
    Unsigned,
    /// A number of 16 bits in two bytes.
    Half,
    /// What no field takes.
    Other(&'static str),
}

/// A row group.
#[derive(Debug, Default)]
pub(super) struct RowGroup {
    pub rows: usize,
    /// Its columns of values, in the schema's order.
    pub chunks: Vec<Chunk>,
}

/// A column of values in a row group.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Chunk {
    /// Where its pages begin in the file, and how many bytes they take.
    pub start: u64,
    pub length: u64,
    pub values: usize,
    /// The number of its codec.
    pub codec: Codec,
    pub is_encrypted: bool,
    is_elsewhere: bool,
}

impl Footer {
    /// Reads the footer of a file of `length` bytes.
    ///
    /// # Errors
    ///
    /// If it is damaged, or says more than the file can hold; the cause says which.
    pub fn parse(bytes: &[u8], length: u64) -> Result<Self, String> {
        let mut footer = Self::default();
        footer.read(&mut Reader::new(bytes)).map_err(|flaw| match flaw {
            Flaw::Ends => "its footer is cut short",
            Flaw::Damaged => "its footer is damaged",
        })?;
        footer.check(length)?;
        Ok(footer)
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Flaw> {
        reader.fields(Kind::OUTERMOST, |reader, number, kind| match number {
            2 => reader.elements(kind, |reader, kind| {
                self.schema.push(SchemaElement::read(reader, kind)?);
                Ok(())
            }),
            4 => reader.elements(kind, |reader, kind| {
                self.groups.push(RowGroup::read(reader, kind)?);
                Ok(())
            }),
            5 => reader.elements(kind, |reader, kind| {
                let (mut key, mut value) = (String::new(), String::new());
                reader.fields(kind, |reader, number, kind| {
                    match number {
                        1 => key = reader.text(kind)?,
                        2 => value = reader.text(kind)?,
                        _ => reader.pass(kind)?,
                    }
                    Ok(())
                })?;
                self.metadata.push((key, value));
                Ok(())
            }),
            _ => reader.pass(kind),
        })
    }

    /// Checks what it says about a file of `length` bytes.
    fn check(&self, length: u64) -> Result<(), String> {
        let leaves = self.schema.iter().filter(|node| node.is_leaf()).count();
        // So many rows or values that they alone would fill the memory.
        let most = max_rows_of(length);
        let mut rows = 0_u64;
        for group in &self.groups {
            rows = rows.saturating_add(group.rows as u64);
            if group.chunks.len() != leaves {
                return Err("its row groups have other columns than its schema".into());
            }
            if group.chunks.iter().any(|chunk| chunk.is_elsewhere) {
                return Err("its columns are in other files, which is not supported".into());
            }
            let fits = |chunk: &Chunk| {
                let end = chunk.start.checked_add(chunk.length);
                chunk.is_encrypted
                    || end.is_some_and(|end| end <= length) && chunk.values as u64 <= most
            };
            if rows > most || !group.chunks.iter().all(fits) {
                return Err("its footer describes data that it does not have".into());
            }
        }
        Ok(())
    }
}

impl SchemaElement {
    pub fn is_leaf(&self) -> bool {
        self.physical.is_some() && self.children == 0
    }

    fn read(reader: &mut Reader<'_>, kind: Kind) -> Result<Self, Flaw> {
        let mut node = Self::default();
        let (mut converted, mut logical) = (Meaning::Plain, Meaning::Plain);
        reader.fields(kind, |reader, number, kind| {
            match number {
                1 => node.physical = Some(physical_of(reader.integer(kind)?)?),
                2 => node.length = reader.integer(kind)?,
                3 => node.repetition = Some(repetition_of(reader.integer(kind)?)?),
                4 => node.name = reader.text(kind)?,
                5 => node.children = reader.integer(kind)?,
                6 => converted = converted_meaning(reader.integer(kind)?),
                10 => logical = logical_meaning(reader, kind)?,
                _ => reader.pass(kind)?,
            }
            Ok(())
        })?;
        // The logical type took the place of the converted one; writers give both.
        node.meaning = if logical == Meaning::Plain { converted } else { logical };
        Ok(node)
    }
}

fn physical_of(number: i32) -> Result<PhysicalType, Flaw> {
    Ok(match number {
        0 => PhysicalType::BOOLEAN,
        1 => PhysicalType::INT32,
        2 => PhysicalType::INT64,
        3 => PhysicalType::INT96,
        4 => PhysicalType::FLOAT,
        5 => PhysicalType::DOUBLE,
        6 => PhysicalType::BYTE_ARRAY,
        7 => PhysicalType::FIXED_LEN_BYTE_ARRAY,
        _ => return Err(Flaw::Damaged),
    })
}

fn repetition_of(number: i32) -> Result<Repetition, Flaw> {
    Ok(match number {
        0 => Repetition::REQUIRED,
        1 => Repetition::OPTIONAL,
        2 => Repetition::REPEATED,
        _ => return Err(Flaw::Damaged),
    })
}

/// The meaning of a converted type, by which old writers say what values mean.
fn converted_meaning(number: i32) -> Meaning {
    match number {
        0 | 4 | 19 => Meaning::Text, // UTF-8, an enum, JSON
        1..=3 => Meaning::List,      // a map, its entries, a list
        5 => Meaning::Other("a decimal"),
        6 => Meaning::Other("a date"),
        7 | 8 => Meaning::Other("a time"),
        9 | 10 => Meaning::Other("a timestamp"),
        11..=14 => Meaning::Unsigned,
        21 => Meaning::Other("an interval"),
        _ => Meaning::Plain,
    }
}

/// The meaning of a logical type: a union, whose field says which.
fn logical_meaning(reader: &mut Reader<'_>, kind: Kind) -> Result<Meaning, Flaw> {
    let mut meaning = Meaning::Plain;
    reader.fields(kind, |reader, number, kind| {
        meaning = match number {
            1 | 4 | 12 => Meaning::Text,
            2 | 3 => Meaning::List,
            5 => Meaning::Other("a decimal"),
            6 => Meaning::Other("a date"),
            7 => Meaning::Other("a time"),
            8 => Meaning::Other("a timestamp"),
            10 => {
                return reader.fields(kind, |reader, number, kind| {
                    match number {
                        2 if !reader.truth(kind)? => meaning = Meaning::Unsigned,
                        2 => {}
                        _ => reader.pass(kind)?,
                    }
                    Ok(())
                });
            }
            14 => Meaning::Other("a UUID"),
            15 => Meaning::Half,
            _ => Meaning::Plain,
        };
        reader.pass(kind)
    })?;
    Ok(meaning)
}

impl RowGroup {
    fn read(reader: &mut Reader<'_>, kind: Kind) -> Result<Self, Flaw> {
        let mut group = Self::default();
        reader.fields(kind, |reader, number, kind| match number {
            1 => reader.elements(kind, |reader, kind| {
                group.chunks.push(Chunk::read(reader, kind)?);
                Ok(())
            }),
            3 => {
                group.rows = reader.integer(kind)?;
                Ok(())
            }
            _ => reader.pass(kind),
        })?;
        Ok(group)
    }
}

impl Chunk {
    fn read(reader: &mut Reader<'_>, kind: Kind) -> Result<Self, Flaw> {
        let mut chunk = Self::default();
        reader.fields(kind, |reader, number, kind| match number {
            1 => {
                chunk.is_elsewhere = !reader.bytes(kind)?.is_empty();
                Ok(())
            }
            3 => chunk.read_metadata(reader, kind),
            // How the column is encrypted, or what is known of it, encrypted.
            8 | 9 => {
                chunk.is_encrypted = true;
                reader.pass(kind)
            }
            _ => reader.pass(kind),
        })?;
        Ok(chunk)
    }

    fn read_metadata(&mut self, reader: &mut Reader<'_>, kind: Kind) -> Result<(), Flaw> {
        let (mut pages, mut dictionary) = (0, None);
        reader.fields(kind, |reader, number, kind| {
            match number {
                4 => self.codec = Codec::from_number(reader.integer(kind)?),
                5 => self.values = reader.integer(kind)?,
                7 => self.length = reader.integer(kind)?,
                9 => pages = reader.integer(kind)?,
                11 => dictionary = Some(reader.integer(kind)?),
                _ => reader.pass(kind)?,
            }
            Ok(())
        })?;
        // Some writers give 0 where there is no dictionary.
        self.start = dictionary.filter(|at| (1..pages).contains(at)).unwrap_or(pages);
        Ok(())
    }
}
