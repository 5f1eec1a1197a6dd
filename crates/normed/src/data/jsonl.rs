//! A user's own rows, as a JSON list or as JSON Lines. A row is one of three things:
//!
//! - a question: `id`, `image` or `images`, `question`, `answer` or `answers`, `answer_type`;
//! - a study: `id`, `image` or `images`, `report` or `caption`;
//! - a conversation: `conversations` or `messages`, and `image` or `images` if it shows any ([`super::conversation`]).
//!
//! All have optionally `split` and `group`. Other keys whose values are texts or numbers are attributes, by which rows
//! can be chosen.

use std::path::Path;
use std::sync::Arc;

use super::conversation::{CONVERSATION_KEYS, ConversationRow, has_conversation, own_images};
use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, derived_types_warning, study_example};
use super::{
    AnswerType, Dataset, Example, ImageSource, OpenedDataset, Split, Subset, Task, indices_of,
};
use crate::files::open_descriptor;
use crate::{Error, Result};

/// Opens `file`; image paths are relative to `image_root`, or to the file's directory.
///
/// A row without `split` is a test row: such a file can be evaluated, and training on it is an error.
pub(super) fn open(
    file: &Path,
    image_root: Option<&Path>,
    reading: ReadOptions,
    task: &Task,
) -> Result<OpenedDataset> {
    let images = image_directory(file, image_root);
    let rows = json_rows(file)?;
    let has_split = |row: &&Row| {
        row.fields().is_some_and(|fields| matches!(fields.optional_text("split"), Ok(Some(_))))
    };
    let (all, without) = (rows.len(), rows.len() - rows.iter().filter(has_split).count());
    let mut warnings = Vec::new();
    if (1..all).contains(&without) {
        let place = file.display();
        warnings.push(format!(
            "{place}: {without} of {all} rows have no `split`; they are used as test rows"
        ));
    }
    let reader = RowReader { images, task };
    // How many answer types are derived, and how many of these are closed.
    let mut derived = (0, 0);
    let mut checked: Vec<CheckedRow> = Vec::with_capacity(all);
    for (i, row) in rows.into_iter().enumerate() {
        let is_typed = row.fields().is_some_and(|fields| fields.value("answer_type").is_some());
        let examples = row.check_all(|fields| reader.examples(fields, i + 1));
        if task.is_vqa() && !is_typed {
            let types =
                examples.iter().filter_map(|row| Some(row.example.as_ref().ok()?.answer_type));
            for answer_type in types {
                derived.0 += 1;
                derived.1 += usize::from(answer_type == AnswerType::Closed);
            }
        }
        checked.extend(examples);
    }
    warnings.extend(derived_types_warning(derived.0, derived.1));
    collect_examples(checked, reading, warnings, ImageSurvey::default())
}

/// What the paths of images in `file` are relative to: `image_root`, or the file's directory. What a process
/// hands over has no place of its own, so that the current directory takes its place.
pub(super) fn image_directory<'a>(file: &'a Path, image_root: Option<&'a Path>) -> &'a Path {
    let parent = file.parent().filter(|_| open_descriptor(file).is_none());
    image_root.or(parent).unwrap_or(Path::new(""))
}

/// The keys of a question; others whose values are texts or numbers are its attributes.
const KEYS: [&str; 9] =
    ["id", "image", "images", "question", "answer", "answers", "answer_type", "split", "group"];

/// The keys of a study and its report.
const REPORT_KEYS: [&str; 7] = ["id", "image", "images", "report", "caption", "split", "group"];

/// Makes examples of rows.
struct RowReader<'a> {
    /// The directory that paths of images are relative to.
    images: &'a Path,
    task: &'a Task,
}

impl RowReader<'_> {
    /// The examples of row `number`, counted from 1.
    fn examples(&self, fields: &Fields<'_>, number: usize) -> Result<Vec<Example>, String> {
        match (self.task, has_conversation(fields)) {
            (Task::Vqa, true) => self.conversation(fields, number),
            (Task::Vqa, false) => Ok(vec![self.question(fields)?]),
            (Task::Report { .. }, false) => Ok(vec![self.report(fields)?]),
            (Task::Report { .. }, true) => Err(
                "a conversation asks its own questions: set task = \"vqa\", or write the report under \
                 `report`"
                    .to_owned(),
            ),
        }
    }

    fn question(&self, fields: &Fields<'_>) -> Result<Example, String> {
        let missing =
            fields.require(&["id", "image|images", "question", "answer|answers", "answer_type"]);
        let report = ["report", "caption"].into_iter().find(|key| fields.value(key).is_some());
        missing.map_err(|cause| match report {
            Some(key) => format!("{cause}. A row with `{key}` is read with the task `report`"),
            None => cause,
        })?;
        let views = fields.views()?;
        let answer = if fields.value("answer").is_some() { "answer" } else { "answers" };
        Ok(Example {
            id: fields.text("id")?,
            images: views.iter().map(|view| self.image(view)).collect(),
            image_name: views.join(" "),
            question: fields.text("question")?,
            answer: fields.answer(answer)?,
            answer_type: fields.answer_type()?,
            split: fields.split()?,
            group: fields.group()?,
            history: Vec::new(),
            place: String::new(),
            attributes: fields.other_attributes(&KEYS),
        })
    }

    fn report(&self, fields: &Fields<'_>) -> Result<Example, String> {
        fields.require(&["id", "image|images", "report|caption"])?;
        let views = fields.views()?;
        let report = if fields.value("report").is_some() { "report" } else { "caption" };
        let (id, report, split) = (fields.text("id")?, fields.answer(report)?, fields.split()?);
        Ok(Example {
            group: fields.group()?,
            attributes: fields.other_attributes(&REPORT_KEYS),
            ..study_example(id, self.images, &views, report, split)
        })
    }

    /// The examples of a conversation. Its images may be none, and its id is the row's number if it has none.
    fn conversation(&self, fields: &Fields<'_>, number: usize) -> Result<Vec<Example>, String> {
        let names = own_images(fields)?;
        let row = Example {
            id: fields.optional_text("id")?.unwrap_or_else(|| number.to_string()),
            images: names.iter().map(|name| self.image(name)).collect(),
            image_name: String::new(), // those of its turns belong to it
            question: String::new(),
            answer: String::new(),
            answer_type: AnswerType::Open,
            split: fields.split()?,
            group: fields.group()?,
            history: Vec::new(),
            place: String::new(),
            attributes: fields.other_attributes(&[&KEYS[..], &CONVERSATION_KEYS].concat()),
        };
        ConversationRow { row, names }.examples(fields, &mut |path| Ok(self.image(path)))
    }

    fn image(&self, path: &str) -> ImageSource {
        ImageSource::File(self.images.join(path))
    }
}

/// Opens the questions in `file` for predictions: those of `split`, or all.
///
/// # Errors
///
/// If the file cannot be read or a row is broken: predictions for a part of a file would pass for all of
/// it. If no row is in `split`.
pub fn open_jsonl_to_predict(
    file: &Path,
    image_root: Option<&Path>,
    split: Option<Split>,
) -> Result<OpenedDataset> {
    let mut opened = open(file, image_root, ReadOptions::default(), &Task::Vqa)?;
    if let Some(split) = split {
        let indices = indices_of(&*opened.dataset, split)?;
        if indices.is_empty() {
            let cause = format!("no row is in the split `{}`", split.name());
            return Err(Error::invalid(file.display(), cause));
        }
        let dataset: Arc<dyn Dataset> = opened.dataset;
        opened.dataset = Arc::new(Subset::new(dataset, indices));
    }
    Ok(opened)
}
