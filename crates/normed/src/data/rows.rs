//! Examples of annotation files: collected and checked. A broken row stops the run or is skipped.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::decoding_gate::parallel_bytes;
use super::image_survey::ImageSurvey;
use super::missing_image::explain_missing;
use super::read_options::ReadOptions;
use super::row::CheckedRow;
use super::{
    Answer, AnswerType, Attributes, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split,
};
use crate::{Error, ErrorKind, Result};

/// The example of a study and its report; `views` are the files of its images, in the directory `images`.
pub(super) fn study_example(
    id: String,
    images: &Path,
    views: &[String],
    report: Option<String>,
    split: Split,
) -> Example {
    Example {
        id,
        images: views.iter().map(|view| ImageSource::File(images.join(view))).collect(),
        image_name: views.join(" "),
        question: String::new(), // the task puts its prompt here
        answer: report.map(|report| Answer::new(report, AnswerType::Report)),
        split,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: Attributes::new(),
    }
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
    warnings.extend(derived_types_warning(&rows));
    let (examples, broken_rows) = check_examples(rows, reading, &mut survey);
    let decoding_bytes = parallel_bytes(survey.decoding_bytes(), rayon::current_num_threads());
    let skipped: Vec<String> = match reading.on_bad_example {
        OnBadExample::Stop if !broken_rows.is_empty() => return Err(refuse(broken_rows)),
        _ => broken_rows.into_iter().map(|(place, cause)| format!("{place}: {cause}")).collect(),
    };
    if examples.is_empty() {
        let cause = match skipped.first() {
            Some(first) => format!("all {} rows are broken. The first: {first}", skipped.len()),
            None => "there are no rows".into(),
        };
        return Err(Error::invalid("data", cause));
    }
    warnings.extend(survey.warnings());
    Ok(OpenedDataset { dataset: Arc::new(examples), skipped, warnings, decoding_bytes })
}

/// The examples of the rows that can be used; of the others the place and the cause of each, as
/// [`collect_examples`] checks them.
pub(super) fn check_examples(
    rows: Vec<CheckedRow>,
    reading: ReadOptions,
    survey: &mut ImageSurvey,
) -> (Vec<Example>, Vec<(String, String)>) {
    let broken = find_broken_images(&rows, reading, survey);
    let mut first_place: HashMap<String, String> = HashMap::new();
    let (mut examples, mut broken_rows) = (Vec::with_capacity(rows.len()), Vec::new());
    for CheckedRow { place, example, .. } in rows {
        let checked = example.and_then(|example| {
            if let Some(cause) = image_files(&example).find_map(|path| broken.get(path)) {
                return Err(cause.clone());
            }
            if let Some(first) = first_place.get(&example.id) {
                return Err(format!("the id `{}` is already that of {first}", example.id));
            }
            first_place.insert(example.id.clone(), place.clone());
            let images = example.images.into_iter().map(|image| image.with_options(reading.image));
            Ok(Example { images: images.collect(), place: place.clone(), ..example })
        });
        match checked {
            Ok(example) => examples.push(example),
            Err(cause) => broken_rows.push((place, cause)),
        }
    }
    // Every example of a row has the row's cause.
    broken_rows.dedup();
    (examples, broken_rows)
}

/// How many broken rows an error lists.
const MAX_LISTED: usize = 10;

/// The error of broken rows: the place and the cause of each, at least one.
pub(super) fn refuse(rows: Vec<(String, String)>) -> Error {
    let them = if rows.len() == 1 { "row" } else { "rows" };
    let remedy = format!(
        "correct the {them}, or skip broken rows: on_bad_example = \"skip\" in [data], or --skip-bad with --data"
    );
    refuse_rows("data", rows, &remedy)
}

/// The error of broken rows of the file or data set `all`, the first ten by name.
pub(super) fn refuse_rows(
    all: impl Display,
    mut rows: Vec<(String, String)>,
    remedy: &str,
) -> Error {
    if let [_] = rows[..] {
        let (place, cause) = rows.remove(0);
        return Error::invalid(place, cause).with_remedy(remedy);
    }
    let mut cause = format!("{} rows are broken:", rows.len());
    for line in list_rows(&rows) {
        cause += &format!("\n  {line}");
    }
    Error::invalid(all, cause).with_remedy(remedy)
}

