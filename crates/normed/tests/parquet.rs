//! Data sets in parquet files, as pyarrow writes them (reference/parquet_golden.py).

mod data_common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use normed::data::{
    AnswerType, ColumnNames, DataSpec, Example, Image, ImageOptions, ImageOverlap, ImageSource,
    OnBadExample, OpenedDataset, Split, indices_of, open,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use data_common::golden;

fn spec(root: impl Into<PathBuf>) -> DataSpec {
    DataSpec::Parquet {
        root: root.into(),
        columns: ColumnNames::default(),
        image_root: None,
        on_bad_example: OnBadExample::Stop,
    }
}

fn examples(opened: &OpenedDataset) -> Vec<Example> {
    (0..opened.dataset.len()).map(|i| opened.dataset.get(i).unwrap()).collect()
}

fn failure(root: impl Into<PathBuf>) -> String {
    open(&spec(root)).map(drop).unwrap_err().to_string()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn rows_are_those_that_pyarrow_reads() {
    let opened = open(&spec(golden("parquet/vqa"))).unwrap();
    let rows = examples(&opened);
    let expected = fs::read_to_string(golden("parquet/rows.json")).unwrap();
    let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
    // The golden images by what is in them.
    let pictures = fs::read_dir(golden("image_files")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (sha256(&fs::read(&path).unwrap()), path)
    });
    let pictures: std::collections::HashMap<_, _> = pictures.collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row.split.name(), expected["split"]);
        assert_eq!(
            (&row.question, &row.expect_answer().unwrap().text),
            (&text(expected, "question"), &text(expected, "answer"))
        );
        let file = &pictures[expected["image"].as_str().unwrap()];
        // Read again from its row group and page, it is the image in the file.
        assert_eq!(
            row.images[0].load().unwrap(),
            Image::decode(file, &ImageOptions::default()).unwrap(),
            "{}",
            row.id
        );
        let alone = ImageSource::File(file.clone()).content_hash().unwrap();
        assert_eq!(row.images[0].content_hash().unwrap(), alone);
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let train = ["train-0", "train-1", "train-2", "train-3", "train-4", "train-5", "train-6"];
    assert_eq!(ids, [&train[..], &["test-0", "test-1", "test-2", "test-3"]].concat());
}

fn text(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap().to_owned()
}

#[test]
fn one_image_has_one_name_in_all_its_rows() {
    let rows = examples(&open(&spec(golden("parquet/vqa"))).unwrap());
    let name = |i: usize| rows[i].image_name.as_str();
    assert!(name(0) == name(2) && name(0) == name(3) && name(1) == name(6));
    assert_eq!(name(8), name(0), "of the test split, and the training split's picture");
    let names: HashSet<_> = rows.iter().map(|row| row.image_name.as_str()).collect();
    assert_eq!(names.len(), 6);
    assert!(rows.iter().all(|row| row.group.is_none()));
}

#[test]
fn derived_answer_types_and_odd_rows_are_warned_about() {
    let opened = open(&spec(golden("parquet/vqa"))).unwrap();
    let closed: Vec<_> = examples(&opened)
        .iter()
        .filter(|row| row.expect_answer().unwrap().answer_type == AnswerType::Closed)
        .map(|row| row.expect_answer().unwrap().text.clone())
        .collect();
    assert_eq!(closed, ["yes", "No", "yes.", "no"]);
    for expected in [
        "11 answers have no `answer_type`: 4 that are yes or no are taken for CLOSED, the other 7 for OPEN",
        "1 answers are empty; they are kept. The first: ",
        "e5bc3d208bb4deeb.parquet: row 3",
    ] {
        let said = opened.warnings.iter().any(|warning| warning.contains(expected));
        assert!(said, "{expected}: {:?}", opened.warnings);
    }
    let [train, test] =
        [Split::Train, Split::Test].map(|split| indices_of(&*opened.dataset, split));
    let overlap =
        ImageOverlap::find(&*opened.dataset, &train.unwrap(), &test.unwrap()).unwrap().unwrap();
    assert_eq!((overlap.test_images, overlap.identical), (3, 1));
}

