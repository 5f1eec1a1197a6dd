//! The values of a column in a record batch. What locates them is in memory; texts and bytes stay in the file.

use half::f16;

use super::batch::{Batch, Extent};
use super::dictionaries::Dictionaries;
use super::schema::{Dictionary, Field, Kind};
use super::stream::Stream;
use crate::data::tables::{Cell, Source};

/// A column of a batch, or a part of one.
pub(super) struct Array {
    rows: usize,
    /// Which values are there, a bit for each; empty if all are.
    validity: Vec<u8>,
    values: Values,
}

enum Values {
    Null,
    Bool(Vec<u8>),
    Int { data: Vec<u8>, width: usize, signed: bool },
    Float { data: Vec<u8>, width: usize },
    Bytes { ends: Ends, data: Extent, text: bool },
    View { views: Vec<u8>, buffers: Vec<Extent>, text: bool },
    Fixed { data: Extent, width: usize },
    List { ends: Ends, element: Box<Array> },
    FixedList { size: usize, element: Box<Array> },
    Struct(Vec<(String, Array)>),
    Indices { data: Vec<u8>, width: usize, parts: Vec<Array> },
    Other(&'static str),
}

/// Where each value begins, and the last one ends.
struct Ends {
    data: Vec<u8>,
    large: bool,
}

/// Takes the nodes and buffers of a batch in order, as columns follow each other.
pub(super) struct Loader<'a> {
    source: &'a Source,
    batch: &'a Batch,
    /// The dictionaries, and the number of the batch that refers to them.
    dictionaries: Option<(&'a Dictionaries, usize)>,
    nodes: usize,
    buffers: usize,
    views: usize,
}

fn damaged() -> String {
    "is damaged: a batch has other columns than the schema".into()
}

impl<'a> Loader<'a> {
    /// A loader of record batch `number` of a stream.
    pub fn new(source: &'a Source, stream: &'a Stream, number: usize) -> Self {
        let dictionaries = Some((&stream.dictionaries, number));
        Self { dictionaries, ..Self::of_dictionary(source, &stream.batches[number]) }
    }

    /// A loader of the values of a dictionary, which refer to no other one.
    fn of_dictionary(source: &'a Source, batch: &'a Batch) -> Self {
        Self { source, batch, dictionaries: None, nodes: 0, buffers: 0, views: 0 }
    }

    /// The column `fields[number]` of the batch.
    ///
    /// # Errors
    ///
    /// If the batch is damaged, or cannot be read.
    pub fn column(mut self, fields: &[Field], number: usize) -> Result<Array, String> {
        for field in &fields[..number] {
            self.pass(field)?;
        }
        let array = self.load(&fields[number])?;
        if array.rows == self.batch.rows { Ok(array) } else { Err(damaged()) }
    }

    fn node(&mut self) -> Result<usize, String> {
        self.nodes += 1;
        self.batch.nodes.get(self.nodes - 1).copied().ok_or_else(damaged)
    }

    fn extent(&mut self) -> Result<Extent, String> {
        self.buffers += 1;
        self.batch.buffers.get(self.buffers - 1).copied().ok_or_else(damaged)
    }

    /// The next buffer, of which `length` bytes are read.
    fn buffer(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let extent = self.extent()?;
        if extent.length < length as u64 {
            return Err(damaged());
        }
        self.source.read(extent.start, length as u64)
    }

    /// The bits that say which of `rows` values are there.
    fn validity(&mut self, rows: usize) -> Result<Vec<u8>, String> {
        match self.batch.buffers.get(self.buffers) {
            Some(extent) if extent.length > 0 => self.buffer(rows.div_ceil(8)),
            _ => self.extent().map(|_| Vec::new()),
        }
    }

    fn ends(&mut self, rows: usize, large: bool) -> Result<Ends, String> {
        let width = if large { 8 } else { 4 };
        // A column without rows may have no ends.
        let length = if rows == 0 { 0 } else { size(rows.checked_add(1), width)? };
        Ok(Ends { data: self.buffer(length)?, large })
    }

    fn load(&mut self, field: &Field) -> Result<Array, String> {
        let rows = self.node()?;
        if let Some(dictionary) = field.dictionary {
            let validity = self.validity(rows)?;
            let Dictionary { id, index_width: width } = dictionary;
            let data = self.buffer(size(Some(rows), width)?)?;
            let values = Field { dictionary: None, ..field.clone() };
            let part = |batch| {
                Loader::of_dictionary(self.source, batch).column(std::slice::from_ref(&values), 0)
            };
            let parts = self.dictionaries.into_iter();
            let parts = parts.flat_map(|(all, batch)| all.parts(id, batch));
            let parts = parts.map(part).collect::<Result<_, _>>()?;
            return Ok(Array { rows, validity, values: Values::Indices { data, width, parts } });
        }
        if matches!(field.kind, Kind::Null) {
            return Ok(Array { rows, validity: Vec::new(), values: Values::Null });
        }
        let validity = self.validity(rows)?;
        let values = self.values(&field.kind, rows)?;
        Ok(Array { rows, validity, values })
    }

