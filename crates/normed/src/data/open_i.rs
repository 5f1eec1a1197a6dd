//! Open-i's chest X-rays (Demner-Fushman et al. 2016, JAMIA 23:304) in two tables, as published on Kaggle:
//! `indiana_reports.csv` (`uid`, `findings`, `impression`) and `indiana_projections.csv` (`uid`, `filename`,
//! `projection`: Frontal or Lateral).
//!
//! A study has its frontal images first, then its lateral ones, each in the order of the table. `XXXX`, which
//! replaces text that was removed to protect patients, stays. The data set has no splits: studies are assigned in
//! the order of a hash, 10 % for validation and 20 % for testing, as in R2Gen's splits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::image_survey::ImageSurvey;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, dataset_directory, study_example};
use super::{Example, OpenedDataset, Split};
use crate::files::{TABLE_LIMIT, read_bounded};
use crate::{Error, Result};

/// The file names of the two tables.
pub(super) const REPORTS: &str = "indiana_reports.csv";
pub(super) const PROJECTIONS: &str = "indiana_projections.csv";

/// The directories in which images are looked for.
const IMAGES: [&str; 3] = ["images/images_normalized", "images_normalized", "images"];

/// What is read, and how the splits are made.
pub(super) struct Options {
    /// Whether a report is the findings and the impression, not the findings alone.
    pub impression: bool,
    /// Random seed of the splits.
    pub split_seed: u64,
    pub reading: ReadOptions,
}

/// Opens the two tables in `directory`, or in `$NORMED_DATA/open_i`.
pub(super) fn open(directory: Option<&Path>, options: &Options) -> Result<OpenedDataset> {
    let directory = dataset_directory(directory, "open_i")?;
    let images = images(&directory)?;
    let mut views: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for row in csv_rows(&directory.join(PROJECTIONS), &["uid", "filename", "projection"])? {
        let place = row.place.clone();
        let fields = row.into_object()?;
        let fields = Fields(&fields);
        let read = || {
            let projection = fields.text("projection")?;
            let lateral = match projection.trim().to_lowercase().as_str() {
                "frontal" => false,
                "lateral" => true,
                _ => return Err(format!("`projection` is `{projection}`, not Frontal or Lateral")),
            };
            Ok((fields.text("uid")?, (lateral, fields.text("filename")?)))
        };
        let (uid, view) = read().map_err(|cause| Error::invalid(place, cause))?;
        views.entry(uid).or_default().push(view);
    }
    // Stable: the order of the table among frontal and among lateral views.
    views.values_mut().for_each(|views| views.sort_by_key(|(lateral, _)| *lateral));
    let reports = directory.join(REPORTS);
    let columns: &[&str] =
        if options.impression { &["uid", "findings", "impression"] } else { &["uid", "findings"] };
    let rows = csv_rows(&reports, columns)?;
    let rows = rows.into_iter().map(|row| row.check(|f| example(f, options, &images, &views)));
    let mut rows: Vec<CheckedRow> = rows.collect();
    assign_splits(&mut rows, options.split_seed);
    collect_examples(rows, options.reading, Vec::new(), ImageSurvey::default())
}

fn images(directory: &Path) -> Result<PathBuf> {
    let found = IMAGES.iter().map(|name| directory.join(name)).find(|path| path.is_dir());
    found.ok_or_else(|| {
        let cause = format!("it has none of the directories {}", IMAGES.join(", "));
        Error::invalid(directory.display(), cause).with_remedy("put the images into one of them")
    })
}

/// Reads the rows of a table, which must have these columns.
fn csv_rows(path: &Path, columns: &[&str]) -> Result<Vec<Row>> {
    let bytes = read_bounded(path, TABLE_LIMIT)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let wrong =
        |line: u64, cause: String| Error::invalid(format!("{}:{line}", path.display()), cause);
    let broken = |e: csv::Error| wrong(e.position().map_or(1, csv::Position::line), e.to_string());
    let head = reader.headers().map_err(broken)?.clone();
    let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_owned();
    let head: Vec<String> = head.iter().map(name).collect();
    if let Some(missing) = columns.iter().find(|column| !head.iter().any(|h| h == *column)) {
        let cause = format!("it has no column `{missing}`; its columns are {}", head.join(", "));
        return Err(wrong(1, cause).with_remedy("use the table as published on Kaggle"));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(1, csv::Position::line);
        let fields = head.iter().zip(&record).filter(|(_, text)| !text.trim().is_empty());
        let fields: Map<String, Value> =
            fields.map(|(name, text)| (name.clone(), text.trim().into())).collect();
        rows.push(Row::new(format!("{}:{line}", path.display()), fields));
    }
    Ok(rows)
}

fn example(
    fields: &Fields<'_>,
    options: &Options,
    images: &Path,
    views: &BTreeMap<String, Vec<(bool, String)>>,
) -> Result<Example, String> {
    let uid = fields.text("uid")?;
    let mut report = fields.text("findings").map_err(|_| format!("study {uid} has no findings"))?;
    // Some studies have no impression.
    if options.impression
        && let Some(impression) = fields.optional_text("impression")?
    {
        report = format!("{report} {impression}");
    }
    let views =
        views.get(&uid).ok_or_else(|| format!("study {uid} has no image in {PROJECTIONS}"))?;
    let views: Vec<String> = views.iter().map(|(_, file)| file.clone()).collect();
    Ok(study_example(format!("open-i-{uid}"), images, &views, Some(report), Split::Train))
}

/// Assigns splits to the studies that can be read.
fn assign_splits(rows: &mut [CheckedRow], seed: u64) {
    let mut studies: Vec<_> = rows.iter_mut().filter_map(|row| row.example.as_mut().ok()).collect();
    let draw =
        |id: &str| Sha256::new().chain_update(seed.to_le_bytes()).chain_update(id).finalize();
    studies.sort_by_cached_key(|example| draw(&example.id));
    let (test, validate) = (studies.len() / 5, studies.len() / 10);
    for (i, example) in studies.into_iter().enumerate() {
        example.split = match i {
            i if i < test => Split::Test,
            i if i < test + validate => Split::Validate,
            _ => Split::Train,
        };
    }
}
