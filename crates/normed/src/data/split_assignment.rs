//! Assigns splits to the rows of a JSON Lines file, so that no two splits share an image or a patient.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Split;
use super::json_rows::json_rows;
use crate::{Error, Result};

/// How rows are divided into splits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitRule {
    /// Whether rows of one `group` stay in one split; rows about one image always do.
    pub by_group: bool,
    /// Fraction of the rows for the validation split, in `0..1`.
    pub validate: f64,
    /// Fraction of the rows for the test split, in `0..1`.
    pub test: f64,
    /// Random seed.
    pub seed: u64,
}

/// The size of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitSize {
    /// The split.
    pub split: Split,
    /// Number of rows.
    pub rows: usize,
    /// Number of clusters: sets of rows that stay together.
    pub clusters: usize,
}

impl SplitRule {
    /// That its fractions leave something to train on.
    fn check(&self) -> Result<()> {
        let is_fraction = |part: f64| (0.0..1.0).contains(&part);
        if [self.validate, self.test, self.validate + self.test].into_iter().all(is_fraction) {
            return Ok(());
        }
        let cause = format!("{} for validation and {} for testing", self.validate, self.test);
        Err(Error::invalid("fractions of the splits", cause)
            .with_remedy("choose fractions from 0 to less than 1, whose sum is less than 1"))
    }
}

/// Assigns a split to each row of `file`, a JSON Lines file. Returns the rows as JSON Lines with their
/// `split`, and the sizes of the splits.
///
/// Rows that share an image, or are linked by a chain of images and groups, form a cluster and stay
/// together. Clusters are drawn in the order of a hash of their names: the order of the rows does not matter.
///
/// # Errors
///
/// If the file cannot be read, a row is broken, a fraction is not in `0..1`, or no row is left for training.
pub fn assign_splits(file: &Path, rule: &SplitRule) -> Result<(String, Vec<SplitSize>)> {
    rule.check()?;
    let (mut objects, mut keys) = (Vec::new(), Vec::new());
    for row in json_rows(file)? {
        let key = match row.fields() {
            Some(fields) => {
                let wrong = |cause| Error::invalid(&row.place, cause);
                let group = match rule.by_group {
                    true => fields.optional_text("group").map_err(wrong)?,
                    false => None,
                };
                (fields.views().map_err(wrong)?, group)
            }
            None => (Vec::new(), None), // into_object says what is wrong
        };
        objects.push(row.into_object()?);
        keys.push(key);
    }

    let clusters = clusters(&keys, rule.seed);
    let target = |part: f64| match part {
        0.0 => 0,
        part => ((part * objects.len() as f64).round() as usize).max(1),
    };
    let wanted = [(Split::Test, target(rule.test)), (Split::Validate, target(rule.validate))];
    let mut splits = vec![Split::Train; objects.len()];
    let mut sizes = Vec::new();
    let mut left = clusters.into_iter();
    for (split, target) in wanted {
        let mut size = SplitSize { split, rows: 0, clusters: 0 };
        while size.rows < target {
            let Some(cluster) = left.next() else { break };
            size.rows += cluster.len();
            size.clusters += 1;
            cluster.into_iter().for_each(|i| splits[i] = split);
        }
        sizes.push(size);
    }
    let train: Vec<_> = left.collect();
    let rows = train.iter().map(Vec::len).sum();
    sizes.push(SplitSize { split: Split::Train, rows, clusters: train.len() });
    sizes.reverse();
    if rows == 0 {
        return Err(Error::invalid(
            file.display(),
            "there are too few images or groups: nothing is left to train on",
        ));
    }

    let mut lines = String::new();
    for (mut object, split) in objects.into_iter().zip(splits) {
        object.insert("split".to_owned(), split.name().into());
        lines.push_str(&serde_json::Value::Object(object).to_string());
        lines.push('\n');
    }
    Ok((lines, sizes))
}

