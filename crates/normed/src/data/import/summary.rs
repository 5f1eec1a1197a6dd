//! What was imported, in numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::data::{Answer, AnswerType, Example, Split};

/// What was imported, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSummary {
    /// The rows, images and groups of each split that has any.
    pub splits: Vec<ImportedSplit>,
    /// Rows in all.
    pub rows: usize,
    /// Different images in all.
    pub images: usize,
    /// Different groups in all: patients or studies. 0 without a column for them.
    pub groups: usize,
    /// Different answers, without regard to case. 0 for reports.
    pub answers: usize,
    /// Rows with a closed question.
    pub closed: usize,
    /// Rows with an open question.
    pub open: usize,
    /// The longest question; for reports the longest report.
    pub longest: String,
    /// Whether the rows are reports.
    pub is_report: bool,
}

/// The size of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedSplit {
    /// The split.
    pub split: Split,
    /// Rows.
    pub rows: usize,
    /// Different images.
    pub images: usize,
    /// Different groups.
    pub groups: usize,
}

impl ImportSummary {
    /// Counts rows and the examples that were made of them.
    pub(super) fn of(objects: &[Map<String, Value>], examples: &[Example]) -> Self {
        let known: Vec<&Answer> = examples.iter().filter_map(|one| one.answer.as_ref()).collect();
        let is_report = known.iter().any(|answer| answer.answer_type == AnswerType::Report);
        let split_of = |object: &Map<String, Value>| {
            object.get("split").and_then(Value::as_str).and_then(Split::from_name)
        };
        let size = |split: Option<Split>| {
            let rows =
                || objects.iter().filter(move |row| split.is_none() || split_of(row) == split);
            let groups: BTreeSet<_> = rows().filter_map(|row| row.get("group")?.as_str()).collect();
            let images: BTreeSet<_> = rows().flat_map(images_of).collect();
            (rows().count(), images.len(), groups.len())
        };
        let splits = [Split::Train, Split::Validate, Split::Test].into_iter().map(|split| {
            let (rows, images, groups) = size(Some(split));
            ImportedSplit { split, rows, images, groups }
        });
        let (rows, images, groups) = size(None);
        let count = |kind| known.iter().filter(|answer| answer.answer_type == kind).count();
        let answers: BTreeSet<_> = known.iter().map(|answer| answer.text.to_lowercase()).collect();
        let texts: Vec<&String> = match is_report {
            true => known.iter().map(|answer| &answer.text).collect(),
            false => examples.iter().map(|one| &one.question).collect(),
        };
        Self {
            splits: splits.filter(|split| split.rows > 0).collect(),
            rows,
            images,
            groups,
            answers: if is_report { 0 } else { answers.len() },
            closed: count(AnswerType::Closed),
            open: count(AnswerType::Open),
            longest: texts
                .into_iter()
                .max_by_key(|text| text.chars().count())
                .cloned()
                .unwrap_or_default(),
            is_report,
        }
    }
}

/// The paths of a row's images.
pub(super) fn images_of(row: &Map<String, Value>) -> Vec<&str> {
    let (one, several) = (row.get("image"), row.get("images").and_then(Value::as_array));
    one.into_iter().chain(several.into_iter().flatten()).filter_map(Value::as_str).collect()
}

/// The first value in each way that rows of different splits share: their groups and their images, with how many do.
pub(super) fn shared_between_splits(objects: &[Map<String, Value>]) -> Vec<String> {
    let mut warnings = Vec::new();
    type Names<'a> = fn(&'a Map<String, Value>) -> Vec<&'a str>;
    let groups: Names<'_> = |row| row.get("group").and_then(Value::as_str).into_iter().collect();
    let kinds: [(&str, &str, Names<'_>); 2] =
        [("group", "groups", groups), ("image", "images", images_of)];
    for (one, several, names) in kinds {
        let mut splits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in objects {
            let split = row.get("split").and_then(Value::as_str).unwrap_or("test");
            for name in names(row) {
                splits.entry(name).or_default().insert(split);
            }
        }
        let mut shared = splits.into_iter().filter(|(_, splits)| splits.len() > 1);
        if let Some((first, splits)) = shared.next() {
            let count = 1 + shared.count();
            let what =
                if count == 1 { format!("1 {one} is") } else { format!("{count} {several} are") };
            let splits: Vec<_> = splits.into_iter().collect();
            warnings.push(format!(
                "{what} in more than one split (`{first}` in {}), so that test scores are too high; without the column \
                 of splits, normed makes splits that share none",
                splits.join(" and ")
            ));
        }
    }
    warnings
}
