//! Rows of annotation files: read, checked, and the broken ones stopped at or left out.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::read_options::ReadOptions;
use super::{
    AnswerType, Attributes, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split,
};
use crate::files::{TABLE_LIMIT, read_text};
use crate::{Error, Result};

/// One row of a file, its fields not yet looked at.
pub(super) struct Row {
    /// File and line.
    pub place: String,
    /// What stands before each cause: the row's number where a line can hold more than one.
    pub prefix: String,
    /// A JSON object, or why it is none.
    fields: Result<Map<String, Value>, String>,
}

/// What came of a row: an example, or why it cannot be one.
pub(super) struct CheckedRow {
    pub place: String,
    pub example: Result<Example, String>,
}

impl Row {
    /// A row whose fields are read already.
    pub fn new(place: String, fields: Map<String, Value>) -> Self {
        Self { place, prefix: String::new(), fields: Ok(fields) }
    }

    /// The fields of a JSON value that should be an object.
    pub fn of(place: String, value: &Value) -> Self {
        let fields = match value {
            Value::Object(fields) => Ok(fields.clone()),
            other => Err(no_object(other)),
        };
        Self { place, prefix: String::new(), fields }
    }

    /// The fields of `json`, a JSON object.
    fn parse(place: String, prefix: String, json: &str) -> Self {
        let fields = match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(other) => Err(no_object(&other)),
            // Its own line number would be within the row.
            Err(error) => Err(format!("not JSON: column {}: {error}", error.column())),
        };
        Self { place, prefix, fields }
    }

    /// Makes an example by `make`, with the row's place beside what is wrong with it.
    pub fn check(self, make: impl FnOnce(&Fields<'_>) -> Result<Example, String>) -> CheckedRow {
        let example = match &self.fields {
            Ok(fields) => make(&Fields(fields)),
            Err(cause) => Err(cause.clone()),
        };
        let example = example.map_err(|cause| format!("{}{cause}", self.prefix));
        CheckedRow { place: self.place, example }
    }

    /// The JSON object as it was written.
    pub fn into_object(self) -> Result<Map<String, Value>> {
        let Self { place, prefix, fields } = self;
        fields.map_err(|cause| Error::invalid(place, format!("{prefix}{cause}")))
    }

    /// The row's fields, if it is an object.
    pub fn fields(&self) -> Option<Fields<'_>> {
        self.fields.as_ref().ok().map(Fields)
    }
}

/// The fields of one row. `Err` says what is wrong with a field, and names it.
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl Fields<'_> {
    /// A text, or a number as text, that may be empty.
    pub fn any_text(&self, key: &str) -> Result<String, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(other) => Err(format!("`{key}` is {}, not a text or a number", kind(other))),
        }
    }

    /// A text, or a number as text, with something in it.
    pub fn text(&self, key: &str) -> Result<String, String> {
        let text = self.any_text(key)?;
        if text.trim().is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text) }
    }

    /// A list of texts with something in them, one at least.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::Array(list)) if !list.is_empty() => {
                let text =
                    |value: &Value| match value.as_str().filter(|text| !text.trim().is_empty()) {
                        Some(text) => Ok(text.to_owned()),
                        None => Err(format!("`{key}` has {value} in it, where a text should be")),
                    };
                list.iter().map(text).collect()
            }
            Some(Value::Array(_)) => Err(format!("`{key}` is empty")),
            Some(other) => Err(format!("`{key}` is {}, not a list of texts", kind(other))),
        }
    }

    /// The names of an example's pictures: `image`, or `images`, a list.
    pub fn views(&self) -> Result<Vec<String>, String> {
        match self.0.get("image") {
            None if self.0.contains_key("images") => self.texts("images"),
            _ => Ok(vec![self.text("image")?]),
        }
    }

    /// As [`Fields::text`], where the key may be absent or null.
    pub fn optional_text(&self, key: &str) -> Result<Option<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(key).map(Some),
        }
    }

    /// Attributes by our names, each read from a key that may be absent: `(name, key)`.
    pub fn attributes<const N: usize>(&self, keys: [(&str, &str); N]) -> Attributes {
        let read = |(name, key): (&str, &str)| Some((name.to_owned(), self.text(key).ok()?));
        keys.into_iter().filter_map(read).collect()
    }

    /// Every text or number that is under none of these keys.
    pub fn other_attributes(&self, keys: &[&str]) -> Attributes {
        let others = self.0.keys().filter(|key| !keys.contains(&key.as_str()));
        others.filter_map(|key| Some((key.clone(), self.text(key).ok()?))).collect()
    }

    /// `split`, test where it is absent.
    pub fn split(&self) -> Result<Split, String> {
        match self.optional_text("split")? {
            None => Ok(Split::Test),
            Some(name) => Split::from_name(name.trim())
                .ok_or_else(|| format!("`split` is `{name}`, not train, validate or test")),
        }
    }

    /// `answer_type`, blanks and case aside.
    pub fn answer_type(&self) -> Result<AnswerType, String> {
        let text = self.text("answer_type")?;
        match text.trim().to_uppercase().as_str() {
            "OPEN" => Ok(AnswerType::Open),
            "CLOSED" => Ok(AnswerType::Closed),
            _ => Err(format!("`answer_type` is `{text}`, not OPEN or CLOSED")),
        }
    }
}

