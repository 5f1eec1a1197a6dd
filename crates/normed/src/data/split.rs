//! Splits that share neither a group nor a picture: `normed split --by group`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::plan::{shuffle, stream};
use super::rows::{Fields, jsonl_rows};
use super::{Dataset, Split};
use crate::{Error, Result};

/// The part of the rows that each split should have; the three sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fractions {
    /// Of the training split.
    pub train: f64,
    /// Of the validation split.
    pub validate: f64,
    /// Of the test split.
    pub test: f64,
}

impl Fractions {
    fn each(self) -> Result<[(Split, f64); 3]> {
        let Self { train, validate, test } = self;
        let each = [(Split::Train, train), (Split::Validate, validate), (Split::Test, test)];
        let sum: f64 = each.iter().map(|(_, part)| part).sum();
        // NaN fails both.
        let sound = each.iter().all(|(_, part)| (0.0..=1.0).contains(part));
        if sound && (sum - 1.0).abs() < 1e-6 {
            return Ok(each);
        }
        let cause = format!("{train}, {validate}, {test} are not three parts that sum to 1");
        Err(Error::invalid("fractions", cause))
    }
}

/// What must not be divided, for one row: its group, if it has one, and its picture.
struct Ties {
    group: Option<String>,
    image: String,
}

/// Sets of rows that hang together: rows share a set if a chain of common groups or pictures joins
/// them. In the order of the sets' smallest names, so that the order of the rows does not matter.
fn bundles(rows: &[Ties]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..rows.len()).collect();
    fn top(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    let mut first = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        // A group and a picture of the same name are two things.
        let names = [row.group.as_deref().map(|group| (true, group)), Some((false, &row.image))];
        for name in names.into_iter().flatten() {
            let other = *first.entry(name).or_insert(i);
            let (a, b) = (top(&mut parent, i), top(&mut parent, other));
            parent[a] = b;
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in 0..rows.len() {
        sets.entry(top(&mut parent, i)).or_default().push(i);
    }
    let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
    sets.sort_by_key(|set| set.iter().map(|&i| (&rows[i].image, &rows[i].group)).min());
    sets
}

/// Gives each row a split. In random order, each bundle goes where most rows are still wanting.
fn assign(rows: &[Ties], parts: &[(Split, f64)], seed: u64) -> Result<Vec<Split>> {
    let mut bundles = bundles(rows);
    let mut wanting: Vec<(Split, f64)> = parts.iter().copied().filter(|(_, p)| *p > 0.0).collect();
    if bundles.len() < wanting.len() {
        let cause = format!(
            "{} rows make {} sets that share no group and no picture; {} splits need as many",
            rows.len(),
            bundles.len(),
            wanting.len()
        );
        return Err(Error::invalid("split", cause));
    }
    shuffle(&mut bundles, &mut stream(seed, 0));
    for (_, part) in &mut wanting {
        *part *= rows.len() as f64;
    }
    let mut splits = vec![Split::Train; rows.len()];
    // The first bundles go one to each split, so that none is empty.
    for (n, bundle) in bundles.iter().enumerate() {
        let most = |a: &usize, b: &usize| wanting[*a].1.total_cmp(&wanting[*b].1);
        let to = if n < wanting.len() { n } else { (0..wanting.len()).max_by(most).unwrap_or(0) };
        wanting[to].1 -= bundle.len() as f64;
        for &i in bundle {
            splits[i] = wanting[to].0;
        }
    }
    Ok(splits)
}

/// The rows of the JSON-lines file `file`, in its order, all their keys kept, with `split` set so
/// that no two splits share a `group` or an `image`. `seed` decides which goes where; the order of
/// the rows does not.
pub fn split_by_group(
    file: &Path,
    fractions: Fractions,
    seed: u64,
) -> Result<Vec<Map<String, Value>>> {
    let parts = fractions.each()?;
    let (mut rows, mut ties) = (Vec::new(), Vec::new());
    for row in jsonl_rows(file)? {
        let place = row.place.clone();
        let wrong = |cause: String| Error::invalid(&place, cause);
        let fields = row.into_fields().map_err(wrong)?;
        let view = Fields(&fields);
        let group = view.optional_text("group").map_err(wrong)?;
        ties.push(Ties { group, image: view.text("image").map_err(wrong)? });
        rows.push(fields);
    }
    if rows.is_empty() {
        return Err(Error::invalid(file.display(), "there are no rows"));
    }
    for (row, split) in rows.iter_mut().zip(assign(&ties, &parts, seed)?) {
        row.insert("split".into(), split.name().into());
    }
    Ok(rows)
}

/// Writes rows as JSON lines.
pub fn write_jsonl(path: &Path, rows: &[Map<String, Value>]) -> Result<()> {
    let lines = rows.iter().map(|row| serde_json::to_string(row).expect("a value serialises"));
    let text: String = lines.flat_map(|line| [line, "\n".into()]).collect();
    fs::write(path, text).map_err(|e| Error::io(path, &e))
}

/// Divides the examples `indices` in two that share no group and no picture: those to train with,
/// and about `fraction` of them to validate with. Both keep their order.
pub fn holdout(
    dataset: &dyn Dataset,
    indices: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let parts = Fractions { train: 1.0 - fraction, validate: fraction, test: 0.0 }.each()?;
    let tie = |&i: &usize| {
        let example = dataset.get(i)?;
        Ok(Ties { group: example.group, image: example.image_name })
    };
    let ties = indices.iter().map(tie).collect::<Result<Vec<_>>>()?;
    let splits = assign(&ties, &parts, seed)?;
    let of = |wanted| {
        let rows = indices.iter().zip(&splits).filter(|&(_, &split)| split == wanted);
        rows.map(|(&i, _)| i).collect()
    };
    Ok((of(Split::Train), of(Split::Validate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::tests::example;

    /// 60 pictures of 20 patients, 3 rows each; every seventh row does not name its patient.
    fn rows() -> Vec<String> {
        let row = |i: usize| {
            let group = if i.is_multiple_of(7) {
                String::new()
            } else {
                format!(r#""group": {}, "#, i % 20)
            };
            format!(r#"{{"id": {i}, {group}"image": "{}.png", "extra": [1]}}"#, i % 60)
        };
        (0..180).map(row).collect()
    }

    fn split(rows: &[String], seed: u64) -> Vec<Map<String, Value>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        fs::write(&path, rows.join("\n")).unwrap();
        let parts = Fractions { train: 0.7, validate: 0.1, test: 0.2 };
        split_by_group(&path, parts, seed).unwrap()
    }

    #[test]
    fn no_group_and_no_picture_is_in_two_splits() {
        for seed in 0..10 {
            let (mut split_of, mut count) = (HashMap::new(), HashMap::new());
            for row in split(&rows(), seed) {
                for key in ["group", "image"] {
                    if let Some(name) = row.get(key) {
                        let first = split_of.entry((key, name.to_string()));
                        assert_eq!(*first.or_insert(row["split"].clone()), row["split"], "{name}");
                    }
                }
                *count.entry(row["split"].as_str().unwrap().to_owned()).or_insert(0) += 1;
                assert_eq!(row["extra"], serde_json::json!([1]));
            }
            let near = |name: &str, wanted: i32| (count[name] - wanted).abs() <= 9;
            assert!(near("train", 126) && near("validate", 18) && near("test", 36), "{count:?}");
        }
    }

    #[test]
    fn the_seed_decides_and_the_order_of_rows_does_not() {
        let mut reversed = rows();
        reversed.reverse();
        let mut again = split(&reversed, 1);
        again.reverse();
        assert_eq!(split(&rows(), 1), again);
        assert_ne!(split(&rows(), 1), split(&rows(), 2));
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        let one = [example("a", "x"), example("b", "x")].to_vec();
        assert!(holdout(&one, &[0, 1], 0.5, 0).is_err());
        assert!(holdout(&one, &[0, 1], 1.5, 0).is_err());
        assert!(holdout(&one, &[0, 1], f64::NAN, 0).is_err());
        assert_eq!(holdout(&one, &[1, 0], 0.0, 0).unwrap(), (vec![1, 0], vec![]));
    }

    #[test]
    fn a_holdout_divides_between_pictures() {
        let image = |i: usize| format!("{}.png", i / 4);
        let rows: Vec<_> = (0..100).map(|i| example(&i.to_string(), &image(i))).collect();
        let indices: Vec<usize> = (0..80).collect();
        let (train, validate) = holdout(&rows, &indices, 0.1, 7).unwrap();
        assert_eq!((train.len(), validate.len()), (72, 8));
        assert!(train.is_sorted() && validate.is_sorted());
        assert!(validate.iter().all(|&v| train.iter().all(|&t| image(t) != image(v))));
        assert_eq!(holdout(&rows, &indices, 0.1, 7).unwrap().1, validate);
    }
}
