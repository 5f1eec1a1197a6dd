//! How much a file may hold, by its length: what it says beyond that is damage.

/// Rows and values that a file of any size may have. Beyond that, a byte of it has to stand for each.
const MIN_ROWS: u64 = 1 << 16;

/// Bytes of text and data that the rows of a file of any size may have: 256 MiB.
const MIN_BUDGET: u64 = 256 << 20;

/// How often a byte of a file may be in its rows: a text that many rows share is stored once.
const MAX_REPEATS: u64 = 64;

/// The most rows, or values of a column, in a file of `length` bytes.
pub(in crate::data) fn max_rows_of(length: u64) -> u64 {
    length.max(MIN_ROWS)
}

/// The most bytes of text and data in the rows of a file of `length` bytes.
pub(in crate::data) fn budget_of(length: u64) -> usize {
    let budget = length.saturating_mul(MAX_REPEATS).max(MIN_BUDGET);
    usize::try_from(budget).unwrap_or(usize::MAX)
}
