//! Assigns splits to the rows of a JSON Lines file, so that no two splits share an image or a patient.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Split;
use super::conversation::image_names;
use super::image_identity::{DisjointSets, ImageSets};
use super::json_rows::json_rows;
use super::jsonl::image_directory;
use super::plain_path::plain_path;
use super::row::Row;
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
    /// Whether images are decoded, so that copies under other names and in other formats are one image.
    pub compares_pixels: bool,
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

/// Names that were found to belong together, each with the name that it is joined to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinedNames {
    /// Image names that are another spelling of, or a link to, an image that has a name already.
    pub aliases: Vec<(String, String)>,
    /// Images that equal another image pixel by pixel.
    pub copies: Vec<(String, String)>,
    /// Groups that share an image with another group, directly or through others.
    pub groups: Vec<(String, String)>,
    /// Images that could not be decoded, or do not exist: only their paths were compared.
    pub unread: Vec<String>,
}

/// The splits of all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitAssignment {
    /// The rows with their `split`, as JSON Lines.
    pub lines: String,
    /// The sizes of the training, validation and test split.
    pub sizes: Vec<SplitSize>,
    /// What was found to belong together.
    pub joined: JoinedNames,
}

/// Rows with their splits.
pub(super) struct AssignedRows {
    /// The rows with their `split`.
    pub objects: Vec<Map<String, Value>>,
    /// The sizes of the training, validation and test split.
    pub sizes: Vec<SplitSize>,
    /// What was found to belong together.
    pub joined: JoinedNames,
}

/// The rows of a JSON Lines file, to which splits are assigned.
pub struct SplitRows {
    file: PathBuf,
    /// What the paths of images are relative to.
    directory: PathBuf,
    objects: Vec<Map<String, Value>>,
    keys: Vec<RowKey>,
}

/// What a row may share with others.
#[derive(Default)]
struct RowKey {
    images: Vec<String>,
    group: Option<String>,
    /// The row itself, if it has neither.
    text: String,
}

impl SplitRows {
    /// Reads the rows of `file`. Paths of images are relative to `image_root`, or to the file's directory.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a row is broken.
    pub fn open(file: &Path, image_root: Option<&Path>) -> Result<Self> {
        Self::of(file, image_directory(file, image_root), json_rows(file)?)
    }

    /// The rows of `file`, whose paths of images are relative to `directory`.
    pub(super) fn of(file: &Path, directory: &Path, rows: Vec<Row>) -> Result<Self> {
        let (mut objects, mut keys) = (Vec::new(), Vec::new());
        for row in rows {
            let mut key = RowKey::default();
            // Where a row has no fields, into_object says what is wrong.
            if let Some(fields) = row.fields() {
                let wrong = |cause| Error::invalid(&row.place, cause);
                key.images = image_names(&fields).map_err(wrong)?;
                key.group = fields.group().map_err(wrong)?;
            }
            let object = row.into_object()?;
            if key.images.is_empty() && key.group.is_none() {
                key.text = Value::Object(object.clone()).to_string();
            }
            objects.push(object);
            keys.push(key);
        }
        Ok(Self { file: file.to_owned(), directory: directory.to_owned(), objects, keys })
    }

