//! Open-i's chest X-rays (Demner-Fushman et al. 2016, JAMIA 23:304) as they are handed on in two tables:
//! `indiana_reports.csv` (`uid`, `findings`, `impression`) and `indiana_projections.csv` (`uid`, `filename`,
//! `projection`: Frontal or Lateral).
//!
//! A study is its frontal views, then its lateral ones, in the order of the table. `XXXX`, which stands for
//! what was removed to protect patients, stays. The data set has no splits: studies are drawn in the order
//! of a hash, a tenth to validate, a fifth to test, as many as R2Gen's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::read_options::ReadOptions;
use super::rows::{CheckedRow, Fields, Row, gather, root, study};
use super::{Example, OpenedDataset, Split};
use crate::files::{TABLE_LIMIT, read_bounded};
use crate::{Error, Result};

/// What the two tables are called.
const REPORTS: &str = "indiana_reports.csv";
const PROJECTIONS: &str = "indiana_projections.csv";

/// Where pictures are looked for: the directories that they are handed on in.
const IMAGES: [&str; 3] = ["images/images_normalized", "images_normalized", "images"];

/// What is read, and how it is divided.
pub(super) struct Options {
    /// Whether a report is the findings and the impression, not the findings alone.
    pub impression: bool,
    /// Another seed, other splits.
    pub split_seed: u64,
    pub reading: ReadOptions,
}

/// Opens the two tables in `directory`, or in `$NORMED_DATA/open_i`.
pub(super) fn open(directory: Option<&Path>, options: &Options) -> Result<OpenedDataset> {
    let directory = root(directory, "open_i")?;
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
    divide(&mut rows, options.split_seed);
    gather(rows, options.reading, Vec::new())
}

fn images(directory: &Path) -> Result<PathBuf> {
    let found = IMAGES.iter().map(|name| directory.join(name)).find(|path| path.is_dir());
    found.ok_or_else(|| {
        let cause = format!("there is none of {}", IMAGES.join(", "));
        Error::invalid(directory.display(), cause).with_remedy("the pictures are expected there")
    })
}

/// The rows of a table, each with its line, which must have these columns.
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
        let cause = format!("there is no column `{missing}`; there are: {}", head.join(", "));
        return Err(wrong(1, cause).with_remedy("the table is Open-i's as published on Kaggle"));
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
    // Some have findings and no impression.
    if options.impression
        && let Some(impression) = fields.optional_text("impression")?
    {
        report = format!("{report} {impression}");
    }
    let views =
        views.get(&uid).ok_or_else(|| format!("study {uid} has no picture in {PROJECTIONS}"))?;
    let views: Vec<String> = views.iter().map(|(_, file)| file.clone()).collect();
    Ok(study(format!("open-i-{uid}"), images, &views, report, Split::Train))
}

/// Gives the studies that can be read their splits.
fn divide(rows: &mut [CheckedRow], seed: u64) {
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
