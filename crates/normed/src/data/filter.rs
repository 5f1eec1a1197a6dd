//! The rows of a data set that a run reads: by what the data set says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::open::open_for;
use super::{DataSpec, Dataset, ImageOptions, OpenedDataset, Subset, Task};
use crate::{Error, Result};

/// Which data set a run reads, which of its rows, what is asked of them, and how pictures are looked at:
/// the `[data]` section of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSection {
    /// The data set.
    #[serde(flatten)]
    pub set: DataSpec,
    /// What is asked.
    #[serde(flatten, skip_serializing_if = "Task::is_vqa")]
    pub task: Task,
    /// Its rows.
    #[serde(rename = "where", skip_serializing_if = "RowFilter::is_empty")]
    pub rows: RowFilter,
    /// How its pictures are looked at, where they are DICOM files or volumes.
    #[serde(skip_serializing_if = "ImageOptions::is_default")]
    pub image: ImageOptions,
}

impl From<DataSpec> for DataSection {
    /// All rows, asked what is asked of such a set where nothing else is said, pictures looked at in the
    /// usual way.
    fn from(set: DataSpec) -> Self {
        let (rows, image) = (RowFilter::default(), ImageOptions::default());
        Self { task: set.tasks().0, set, rows, image }
    }
}

impl DataSection {
    /// Opens the data set, as [`super::open`] does, and passes over the other rows.
    pub fn open(&self) -> Result<OpenedDataset> {
        let opened = open_for(&self.set, &self.task, self.image)?;
        if self.rows.is_empty() {
            return Ok(opened);
        }
        let dataset = self.rows.of(opened.dataset)?;
        Ok(OpenedDataset { dataset, ..opened })
    }
}

/// Rows chosen by their attributes: of each named one, the values that are taken.
///
/// ```toml
/// [data]
/// name = "slake"
/// where = { modality = ["CT", "MRI"], organ = "Lung" }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RowFilter(BTreeMap<String, Vec<String>>);

impl RowFilter {
    /// Rows whose attribute has one of the values, for every attribute here.
    pub fn new(values: BTreeMap<String, Vec<String>>) -> Self {
        Self(values)
    }

    /// Whether it takes every row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those examples of `dataset`. An attribute or a value that no example has is an error.
    fn of(&self, dataset: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut indices = Vec::new();
        for i in 0..dataset.len() {
            let attributes = dataset.get(i)?.attributes;
            let taken = |(name, values): (&String, &Vec<String>)| {
                attributes.get(name).is_some_and(|value| values.contains(value))
            };
            if self.0.iter().all(taken) {
                indices.push(i);
            }
            for (name, value) in attributes {
                known.entry(name).or_default().insert(value);
            }
        }
        for (name, values) in &self.0 {
            let place = format!("data.where.{name}");
            let Some(there) = known.get(name) else {
                return Err(Error::invalid(place, "no row says such a thing")
                    .with_remedy(format!("rows say: {}", join(known.keys()))));
            };
            if let Some(value) = values.iter().find(|value| !there.contains(*value)) {
                return Err(Error::invalid(place, format!("no row has \"{value}\""))
                    .with_remedy(format!("there are: {}", join(there.iter()))));
            }
        }
        if indices.is_empty() {
            return Err(Error::invalid("data.where", "no row is left"));
        }
        Ok(Arc::new(Subset::new(dataset, indices)))
    }
}

/// Some of them, in a line.
fn join<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
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
        let dataset = RowFilter::new(filter).of(Arc::new(rows.to_vec()))?;
        (0..dataset.len()).map(|i| Ok(dataset.get(i)?.id)).collect()
    }

    #[test]
    fn rows_have_one_of_the_values_of_every_attribute() {
        assert_eq!(chosen(&[("modality", &["CT", "X-Ray"])]).unwrap(), ["a", "c"]);
        assert_eq!(chosen(&[("modality", &["CT", "MRI"]), ("organ", &["Lung"])]).unwrap(), ["a"]);
    }

    #[test]
    fn what_no_row_says_is_an_error_that_lists_what_they_say() {
        let error = |filter: &[(&str, &[&str])]| chosen(filter).unwrap_err().to_string();
        assert!(error(&[("organs", &["Lung"])]).contains("rows say: modality, organ"));
        assert!(error(&[("organ", &["lung"])]).contains("there are: Brain, Lung"));
        assert!(error(&[("organ", &["Brain"]), ("modality", &["CT"])]).contains("no row is left"));
    }
}