    /// The files of the rows' images, as often as rows name them.
    pub fn image_files(&self) -> impl Iterator<Item = PathBuf> {
        self.names().map(|name| self.directory.join(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().flat_map(|key| &key.images).map(String::as_str)
    }

    /// Assigns a split to each row.
    ///
    /// Rows that share an image, or are linked by a chain of images and groups, form a cluster and stay
    /// together. Clusters are drawn in the order of a hash of their names: the order of the rows does not
    /// matter. `on_done` is called for each image that is decoded.
    ///
    /// # Errors
    ///
    /// If a fraction is not in `0..1`, or no row is left for training.
    pub fn assign(self, rule: &SplitRule, on_done: &(dyn Fn() + Sync)) -> Result<SplitAssignment> {
        let AssignedRows { objects, sizes, joined } = self.assign_objects(rule, on_done)?;
        let mut lines = String::new();
        for object in objects {
            lines.push_str(&Value::Object(object).to_string());
            lines.push('\n');
        }
        Ok(SplitAssignment { lines, sizes, joined })
    }

    /// As [`SplitRows::assign`], with the rows as objects.
    pub(super) fn assign_objects(
        self,
        rule: &SplitRule,
        on_done: &(dyn Fn() + Sync),
    ) -> Result<AssignedRows> {
        rule.check()?;
        let names: Vec<&str> = self.names().collect();
        let images = ImageSets::find(&names, &self.directory, rule.compares_pixels, on_done);
        let paths = ImagePaths::of(&names, &self.directory);
        let (clusters, groups) = clusters(&self.keys, &images, &paths, rule);
        let (splits, sizes) = draw(clusters, self.objects.len(), rule);
        if sizes[0].rows == 0 {
            return Err(Error::invalid(
                self.file.display(),
                "there are too few images or groups: nothing is left to train on",
            ));
        }
        let assign = |(mut object, split): (Map<String, Value>, Split)| {
            object.insert("split".to_owned(), split.name().into());
            object
        };
        let objects = self.objects.into_iter().zip(splits).map(assign).collect();
        let ImageSets { aliases, copies, unread, .. } = images;
        let joined = JoinedNames { aliases, copies, groups, unread };
        Ok(AssignedRows { objects, sizes, joined })
    }
}

/// The split of each row, and the sizes of the training, validation and test split.
fn draw(clusters: Vec<Vec<usize>>, rows: usize, rule: &SplitRule) -> (Vec<Split>, Vec<SplitSize>) {
    let target = |part: f64| match part {
        0.0 => 0,
        part => ((part * rows as f64).round() as usize).max(1),
    };
    let wanted = [(Split::Test, target(rule.test)), (Split::Validate, target(rule.validate))];
    let mut splits = vec![Split::Train; rows];
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
    (splits, sizes)
}

/// The paths of images below the folder that holds all of them, by name: the same for every spelling of a path, and
/// wherever the file of the rows is.
struct ImagePaths<'a>(HashMap<&'a str, PathBuf>);

impl<'a> ImagePaths<'a> {
    fn of(names: &[&'a str], directory: &Path) -> Self {
        let mut paths: HashMap<&str, PathBuf> =
            names.iter().map(|&name| (name, plain_path(&directory.join(name)))).collect();
        let shared = |a: &Path, b: &Path| -> PathBuf {
            let pairs = a.components().zip(b.components());
            pairs.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
        };
        let folders = paths.values().filter_map(|path| path.parent().map(Path::to_owned));
        if let Some(folder) = folders.reduce(|a, b| shared(&a, &b)) {
            for path in paths.values_mut() {
                if let Ok(below) = path.strip_prefix(&folder) {
                    *path = below.to_owned();
                }
            }
        }
        Self(paths)
    }
}

/// What the place of a cluster in the random order depends on: its first group in alphabetical order, else its first
/// image, else its text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum ClusterName<'a> {
    Group(&'a str),
    Image(&'a Path),
    Text(&'a str),
}

impl<'a> ClusterName<'a> {
    fn of(key: &'a RowKey, paths: &'a ImagePaths<'_>, rule: &SplitRule) -> Self {
        let image = key.images.iter().map(|name| paths.0[name.as_str()].as_path()).min();
        match (&key.group, image) {
            (Some(group), _) if rule.by_group => Self::Group(group),
            (_, Some(image)) => Self::Image(image),
            (group, None) => Self::Text(group.as_ref().unwrap_or(&key.text)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Group(text) | Self::Text(text) => text.as_bytes(),
            Self::Image(path) => path.as_os_str().as_encoded_bytes(),
        }
    }
}

/// The clusters of rows, in random order, and the groups that share an image with another.
fn clusters(
    keys: &[RowKey],
    images: &ImageSets,
    paths: &ImagePaths<'_>,
    rule: &SplitRule,
) -> (Vec<Vec<usize>>, Vec<(String, String)>) {
    let mut sets = DisjointSets::new(keys.len());
    let mut first_of_image: BTreeMap<usize, usize> = BTreeMap::new();
    let mut first_of_group: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        for name in &key.images {
            sets.join(*first_of_image.entry(images.image[name]).or_insert(i), i);
        }
        if let (Some(group), true) = (&key.group, rule.by_group) {
            sets.join(*first_of_group.entry(group).or_insert(i), i);
        }
    }
    let mut group_of_set: BTreeMap<usize, &str> = BTreeMap::new();
    let mut joined = Vec::new();
    for (group, row) in first_of_group {
        let first = *group_of_set.entry(sets.root(row)).or_insert(group);
        if first != group {
            joined.push((group.to_owned(), first.to_owned()));
        }
    }
    let mut named: BTreeMap<usize, (ClusterName<'_>, Vec<usize>)> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        let own = ClusterName::of(key, paths, rule);
        match named.entry(sets.root(i)) {
            Entry::Vacant(entry) => {
                entry.insert((own, vec![i]));
            }
            Entry::Occupied(mut entry) => {
                let (name, rows) = entry.get_mut();
                rows.push(i);
                if own < *name {
                    *name = own;
                }
            }
        }
    }
    let seed = rule.seed.to_le_bytes();
    let order = |name: ClusterName<'_>| {
        Sha256::new().chain_update(seed).chain_update(name.bytes()).finalize()
    };
    let mut drawn: Vec<_> = named.into_values().map(|(name, rows)| (order(name), rows)).collect();
    drawn.sort_unstable();
    (drawn.into_iter().map(|(_, rows)| rows).collect(), joined)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const RULE: SplitRule =
        SplitRule { by_group: true, validate: 0.1, test: 0.2, seed: 1, compares_pixels: true };

    fn assign(rows: &[Value], rule: &SplitRule) -> Result<(Vec<Value>, Vec<SplitSize>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let assigned = SplitRows::open(file.path(), None)?.assign(rule, &|| ())?;
        let rows = assigned.lines.lines().map(|line| serde_json::from_str(line).unwrap());
        Ok((rows.collect(), assigned.sizes))
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

    /// Rows of 40 images, each named three times: `name` spells the image, `group` the group.
    fn assign_in(
        dir: &Path,
        by_group: bool,
        row: impl Fn(usize, usize) -> Value,
    ) -> (Vec<Value>, JoinedNames) {
        let rows = (0..120).map(|i| format!("{}\n", row(i / 3, i % 3)));
        std::fs::write(dir.join("rows.jsonl"), rows.collect::<String>()).unwrap();
        let rows = SplitRows::open(&dir.join("rows.jsonl"), None).unwrap();
        let rule = SplitRule { by_group, validate: 0.2, ..RULE };
        let SplitAssignment { lines, joined, .. } = rows.assign(&rule, &|| ()).unwrap();
        (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), joined)
    }

    /// How many of the 40 are in more than one split.
    fn count_divided_of_three(rows: &[Value]) -> usize {
        rows.chunks(3)
            .filter(|three| three.iter().any(|row| row["split"] != three[0]["split"]))
            .count()
    }

    #[test]
    fn spellings_of_a_name_and_copies_of_an_image_are_not_divided() {
        let dir = tempfile::tempdir().unwrap();
        let spelled = |image: usize, way: usize| {
            let name = ["im/N.png", "./im/N.png", "im//x/../N.png"][way];
            json!({ "id": 3 * image + way, "image": name.replace('N', &image.to_string()) })
        };
        let (rows, joined) = assign_in(dir.path(), false, spelled);
        assert_eq!((count_divided_of_three(&rows), joined.aliases.len()), (0, 80));
        assert_eq!(joined.aliases[0], ("./im/0.png".to_owned(), "im/0.png".to_owned()));
        assert_eq!(joined.unread.len(), 40, "no image exists");

        for image in 0..40_u8 {
            let picture =
                image::GrayImage::from_fn(5, 4, |x, y| image::Luma([image + (x * y) as u8]));
            for (way, ending) in ["png", "bmp", "webp"].into_iter().enumerate() {
                picture.save(dir.path().join(format!("{image}_{way}.{ending}"))).unwrap();
            }
        }
        let copied = |image: usize, way: usize| {
            let name = format!("{image}_{way}.{}", ["png", "bmp", "webp"][way]);
            json!({ "id": 3 * image + way, "images": [name], "group": format!("{image} {way}") })
        };
        for by_group in [false, true] {
            let (rows, joined) = assign_in(dir.path(), by_group, copied);
            assert_eq!((count_divided_of_three(&rows), joined.copies.len()), (0, 80));
            assert_eq!(joined.groups.len(), if by_group { 80 } else { 0 });
            assert!(joined.unread.is_empty() && joined.aliases.is_empty());
        }
    }

    #[test]
    fn blanks_around_a_group_and_how_its_number_is_written_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        for numbers in [false, true] {
            let row = |group: usize, way: usize| {
                let text = format!("{group}");
                let ways = match numbers {
                    true => [json!(group), json!(text), json!(group as f64)],
                    false => [
                        json!(format!("p{text}")),
                        json!(format!(" p{text}")),
                        json!(format!("p{text}\u{a0}\t")),
                    ],
                };
                json!({ "id": 3 * group + way, "image": format!("{group}_{way}.png"), "group": ways[way] })
            };
            let (rows, joined) = assign_in(dir.path(), true, row);
            assert_eq!((count_divided_of_three(&rows), joined.groups.len()), (0, 0));
        }
    }

    #[test]
    fn conversations_without_an_image_are_drawn_one_by_one() {
        let row = |i: usize| {
            let turns = json!([{"role": "user", "content": format!("Is it {i}?")},
                {"role": "assistant", "content": "no"}]);
            json!({ "messages": turns })
        };
        let rows: Vec<_> = (0..100).map(row).collect();
        let (rows, sizes) = assign(&rows, &RULE).unwrap();
        assert_eq!((sizes[1].rows, sizes[2].rows), (10, 20));
        assert!(rows[..50].iter().any(|row| row["split"] == "test"));
        assert!(rows[50..].iter().any(|row| row["split"] == "test"));
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

    /// Splits depend on groups and images, not on where the file of the rows is or how it writes paths.
    #[test]
    fn other_paths_to_the_same_images_give_the_same_splits() {
        let splits = |folder: &str, group: bool| {
            let row = |i: usize| {
                let group = group.then_some(i / 4);
                json!({ "id": i, "image": format!("{folder}{}/{}.png", i / 10, i / 2), "group": group })
            };
            let rows: Vec<_> = (0..100).map(row).collect();
            let rows = assign(&rows, &RULE).unwrap().0;
            rows.iter().map(|row| row["split"].to_string()).collect::<Vec<_>>()
        };
        for group in [false, true] {
            let want = splits("images/", group);
            for folder in ["", "./images//", "../study/x/../images/", "/elsewhere/"] {
                assert_eq!(splits(folder, group), want, "{folder}");
            }
        }
    }

    #[test]
    fn conversations_about_one_image_stay_together() {
        let row = |i: usize| {
            let name = ["a/N.png", "./a/N.png"][i % 2].replace('N', &(i / 2).to_string());
            let part =
                json!([{ "type": "image", "image": name }, { "type": "text", "text": "Why?" }]);
            let turns = json!([{ "role": "user", "content": part },
                { "role": "assistant", "content": "no" }]);
            json!({ "id": i, "messages": turns })
        };
        let rows: Vec<_> = (0..80).map(row).collect();
        let rows = assign(&rows, &RULE).unwrap().0;
        assert!(rows.chunks(2).all(|pair| pair[0]["split"] == pair[1]["split"]));
        assert!(rows.iter().any(|row| row["split"] == "test"));
    }

    #[test]
    fn mistakes_are_named() {
        let message =
            |rows: &[Value], rule: &SplitRule| assign(rows, rule).unwrap_err().to_string();
        assert!(message(&[json!({ "id": 1 })], &RULE).contains(":1: `image` is missing"));
        assert!(message(&[json!(3)], &RULE).contains("such as a CSV table"));
        assert!(message(&rows()[..2], &RULE).contains("nothing is left to train on"));
        assert!(assign(&rows(), &SplitRule { test: 0.95, ..RULE }).is_err());
        assert!(assign(&rows(), &SplitRule { validate: f64::NAN, ..RULE }).is_err());
    }
}
