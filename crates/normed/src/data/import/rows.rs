//! Rows of a table as JSON objects.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::cell::Cell;
use super::column_words::split_name;
use super::columns::{Columns, Header};
use super::image_folder::ImageFolder;
use super::sheet::{Sheet, SheetRow};
use crate::files::relative_path;

/// A row of a data set that a row of the table became, or why it cannot.
pub(super) struct TableRow {
    /// The file and the row in it. The column of the question distinguishes rows of one place.
    pub place: String,
    pub object: Result<Map<String, Value>, String>,
}

/// Makes the rows of a table.
pub(super) struct RowMaker<'a> {
    pub path: &'a Path,
    pub sheet: &'a Sheet,
    pub header: &'a Header,
    pub columns: &'a Columns,
    pub images: ImageFolder,
    /// The folder that paths are relative to.
    pub folder: &'a Path,
    /// The ids of rows, if they are those of a column.
    pub uses_ids: bool,
    /// The path that is written for each file.
    pub written: HashMap<PathBuf, String>,
}

/// Whether every row has an id that no other row has.
pub(super) fn ids_are_unique(sheet: &Sheet, header: &Header, column: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut rows = sheet.rows.iter().skip(header.row + 1);
    rows.all(|row| row.cell(column).text().ok().flatten().is_some_and(|id| seen.insert(id)))
}

impl RowMaker<'_> {
    /// The rows below the names of the columns.
    pub fn rows(&mut self) -> Vec<TableRow> {
        let sheet = self.sheet;
        let rows = sheet.rows.iter().skip(self.header.row + 1);
        rows.flat_map(|row| self.of(row)).collect()
    }

    fn of(&mut self, row: &SheetRow) -> Vec<TableRow> {
        let place = self.sheet.place(self.path, row);
        let common = match self.common(row) {
            Ok(common) => common,
            Err(cause) => return vec![TableRow { place, object: Err(cause) }],
        };
        if self.columns.wide.is_empty() {
            let object = self.question_or_report(row, common);
            return vec![TableRow { place, object }];
        }
        // Each question is a column; a cell without an answer is not a row.
        let answer = |(number, question): &(usize, String)| {
            let object = match row.cell(*number).text() {
                Ok(None) => return None,
                Err(cause) => Err(format!("column `{question}` {cause}")),
                Ok(Some(answer)) => {
                    let mut object = common.clone();
                    let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
                    let id = format!("{id}: {question}");
                    object.insert("id".to_owned(), id.into());
                    object.insert("question".to_owned(), question.as_str().into());
                    object.insert("answer".to_owned(), answer.into());
                    Ok(object)
                }
            };
            Some(TableRow { place: format!("{place}, column `{question}`"), object })
        };
        self.columns.wide.iter().filter_map(answer).collect()
    }

    /// The fields that questions and reports have in common.
    fn common(&mut self, row: &SheetRow) -> Result<Map<String, Value>, String> {
        self.check_width(row)?;
        let mut object = Map::new();
        let id = match self.columns.id.filter(|_| self.uses_ids) {
            Some(column) => self.require(row, column)?,
            None => format!("row {}", row.number),
        };
        object.insert("id".to_owned(), id.into());
        let images = self.images(row)?;
        match <[String; 1]>::try_from(images) {
            Ok([one]) => object.insert("image".to_owned(), one.into()),
            Err(several) => object.insert("images".to_owned(), several.into()),
        };
        if let Some(column) = self.columns.split {
            let text = self.require(row, column)?;
            let split = split_name(&text).ok_or_else(|| {
                format!("`{}` is `{text}`, not train, validate or test", self.name(column))
            })?;
            object.insert("split".to_owned(), split.into());
        }
        if let Some(column) = self.columns.group {
            object.insert("group".to_owned(), self.require(row, column)?.into());
        }
        for (column, name) in &self.columns.keep {
            let text = self.text(row, *column)?;
            // A key that a row has already is its own.
            if let Some(text) = text.filter(|_| !object.contains_key(name)) {
                object.insert(name.clone(), text.into());
            }
        }
        Ok(object)
    }

    fn question_or_report(
        &self,
        row: &SheetRow,
        mut object: Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let columns = self.columns;
        let fields = [
            ("question", columns.question),
            ("answer", columns.answer),
            ("report", columns.report.filter(|_| columns.question.is_none())),
        ];
        let mut missing = Vec::new();
        for (key, column) in fields {
            let Some(column) = column else { continue };
            match self.text(row, column)? {
                Some(text) => drop(object.insert(key.to_owned(), text.into())),
                None => missing.push(format!("`{}`", self.name(column))),
            }
        }
        match missing.as_slice() {
            [] => {}
            [one] => return Err(format!("{one} is empty")),
            several => return Err(format!("{} are empty", several.join(" and "))),
        }
        if let Some(column) = columns.answer_type
            && let Some(text) = self.text(row, column)?
        {
            object.insert("answer_type".to_owned(), text.into());
        }
        Ok(object)
    }

    /// The paths of a row's images as they are written.
    fn images(&mut self, row: &SheetRow) -> Result<Vec<String>, String> {
        let mut paths = Vec::new();
        for &column in &self.columns.image {
            let Some(text) = self.text(row, column)? else { continue };
            paths.extend(self.files(&text)?);
        }
        if paths.is_empty() {
            let names: Vec<_> =
                self.columns.image.iter().map(|&n| format!("`{}`", self.name(n))).collect();
            return Err(format!("{} is empty", names.join(" and ")));
        }
        let folder = self.folder;
        let write = |file: PathBuf| {
            let path = self.written.entry(file);
            path.or_insert_with_key(|file| relative_path(file, folder)).clone()
        };
        Ok(paths.into_iter().map(write).collect())
    }

    /// The files that a cell names: one, several between `;`, `|` or line ends, or a JSON list.
    fn files(&mut self, text: &str) -> Result<Vec<PathBuf>, String> {
        if text.starts_with('[')
            && let Ok(list) = serde_json::from_str::<Vec<String>>(text)
        {
            return list.iter().map(|name| self.images.find(name)).collect();
        }
        let whole = self.images.find(text);
        let is_separator = |c| matches!(c, ';' | '|' | '\n');
        if whole.is_ok() || !text.contains(is_separator) {
            return Ok(vec![whole?]);
        }
        let names = text.split(is_separator).map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| self.images.find(name)).collect()
    }

    /// That no cell stands beside the columns that have names, as when a text with a delimiter has no quotes.
    fn check_width(&self, row: &SheetRow) -> Result<(), String> {
        let last = self.header.columns.last().map_or(0, |(number, _)| *number);
        match row.cells.last_key_value() {
            Some((&number, _)) if self.sheet.is_text && number > last => Err(format!(
                "has {} cells, and the row of names has {}: a text that contains the delimiter needs quotes (\")",
                number + 1,
                last + 1
            )),
            _ => Ok(()),
        }
    }

    fn name(&self, column: usize) -> &str {
        let name = self.header.columns.iter().find(|(number, _)| *number == column);
        name.map_or("", |(_, name)| name)
    }

    fn text(&self, row: &SheetRow, column: usize) -> Result<Option<String>, String> {
        let cell: &Cell = row.cell(column);
        cell.text().map_err(|cause| format!("`{}` {cause}", self.name(column)))
    }

    fn require(&self, row: &SheetRow, column: usize) -> Result<String, String> {
        self.text(row, column)?.ok_or_else(|| format!("`{}` is empty", self.name(column)))
    }
}