#[test]
fn types_groups_and_plain_bytes_are_read_where_they_are() {
    let opened = open(&spec(golden("parquet/typed"))).unwrap();
    let rows = examples(&opened);
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.expect_answer().unwrap().answer_type == AnswerType::Closed));
    assert_eq!(rows[2].split, Split::Validate);
    assert_eq!(rows[0].group.as_deref(), Some("train patient"));
    assert_eq!(rows[3].group, None);
    assert_eq!(rows[3].id, "validate-1");
    assert!(rows.iter().all(|row| row.images[0].load().is_ok()));
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    let one = open(&spec(golden("parquet/typed/train/0000.parquet")));
    assert!(one.map(drop).unwrap_err().to_string().contains("contains no split"));
}

/// A copy of the golden test shard alone, its bytes changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let source = golden("parquet/vqa/data/test-00000-of-00001-e5bc3d208bb4deeb.parquet");
    let mut bytes = fs::read(source).unwrap();
    change(&mut bytes);
    let path = dir.path().join("test.parquet");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> =
        (0..=bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|i| bytes[i..i + to.len()].copy_from_slice(to));
}

#[test]
fn broken_files_are_named() {
    let (_dir, path) = changed(|bytes| bytes.truncate(bytes.len() / 2));
    let text = failure(&path);
    assert!(
        text.contains("test.parquet: is not a complete parquet file") && text.contains("fetch"),
        "{text}"
    );
    let (_dir, path) = changed(Vec::clear);
    assert!(failure(&path).contains("is not a parquet file: it is empty"));
    let (_dir, path) = changed(|bytes| replace(bytes, b"answer", b"remark"));
    let text = failure(&path);
    assert!(text.contains("it has no column `answer`"), "{text}");
    assert!(
        text.contains("image (a struct of bytes and path), question (a text), remark (a text)"),
        "{text}"
    );
    assert!(text.contains("data.columns = { answer = \"..\" }"), "{text}");
    assert!(failure("/nowhere").contains("no such file or directory"));
    let empty = tempfile::tempdir().unwrap();
    assert!(failure(empty.path()).contains("it contains no parquet file"));
}

#[test]
fn a_broken_image_is_named_by_its_row() {
    let png = b"\x89PNG\r\n\x1a\n";
    let gray = fs::read(golden("image_files/gray.png")).unwrap();
    let (_dir, path) = changed(|bytes| {
        let at = bytes.windows(gray.len()).position(|window| window == gray).unwrap();
        bytes[at..at + png.len()].copy_from_slice(b"no image");
    });
    let text = failure(&path);
    assert!(text.contains("test.parquet: row 3: `image` is not a supported image"), "{text}");
    assert!(text.contains("on_bad_example"), "{text}");

    // A header that is right, and pixels that are not: found where broken rows are left out.
    let (_dir, path) = changed(|bytes| {
        let at = bytes.windows(gray.len()).position(|window| window == gray).unwrap();
        bytes[at + gray.len() - 40..][..20].fill(0);
    });
    let skip = DataSpec::Parquet {
        root: path.clone(),
        columns: ColumnNames::default(),
        image_root: None,
        on_bad_example: OnBadExample::Skip,
    };
    let opened = open(&skip).unwrap();
    assert_eq!((opened.dataset.len(), opened.skipped.len()), (3, 1));
    assert!(opened.skipped[0].contains("row 3: `image` cannot be decoded"), "{:?}", opened.skipped);
    let late = open(&spec(&path)).unwrap().dataset.get(2).unwrap();
    let text = late.images[0].load().unwrap_err().to_string();
    assert!(text.contains("test.parquet: row 3: cannot be decoded"), "{text}");
}