/// Each row, if they are ten at most; else the first row of each cause, of ten causes, and how many more there are.
fn list_rows(rows: &[(String, String)]) -> Vec<String> {
    if rows.len() <= MAX_LISTED {
        return rows.iter().map(|(place, cause)| format!("{place}: {cause}")).collect();
    }
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut causes: Vec<(&str, &str, usize)> = Vec::new();
    for (place, cause) in rows {
        let at = *index.entry(cause).or_insert(causes.len());
        match causes.get_mut(at) {
            Some((_, _, count)) => *count += 1,
            None => causes.push((place, cause, 1)),
        }
    }
    let listed = || causes.iter().take(MAX_LISTED);
    let line = |(place, cause, count): &(&str, &str, usize)| match count {
        1 => format!("{place}: {cause}"),
        2 => format!("{place}: {cause} (and 1 more row)"),
        n => format!("{place}: {cause} (and {} more rows)", n - 1),
    };
    let more = rows.len() - listed().map(|(_, _, count)| count).sum::<usize>();
    listed().map(line).chain((more > 0).then(|| format!("and {more} more"))).collect()
}

/// The causes why image files cannot be used, by file. The headers of the others are added to `survey`.
fn find_broken_images(
    rows: &[CheckedRow],
    reading: ReadOptions,
    survey: &mut ImageSurvey,
) -> HashMap<PathBuf, String> {
    let mut seen = HashSet::new();
    // Each file, and its path as a row has it: the name of an example's only image.
    let written = |example: &'_ Example| {
        (example.images.len() == 1).then_some(example.image_name.as_str()).map(str::to_owned)
    };
    let files: Vec<(&Path, Option<String>)> = rows
        .iter()
        .filter_map(|row| row.example.as_ref().ok())
        .flat_map(|example| image_files(example).map(|file| (file, written(example))))
        .filter(|(file, _)| seen.insert(*file))
        .collect();
    let check = |(path, _): &(&Path, Option<String>)| {
        let header = Image::check_header(path, &reading.image)?;
        if reading.on_bad_example == OnBadExample::Skip {
            Image::decode(path, &reading.image)?;
        }
        Ok::<_, Error>(header)
    };
    let checked: Vec<_> = files.par_iter().map(check).collect();
    let mut broken = HashMap::new();
    for ((file, written), checked) in files.into_iter().zip(checked) {
        let cause = match checked {
            Ok(header) => {
                survey.add(&ImageSource::File(file.to_owned()), &header);
                continue;
            }
            // Of more than are listed, no similar name is looked for.
            Err(error) if error.kind() == ErrorKind::NotFound && broken.len() < MAX_LISTED => {
                explain_missing(file, written.as_deref())
            }
            Err(error) => format!("image {error}"),
        };
        broken.insert(file.to_owned(), cause);
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

/// The warning that rows state no answer type, so that those of their answers are derived.
fn derived_types_warning(rows: &[CheckedRow]) -> Option<String> {
    let untyped = rows.iter().filter(|row| row.is_untyped);
    let types =
        untyped.filter_map(|row| Some(row.example.as_ref().ok()?.answer.as_ref()?.answer_type));
    let types: Vec<_> = types.filter(|kind| *kind != AnswerType::Report).collect();
    let closed = types.iter().filter(|kind| **kind == AnswerType::Closed).count();
    (!types.is_empty()).then(|| {
        format!(
            "{} answers have no `answer_type`: {closed} that are yes or no are taken for CLOSED, the other {} for \
             OPEN. Scores of open and closed questions may differ from published ones",
            types.len(),
            types.len() - closed
        )
    })
}

/// The warning that answers are empty, if any are. Published data sets have some, and score them.
pub(super) fn empty_answers_warning(rows: &[CheckedRow]) -> Option<String> {
    let is_empty = |row: &&CheckedRow| {
        let answer = row.example.as_ref().ok().and_then(|example| example.answer.as_ref());
        answer.is_some_and(|answer| answer.text.trim().is_empty())
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
        _ => {
            let cause = format!("the directory of {name} is not known");
            let remedy = format!(
                "set `data.root` in the recipe to the directory, or the environment variable NORMED_DATA to the \
                 directory that contains `{name}`"
            );
            Err(Error::new(ErrorKind::NotFound, "data", cause).with_remedy(remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::tests::example;
    use crate::data::image::decode::tests::write_image_that_panics;

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
                CheckedRow { place: name.to_owned(), example: Ok(example), is_untyped: false }
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
