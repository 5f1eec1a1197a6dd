//! Rows of annotation files: read and checked. A broken row stops the run or is skipped.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::image_survey::ImageSurvey;
use super::read_options::ReadOptions;
use super::{
    AnswerType, Attributes, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split,
};
use crate::files::{TABLE_LIMIT, read_text};
use crate::{Error, Result};

/// One row of a file, whose fields are not checked yet.
pub(super) struct Row {
    /// File and line of the row.
    pub place: String,
    /// Prefix of each cause: the number of the row, where a line can hold several rows.
    pub prefix: String,
    /// The fields, or why the row has none.
    fields: Result<Map<String, Value>, String>,
}

/// A checked row: an example, or the cause why it is broken.
pub(super) struct CheckedRow {
    pub place: String,
    pub example: Result<Example, String>,
}

impl Row {
    /// A row with these fields.
    pub fn new(place: String, fields: Map<String, Value>) -> Self {
        Self { place, prefix: String::new(), fields: Ok(fields) }
    }

    /// A row whose fields are those of a JSON object.
    pub fn from_value(place: String, value: &Value) -> Self {
        let fields = match value {
            Value::Object(fields) => Ok(fields.clone()),
            other => Err(not_an_object(other)),
        };
        Self { place, prefix: String::new(), fields }
    }

    /// A row whose fields are in `json`, the text of a JSON object.
    fn parse(place: String, prefix: String, json: &str) -> Self {
        let fields = match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(other) => Err(not_an_object(&other)),
            // Its own line number would be within the row.
            Err(error) => Err(format!("is not JSON: column {}: {error}", error.column())),
        };
        Self { place, prefix, fields }
    }

    /// Makes an example of the row by `make`, whose error is the cause why the row is broken.
    pub fn check(self, make: impl FnOnce(&Fields<'_>) -> Result<Example, String>) -> CheckedRow {
        let example = match &self.fields {
            Ok(fields) => make(&Fields(fields)),
            Err(cause) => Err(cause.clone()),
        };
        let example = example.map_err(|cause| format!("{}{cause}", self.prefix));
        CheckedRow { place: self.place, example }
    }

    /// The fields of the row, or an error that names its place.
    pub fn into_object(self) -> Result<Map<String, Value>> {
        let Self { place, prefix, fields } = self;
        fields.map_err(|cause| Error::invalid(place, format!("{prefix}{cause}")))
    }

    /// The fields of the row, if it has any.
    pub fn fields(&self) -> Option<Fields<'_>> {
        self.fields.as_ref().ok().map(Fields)
    }
}

/// The fields of one row. Each error names the field and what is wrong with it.
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl Fields<'_> {
    /// The text, or the number as text, under `key`. It may be empty.
    pub fn text_or_empty(&self, key: &str) -> Result<String, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(other) => Err(format!("`{key}` is {}, not a text or a number", kind(other))),
        }
    }

    /// The text, or the number as text, under `key`, which must not be empty.
    pub fn text(&self, key: &str) -> Result<String, String> {
        let text = self.text_or_empty(key)?;
        if text.trim().is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text) }
    }

    /// The list of texts under `key`, at least one, none of them empty.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::Array(list)) if !list.is_empty() => {
                let text =
                    |value: &Value| match value.as_str().filter(|text| !text.trim().is_empty()) {
                        Some(text) => Ok(text.to_owned()),
                        None => Err(format!("`{key}` holds {value}, where a text is expected")),
                    };
                list.iter().map(text).collect()
            }
            Some(Value::Array(_)) => Err(format!("`{key}` is empty")),
            Some(other) => Err(format!("`{key}` is {}, not a list of texts", kind(other))),
        }
    }

    /// The names of an example's images: under `image`, or `images`, a list.
    pub fn views(&self) -> Result<Vec<String>, String> {
        match self.0.get("image") {
            None if self.0.contains_key("images") => self.texts("images"),
            _ => Ok(vec![self.text("image")?]),
        }
    }

    /// As [`Fields::text`]; `None` if the key is absent or null.
    pub fn optional_text(&self, key: &str) -> Result<Option<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(key).map(Some),
        }
    }

    /// Attributes, each given as `(name, key)`; those whose key is absent are left out.
    pub fn attributes<const N: usize>(&self, keys: [(&str, &str); N]) -> Attributes {
        let read = |(name, key): (&str, &str)| Some((name.to_owned(), self.text(key).ok()?));
        keys.into_iter().filter_map(read).collect()
    }

    /// All texts and numbers under other keys than these, as attributes.
    pub fn other_attributes(&self, keys: &[&str]) -> Attributes {
        let others = self.0.keys().filter(|key| !keys.contains(&key.as_str()));
        others.filter_map(|key| Some((key.clone(), self.text(key).ok()?))).collect()
    }

    /// The split under `split`; the test split if the key is absent.
    pub fn split(&self) -> Result<Split, String> {
        match self.optional_text("split")? {
            None => Ok(Split::Test),
            Some(name) => Split::from_name(name.trim())
                .ok_or_else(|| format!("`split` is `{name}`, not train, validate or test")),
        }
    }

    /// The answer type under `answer_type`; case and surrounding blanks do not matter.
    pub fn answer_type(&self) -> Result<AnswerType, String> {
        let text = self.text("answer_type")?;
        match text.trim().to_uppercase().as_str() {
            "OPEN" => Ok(AnswerType::Open),
            "CLOSED" => Ok(AnswerType::Closed),
            _ => Err(format!("`answer_type` is `{text}`, not OPEN or CLOSED")),
        }
    }
}