    fn values(&mut self, kind: &Kind, rows: usize) -> Result<Values, String> {
        Ok(match kind {
            Kind::Null => Values::Null,
            Kind::Bool => Values::Bool(self.buffer(rows.div_ceil(8))?),
            &Kind::Int { width, signed } => {
                Values::Int { data: self.buffer(size(Some(rows), width)?)?, width, signed }
            }
            &Kind::Float { width } => {
                Values::Float { data: self.buffer(size(Some(rows), width)?)?, width }
            }
            &Kind::Bytes { large, text } => {
                Values::Bytes { ends: self.ends(rows, large)?, data: self.extent()?, text }
            }
            &Kind::View { text } => {
                let views = self.buffer(size(Some(rows), 16)?)?;
                let buffers =
                    (0..self.view_buffers()?).map(|_| self.extent()).collect::<Result<_, _>>()?;
                Values::View { views, buffers, text }
            }
            &Kind::Fixed { width } => {
                let data = self.extent()?;
                if data.length < size(Some(rows), width)? as u64 {
                    return Err(damaged());
                }
                Values::Fixed { data, width }
            }
            Kind::List { large, element } => {
                let ends = self.ends(rows, *large)?;
                Values::List { ends, element: Box::new(self.load(element)?) }
            }
            Kind::FixedList { size, element } => {
                Values::FixedList { size: *size, element: Box::new(self.load(element)?) }
            }
            Kind::Struct(fields) => {
                let load = |field: &Field| Ok((field.name.clone(), self.load(field)?));
                Values::Struct(fields.iter().map(load).collect::<Result<_, String>>()?)
            }
            Kind::Other(kind) => {
                self.extent()?;
                Values::Other(kind)
            }
        })
    }

    fn view_buffers(&mut self) -> Result<usize, String> {
        self.views += 1;
        let count = self.batch.view_buffers.get(self.views - 1).copied();
        count.filter(|count| *count <= self.batch.buffers.len()).ok_or_else(damaged)
    }

