//! PathVQA (He et al., arXiv 2003.10286) in its native layout: 32,795 questions about pathology images, split by
//! image into train, val and test.
//!
//! `images/train/train_0422.jpg` is an image, `qas/train/train_qa.pkl` a pickled list of rows `{"image":
//! "train_0422", "question", "answer"}`; a JSON file `train_qa.json` with the same rows is read, too. There are no
//! answer types.

use std::path::{Path, PathBuf};

use serde_json::Map;

use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, dataset_directory, empty_answers_warning};
use super::{Attributes, Example, ImageSource, OpenedDataset, Split};
use crate::files::{TABLE_LIMIT, read_bounded};
use crate::pickle::{Pickle, Value};
use crate::{Error, Result};

/// Limit of the text in a pickle's rows, in bytes: one string of a pickle can be in any number of rows.
const MAX_TEXT: usize = 256 << 20;

/// The splits, and their names in the layout.
const SPLITS: [(Split, &str); 3] =
    [(Split::Train, "train"), (Split::Validate, "val"), (Split::Test, "test")];

/// The files with the rows.
pub(super) fn row_files(directory: &Path) -> Vec<PathBuf> {
    SPLITS.map(|(_, name)| row_file(directory, name)).into()
}

/// The file with the rows of a split: JSON, or else the pickle as published.
fn row_file(directory: &Path, name: &str) -> PathBuf {
    let json = directory.join("qas").join(name).join(format!("{name}_qa.json"));
    if json.exists() { json } else { json.with_extension("pkl") }
}

/// Opens `root`, or `$NORMED_DATA/pvqa`.
pub(super) fn open(directory: Option<&Path>, reading: ReadOptions) -> Result<OpenedDataset> {
    let directory = dataset_directory(directory, "pvqa")?;
    let mut rows: Vec<CheckedRow> = Vec::new();
    for (split, name) in SPLITS {
        let images = directory.join("images").join(name);
        let qas = row_file(&directory, name);
        let is_json = qas.extension().is_some_and(|extension| extension == "json");
        let read = if is_json { json_rows(&qas)? } else { pickled_rows(&qas)? };
        let check = |(i, row): (usize, Row)| {
            row.check(|fields| example(fields, &images, split, &format!("pathvqa-{name}-{i}")))
        };
        rows.extend(read.into_iter().enumerate().map(check));
    }
    let warnings = empty_answers_warning(&rows).into_iter().collect();
    collect_examples(rows, reading, warnings, ImageSurvey::default())
}

fn example(fields: &Fields<'_>, images: &Path, split: Split, id: &str) -> Result<Example, String> {
    fields.require(&["image", "question", "answer"])?;
    let image_name = fields.text("image")?;
    let answer = fields.answer_or_empty("answer")?;
    Ok(Example {
        id: id.to_owned(),
        images: vec![ImageSource::File(images.join(format!("{image_name}.jpg")))],
        image_name,
        question: fields.text("question")?,
        answer: Some(fields.typed(answer)?),
        split,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: Attributes::new(),
    })
}

/// Reads the rows of a pickled list of dicts.
fn pickled_rows(path: &Path) -> Result<Vec<Row>> {
    let bytes = read_bounded(path, TABLE_LIMIT).map_err(|e| {
        e.with_remedy(
            "PathVQA's directory contains images/{train,val,test} and qas/{train,val,test}",
        )
    })?;
    let wrong = |cause: String| {
        Error::invalid(path.display(), cause).with_remedy(
            "the file must be a list of dicts with image, question and answer; or convert it to JSON",
        )
    };
    let (pickle, root) = Pickle::parse(&bytes).map_err(wrong)?;
    let Value::List(rows) = root else { return Err(wrong("it holds no list of rows".into())) };
    let mut text = 0;
    let mut read = Vec::new();
    for (i, &row) in pickle.lists[rows].iter().enumerate() {
        let place = format!("{}: row {}", path.display(), i + 1);
        let Value::Dict(row) = row else {
            return Err(wrong(format!("row {} is not a dict", i + 1)));
        };
        let mut fields = Map::new();
        for &(key, value) in &pickle.dicts[row] {
            let (Some(key), value) = (pickle.text(key), json(&pickle, value)) else { continue };
            text += key.len() + value.as_str().map_or(0, str::len);
            if text > MAX_TEXT {
                return Err(wrong(format!(
                    "its rows have more than {} MiB of text",
                    MAX_TEXT >> 20
                )));
            }
            fields.insert(key.to_owned(), value);
        }
        read.push(Row::new(place, fields));
    }
    Ok(read)
}

/// A text or a number as JSON. Other values become an empty list or object, which no field accepts.
fn json(pickle: &Pickle, value: Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(truth) => truth.into(),
        Value::Int(number) => number.into(),
        Value::List(_) | Value::Tuple(_) => serde_json::Value::Array(Vec::new()),
        _ => pickle.text(value).map_or_else(|| Map::new().into(), Into::into),
    }
}