fn no_object(value: &Value) -> String {
    format!("the row is {}, not an object", kind(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The rows of a JSON file that is one list, each with the line that it starts on.
pub(super) fn json_rows(path: &Path) -> Result<Vec<Row>> {
    let text = read_text(path, TABLE_LIMIT)?;
    let raw: Vec<&RawValue> = serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("{}:{}", path.display(), error.line()), error))?;
    let (mut line, mut counted) = (1, 0);
    let rows = raw.iter().enumerate().map(|(i, raw)| {
        // `raw` is a slice of `text`: the distance of their addresses is where it starts.
        let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
        line += text.as_bytes()[counted..start].iter().filter(|&&b| b == b'\n').count();
        counted = start;
        let place = format!("{}:{line}", path.display());
        Row::parse(place, format!("row {}: ", i + 1), raw.get())
    });
    Ok(rows.collect())
}

/// A JSON file that is one object.
pub(super) fn json_object(path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_str(&read_text(path, TABLE_LIMIT)?)
        .map_err(|error| Error::invalid(format!("{}:{}", path.display(), error.line()), error))
}

/// A study and its report; `views` are the files of its pictures in `images`.
pub(super) fn study(
    id: String,
    images: &Path,
    views: &[String],
    report: String,
    split: Split,
) -> Example {
    Example {
        id,
        images: views.iter().map(|view| ImageSource::File(images.join(view))).collect(),
        image_name: views.join(" "),
        question: String::new(), // the prompt's place
        answer: report,
        answer_type: AnswerType::Report,
        split,
        group: None,
        attributes: Attributes::new(),
    }
}

/// The rows of a file of JSON lines; blank lines are passed over.
pub(super) fn jsonl_rows(path: &Path) -> Result<Vec<Row>> {
    let text = read_text(path, TABLE_LIMIT)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(i, line): (usize, &str)| {
        Row::parse(format!("{}:{}", path.display(), i + 1), String::new(), line)
    };
    Ok(lines.map(row).collect())
}

/// The rows that can be used; others stop the run or are left out, as `on_bad_example` says.
///
/// An id must be unique, and a picture's file must exist and start as a picture does. When broken
/// rows are to be left out, every picture is decoded here, so that none can stop the run later.
pub(super) fn gather(
    rows: Vec<CheckedRow>,
    reading: ReadOptions,
    warnings: Vec<String>,
) -> Result<OpenedDataset> {
    let broken = broken_pictures(&rows, reading);
    let mut first_place: HashMap<String, String> = HashMap::new();
    let (mut examples, mut skipped) = (Vec::with_capacity(rows.len()), Vec::new());
    for CheckedRow { place, example } in rows {
        let checked = example.and_then(|example| {
            if let Some(cause) = files(&example).find_map(|path| broken.get(path)) {
                return Err(cause.clone());
            }
            if let Some(first) = first_place.get(&example.id) {
                return Err(format!("the id `{}` is already that of {first}", example.id));
            }
            first_place.insert(example.id.clone(), place.clone());
            let images = example.images.into_iter().map(|image| image.with_options(reading.image));
            Ok(Example { images: images.collect(), ..example })
        });
        match (checked, reading.on_bad_example) {
            (Ok(example), _) => examples.push(example),
            (Err(cause), OnBadExample::Skip) => skipped.push(format!("{place}: {cause}")),
            (Err(cause), OnBadExample::Stop) => {
                return Err(Error::invalid(place, cause).with_remedy(
                    "mend the row, or leave such rows out: on_bad_example = \"skip\"",
                ));
            }
        }
    }
    if examples.is_empty() {
        let cause = match skipped.first() {
            Some(first) => format!("all {} rows are broken; the first: {first}", skipped.len()),
            None => "there are no rows".into(),
        };
        return Err(Error::invalid("data", cause));
    }
    Ok(OpenedDataset { dataset: Arc::new(examples), skipped, warnings })
}

/// Why pictures cannot be used, by file.
fn broken_pictures(rows: &[CheckedRow], reading: ReadOptions) -> HashMap<PathBuf, String> {
    let files: HashSet<&Path> =
        rows.iter().filter_map(|row| row.example.as_ref().ok()).flat_map(files).collect();
    let check = |path: &&Path| {
        let checked = match reading.on_bad_example {
            OnBadExample::Stop => Image::check_header(path, &reading.image),
            OnBadExample::Skip => Image::decode(path, &reading.image).map(drop),
        };
        checked.err().map(|error| (path.to_path_buf(), format!("picture {error}")))
    };
    files.par_iter().filter_map(check).collect()
}

/// The files of an example's pictures.
fn files(example: &Example) -> impl Iterator<Item = &Path> {
    example.images.iter().filter_map(|image| match image {
        ImageSource::File(path) => Some(path.as_path()),
        _ => None,
    })
}

/// A warning where a data set has no answer types, and `closed` of `all` rows got one for their answer.
pub(super) fn derived_types(all: usize, closed: usize) -> Option<String> {
    (all > 0).then(|| {
        format!(
            "the data has no `answer_type`: {closed} answers that are yes or no count as CLOSED, the \
             other {} as OPEN; figures of open and closed questions are not those of the data's authors",
            all - closed
        )
    })
}

/// A warning where answers are empty: published sets have some, and count them.
pub(super) fn empty_answers(rows: &[CheckedRow]) -> Option<String> {
    let is_empty = |row: &&CheckedRow| {
        row.example.as_ref().is_ok_and(|example| example.answer.trim().is_empty())
    };
    let mut empty = rows.iter().filter(is_empty);
    let first = empty.next()?;
    Some(format!("{} answers are empty, and kept; the first: {}", 1 + empty.count(), first.place))
}

/// The directory of the data set called `name`: `root`, else `name` in `$NORMED_DATA`.
pub(super) fn root(root: Option<&Path>, name: &str) -> Result<PathBuf> {
    root_from(root, std::env::var_os("NORMED_DATA").as_deref(), name)
}

fn root_from(
    root: Option<&Path>,
    variable: Option<&std::ffi::OsStr>,
    name: impl AsRef<Path> + Display,
) -> Result<PathBuf> {
    match (root, variable) {
        (Some(root), _) => Ok(root.to_owned()),
        (None, Some(data)) if !data.is_empty() => Ok(Path::new(data).join(name)),
        _ => Err(Error::invalid("data", format!("where {name} is has not been said")).with_remedy(
            format!(
                "set `data.root` in the recipe to its directory, or the environment variable \
             NORMED_DATA to the directory that holds `{name}`"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::example::tests::example;
    use crate::data::image::decode::tests::write_image_that_panics;

    #[test]
    fn a_row_of_a_list_knows_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.json");
        fs::write(&path, "\u{feff}[\n  {\"a\": 1,\n   \"b\": \"x\"}, {\"a\": 2},\n\n 7]").unwrap();
        let rows = json_rows(&path).unwrap();
        let lines: Vec<_> =
            rows.iter().map(|row| row.place.rsplit(':').next().unwrap().to_owned()).collect();
        assert_eq!(lines, ["2", "3", "5"]);
        assert_eq!(rows[1].fields().unwrap().text("a").unwrap(), "2");
        assert_eq!(rows[2].fields.as_ref().unwrap_err(), "the row is a number, not an object");
        assert_eq!(rows[2].prefix, "row 3: ");

        fs::write(&path, "[\n{},\n{]").unwrap();
        assert!(json_rows(&path).err().unwrap().to_string().contains("rows.json:3: "));
        fs::write(&path, b"[\n\xff").unwrap();
        assert!(json_rows(&path).err().unwrap().to_string().contains("rows.json:2: is not UTF-8"));
    }

    #[test]
    fn an_image_on_which_the_decoder_panics_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.png");
        write_image_that_panics(&path);
        image::RgbImage::new(2, 2).save(dir.path().join("good.png")).unwrap();
        let rows = || {
            let row = |name: &str| {
                let mut example = example(name, name);
                example.images = vec![ImageSource::File(dir.path().join(name))];
                CheckedRow { place: name.to_owned(), example: Ok(example) }
            };
            ["broken.png", "good.png"].map(row).into_iter().collect::<Vec<_>>()
        };
        let read = |on_bad_example| {
            gather(rows(), ReadOptions { on_bad_example, ..ReadOptions::default() }, Vec::new())
        };
        let opened = read(OnBadExample::Skip).unwrap();
        assert_eq!(opened.dataset.len(), 1);
        assert!(
            opened.skipped[0].contains("the decoder failed (on purpose)"),
            "{:?}",
            opened.skipped
        );
        // Only headers are looked at: the error comes when the image is needed.
        let dataset = read(OnBadExample::Stop).unwrap().dataset;
        let error = dataset.get(0).unwrap().images[0].load().unwrap_err();
        assert!(error.place().ends_with("broken.png"), "{error}");
    }

    #[test]
    fn fields_say_what_is_wrong_with_them() {
        let json = r#"{"i": 4, "t": "x", "e": " ", "l": [], "n": null, "answer_type": "CLOSED "}"#;
        let row = Row::parse("f:1".into(), String::new(), json);
        let fields = row.fields().unwrap();
        assert_eq!(fields.text("i").unwrap(), "4");
        assert_eq!(fields.any_text("e").unwrap(), " ");
        assert_eq!(fields.text("e").unwrap_err(), "`e` is empty");
        assert_eq!(fields.text("l").unwrap_err(), "`l` is a list, not a text or a number");
        assert_eq!(fields.text("n").unwrap_err(), "`n` is missing");
        assert_eq!(fields.optional_text("n").unwrap(), None);
        assert!(fields.optional_text("l").is_err());
        assert_eq!(fields.answer_type().unwrap(), AnswerType::Closed);
    }

    #[test]
    fn where_data_is() {
        let env = |text: &'static str| Some(std::ffi::OsStr::new(text));
        let given = Path::new("/given");
        assert_eq!(root_from(Some(given), env("/data"), "slake").unwrap(), given);
        assert_eq!(root_from(None, env("/data"), "slake").unwrap(), Path::new("/data/slake"));
        for absent in [None, env("")] {
            let error = root_from(None, absent, "slake").unwrap_err().to_string();
            assert!(error.contains("data.root") && error.contains("NORMED_DATA"), "{error}");
        }
    }
}
