//! Parquet and Arrow files in every form that pyarrow and datasets write (reference/parquet_golden.py).

mod data_common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use normed::data::{
    ColumnNames, DataSection, DataSpec, Example, OnBadExample, OpenedDataset, RowFilter, Split,
    Task, open,
};

use data_common::golden;

const QUESTIONS: [&str; 3] =
    ["is there a lesion in the left lobe?", "is there a lesion in the right lobe?", "which organ?"];

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

fn read(root: impl Into<PathBuf>) -> Vec<Example> {
    let root = root.into();
    let opened = open(&spec(&root)).unwrap_or_else(|error| panic!("{error}"));
    examples(&opened)
}

fn failure(root: impl Into<PathBuf>) -> String {
    open(&spec(root)).map(drop).unwrap_err().to_string()
}

/// The files of a golden folder, by name.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(golden(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The gray levels of an example's images, read anew from their file: the golden pictures have one each.
fn levels(example: &Example) -> Vec<u8> {
    let level = |rgb: Vec<u8>| {
        assert!(rgb.len() == 12 && rgb.iter().all(|value| *value == rgb[0]));
        rgb[0]
    };
    example.images.iter().map(|image| level(image.load().unwrap().rgb)).collect()
}

fn answers(rows: &[Example]) -> Vec<&str> {
    rows.iter().map(|row| row.expect_answer().unwrap().text.as_str()).collect()
}

#[test]
fn every_compression_encoding_and_page_version_is_read() {
    let files = files("parquet/stored");
    assert_eq!(files.len(), 18);
    for file in files {
        let rows = read(&file);
        let questions: Vec<_> = rows.iter().map(|row| row.question.as_str()).collect();
        assert_eq!(questions, QUESTIONS, "{}", file.display());
        assert_eq!(answers(&rows), ["yes", "no", "liver"], "{}", file.display());
        // Backwards, so that no page is kept from the image before.
        let found: Vec<_> = rows.iter().rev().map(levels).collect();
        assert_eq!(found, [vec![0, 120, 240], vec![0, 120], vec![0]], "{}", file.display());
        assert_eq!(rows[1].attributes["site"], "no");
        assert!(rows[2].attributes.is_empty());
    }
}

#[test]
fn images_are_read_in_every_form() {
    for file in files("parquet/images") {
        let rows = read(&file);
        let found: Vec<_> = rows.iter().map(levels).collect();
        assert_eq!(found, [[0], [120], [240]], "{}", file.display());
    }
    // Paths are relative to the file's folder, or to another one.
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("test.parquet");
    fs::copy(golden("parquet/images/test_struct_of_path.parquet"), &alone).unwrap();
    let text = failure(&alone);
    assert!(text.contains("row 1: `image` is a path (`0.png`) without bytes"), "{text}");
    assert!(text.contains("data.image_root"), "{text}");
    let DataSpec::Parquet { root, columns, on_bad_example, .. } = spec(&alone) else { panic!() };
    let image_root = Some(golden("parquet/images"));
    let there = DataSpec::Parquet { root, columns, image_root, on_bad_example };
    assert_eq!(levels(&open(&there).unwrap().dataset.get(2).unwrap()), [240]);
}

#[test]
fn values_have_the_text_that_they_have_in_json() {
    let texts = ["yes", "no", "liver"];
    for (name, expected) in [
        ("int8", ["0", "-1", "2"]),
        ("uint32", ["0", "1", "4294967295"]),
        ("uint64", ["0", "1", "18446744073709551615"]),
        ("bool", ["yes", "no", "yes"]),
        ("float32", ["0.1", "3", "-2.5"]),
        ("float64", ["0.1", "3", "-2.5"]),
        ("half", ["0.5", "3", "-2.5"]),
        ("large_string", texts),
        ("string_view", texts),
        ("category", texts),
        ("bytes", texts),
        ("list", texts),
        ("features", ["liver", "lung", "liver"]),
        ("byte_stream_split", ["0.1", "3", "-2.5"]),
        ("delta_binary_packed", ["7", "-5", "2"]),
        ("rle", ["yes", "no", "yes"]),
    ] {
        let rows = read(golden("parquet/values").join(format!("test_{name}.parquet")));
        assert_eq!(answers(&rows), expected, "{name}");
    }
    for (name, cause) in [
        ("timestamp_ns", "row 1: `answer` is a timestamp"),
        ("date", "row 1: `answer` is a date"),
        ("decimal", "row 1: `answer` is a decimal"),
        ("nan", "row 2: `answer` is NaN"),
    ] {
        let text = failure(golden("parquet/values").join(format!("test_{name}.parquet")));
        assert!(text.contains(cause), "{name}: {text}");
    }
}

