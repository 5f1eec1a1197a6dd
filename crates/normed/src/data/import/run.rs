//! The import of a table: read, checked, divided into splits and counted.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::columns::{ChosenColumn, Columns, Header};
use super::image_folder::ImageFolder;
use super::open;
use super::options::ImportOptions;
use super::rows::{RowMaker, TableRow, ids_are_unique};
use super::summary::{ImportSummary, shared_between_splits};
use crate::data::image_survey::ImageSurvey;
use crate::data::jsonl::{check_rows, image_directory};
use crate::data::read_options::{Answers, ReadOptions};
use crate::data::row::Row;
use crate::data::rows::{check_examples, refuse_rows};
use crate::data::split_assignment::{AssignedRows, SplitRows};
use crate::data::{AnswerType, Example, JoinedNames, Task};
use crate::digits::group_digits;
use crate::{Error, Result};

/// A table whose rows are read and checked, but not yet divided into splits.
pub struct Import {
    options: ImportOptions,
    objects: Vec<Map<String, Value>>,
    examples: Vec<Example>,
    has_splits: bool,
    has_groups: bool,
    imported: Imported,
}

/// What an import found and made.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// The rows as JSON Lines.
    pub lines: String,
    /// The columns that were read.
    pub columns: Vec<ChosenColumn>,
    /// Columns that were not read.
    pub unused: Vec<String>,
    /// What was found out about the file, such as its delimiter.
    pub notes: Vec<String>,
    /// The rows that were left out: place and cause of each.
    pub bad_rows: Vec<(String, String)>,
    /// What the user should know of the data.
    pub warnings: Vec<String>,
    /// What was found to belong together when splits were made; none if the table has splits.
    pub joined: Option<JoinedNames>,
    /// The rows in numbers; absent before [`Import::finish`].
    pub summary: Option<ImportSummary>,
}

impl Import {
    /// Reads the table, finds its images and checks every row.
    ///
    /// # Errors
    ///
    /// If the table or the folder of images cannot be read, if a column is not found, if no row can be used, or if a row
    /// cannot be used and is not to be left out.
    pub fn open(options: ImportOptions) -> Result<Self> {
        let path = options.file.as_path();
        let sheet = open::open(&options)?;
        let header = Header::find(path, &sheet, &options.columns)?;
        let mut columns = Columns::choose(path, &header, &options.columns)?;
        let mut notes = sheet.notes.clone();
        let number = sheet.rows[header.row].number;
        if number > 1 {
            let row = if sheet.is_text { "line" } else { "row" };
            notes.push(format!("names of columns: {row} {number}"));
        }
        // A guessed column of ids can be the patient's, which is not the id of a row.
        let uses_ids =
            columns.id.is_some_and(|id| columns.id_is_named || ids_are_unique(&sheet, &header, id));
        if !uses_ids && columns.id.take().is_some() {
            columns.chosen.retain(|column| column.role != "id");
        }
        let folder = image_directory(&options.out, None).to_owned();
        let root = options.image_root.as_deref().or(path.parent());
        let root = root.filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut maker = RowMaker {
            path,
            sheet: &sheet,
            header: &header,
            columns: &columns,
            images: ImageFolder::open(root)?,
            folder: &folder,
            uses_ids,
            written: HashMap::new(),
        };
        let rows = maker.rows();
        if rows.is_empty() {
            let cause = "holds no row below the names of the columns";
            return Err(Error::invalid(path.display(), cause));
        }
        let is_report = columns.report.is_some() && columns.question.is_none();
        let task = if is_report { Task::report() } else { Task::Vqa };
        let checked = CheckedTable::of(rows, &folder, &task);
        let (all, bad) = (checked.all, checked.bad_rows.len());
        if bad > 0 && (!options.skip_bad || bad == all) {
            let remedy = match bad == all {
                true => "no row can be used: check the columns and --image-root",
                false => "correct the table, or leave such rows out: --skip-bad",
            };
            return Err(refuse_rows(path.display(), checked.bad_rows, remedy));
        }
        notes.extend(answer_type_note(checked.derived));
        Ok(Self {
            has_splits: columns.split.is_some(),
            has_groups: columns.group.is_some(),
            objects: checked.objects,
            examples: checked.examples,
            imported: Imported {
                columns: columns.chosen,
                unused: columns.unused,
                notes,
                bad_rows: checked.bad_rows,
                warnings: checked.warnings,
                ..Imported::default()
            },
            options,
        })
    }

    /// The files of the rows' images, as often as rows name them.
    pub fn image_files(&self) -> impl Iterator<Item = PathBuf> {
        let images = self.examples.iter().flat_map(|example| &example.images);
        images.filter_map(|image| image.file().map(Path::to_owned))
    }

