//! A table as rows of cells.

use std::collections::BTreeMap;
use std::path::Path;

use super::cell::Cell;

/// A table as it was read: the rows that are not blank, in order.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub rows: Vec<SheetRow>,
    /// What was found out about the file, such as `encoding: windows-1252, guessed`.
    pub notes: Vec<String>,
    /// Whether rows are numbered lines of a text file.
    pub is_text: bool,
}

/// A row that is not blank.
#[derive(Debug, Default, Clone)]
pub(super) struct SheetRow {
    /// The number of the row, or the line that it starts in, counted from 1.
    pub number: usize,
    /// The cells that are not empty, by the number of their column from 0.
    pub cells: BTreeMap<usize, Cell>,
}

impl SheetRow {
    /// The cell in a column.
    pub fn cell(&self, column: usize) -> &Cell {
        self.cells.get(&column).unwrap_or(&Cell::Empty)
    }
}

impl Sheet {
    /// The place of a row in messages.
    pub fn place(&self, path: &Path, row: &SheetRow) -> String {
        match self.is_text {
            true => format!("{}:{}", path.display(), row.number),
            false => format!("{}: row {}", path.display(), row.number),
        }
    }
}

/// The letters of a column in spreadsheet programs: `A` is 0, `AA` is 26.
pub(super) fn column_letters(mut column: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(b'A' + (column % 26) as u8);
        column /= 26;
        if column == 0 {
            break;
        }
        column -= 1;
    }
    letters.iter().rev().map(|&letter| char::from(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        let letters = [0, 25, 26, 51, 52, 701, 702].map(column_letters);
        assert_eq!(letters, ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    }
}