#[test]
fn conversations_are_those_of_json() {
    for name in ["messages", "conversations", "struct_of_lists"] {
        let rows = read(golden("parquet/conversations").join(format!("test_{name}.parquet")));
        assert_eq!(answers(&rows), ["yes", "no", "liver"], "{name}");
        let questions: Vec<_> = rows.iter().map(|row| row.question.as_str()).collect();
        assert_eq!(questions, QUESTIONS, "{name}");
        assert_eq!(rows.iter().map(levels).collect::<Vec<_>>(), [[0], [120], [240]], "{name}");
        assert_eq!(rows[1].id, "test-1");
    }
}

#[test]
fn what_the_datasets_library_saves_is_read() {
    let rows = read(golden("parquet/saved"));
    let splits: Vec<_> = rows.iter().map(|row| row.split).collect();
    assert_eq!(splits, [Split::Train, Split::Train, Split::Train, Split::Test]);
    assert_eq!(answers(&rows), ["yes", "no", "liver", "yes"]);
    assert_eq!(rows.iter().rev().map(levels).collect::<Vec<_>>(), [[0], [240], [120], [0]]);
    assert_eq!(read(golden("parquet/saved/train")).len(), 3);
}

#[test]
fn every_type_of_arrow_is_read_or_passed_over() {
    let rows = read(golden("parquet/feather/test_uncompressed.arrow"));
    let questions: Vec<_> = rows.iter().map(|row| row.question.as_str()).collect();
    assert_eq!(questions, QUESTIONS);
    assert_eq!(answers(&rows), ["yes", "no", "yes"]);
    let found: Vec<_> = rows.iter().map(levels).collect();
    assert_eq!(found, [vec![0], vec![120, 240], vec![240]]);
    let attribute = |row: usize, name: &str| rows[row].attributes.get(name).map(String::as_str);
    assert_eq!(attribute(0, "note"), Some("short"));
    assert_eq!(attribute(1, "note"), Some("a text that is longer than twelve bytes"));
    assert_eq!(attribute(2, "note"), None);
    assert_eq!([0, 1, 2].map(|row| attribute(row, "dose")), [Some("0.1"), None, Some("2.5")]);
    assert_eq!([0, 1, 2].map(|row| attribute(row, "normal")), [Some("yes"), Some("no"), None]);
    // Its messages are where the table of contents says, not one after the other.
    let rows = read(golden("parquet/feather/test_polars.arrow"));
    assert_eq!(answers(&rows), ["yes", "no", "liver"]);
    assert_eq!(rows.iter().rev().map(levels).collect::<Vec<_>>(), [[240], [120], [0]]);
    let text = failure(golden("parquet/feather/test_lz4.arrow"));
    assert!(text.contains("is compressed by LZ4") && text.contains("save_to_disk"), "{text}");
}

