//! PathVQA (He et al., arXiv 2003.10286) in its native layout: 32,795 questions about pictures of
//! pathology, split by picture into train, val and test.
//!
//! `images/train/train_0422.jpg` is a picture, `qas/train/train_qa.pkl` a pickled list of rows `{"image":
//! "train_0422", "question", "answer"}`; the same as JSON, `train_qa.json`, is read, too. There are no
//! answer types.

use std::path::Path;

use serde_json::Map;

use super::read_options::ReadOptions;
use super::rows::{CheckedRow, Fields, Row, derived_types, empty_answers, gather, json_rows, root};
use super::{AnswerType, Attributes, Example, ImageSource, OpenedDataset, Split};
use crate::files::{TABLE_LIMIT, read_bounded};
use crate::pickle::{Pickle, Value};
use crate::{Error, Result};

/// The most bytes of text in a pickle's rows: one string in it can stand in any number of them.
const MAX_TEXT: usize = 256 << 20;

/// Splits, and what they are called there.
const SPLITS: [(Split, &str); 3] =
    [(Split::Train, "train"), (Split::Validate, "val"), (Split::Test, "test")];

/// Opens `root`, or `$NORMED_DATA/pvqa`.
pub(super) fn open(directory: Option<&Path>, reading: ReadOptions) -> Result<OpenedDataset> {
    let directory = root(directory, "pvqa")?;
    let mut rows: Vec<CheckedRow> = Vec::new();
    for (split, name) in SPLITS {
        let images = directory.join("images").join(name);
        let qas = directory.join("qas").join(name).join(format!("{name}_qa.json"));
        let read =
            if qas.exists() { json_rows(&qas)? } else { pickled_rows(&qas.with_extension("pkl"))? };
        let check = |(i, row): (usize, Row)| {
            row.check(|fields| example(fields, &images, split, &format!("pathvqa-{name}-{i}")))
        };
        rows.extend(read.into_iter().enumerate().map(check));
    }
    let made = |row: &CheckedRow| row.example.as_ref().ok().map(|example| example.answer_type);
    let types: Vec<AnswerType> = rows.iter().filter_map(made).collect();
    let closed = types.iter().filter(|kind| **kind == AnswerType::Closed).count();
    let warnings =
        derived_types(types.len(), closed).into_iter().chain(empty_answers(&rows)).collect();
    gather(rows, reading, warnings)
}

fn example(fields: &Fields<'_>, images: &Path, split: Split, id: &str) -> Result<Example, String> {
    let image_name = fields.text("image")?;
    let answer = fields.any_text("answer")?;
    Ok(Example {
        id: id.to_owned(),
        images: vec![ImageSource::File(images.join(format!("{image_name}.jpg")))],
        image_name,
        question: fields.text("question")?,
        answer_type: AnswerType::derived(&answer),
        answer,
        split,
        group: None,
        attributes: Attributes::new(),
    })
}

/// The rows of a pickled list of dicts of texts.
fn pickled_rows(path: &Path) -> Result<Vec<Row>> {
    let bytes = read_bounded(path, TABLE_LIMIT).map_err(|e| {
        e.with_remedy("PathVQA's directory holds images/{train,val,test} and qas/{train,val,test}")
    })?;
    let wrong = |cause: String| {
        Error::invalid(path.display(), cause).with_remedy(
            "it must be a list of dicts with image, question and answer; JSON is read, too",
        )
    };
    let (pickle, root) = Pickle::parse(&bytes).map_err(wrong)?;
    let Value::List(rows) = root else { return Err(wrong("holds no list of rows".into())) };
    let mut text = 0;
    let mut read = Vec::new();
    for (i, &row) in pickle.lists[rows].iter().enumerate() {
        let place = format!("{}: row {}", path.display(), i + 1);
        let Value::Dict(row) = row else { return Err(wrong(format!("row {}: is no dict", i + 1))) };
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

/// A text or a number; what else a row has is not needed, and is a mistake where it is.
fn json(pickle: &Pickle, value: Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(truth) => truth.into(),
        Value::Int(number) => number.into(),
        Value::List(_) | Value::Tuple(_) => serde_json::Value::Array(Vec::new()),
        _ => pickle.text(value).map_or_else(|| Map::new().into(), Into::into),
    }
}