    /// Passes over a column.
    fn pass(&mut self, field: &Field) -> Result<(), String> {
        self.node()?;
        let buffers = match &field.kind {
            _ if field.dictionary.is_some() => 2,
            Kind::Null => 0,
            Kind::FixedList { .. } | Kind::Struct(_) => 1,
            Kind::Bytes { .. } => 3,
            Kind::View { .. } => 2 + self.view_buffers()?,
            _ => 2,
        };
        (0..buffers).try_for_each(|_| self.extent().map(|_| ()))?;
        match &field.kind {
            _ if field.dictionary.is_some() => Ok(()),
            Kind::List { element, .. } | Kind::FixedList { element, .. } => self.pass(element),
            Kind::Struct(fields) => fields.iter().try_for_each(|field| self.pass(field)),
            _ => Ok(()),
        }
    }
}

fn size(rows: Option<usize>, width: usize) -> Result<usize, String> {
    rows.and_then(|rows| rows.checked_mul(width)).ok_or_else(damaged)
}

impl Ends {
    /// Where value `i` begins and ends.
    fn range(&self, i: usize) -> Option<(usize, usize)> {
        let end = |i: usize| -> Option<usize> {
            if self.large {
                let bytes = self.data.get(i.checked_mul(8)?..)?.first_chunk()?;
                usize::try_from(i64::from_le_bytes(*bytes)).ok()
            } else {
                let bytes = self.data.get(i.checked_mul(4)?..)?.first_chunk()?;
                usize::try_from(i32::from_le_bytes(*bytes)).ok()
            }
        };
        let (start, end) = (end(i)?, end(i + 1)?);
        (start <= end).then_some((start, end))
    }
}

impl Array {
    /// The value of row `i`. `budget` is how many bytes may still be taken, those of the elements of lists included.
    ///
    /// # Errors
    ///
    /// If the file is damaged or cannot be read, or if the budget is exceeded.
    pub fn cell(&self, i: usize, source: &Source, budget: &mut usize) -> Result<Cell, String> {
        if i >= self.rows {
            return Err(damaged());
        }
        let is_there = self.validity.get(i / 8).is_none_or(|bits| bits >> (i % 8) & 1 == 1);
        if !is_there {
            return Ok(Cell::Null);
        }
        let mut list = |start: usize, end: usize, element: &Self| {
            spend(budget, end.saturating_sub(start).saturating_mul(size_of::<Cell>()))?;
            let cells = (start..end).map(|i| element.cell(i, source, budget));
            cells.collect::<Result<_, _>>().map(Cell::List)
        };
        match &self.values {
            Values::Null => Ok(Cell::Null),
            Values::Other(kind) => Ok(Cell::Other(kind)),
            Values::Bool(bits) => {
                bits.get(i / 8).map(|bits| Cell::Bool(bits >> (i % 8) & 1 == 1)).ok_or_else(damaged)
            }
            Values::Int { data, width, signed } => {
                let number = number(data, i, *width).ok_or_else(damaged)?;
                Ok(if *signed { Cell::Int(extend(number, *width)) } else { Cell::UInt(number) })
            }
            Values::Float { data, width } => {
                let bits = number(data, i, *width).ok_or_else(damaged)?;
                Ok(match width {
                    2 => Cell::from_f32(f16::from_bits(bits as u16).to_f32()),
                    4 => Cell::from_f32(f32::from_bits(bits as u32)),
                    _ => Cell::Float(f64::from_bits(bits)),
                })
            }
            Values::Bytes { ends, data, text } => {
                let (start, end) = ends.range(i).ok_or_else(damaged)?;
                read(source, *data, start as u64, end - start, *text, budget)
            }
            Values::View { views, buffers, text } => view(views, i, buffers, source, *text, budget),
            Values::Fixed { data, width } => {
                read(source, *data, (i * width) as u64, *width, false, budget)
            }
            Values::List { ends, element } => {
                let (start, end) = ends.range(i).ok_or_else(damaged)?;
                list(start, end, element)
            }
            Values::FixedList { size, element } => {
                let start = i.checked_mul(*size).ok_or_else(damaged)?;
                list(start, start.saturating_add(*size), element)
            }
            Values::Struct(fields) => {
                let field = |(name, array): &(String, Self)| {
                    Ok((name.clone(), array.cell(i, source, budget)?))
                };
                fields.iter().map(field).collect::<Result<_, String>>().map(Cell::Struct)
            }
            Values::Indices { data, width, parts } => {
                let index = number(data, i, *width).ok_or_else(damaged)?;
                looked_up(index, parts, source, budget)
            }
        }
    }
}

/// Value `index` of a dictionary, which consists of `parts`.
fn looked_up(
    index: u64,
    parts: &[Array],
    source: &Source,
    budget: &mut usize,
) -> Result<Cell, String> {
    let mut index = usize::try_from(index).map_err(|_| damaged())?;
    for part in parts {
        if index < part.rows {
            return part.cell(index, source, budget);
        }
        index -= part.rows;
    }
    Err("is damaged: it refers to a value that its dictionary does not have".into())
}

/// Number `i` of those of `width` bytes.
fn number(data: &[u8], i: usize, width: usize) -> Option<u64> {
    let bytes = data.get(i.checked_mul(width)?..)?.get(..width)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A number of `width` bytes with its sign.
fn extend(number: u64, width: usize) -> i64 {
    let unused = 64 - 8 * width as u32;
    (number << unused).cast_signed() >> unused
}

fn spend(budget: &mut usize, amount: usize) -> Result<(), String> {
    *budget = budget
        .checked_sub(amount)
        .ok_or("has more text than the file warrants: a value is in too many rows")?;
    Ok(())
}

/// Reads a text or bytes from a buffer.
fn read(
    source: &Source,
    buffer: Extent,
    start: u64,
    length: usize,
    text: bool,
    budget: &mut usize,
) -> Result<Cell, String> {
    let end = start.checked_add(length as u64).filter(|end| *end <= buffer.length);
    end.ok_or_else(damaged)?;
    spend(budget, length)?;
    Ok(text_or_bytes(source.read(buffer.start + start, length as u64)?, text))
}

fn text_or_bytes(bytes: Vec<u8>, text: bool) -> Cell {
    match String::from_utf8(bytes) {
        Ok(content) if text => Cell::Text(content),
        Ok(content) => Cell::Bytes(content.into_bytes()),
        Err(_) if text => Cell::Other("text that is not UTF-8"),
        Err(error) => Cell::Bytes(error.into_bytes()),
    }
}

/// The value of a view: its length, and its bytes, or the number of a buffer and where it begins there.
fn view(
    views: &[u8],
    i: usize,
    buffers: &[Extent],
    source: &Source,
    text: bool,
    budget: &mut usize,
) -> Result<Cell, String> {
    let view = views.get(i * 16..).and_then(|views| views.first_chunk::<16>());
    let view = view.ok_or_else(damaged)?;
    let [length, buffer, start] = [0, 8, 12]
        .map(|at| i32::from_le_bytes([view[at], view[at + 1], view[at + 2], view[at + 3]]));
    let length = usize::try_from(length).map_err(|_| damaged())?;
    if length <= 12 {
        spend(budget, length)?;
        return Ok(text_or_bytes(view[4..4 + length].to_vec(), text));
    }
    let buffer = usize::try_from(buffer).ok().and_then(|buffer| buffers.get(buffer));
    let start = u64::try_from(start).map_err(|_| damaged())?;
    read(source, *buffer.ok_or_else(damaged)?, start, length, text, budget)
}
