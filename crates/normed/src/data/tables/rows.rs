//! The rows of tables, and the examples made of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::{Role, choose_columns};
use super::features::Features;
use super::picture::{Picture, image_file, pictures_of};
use super::{Cell, ColumnNames, EmbeddedImage, ImageStore, Table};
use crate::Result;
use crate::data::content_hash::hash_of_file;
use crate::data::conversation::{ConversationRow, has_conversation};
use crate::data::image_survey::ImageSurvey;
use crate::data::read_options::{Answers, ReadOptions};
use crate::data::row::{CheckedRow, Fields, Row};
use crate::data::rows::{collect_examples, empty_answers_warning};
use crate::data::{
    Answer, AnswerType, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split, Task,
};
use crate::files::hex;

/// How tables are read.
#[derive(Clone, Copy)]
pub(in crate::data) struct ReadTables<'a> {
    pub columns: &'a ColumnNames,
    /// The directory that paths of images are relative to.
    pub image_root: Option<&'a Path>,
    pub task: &'a Task,
    pub options: ReadOptions,
}

/// The rows read so far.
pub(super) struct RowReader<'a> {
    root: &'a Path,
    how: ReadTables<'a>,
    checked: Vec<CheckedRow>,
    /// Number of rows of each split.
    counts: HashMap<Split, usize>,
    /// Each image where it was found first, or why it cannot be used.
    images: HashMap<[u8; 32], Result<Arc<EmbeddedImage>, String>>,
    survey: ImageSurvey,
    /// The file of each path that rows name, or why there is none.
    files: HashMap<String, Result<PathBuf, String>>,
}

/// The values of one row.
#[derive(Default)]
struct RowValues {
    fields: Map<String, Value>,
    others: Map<String, Value>,
    images: Vec<(String, ImageSource)>,
    /// Why the row is broken, if it is.
    broken: Option<String>,
}

impl<'a> RowReader<'a> {
    pub fn new(root: &'a Path, how: ReadTables<'a>) -> Self {
        Self {
            root,
            how,
            checked: Vec::new(),
            counts: HashMap::new(),
            images: HashMap::new(),
            survey: ImageSurvey::default(),
            files: HashMap::new(),
        }
    }

    /// Reads the rows of a file.
    pub fn read(&mut self, split: Split, table: &Arc<dyn Table>) -> Result<()> {
        let ReadTables { columns, task, options, .. } = self.how;
        let columns = choose_columns(&**table, columns, task, options.answers)?;
        let features = Features::parse(table.metadata(Features::KEY));
        let numbers: Vec<usize> = columns.iter().map(|column| column.number).collect();
        let image = columns.iter().find(|column| column.role == Role::Image);
        let store = image.map(|column| table.clone().images(column.number));
        table.for_each_row(&numbers, &mut |row, cells| {
            let mut values = RowValues::default();
            for (column, cell) in columns.iter().zip(cells) {
                let read = match (column.role, &store) {
                    (Role::Image, Some(store)) => self
                        .images_of(cell, table.path(), store, row)
                        .map(|images| values.images = images),
                    (Role::Field(key), _) => {
                        let cell = features.name_labels(&column.name, cell).rows_of_columns();
                        cell.into_json().map(|value| {
                            values.fields.insert(key.to_owned(), value);
                        })
                    }
                    _ => {
                        // An attribute that cannot be read is no attribute.
                        if let Ok(value) = features.name_labels(&column.name, cell).into_json() {
                            values.others.insert(column.name.clone(), value);
                        }
                        Ok(())
                    }
                };
                if let Err(cause) = read {
                    values.broken.get_or_insert(format!("`{}` {cause}", column.name));
                }
            }
            let place = format!("{}: row {}", table.path().display(), row + 1);
            self.check(split, table.path(), place, values);
        })
    }

    /// The names and sources of a row's images, which are checked where they are new.
    fn images_of(
        &mut self,
        cell: Cell,
        table: &Path,
        store: &Arc<dyn ImageStore>,
        row: usize,
    ) -> Result<Vec<(String, ImageSource)>, String> {
        let image = |picture| match picture {
            Picture::Path(path) => {
                let file = self.file(&path, table)?;
                Ok((path, ImageSource::File(file)))
            }
            Picture::Inside { value, index } => {
                let file = image_file(&value)?;
                let hash = hash_of_file(&file);
                let options = &self.how.options;
                let image = self.images.entry(hash).or_insert_with(|| {
                    let header = Image::check_bytes(&file, &options.image)?;
                    if options.on_bad_example == OnBadExample::Skip {
                        Image::from_bytes(&file, &options.image)?;
                    }
                    let image = Arc::new(EmbeddedImage::new(store.clone(), (row, index), hash));
                    self.survey.add(&ImageSource::Embedded(image.clone()), &header);
                    Ok(image)
                });
                image.clone().map(|image| (hex(&hash), ImageSource::Embedded(image)))
            }
        };
        pictures_of(cell)?.into_iter().map(image).collect()
    }

