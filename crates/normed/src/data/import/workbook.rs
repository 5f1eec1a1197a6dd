//! Workbooks of Excel (XLSX, XLS) and OpenDocument (ODS).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Cursor, Read as _};
use std::path::Path;

use calamine::{
    Data, DataRef, Dimensions, Error as WorkbookError, ExcelDateTime, Reader as _, Sheets,
    open_workbook_auto_from_rs,
};
use serde_json::{Number, Value};

use super::cell::Cell;
use super::ods_merged::merged_cells;
use super::sheet::{Sheet, SheetRow};
use crate::data::panics;
use crate::{Error, Result};

/// Limit of the parts of a workbook when they are unpacked, in bytes.
const MAX_UNPACKED: u64 = 1 << 30;

/// The cells that are not empty, by row and column from 0.
type SparseCells = BTreeMap<u32, BTreeMap<u32, Cell>>;

/// The name of a sheet, and its cells.
type NamedCells = (String, SparseCells);

/// Reads a sheet of the workbook `path`: the one called `name`, or the first that holds a cell.
pub(super) fn read(path: &Path, bytes: Vec<u8>, name: Option<&str>) -> Result<Sheet> {
    let invalid = |cause: String| {
        Error::invalid(path.display(), format!("cannot be read as a workbook: {cause}"))
            .with_remedy("open it in Excel or LibreOffice, and save it as .xlsx or .csv")
    };
    let content = check_archive(&bytes).map_err(invalid)?.unwrap_or_default();
    let read = || -> Result<(Vec<String>, Option<NamedCells>), String> {
        let open = || open_workbook_auto_from_rs(Cursor::new(bytes));
        let mut book = open().map_err(|error| cause_of(&error))?;
        let names = book.sheet_names();
        let mut sheets = Vec::new();
        for sheet in names.iter().filter(|sheet| name.is_none_or(|name| name == sheet.as_str())) {
            let cells = sheet_cells(&mut book, sheet, &content)?;
            if !cells.is_empty() || name.is_some() {
                sheets.push((sheet.clone(), cells));
                break;
            }
        }
        Ok((names, sheets.pop()))
    };
    let (names, sheet) = panics::catch(read).map_err(invalid)?;
    let Some((sheet, cells)) = sheet else {
        let cause = match name {
            Some(name) => format!("has no sheet `{name}`"),
            None => "holds no cell".to_owned(),
        };
        return Err(Error::invalid(path.display(), cause)
            .with_remedy(format!("its sheets are: {}", quoted(&names))));
    };
    let mut notes = Vec::new();
    if name.is_none() && names.len() > 1 {
        let others: Vec<_> = names.into_iter().filter(|other| *other != sheet).collect();
        notes.push(format!("sheet: `{sheet}`; choose another by --sheet: {}", quoted(&others)));
    }
    let row = |(row, cells): (u32, BTreeMap<u32, Cell>)| SheetRow {
        number: row as usize + 1,
        cells: cells.into_iter().map(|(column, cell)| (column as usize, cell)).collect(),
    };
    Ok(Sheet { rows: cells.into_iter().map(row).collect(), notes, is_text: false })
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why a workbook cannot be opened.
fn cause_of(error: &WorkbookError) -> String {
    let cause = error.to_string();
    match cause.to_lowercase().contains("password") {
        true => "it is protected by a password. Save a copy without one".to_owned(),
        false => cause,
    }
}

/// Checks the sizes that an archive states. Returns the content of an OpenDocument file.
fn check_archive(bytes: &[u8]) -> Result<Option<String>, String> {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
        return Ok(None); // XLS is not an archive; a file that is neither is refused where it is opened
    };
    let mut unpacked = 0_u64;
    for i in 0..archive.len() {
        let size = archive.by_index_raw(i).map_err(|e| e.to_string())?.size();
        unpacked = unpacked.saturating_add(size);
    }
    if unpacked > MAX_UNPACKED {
        let most = MAX_UNPACKED >> 20;
        return Err(format!("its parts have more than {most} MiB when they are unpacked"));
    }
    let Ok(content) = archive.by_name("content.xml") else { return Ok(None) };
    let mut text = String::new();
    content.take(MAX_UNPACKED).read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(Some(text))
}