/// The clusters of rows, in random order by `seed`. The keys of a row are its images and its group.
fn clusters(keys: &[(Vec<String>, Option<String>)], seed: u64) -> Vec<Vec<usize>> {
    // Union-find: the parent of a row is an earlier row of its cluster, or the row itself.
    let mut parent: Vec<usize> = (0..keys.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    let mut first: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (i, (images, group)) in keys.iter().enumerate() {
        let group = group.as_deref().map(|group| ("group", group));
        let images = images.iter().map(|image| ("image", image.as_str()));
        for key in images.chain(group) {
            let other = *first.entry(key).or_insert(i);
            let (a, b) = (root(&mut parent, other), root(&mut parent, i));
            parent[a.max(b)] = a.min(b);
        }
    }
    // A cluster is named by the first of its images' names in alphabetical order.
    let mut sets: BTreeMap<usize, (&str, Vec<usize>)> = BTreeMap::new();
    for (i, (images, _)) in keys.iter().enumerate() {
        let image = images.iter().min().map_or("", String::as_str);
        let (name, rows) = sets.entry(root(&mut parent, i)).or_insert((image, Vec::new()));
        *name = (*name).min(image);
        rows.push(i);
    }
    let draw =
        |name: &str| Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut sets: Vec<_> = sets.into_values().map(|(name, rows)| (draw(name), rows)).collect();
    sets.sort_unstable();
    sets.into_iter().map(|(_, rows)| rows).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    const RULE: SplitRule = SplitRule { by_group: true, validate: 0.1, test: 0.2, seed: 1 };

    fn assign(rows: &[Value], rule: &SplitRule) -> Result<(Vec<Value>, Vec<SplitSize>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let (text, sizes) = assign_splits(file.path(), rule)?;
        Ok((text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), sizes))
    }

    /// 300 questions about 150 images of 75 patients; every tenth patient shares an image with the
    /// next, and some rows name no patient.
    fn rows() -> Vec<Value> {
        let row = |i: usize| {
            let image = if i.is_multiple_of(40) {
                format!("{}.png", i / 2 + 2)
            } else {
                format!("{}.png", i / 2)
            };
            let group = if i.is_multiple_of(7) { Value::Null } else { json!(i / 4) };
            json!({ "id": i, "image": image, "group": group, "note": "kept" })
        };
        (0..300).map(row).collect()
    }

    /// How many values of `key` are in more than one split.
    fn count_divided(rows: &[Value], key: &str) -> usize {
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row[key].is_null()) {
            seen.entry(row[key].to_string()).or_default().insert(row["split"].to_string());
        }
        seen.values().filter(|splits| splits.len() > 1).count()
    }

    #[test]
    fn no_group_and_no_image_is_divided() {
        let (by_group, sizes) = assign(&rows(), &RULE).unwrap();
        assert_eq!((count_divided(&by_group, "group"), count_divided(&by_group, "image")), (0, 0));
        assert_eq!(by_group[0]["note"], "kept");
        assert_eq!(sizes.iter().map(|size| size.rows).sum::<usize>(), 300);
        assert!(sizes[2].rows.abs_diff(60) < 15 && sizes[1].rows.abs_diff(30) < 15, "{sizes:?}");

        let by_image = assign(&rows(), &SplitRule { by_group: false, ..RULE }).unwrap().0;
        assert_eq!(count_divided(&by_image, "image"), 0);
        assert!(count_divided(&by_image, "group") > 0);
    }

    #[test]
    fn studies_that_share_a_view_stay_together() {
        let study = |i: usize| {
            let views = [
                format!("{i}.png"),
                format!("{}.png", if i.is_multiple_of(5) { i + 1 } else { i }),
            ];
            json!({ "id": i, "images": views })
        };
        let rows: Vec<_> = (0..100).map(study).collect();
        let rows = assign(&rows, &RULE).unwrap().0;
        for i in (0..100).step_by(5) {
            assert_eq!(rows[i]["split"], rows[i + 1]["split"], "{i}");
        }
        let test = rows.iter().filter(|row| row["split"] == "test").count();
        assert!((18..24).contains(&test), "{test}");
    }

    #[test]
    fn the_seed_matters_and_the_order_of_the_rows_does_not() {
        let splits = |rows: &[Value], rule: &SplitRule| {
            let rows = assign(rows, rule).unwrap().0;
            let of = |row: &Value| (row["id"].as_u64(), row["split"].to_string());
            rows.iter().map(of).collect::<BTreeSet<_>>()
        };
        let forward = rows();
        let backward: Vec<_> = forward.iter().rev().cloned().collect();
        assert_eq!(splits(&forward, &RULE), splits(&backward, &RULE));
        assert_ne!(splits(&forward, &RULE), splits(&forward, &SplitRule { seed: 2, ..RULE }));
    }

    #[test]
    fn mistakes_are_named() {
        let message =
            |rows: &[Value], rule: &SplitRule| assign(rows, rule).unwrap_err().to_string();
        assert!(message(&[json!({ "id": 1 })], &RULE).contains(":1: `image` is missing"));
        assert!(message(&[json!(3)], &RULE).contains("not an object"));
        assert!(message(&rows()[..2], &RULE).contains("nothing is left to train on"));
        assert!(assign(&rows(), &SplitRule { test: 0.95, ..RULE }).is_err());
        assert!(assign(&rows(), &SplitRule { validate: f64::NAN, ..RULE }).is_err());
    }
}