    /// The file that `path` names: below `image_root`, or below the directory of the table or of the data set.
    fn file(&mut self, path: &str, table: &Path) -> Result<PathBuf, String> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        let own = table.parent().unwrap_or(Path::new(""));
        let mut places = match self.how.image_root {
            Some(root) => vec![root],
            None => vec![own],
        };
        if self.how.image_root.is_none() && self.root.is_dir() && self.root != own {
            places.push(self.root);
        }
        let found = places.iter().map(|place| place.join(path)).find(|file| file.exists());
        let found = found.ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            format!(
                "is a path (`{path}`) without bytes, and there is no such file in {}. Set data.image_root to the \
                 folder of the images",
                places.join(" or ")
            )
        });
        self.files.insert(path.to_owned(), found.clone());
        found
    }

    /// Makes the examples of a row in the file `table`.
    fn check(&mut self, split: Split, table: &Path, place: String, values: RowValues) {
        let count = self.counts.entry(split).or_default();
        let id = format!("{}-{count}", split.name());
        *count += 1;
        let RowValues { fields, others, images, broken } = values;
        let others = Row::new(String::new(), others);
        let attributes = others.fields().map(|others| others.other_attributes(&[]));
        let (names, images): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        let row = Example {
            id,
            images,
            image_name: names.join(" "),
            question: String::new(),
            answer: None,
            split,
            group: None,
            history: Vec::new(),
            place: String::new(),
            attributes: attributes.unwrap_or_default(),
        };
        let is_vqa = self.how.task.is_vqa();
        let answers = self.how.options.answers;
        let checked = Row::new(place, fields).check_all(|fields| {
            if let Some(cause) = broken {
                return Err(cause);
            }
            let row = Example { group: fields.group()?, ..row };
            match is_vqa {
                true if has_conversation(fields) => ConversationRow { row, names, answers }
                    .examples(fields, &mut |path| Ok(ImageSource::File(self.file(path, table)?))),
                true => question(row, fields, answers).map(|example| vec![example]),
                false => report(row, fields, answers).map(|example| vec![example]),
            }
        });
        self.checked.extend(checked);
    }

    /// The data set of all rows, with a warning of the caller's.
    pub fn finish(self, warning: Option<String>) -> Result<OpenedDataset> {
        let warnings = empty_answers_warning(&self.checked).into_iter().chain(warning).collect();
        collect_examples(self.checked, self.how.options, warnings, self.survey)
    }
}

/// The example of a question about the images of `row`.
fn question(row: Example, fields: &Fields<'_>, answers: Answers) -> Result<Example, String> {
    if answers == Answers::Optional && fields.value("answer").is_none() {
        require(&row, fields, &["question"])?;
        return Ok(Example { question: fields.text("question")?, ..row });
    }
    require(&row, fields, &["question", "answer"])?;
    // Published data sets have some empty answers, and score them.
    let answer = fields.typed(fields.answer_or_empty("answer")?)?;
    Ok(Example { question: fields.text("question")?, answer: Some(answer), ..row })
}

/// The example of a report about the images of `row`. The task puts its prompt in the question's place.
fn report(row: Example, fields: &Fields<'_>, answers: Answers) -> Result<Example, String> {
    if answers == Answers::Optional && fields.value("report").is_none() {
        require(&row, fields, &[])?;
        return Ok(row);
    }
    require(&row, fields, &["report"])?;
    let report = Answer::new(fields.answer("report")?, AnswerType::Report);
    Ok(Example { answer: Some(report), ..row })
}

/// That a row has images and these fields; all that are missing are named.
fn require(row: &Example, fields: &Fields<'_>, keys: &[&str]) -> Result<(), String> {
    // The images are no field here.
    let image = row.images.is_empty().then_some("image");
    fields.require(&image.into_iter().chain(keys.iter().copied()).collect::<Vec<_>>())
}