/// The cells of a sheet; `content` is that of an OpenDocument file. A merged cell's value is that of all its cells in rows that are not blank.
fn sheet_cells(
    book: &mut Sheets<Cursor<Vec<u8>>>,
    name: &str,
    content: &str,
) -> Result<SparseCells, String> {
    let text = |error: &dyn Display| error.to_string();
    let mut cells = SparseCells::new();
    let mut put = |(row, column): (u32, u32), cell: Cell| {
        if !cell.is_empty() {
            cells.entry(row).or_default().insert(column, cell);
        }
    };
    let merged = match book {
        // Cell by cell: one far away would make a range of millions.
        Sheets::Xlsx(book) => {
            let merged = book.merge_cells_by_sheet_name(name).map_err(|e| text(&e))?;
            let mut reader = book.worksheet_cells_reader(name).map_err(|e| text(&e))?;
            while let Some(cell) = reader.next_cell().map_err(|e| text(&e))? {
                put(cell.get_position(), cell_of(&owned(cell.get_value())));
            }
            merged
        }
        Sheets::Xls(book) => {
            put_range(&book.worksheet_range(name).map_err(|e| text(&e))?, &mut put);
            book.merge_cells_by_sheet_name(name).map_err(|e| text(&e))?
        }
        Sheets::Ods(book) => {
            put_range(&book.worksheet_range(name).map_err(|e| text(&e))?, &mut put);
            merged_cells(content, name)?
        }
        Sheets::Xlsb(_) => return Err("it is a binary workbook (XLSB)".to_owned()),
    };
    fill_merged(&mut cells, &merged);
    Ok(cells)
}

fn put_range(range: &calamine::Range<Data>, put: &mut impl FnMut((u32, u32), Cell)) {
    let (top, left) = range.start().unwrap_or_default();
    for (row, column, data) in range.used_cells() {
        put((top + row as u32, left + column as u32), cell_of(data));
    }
}

fn owned(data: &DataRef<'_>) -> Data {
    data.clone().into()
}

/// Gives every empty cell of a merged region the value of its first cell.
fn fill_merged(cells: &mut SparseCells, merged: &[Dimensions]) {
    for Dimensions { start: (top, left), end: (bottom, right) } in merged {
        let Some(value) = cells.get(top).and_then(|row| row.get(left)).cloned() else { continue };
        for (_, row) in cells.range_mut(*top..=(*bottom).max(*top)) {
            for column in *left..=*right {
                row.entry(column).or_insert_with(|| value.clone());
            }
        }
    }
}

fn cell_of(data: &Data) -> Cell {
    let number = |number: Option<Number>| match number {
        Some(number) => Cell::Value(Value::Number(number)),
        None => Cell::Error("of a number that is not finite".to_owned()),
    };
    match data {
        Data::Empty => Cell::Empty,
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => {
            Cell::of_text(text)
        }
        Data::Int(whole) => number(Some((*whole).into())),
        Data::Float(float) => number(Number::from_f64(*float)),
        Data::Bool(truth) => Cell::Value((*truth).into()),
        Data::DateTime(date) => Cell::of_text(&date_text(*date)),
        Data::Error(error) => Cell::Error(error.to_string()),
    }
}

/// A date as `2024-03-01`, with a time as `2024-03-01 14:30:00`; a time or a duration as `14:30:00`.
fn date_text(date: ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    if date.is_duration() || date.as_f64() < 1.0 {
        let hours = (date.as_f64() * 24.0).floor().max(0.0) as u64;
        return format!("{hours:02}:{minute:02}:{second:02}");
    }
    let day = format!("{year:04}-{month:02}-{day:02}");
    match (hour, minute, second) {
        (0, 0, 0) => day,
        _ => format!("{day} {hour:02}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType;

    use super::*;

    #[test]
    fn dates_are_written_year_first() {
        let date = |value| date_text(ExcelDateTime::new(value, ExcelDateTimeType::DateTime, false));
        assert_eq!(date(45_352.0), "2024-03-01");
        assert_eq!(date(45_352.604_166_666_664), "2024-03-01 14:30:00");
        assert_eq!(date(0.5), "12:00:00");
    }

    #[test]
    fn merged_cells_count_for_all_rows_that_are_not_blank() {
        let mut cells = SparseCells::new();
        let value = |text: &str| Cell::of_text(text);
        cells.entry(1).or_default().insert(0, value("P1"));
        cells.entry(2).or_default().insert(2, value("x"));
        cells.entry(9).or_default().insert(2, value("y"));
        fill_merged(&mut cells, &[Dimensions::new((1, 0), (1_000_000, 1))]);
        let row = |n: u32| cells[&n].keys().copied().collect::<Vec<_>>();
        assert_eq!((cells.len(), row(1), row(2)), (3, vec![0, 1], vec![0, 1, 2]));
        assert_eq!(cells[&9][&1], value("P1"));
    }
}
