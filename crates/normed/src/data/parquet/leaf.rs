//! A column of values, read a few rows at a time by the `parquet` crate's decoders.

use half::f16;
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::schema::types::ColumnDescPtr;

use super::schema::LeafKind;
use crate::data::panics;
use crate::data::tables::Cell;

/// A column of values, and those of the rows that were read last.
pub(super) struct Leaf {
    reader: ColumnReader,
    max_definition: i16,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Values,
    next_level: usize,
    next_value: usize,
}

/// Values that are not null.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
    /// Values that no field takes.
    Unread(usize),
}

impl Leaf {
    pub fn new(column: ColumnDescPtr, pages: Box<dyn PageReader>) -> Self {
        Self {
            max_definition: column.max_def_level(),
            reader: get_column_reader(column, pages),
            definitions: Vec::new(),
            repetitions: Vec::new(),
            values: Values::Unread(0),
            next_level: 0,
            next_value: 0,
        }
    }

    /// Skips rows.
    ///
    /// # Errors
    ///
    /// If the column is damaged, or has fewer rows.
    pub fn skip(&mut self, rows: usize) -> Result<(), String> {
        let skipped = panics::catch(|| {
            let skipped = match &mut self.reader {
                ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
                ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
            };
            skipped.map_err(cause_of)
        })?;
        if skipped == rows { Ok(()) } else { Err(ENDS.into()) }
    }

    /// Reads the values of the next `rows` rows.
    ///
    /// # Errors
    ///
    /// If the column is damaged, or has fewer rows.
    pub fn read(&mut self, rows: usize) -> Result<(), String> {
        self.definitions.clear();
        self.repetitions.clear();
        (self.next_level, self.next_value) = (0, 0);
        let levels = (&mut self.definitions, &mut self.repetitions);
        let reader = &mut self.reader;
        self.values = panics::catch(|| {
            Ok(match reader {
                ColumnReader::BoolColumnReader(reader) => Values::Bool(read(reader, levels, rows)?),
                ColumnReader::Int32ColumnReader(reader) => {
                    Values::Int32(read(reader, levels, rows)?)
                }
                ColumnReader::Int64ColumnReader(reader) => {
                    Values::Int64(read(reader, levels, rows)?)
                }
                ColumnReader::Int96ColumnReader(reader) => {
                    Values::Unread(read(reader, levels, rows)?.len())
                }
                ColumnReader::FloatColumnReader(reader) => {
                    Values::Float(read(reader, levels, rows)?)
                }
                ColumnReader::DoubleColumnReader(reader) => {
                    Values::Double(read(reader, levels, rows)?)
                }
                ColumnReader::ByteArrayColumnReader(reader) => {
                    Values::Bytes(read(reader, levels, rows)?)
                }
                ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                    Values::Fixed(read(reader, levels, rows)?)
                }
            })
        })?;
        Ok(())
    }

    /// The definition level of the next value, which may be null.
    pub fn definition(&self) -> Result<i16, String> {
        let is_there = self.next_level < self.levels();
        let level = self.definitions.get(self.next_level).copied();
        if is_there { Ok(level.unwrap_or(self.max_definition)) } else { Err(ENDS.into()) }
    }

    /// The repetition level of the next value; 0 if it begins a row, or if there is none.
    pub fn repetition(&self) -> i16 {
        self.repetitions.get(self.next_level).copied().unwrap_or(0)
    }

    /// Takes the next value, which may be null. `budget` is how many bytes of text and data may still be taken.
    pub fn take(&mut self, kind: LeafKind, budget: &mut usize) -> Result<Cell, String> {
        if self.definition()? < self.max_definition {
            self.next_level += 1;
            return Ok(Cell::Null);
        }
        let at = self.next_value;
        self.next_level += 1;
        self.next_value += 1;
        self.value(at, kind, budget).ok_or_else(|| ENDS.to_owned())?
    }

    /// Passes over the next value.
    pub fn pass(&mut self) -> Result<(), String> {
        self.next_value += usize::from(self.definition()? == self.max_definition);
        self.next_level += 1;
        Ok(())
    }

    /// The bytes of value `index` that was read, nulls not counted.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        match &self.values {
            Values::Bytes(values) => values.get(index).map(ByteArray::data),
            Values::Fixed(values) => values.get(index).map(|value| value.data()),
            _ => None,
        }
    }

    fn levels(&self) -> usize {
        match &self.values {
            _ if self.max_definition > 0 => self.definitions.len(),
            Values::Bool(values) => values.len(),
            Values::Int32(values) => values.len(),
            Values::Int64(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Fixed(values) => values.len(),
            Values::Unread(count) => *count,
        }
    }

    /// Value `at` of those that are not null, if there is one.
    fn value(&self, at: usize, kind: LeafKind, budget: &mut usize) -> Option<Result<Cell, String>> {
        let mut sized = |bytes: &[u8]| {
            let left = budget.checked_sub(bytes.len());
            *budget =
                left.ok_or("has more text than the file warrants: a value is in too many rows")?;
            Ok(bytes.to_vec())
        };
        Some(Ok(match (&self.values, kind) {
            (_, LeafKind::Other(kind)) => Cell::Other(kind),
            (Values::Bool(values), _) => Cell::Bool(*values.get(at)?),
            (Values::Int32(values), LeafKind::Unsigned) => {
                Cell::UInt(values.get(at)?.cast_unsigned().into())
            }
            (Values::Int64(values), LeafKind::Unsigned) => {
                Cell::UInt(values.get(at)?.cast_unsigned())
            }
            (Values::Int32(values), _) => Cell::Int((*values.get(at)?).into()),
            (Values::Int64(values), _) => Cell::Int(*values.get(at)?),
            (Values::Float(values), _) => Cell::from_f32(*values.get(at)?),
            (Values::Double(values), _) => Cell::Float(*values.get(at)?),
            (Values::Bytes(_) | Values::Fixed(_), kind) => match (kind, self.bytes(at)?) {
                (LeafKind::Half, &[low, high]) => {
                    Cell::from_f32(f16::from_le_bytes([low, high]).to_f32())
                }
                (LeafKind::Text, bytes) => match sized(bytes).map(String::from_utf8) {
                    Ok(Ok(text)) => Cell::Text(text),
                    Ok(Err(_)) => Cell::Other("text that is not UTF-8"),
                    Err(cause) => return Some(Err(cause)),
                },
                (_, bytes) => match sized(bytes) {
                    Ok(bytes) => Cell::Bytes(bytes),
                    Err(cause) => return Some(Err(cause)),
                },
            },
            (Values::Unread(_), _) => Cell::Other("a timestamp"),
        }))
    }
}

const ENDS: &str = "ends before its last row";

/// Reads the levels and the values of `rows` rows.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    (definitions, repetitions): (&mut Vec<i16>, &mut Vec<i16>),
    rows: usize,
) -> Result<Vec<T::T>, String> {
    let mut values = Vec::new();
    let read = reader.read_records(rows, Some(definitions), Some(repetitions), &mut values);
    match read.map_err(cause_of)? {
        (read, ..) if read == rows => Ok(values),
        _ => Err(ENDS.into()),
    }
}

/// The cause of an error of the crate, without the name of its kind.
fn cause_of(error: parquet::errors::ParquetError) -> String {
    use parquet::errors::ParquetError::{EOF, General, NYI};
    match error {
        General(cause) | NYI(cause) | EOF(cause) => cause,
        other => other.to_string(),
    }
}