fn not_an_object(value: &Value) -> String {
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

/// Reads the rows of a JSON file that holds one list. The place of each is the line where it starts.
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

/// Reads a JSON file that holds one object.
pub(super) fn json_object(path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_str(&read_text(path, TABLE_LIMIT)?)
        .map_err(|error| Error::invalid(format!("{}:{}", path.display(), error.line()), error))
}

/// The example of a study and its report; `views` are the files of its images, in the directory `images`.
pub(super) fn study_example(
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
        question: String::new(), // the task puts its prompt here
        answer: report,
        answer_type: AnswerType::Report,
        split,
        group: None,
        attributes: Attributes::new(),
    }
}

/// Reads the rows of a JSON Lines file; blank lines are skipped.
pub(super) fn jsonl_rows(path: &Path) -> Result<Vec<Row>> {
    let text = read_text(path, TABLE_LIMIT)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(i, line): (usize, &str)| {
        Row::parse(format!("{}:{}", path.display(), i + 1), String::new(), line)
    };
    Ok(lines.map(row).collect())
}

/// Collects the examples of the rows. A broken row is an error or is skipped, as `on_bad_example` says.
///
/// Ids must be unique, and image files must exist and have the header of an image. If broken rows are
/// skipped, every image is decoded here, so that none can stop the run later. `survey` holds the headers of
/// images that are not files of their own; those of files are added here.
pub(super) fn collect_examples(
    rows: Vec<CheckedRow>,
    reading: ReadOptions,
    mut warnings: Vec<String>,
    mut survey: ImageSurvey,
) -> Result<OpenedDataset> {
    let broken = find_broken_images(&rows, reading, &mut survey);
    warnings.extend(survey.warnings());
    let decoding_bytes = survey.decoding_bytes();
    let mut first_place: HashMap<String, String> = HashMap::new();
    let (mut examples, mut skipped) = (Vec::with_capacity(rows.len()), Vec::new());
    for CheckedRow { place, example } in rows {
        let checked = example.and_then(|example| {
            if let Some(cause) = image_files(&example).find_map(|path| broken.get(path)) {
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
                    "correct the row, or skip broken rows: on_bad_example = \"skip\"",
                ));
            }
        }
    }
    if examples.is_empty() {
        let cause = match skipped.first() {
            Some(first) => format!("all {} rows are broken. The first: {first}", skipped.len()),
            None => "there are no rows".into(),
        };
        return Err(Error::invalid("data", cause));
    }
    Ok(OpenedDataset { dataset: Arc::new(examples), skipped, warnings, decoding_bytes })
}

/// The causes why image files cannot be used, by file. The headers of the others are added to `survey`.
fn find_broken_images(
    rows: &[CheckedRow],
    reading: ReadOptions,
    survey: &mut ImageSurvey,
) -> HashMap<PathBuf, String> {
    let mut seen = HashSet::new();
    let files: Vec<&Path> = rows
        .iter()
        .filter_map(|row| row.example.as_ref().ok())
        .flat_map(image_files)
        .filter(|file| seen.insert(*file))
        .collect();
    let check = |path: &&Path| {
        let header = Image::check_header(path, &reading.image)?;
        if reading.on_bad_example == OnBadExample::Skip {
            Image::decode(path, &reading.image)?;
        }
        Ok::<_, Error>(header)
    };
    let checked: Vec<_> = files.par_iter().map(check).collect();
    let mut broken = HashMap::new();
    for (file, checked) in files.into_iter().zip(checked) {
        match checked {
            Ok(header) => survey.add(&ImageSource::File(file.to_owned()), &header),
            Err(error) => {
                broken.insert(file.to_owned(), format!("image {error}"));
            }
        }
    }
    broken
}

