//! The layout of a record batch: where its values are.

use super::flat::Table;

/// A stretch of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    pub start: u64,
    pub length: u64,
}

/// The layout of a record batch or of a dictionary.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub rows: usize,
    /// The number of values of each column and part of one, in the order of the schema.
    pub nodes: Vec<usize>,
    /// The buffers of the columns, in order.
    pub buffers: Vec<Extent>,
    /// The number of data buffers of each column of views.
    pub view_buffers: Vec<usize>,
}

impl Batch {
    /// Reads the layout in a message whose body is `body`.
    ///
    /// # Errors
    ///
    /// If it is damaged, or the batch is compressed.
    pub fn read(table: Table<'_>, body: Extent) -> Result<Self, String> {
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
        })
    }
}
