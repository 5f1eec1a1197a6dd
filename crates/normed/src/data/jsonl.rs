//! A user's own rows, as a JSON list or as JSON Lines. A row is one of three things:
//!
//! - a question: `image` or `images`, `question`, `answer` or `answers`, and optionally `answer_type`;
//! - a study: `image` or `images`, `report` or `caption`;
//! - a conversation: `conversations` or `messages`, and `image` or `images` if it shows any ([`super::conversation`]).
//!
//! All have optionally `id` (else the row's number), `split` and `group`. Answers and reports are needed to train and to
//! score, not to ask. Other keys whose values are texts or numbers are attributes, by which rows
//! can be chosen.

use std::path::Path;

use super::conversation::{CONVERSATION_KEYS, ConversationRow, has_conversation, own_images};
use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::{Answers, ReadOptions};
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, study_example};
use super::{Example, ImageSource, OpenedDataset, Task};
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
    if rows.is_empty() {
        return Err(Error::invalid(file.display(), "holds no row")
            .with_remedy("write one line of JSON for each question, or use normed import"));
    }
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
    let rows = check_rows(rows, images, task, reading.answers);
    collect_examples(rows, reading, warnings, ImageSurvey::default())
}

/// The task of the rows in `file`: reports, if the first rows have reports and no questions.
///
/// # Errors
///
/// If the file cannot be read.
pub fn guess_jsonl_task(file: &Path) -> Result<Task> {
    let rows = json_rows(file)?;
    let has_report = |fields: &Fields<'_>| REPORTS.iter().any(|key| fields.value(key).is_some());
    let has_question =
        |fields: &Fields<'_>| fields.value("question").is_some() || has_conversation(fields);
    let fields: Vec<_> = rows.iter().take(LOOKED_AT).filter_map(Row::fields).collect();
    let is_report = fields.iter().any(has_report) && !fields.iter().any(has_question);
    Ok(if is_report { Task::report() } else { Task::Vqa })
}

/// How many rows are looked at to find the task.
const LOOKED_AT: usize = 20;

/// The keys of a report.
const REPORTS: [&str; 2] = ["report", "caption"];

/// Makes the examples of rows, whose paths of images are relative to `images`.
pub(super) fn check_rows(
    rows: Vec<Row>,
    images: &Path,
    task: &Task,
    answers: Answers,
) -> Vec<CheckedRow> {
    let reader = RowReader { images, task, answers };
    let check = |(i, row): (usize, Row)| row.check_all(|fields| reader.examples(fields, i + 1));
    rows.into_iter().enumerate().flat_map(check).collect()
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
pub(super) struct RowReader<'a> {
    /// The directory that paths of images are relative to.
    pub images: &'a Path,
    pub task: &'a Task,
    pub answers: Answers,
}

impl RowReader<'_> {
    /// The examples of row `number`, counted from 1.
    pub fn examples(&self, fields: &Fields<'_>, number: usize) -> Result<Vec<Example>, String> {
        match (self.task, has_conversation(fields)) {
            (Task::Vqa, true) => self.conversation(fields, number),
            (Task::Vqa, false) => Ok(vec![self.question(fields, number)?]),
            (Task::Report { .. }, false) => Ok(vec![self.report(fields, number)?]),
            (Task::Report { .. }, true) => Err(
                "a conversation asks its own questions: set task = \"vqa\", or write the report under \
                 `report`"
                    .to_owned(),
            ),
        }
    }

    fn question(&self, fields: &Fields<'_>, number: usize) -> Result<Example, String> {
        let needed: &[&str] = match self.answers {
            Answers::Required => &["image|images", "question", "answer|answers"],
            Answers::Optional => &["image|images", "question"],
        };
        let missing = fields.require(needed);
        let report = REPORTS.into_iter().find(|key| fields.value(key).is_some());
        missing.map_err(|cause| match report {
            Some(key) => format!("{cause}. A row with `{key}` is read with the task `report`"),
            None => cause,
        })?;
        let views = fields.views()?;
        let key = ["answer", "answers"].into_iter().find(|key| fields.value(key).is_some());
        let answer = key.map(|key| fields.typed(fields.answer(key)?));
        Ok(Example {
            id: id(fields, number)?,
            images: views.iter().map(|view| self.image(view)).collect(),
            image_name: views.join(" "),
            question: fields.text("question")?,
            answer: answer.transpose()?,
            split: fields.split()?,
            group: fields.group()?,
            history: Vec::new(),
            place: String::new(),
            attributes: fields.other_attributes(&KEYS),
        })
    }

    fn report(&self, fields: &Fields<'_>, number: usize) -> Result<Example, String> {
        let missing = fields.require(match self.answers {
            Answers::Required => &["image|images", "report|caption"],
            Answers::Optional => &["image|images"],
        });
        missing.map_err(|cause| match fields.value("question") {
            Some(_) => format!("{cause}. A row with `question` is read with the task `vqa`"),
            None => cause,
        })?;
        let views = fields.views()?;
        let key = ["report", "caption"].into_iter().find(|key| fields.value(key).is_some());
        let report = key.map(|key| fields.answer(key)).transpose()?;
        Ok(Example {
            group: fields.group()?,
            attributes: fields.other_attributes(&REPORT_KEYS),
            ..study_example(id(fields, number)?, self.images, &views, report, fields.split()?)
        })
    }

    /// The examples of a conversation. Its images may be none.
    fn conversation(&self, fields: &Fields<'_>, number: usize) -> Result<Vec<Example>, String> {
        let names = own_images(fields)?;
        let row = Example {
            id: id(fields, number)?,
            images: names.iter().map(|name| self.image(name)).collect(),
            image_name: String::new(), // those of its turns belong to it
            question: String::new(),
            answer: None,
            split: fields.split()?,
            group: fields.group()?,
            history: Vec::new(),
            place: String::new(),
            attributes: fields.other_attributes(&[&KEYS[..], &CONVERSATION_KEYS].concat()),
        };
        let conversation = ConversationRow { row, names, answers: self.answers };
        conversation.examples(fields, &mut |path| Ok(self.image(path)))
    }

    fn image(&self, path: &str) -> ImageSource {
        ImageSource::File(self.images.join(path))
    }
}

/// The id of a row: its number if it has none.
fn id(fields: &Fields<'_>, number: usize) -> Result<String, String> {
    Ok(fields.optional_text("id")?.unwrap_or_else(|| number.to_string()))
}