/// The files of an example's images.
fn image_files(example: &Example) -> impl Iterator<Item = &Path> {
    example.images.iter().filter_map(|image| match image {
        ImageSource::File(path) => Some(path.as_path()),
        _ => None,
    })
}

/// The warning that a data set has no answer types, so that `closed` of `all` answers are taken for closed.
pub(super) fn derived_types_warning(all: usize, closed: usize) -> Option<String> {
    (all > 0).then(|| {
        format!(
            "the data has no `answer_type`: {closed} answers that are yes or no are taken for CLOSED, the \
             other {} for OPEN. Scores of open and closed questions may differ from published ones",
            all - closed
        )
    })
}

/// The warning that answers are empty, if any are. Published data sets have some, and score them.
pub(super) fn empty_answers_warning(rows: &[CheckedRow]) -> Option<String> {
    let is_empty = |row: &&CheckedRow| {
        row.example.as_ref().is_ok_and(|example| example.answer.trim().is_empty())
    };
    let mut empty = rows.iter().filter(is_empty);
    let first = empty.next()?;
    Some(format!(
        "{} answers are empty; they are kept. The first: {}",
        1 + empty.count(),
        first.place
    ))
}

/// The directory of the data set `name`: `root` if given, else `name` in `$NORMED_DATA`.
pub(super) fn dataset_directory(root: Option<&Path>, name: &str) -> Result<PathBuf> {
    directory_from(root, std::env::var_os("NORMED_DATA").as_deref(), name)
}

fn directory_from(
    root: Option<&Path>,
    variable: Option<&std::ffi::OsStr>,
    name: impl AsRef<Path> + Display,
) -> Result<PathBuf> {
    match (root, variable) {
        (Some(root), _) => Ok(root.to_owned()),
        (None, Some(data)) if !data.is_empty() => Ok(Path::new(data).join(name)),
        _ => Err(Error::invalid("data", format!("the directory of {name} is not known"))
            .with_remedy(format!(
                "set `data.root` in the recipe to the directory, or the environment variable \
             NORMED_DATA to the directory that contains `{name}`"
            ))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::example::tests::example;
    use crate::data::image::decode::tests::write_image_that_panics;

    #[test]
    fn rows_of_a_list_have_their_line() {
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
            collect_examples(
                rows(),
                ReadOptions { on_bad_example, ..ReadOptions::default() },
                Vec::new(),
                ImageSurvey::default(),
            )
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
    fn fields_name_their_errors() {
        let json = r#"{"i": 4, "t": "x", "e": " ", "l": [], "n": null, "answer_type": "CLOSED "}"#;
        let row = Row::parse("f:1".into(), String::new(), json);
        let fields = row.fields().unwrap();
        assert_eq!(fields.text("i").unwrap(), "4");
        assert_eq!(fields.text_or_empty("e").unwrap(), " ");
        assert_eq!(fields.text("e").unwrap_err(), "`e` is empty");
        assert_eq!(fields.text("l").unwrap_err(), "`l` is a list, not a text or a number");
        assert_eq!(fields.text("n").unwrap_err(), "`n` is missing");
        assert_eq!(fields.optional_text("n").unwrap(), None);
        assert!(fields.optional_text("l").is_err());
        assert_eq!(fields.answer_type().unwrap(), AnswerType::Closed);
    }

    #[test]
    fn the_directory_is_given_or_from_the_environment() {
        let env = |text: &'static str| Some(std::ffi::OsStr::new(text));
        let given = Path::new("/given");
        assert_eq!(directory_from(Some(given), env("/data"), "slake").unwrap(), given);
        assert_eq!(directory_from(None, env("/data"), "slake").unwrap(), Path::new("/data/slake"));
        for absent in [None, env("")] {
            let error = directory_from(None, absent, "slake").unwrap_err().to_string();
            assert!(error.contains("data.root") && error.contains("NORMED_DATA"), "{error}");
        }
    }
}