    /// Whether the table has a column for the split; if not, [`Import::finish`] decodes every image to make splits.
    pub fn has_splits(&self) -> bool {
        self.has_splits
    }

    /// Divides the rows into splits if the table has none, and writes them as JSON Lines. `on_done` is called for each
    /// image that is decoded.
    ///
    /// # Errors
    ///
    /// If too few images or groups are there for splits.
    pub fn finish(self, on_done: &(dyn Fn() + Sync)) -> Result<Imported> {
        let Self { options, mut objects, examples, has_splits, has_groups, mut imported } = self;
        if has_splits {
            imported.warnings.extend(shared_between_splits(&objects));
        } else {
            let folder = image_directory(&options.out, None);
            let rows = objects.into_iter().map(|object| Row::new(String::new(), object)).collect();
            let rows = SplitRows::of(&options.file, folder, rows)?;
            let assigned = rows.assign_objects(&options.split, on_done);
            let AssignedRows { objects: assigned, joined, .. } = assigned.map_err(|error| match error.remedy() {
                Some(_) => error,
                None => error.with_remedy(
                    "add rows, or a column of splits (train, validate, test), and name it by --split",
                ),
            })?;
            (objects, imported.joined) = (assigned, Some(joined));
            if !has_groups {
                imported.warnings.push(
                    "no column names the patients, so that images of one patient can be in train and in test. If one \
                     does, name it: --group COLUMN"
                        .to_owned(),
                );
            }
        }
        imported.summary = Some(ImportSummary::of(&objects, &examples));
        for object in objects {
            imported.lines += &Value::Object(object).to_string();
            imported.lines.push('\n');
        }
        Ok(imported)
    }
}

/// The rows of a table that a run can read, and why the others cannot be read.
struct CheckedTable {
    objects: Vec<Map<String, Value>>,
    examples: Vec<Example>,
    bad_rows: Vec<(String, String)>,
    warnings: Vec<String>,
    /// The number of answers whose type the table does not state.
    derived: usize,
    /// The number of rows, good and bad.
    all: usize,
}

impl CheckedTable {
    /// Checks rows as a run does that reads them from a file in `folder`.
    fn of(rows: Vec<TableRow>, folder: &Path, task: &Task) -> Self {
        let all = rows.len();
        let order: HashMap<String, usize> =
            rows.iter().enumerate().map(|(i, row)| (row.place.clone(), i)).collect();
        let (mut good, mut bad_rows) = (Vec::new(), Vec::new());
        for TableRow { place, object } in rows {
            match object {
                Ok(object) => good.push((place, object)),
                Err(cause) => bad_rows.push((place, cause)),
            }
        }
        let rows = good.iter().map(|(place, object)| Row::new(place.clone(), object.clone()));
        let mut survey = ImageSurvey::default();
        let checked = check_rows(rows.collect(), folder, task, Answers::Required);
        let (examples, broken) = check_examples(checked, ReadOptions::default(), &mut survey);
        bad_rows.extend(broken);
        bad_rows.sort_by_key(|(place, _)| order.get(place).copied());
        let kept: HashSet<&str> = examples.iter().map(|example| example.place.as_str()).collect();
        good.retain(|(place, _)| kept.contains(place.as_str()));
        let mut objects: Vec<_> = good.into_iter().map(|(_, object)| object).collect();
        let derived = write_answer_types(&mut objects, &examples);
        Self { objects, examples, bad_rows, warnings: survey.warnings(), derived, all }
    }
}

/// What the types are of `derived` answers whose rows state none.
fn answer_type_note(derived: usize) -> Option<String> {
    (derived > 0).then(|| {
        format!(
            "answer_type: CLOSED where the answer is yes or no, else OPEN ({} answers; --answer-type COLUMN states \
             other types)",
            group_digits(derived)
        )
    })
}

/// Writes the derived type of each answer whose row states none, so that everyone who reads the rows takes it for the
/// same. `examples` are those of `objects`, in the same order. Returns how many were written.
fn write_answer_types(objects: &mut [Map<String, Value>], examples: &[Example]) -> usize {
    let mut derived = 0;
    for (object, example) in objects.iter_mut().zip(examples) {
        let kind = match example.answer.as_ref().map(|answer| answer.answer_type) {
            Some(AnswerType::Closed) => "CLOSED",
            Some(AnswerType::Open) => "OPEN",
            Some(AnswerType::Report) | None => continue,
        };
        if !object.contains_key("answer_type") {
            object.insert("answer_type".to_owned(), kind.into());
            derived += 1;
        }
    }
    derived
}