#[test]
fn a_changed_file_is_an_error() {
    let (_dir, path) = changed(|_| {});
    let dataset = open(&spec(&path)).unwrap().dataset;
    let row = dataset.get(0).unwrap();
    assert!(row.images[0].load().is_ok());
    // The row that was read last is kept: another one is read in between.
    assert!(dataset.get(2).unwrap().images[0].load().is_ok());
    let other = golden("parquet/vqa/data/test-00000-of-00001-e5bc3d208bb4deeb.parquet");
    let mut bytes = fs::read(other).unwrap();
    let alpha = fs::read(golden("image_files/alpha.png")).unwrap();
    let at = bytes.windows(alpha.len()).position(|window| window == alpha).unwrap();
    bytes[at + alpha.len() - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    let text = row.images[0].load().unwrap_err().to_string();
    assert!(text.contains("row 1: the file has changed"), "{text}");
    // The open file is read on; to go back, it is opened again.
    let later = dataset.get(2).unwrap();
    later.images[0].load().unwrap();
    fs::remove_file(&path).unwrap();
    assert!(row.images[0].load().unwrap_err().to_string().contains("no such file"));
}

/// A file with a footer of these nodes of a schema, of which there are `count`.
fn with_schema(count: usize, nodes: &[u8], after: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    // version: 1; schema: a list of structs; rows: 0; row groups: none
    let head = [&[0x15, 2, 0x19, 0xfc][..], &varint(count)].concat();
    let footer = [&head, nodes, &[0x16, 0, 0x19, 0x0c], after, &[0]].concat();
    changed(|bytes| {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        *bytes = [b"PAR1", &footer[..], &length, b"PAR1"].concat();
    })
}

#[test]
fn a_footer_that_is_nested_without_end_is_refused() {
    let root = |children: &[u8]| [&[0x48, 1, b'r', 0x15][..], children, &[0]].concat();
    // A required group `a` with one child.
    let group = [0x35, 0, 0x18, 1, b'a', 0x15, 2, 0];
    let deep = [&root(&[2])[..], &group.repeat(1_000_000)].concat();
    let most = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    for (count, nodes, after, cause) in [
        (1_000_001, &deep[..], &[][..], "its columns are nested too deep"),
        // 2^31 - 1 children, elements and booleans.
        (1, &root(&most), &[], "its schema is cut short"),
        (0x7fff_ffff, &root(&[0]), &[], "its footer is cut short"),
        (1, &root(&[0]), &[0x59, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07], "its footer is cut short"),
        (0, &[], &[], "it has no schema"),
        (1, &root(&[0]), &[], "it has no column `image`"),
    ] {
        let (_dir, path) = with_schema(count, nodes, after);
        let text = failure(&path);
        assert!(text.contains(cause), "{cause}: {text}");
    }
}

/// Whatever is wrong with a file, it is an error or a row, and neither a panic nor a full memory.
#[test]
fn no_damaged_byte_panics_or_fills_the_memory() {
    let shards: [&Path; 2] = [
        &golden("parquet/vqa/data/train-00000-of-00002-eb8844602202be60.parquet"),
        &golden("parquet/vqa/data/test-00000-of-00001-e5bc3d208bb4deeb.parquet"),
    ];
    for shard in shards {
        let whole = fs::read(shard).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.parquet");
        let mut wrong = 0;
        // Every byte of the footer and of what surrounds it; of the images, some.
        let footer = whole.len().saturating_sub(4000);
        let places = (0..whole.len()).filter(|i| *i >= footer || i % 37 == 0);
        for (n, i) in places.enumerate() {
            let mut bytes = whole.clone();
            bytes[i] = [0xff, 0x80, 0x00, bytes[i] ^ 1][n % 4];
            fs::write(&path, bytes).unwrap();
            match open(&spec(&path)) {
                Err(_) => wrong += 1,
                Ok(opened) => examples(&opened).iter().for_each(|row| drop(row.images[0].load())),
            }
        }
        assert!(wrong > 100, "{wrong}: nothing was touched that matters");
    }
}