#[test]
fn columns_are_named_by_the_recipe_and_choose_rows() {
    let file = golden("parquet/feather/test_uncompressed.arrow");
    let names = [("question", "note"), ("answer", "dose")];
    let names = names.map(|(role, name)| (role.to_owned(), name.to_owned()));
    let set = DataSpec::Parquet {
        root: file.clone(),
        columns: ColumnNames::new(BTreeMap::from(names.clone())),
        image_root: None,
        on_bad_example: OnBadExample::Skip,
    };
    let opened = open(&set).unwrap();
    assert_eq!(answers(&examples(&opened)), ["0.1"]);
    assert_eq!(opened.skipped.len(), 2, "{:?}", opened.skipped);
    let wrong = DataSpec::Parquet {
        root: file.clone(),
        columns: ColumnNames::new(BTreeMap::from([("answer".to_owned(), "label".to_owned())])),
        image_root: None,
        on_bad_example: OnBadExample::Stop,
    };
    let text = open(&wrong).map(drop).unwrap_err().to_string();
    assert!(text.contains("no column `label`, which data.columns.answer names"), "{text}");

    let mut section = DataSection::from(spec(&file));
    section.rows = RowFilter::new(BTreeMap::from([("normal".to_owned(), vec!["no".to_owned()])]));
    assert_eq!(section.open().unwrap().dataset.len(), 1);
}

#[test]
fn reports_are_read_for_their_task() {
    let file = golden("parquet/values/test_category.parquet");
    let names = BTreeMap::from([("report".to_owned(), "answer".to_owned())]);
    let set = DataSpec::Parquet {
        root: file,
        columns: ColumnNames::new(names),
        image_root: None,
        on_bad_example: OnBadExample::Stop,
    };
    let section = DataSection { task: Task::report(), ..DataSection::from(set) };
    let opened = section.open().unwrap();
    let rows = examples(&opened);
    assert_eq!(answers(&rows), ["yes", "no", "liver"]);
    assert_eq!(rows[0].question, Task::DEFAULT_REPORT_PROMPT);
}

#[test]
fn an_encrypted_column_is_named_if_it_is_needed() {
    let rows = read(golden("parquet/encrypted/test_patient.parquet"));
    assert_eq!(answers(&rows), ["yes", "no", "liver"]);
    assert!(rows.iter().all(|row| row.attributes.is_empty()));
    let text = failure(golden("parquet/encrypted/test_image.parquet"));
    assert!(text.contains("`image.bytes` is encrypted, which is not supported"), "{text}");
    assert!(text.contains("without encryption") && !text.contains("damaged"), "{text}");
}

#[test]
fn files_that_are_something_else_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (content, name, cause, remedy) in [
        (&b""[..], "test.parquet", "it is empty", "again"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "test.parquet",
            "Git LFS",
            "git lfs pull",
        ),
        (b"image,question\n1.png,why?\n", "test.parquet", "a CSV table", "JSON Lines"),
        (b"PARE", "test.parquet", "encrypted", "without encryption"),
        (b"PAR1", "test.parquet", "not a complete parquet file", "cut short"),
        (b"PAR1", "test.arrow", "it is a parquet file", "*.parquet"),
        (b"\xff\xff\xff\xff\x40\0\0\0", "test.arrow", "is cut short", "save_to_disk"),
        (b"", "test.arrow", "it is empty", "again"),
        (b"ARROW1\0\0", "test.arrow", "table of contents at its end is missing", "again"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let text = failure(&path);
        assert!(text.contains(cause) && text.contains(remedy), "{text}");
    }
}

/// Whatever is wrong with a file, it is an error or a row, and neither a panic nor a full memory.
#[test]
fn no_damaged_byte_panics_or_fills_the_memory() {
    let stored = |name: &str| golden("parquet/stored").join(name);
    for file in [
        stored("test_delta_byte_array_v2.parquet"),
        stored("test_gzip_v1.parquet"),
        golden("parquet/feather/test_uncompressed.arrow"),
        golden("parquet/feather/test_polars.arrow"),
    ] {
        let whole = fs::read(&file).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Path::new("test").with_extension(file.extension().unwrap()));
        let mut wrong = 0;
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] = [0xff, 0x80, 0x00, bytes[i] ^ 1][i % 4];
            fs::write(&path, bytes).unwrap();
            match open(&spec(&path)) {
                Err(_) => wrong += 1,
                Ok(opened) => examples(&opened).iter().for_each(|row| {
                    row.images.iter().for_each(|image| drop(image.load()));
                }),
            }
        }
        assert!(wrong > 100, "{wrong}: nothing was touched that matters");
    }
}
