//! The `[data]` section of a recipe, and the choice of rows by their attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::open::open_for;
use super::read_options::Answers;
use super::{DataSpec, Dataset, ImageOptions, OpenedDataset, Subset, Task};
use crate::{Error, Result};

/// The `[data]` section of a recipe: the data set, the task, which rows are read, and how images are read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSection {
    /// The data set.
    #[serde(flatten)]
    pub set: DataSpec,
    /// The task: answer questions, or write reports.
    #[serde(flatten, skip_serializing_if = "Task::is_vqa")]
    pub task: Task,
    /// Which rows are read.
    #[serde(rename = "where", skip_serializing_if = "RowFilter::is_empty")]
    pub rows: RowFilter,
    /// How DICOM files and NIfTI volumes become images.
    #[serde(skip_serializing_if = "ImageOptions::is_default")]
    pub image: ImageOptions,
}

impl From<DataSpec> for DataSection {
    /// The data set with its default task, all its rows, and the default image options.
    fn from(set: DataSpec) -> Self {
        let (rows, image) = (RowFilter::default(), ImageOptions::default());
        Self { task: set.tasks().0, set, rows, image }
    }
}

impl DataSection {
    /// Opens the data set as [`open`](super::open) does, and keeps the rows that `where` chooses.
    ///
    /// # Errors
    ///
    /// As [`open`](super::open), which needs an answer or a report in each row; if `where` names an attribute or a value that no row has, or chooses no row.
    pub fn open(&self) -> Result<OpenedDataset> {
        self.open_with(Answers::Required)
    }

    /// Opens the data set as [`DataSection::open`] does, to ask a model: a row needs neither an answer nor a report.
    ///
    /// # Errors
    ///
    /// As [`DataSection::open`].
    pub fn open_to_ask(&self) -> Result<OpenedDataset> {
        self.open_with(Answers::Optional)
    }

    fn open_with(&self, answers: Answers) -> Result<OpenedDataset> {
        let opened = open_for(&self.set, &self.task, self.image, answers)?;
        if self.rows.is_empty() {
            return Ok(opened);
        }
        let dataset = self.rows.apply(opened.dataset)?;
        Ok(OpenedDataset { dataset, ..opened })
    }
}

/// A choice of rows by their attributes: for each attribute named here, the accepted values.
///
/// ```toml
/// [data]
/// name = "slake"
/// where = { modality = ["CT", "MRI"], organ = "Lung" }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RowFilter(BTreeMap<String, Vec<String>>);

impl RowFilter {
    /// Chooses the rows that have one of the accepted values for every attribute.
    pub fn new(values: BTreeMap<String, Vec<String>>) -> Self {
        Self(values)
    }

    /// Whether every row is chosen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The chosen examples of `dataset`. An attribute or a value that no example has is an error.
    fn apply(&self, dataset: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut indices = Vec::new();
        for i in 0..dataset.len() {
            let attributes = dataset.get(i)?.attributes;
            let is_accepted = |(name, values): (&String, &Vec<String>)| {
                attributes.get(name).is_some_and(|value| values.contains(value))
            };
            if self.0.iter().all(is_accepted) {
                indices.push(i);
            }
            for (name, value) in attributes {
                known.entry(name).or_default().insert(value);
            }
        }
        for (name, values) in &self.0 {
            let place = format!("data.where.{name}");
            let Some(there) = known.get(name) else {
                return Err(Error::invalid(place, "no row has this attribute")
                    .with_remedy(format!("the attributes are: {}", list(known.keys()))));
            };
            if let Some(value) = values.iter().find(|value| !there.contains(*value)) {
                return Err(Error::invalid(place, format!("no row has \"{value}\""))
                    .with_remedy(format!("the values are: {}", list(there.iter()))));
            }
        }
        if indices.is_empty() {
            return Err(Error::invalid("data.where", "no row has all of these values"));
        }
        Ok(Arc::new(Subset::new(dataset, indices)))
    }
}

/// Up to 20 names, separated by commas.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let mut text = names.take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text.push_str("nothing");
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::tests::example;

    fn chosen(filter: &[(&str, &[&str])]) -> Result<Vec<String>> {
        let rows = [("a", "CT", "Lung"), ("b", "MRI", "Brain"), ("c", "X-Ray", "Lung")];
        let rows = rows.map(|(id, modality, organ)| {
            let mut row = example(id, id);
            let said = [("modality", modality), ("organ", organ)];
            row.attributes = said.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            row
        });
        let values = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        let filter = filter.iter().map(|(name, v)| ((*name).to_owned(), values(v))).collect();
        let dataset = RowFilter::new(filter).apply(Arc::new(rows.to_vec()))?;
        (0..dataset.len()).map(|i| Ok(dataset.get(i)?.id)).collect()
    }

    #[test]
    fn rows_have_one_of_the_values_of_every_attribute() {
        assert_eq!(chosen(&[("modality", &["CT", "X-Ray"])]).unwrap(), ["a", "c"]);
        assert_eq!(chosen(&[("modality", &["CT", "MRI"]), ("organ", &["Lung"])]).unwrap(), ["a"]);
    }

    #[test]
    fn an_unknown_attribute_or_value_is_an_error_that_lists_the_known_ones() {
        let error = |filter: &[(&str, &[&str])]| chosen(filter).unwrap_err().to_string();
        assert!(error(&[("organs", &["Lung"])]).contains("the attributes are: modality, organ"));
        assert!(error(&[("organ", &["lung"])]).contains("the values are: Brain, Lung"));
        assert!(
            error(&[("organ", &["Brain"]), ("modality", &["CT"])])
                .contains("no row has all of these values")
        );
    }
}
