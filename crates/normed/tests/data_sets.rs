//! The data sets in their native layouts, as published and with every kind of broken row.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use normed::data::{
    Answer, AnswerType, DataSection, DataSpec, Example, ImageOptions, ImageOverlap, OnBadExample,
    OpenedDataset, SliceIndex, Split, Task, Window, indices_of, open,
};
use serde_json::{Value, json};

#[path = "data_common/mod.rs"]
mod common;
use common::{golden, real_data};

fn examples(opened: &OpenedDataset) -> Vec<Example> {
    (0..opened.dataset.len()).map(|i| opened.dataset.get(i).unwrap()).collect()
}

/// How many examples are in train, validate, test.
fn sizes(examples: &[Example]) -> [usize; 3] {
    [Split::Train, Split::Validate, Split::Test]
        .map(|split| examples.iter().filter(|example| example.split == split).count())
}

fn failure(spec: &DataSpec) -> String {
    let error = open(spec).err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn vqa_rad_as_published_real_data() {
    let data = real_data();
    let root = Some(data.join("vqa-rad"));
    // `Skip` decodes every image.
    let opened = open(&DataSpec::VqaRad { root, on_bad_example: OnBadExample::Skip }).unwrap();
    assert!(opened.skipped.is_empty(), "{:?}", opened.skipped);
    let rows = examples(&opened);
    assert_eq!(sizes(&rows), [1797, 0, 451]);
    let images: HashSet<_> = rows.iter().map(|row| &row.image_name).collect();
    assert_eq!(images.len(), 314);
    let closed = |row: &&Example| row.expect_answer().unwrap().answer_type == AnswerType::Closed;
    let test = rows.iter().filter(|row| row.split == Split::Test);
    assert_eq!(test.filter(closed).count(), 272);
    assert_eq!(rows[0].id, "vqarad-0");
    let overlap = overlap(&opened);
    assert!(overlap.test_images == 203 && overlap.identical >= 202, "{overlap:?}");
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn slake_as_published_real_data() {
    let data = real_data();
    let slake = |lang: Option<&str>, on_bad_example| DataSpec::Slake {
        root: Some(data.join("slake")),
        lang: lang.map(str::to_owned),
        on_bad_example,
    };
    let english = open(&slake(Some("en"), OnBadExample::Skip)).unwrap();
    assert!(english.skipped.is_empty(), "{:?}", english.skipped);
    assert_eq!(sizes(&examples(&english)), [4919, 1053, 1061]);
    // The one empty answer.
    let [warning] = english.warnings.as_slice() else { panic!("{:?}", english.warnings) };
    assert!(warning.contains("row 1623") && warning.contains("empty"), "{warning}");

    let both = open(&slake(None, OnBadExample::Stop)).unwrap();
    assert_eq!(sizes(&examples(&both)), [9835, 2099, 2094]);
    assert!(both.warnings.iter().any(|w| w.contains("`lang` is not set")), "{:?}", both.warnings);
    let overlap = overlap(&both);
    assert!(overlap.test_images == 180 && overlap.identical >= 142, "{overlap:?}");

    let missing = failure(&slake(Some("de"), OnBadExample::Stop));
    assert!(missing.contains("`de`") && missing.contains("en, zh"), "{missing}");
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn the_same_rows_as_json_lines_real_data() {
    let data = real_data();
    let native =
        DataSpec::VqaRad { root: Some(data.join("vqa-rad")), on_bad_example: OnBadExample::Stop };
    let native = examples(&open(&native).unwrap());
    let by_id: BTreeMap<_, _> = native.iter().map(|row| (&row.id, row)).collect();
    let file = data.join("vqa-rad/test.jsonl");
    let lines = DataSpec::Jsonl { file, image_root: None, on_bad_example: OnBadExample::Stop };
    let lines = examples(&open(&lines).unwrap());
    assert_eq!(lines.len(), 451);
    for row in lines {
        let same = by_id[&row.id];
        assert_eq!((&row.images, row.split), (&same.images, same.split));
        assert_eq!(
            (&row.expect_answer().unwrap().text, row.expect_answer().unwrap().answer_type),
            (&same.expect_answer().unwrap().text, same.expect_answer().unwrap().answer_type),
            "{}",
            row.id
        );
    }
}

/// A directory with the image `name` in it.
fn with_picture(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join(name);
    fs::create_dir_all(picture.parent().unwrap()).unwrap();
    fs::copy(golden("image_files/gray.jpg"), &picture).unwrap();
    (dir, picture)
}

/// The images of the test split that are also in the training split.
fn overlap(opened: &OpenedDataset) -> ImageOverlap {
    let of = |split| indices_of(&*opened.dataset, split).unwrap();
    let found = ImageOverlap::find(&*opened.dataset, &of(Split::Train), &of(Split::Test));
    found.unwrap().expect("pictures are read from files")
}

fn line(id: &str, change: Value) -> String {
    let mut row = json!({"id": id, "image": "a.jpg", "question": "Is it normal?", "answer": "no",
        "answer_type": "CLOSED", "split": "train", "modality": ["MR"]});
    for (key, value) in change.as_object().unwrap() {
        row[key] = value.clone();
    }
    row.to_string()
}

fn jsonl(dir: &Path, lines: &[String], on_bad_example: OnBadExample) -> DataSpec {
    let file = dir.join("rows.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    DataSpec::Jsonl { file, image_root: None, on_bad_example }
}

#[test]
fn quirks_of_rows_are_accepted() {
    let (dir, picture) = with_picture("a.jpg");
    let lines = [
        line("1", json!({"answer": 12, "answer_type": "CLOSED "})),
        String::new(),
        line("2", json!({"id": 2, "split": null, "group": 7, "answer_type": "open"})),
        line("3", json!({"split": "val"})),
    ];
    let opened = open(&jsonl(dir.path(), &lines, OnBadExample::Stop)).unwrap();
    let rows = examples(&opened);
    assert_eq!(rows[0].expect_answer().unwrap().text, "12");
    assert_eq!(rows[0].expect_answer().unwrap().answer_type, AnswerType::Closed);
    assert_eq!(rows[0].images, [normed::data::ImageSource::File(picture)]);
    assert_eq!(
        (rows[1].id.as_str(), rows[1].split, rows[1].group.as_deref()),
        ("2", Split::Test, Some("7"))
    );
    assert_eq!(rows[2].split, Split::Validate);
    let warned = |text: &str| opened.warnings.iter().any(|warning| warning.contains(text));
    assert!(warned("1 of 3 rows have no `split`"), "{:?}", opened.warnings);
    let overlap = overlap(&opened);
    assert_eq!((overlap.test_images, overlap.identical), (1, 1));
}

/// To ask, a row needs no answer. To train and to score, it does. An id may be the row's number.
#[test]
fn rows_without_an_answer_can_be_asked_only() {
    let (dir, _) = with_picture("a.jpg");
    let absent = r#"{"image": "a.jpg", "question": "Is it normal?"}"#;
    let null =
        r#"{"image": "a.jpg", "question": "Is it normal?", "answer": null, "answer_type": "OPEN"}"#;
    let untyped = r#"{"image": "a.jpg", "question": "Is it normal?", "answer": "Yes"}"#;
    let lines = [absent, null, untyped].map(str::to_owned);
    let spec = jsonl(dir.path(), &lines, OnBadExample::Stop);
    let rows = examples(&DataSection::from(spec.clone()).open_to_ask().unwrap());
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!((&rows[0].answer, &rows[1].answer), (&None, &None));
    assert_eq!(rows[2].answer, Some(Answer::new("Yes", AnswerType::Closed)));
    let text = failure(&spec);
    for cause in [
        "2 rows are broken",
        "rows.jsonl:1: `answer` is missing",
        "rows.jsonl:2: `answer` is missing",
    ] {
        assert!(text.contains(cause), "{cause}: {text}");
    }
    let empty = [line("1", json!({"answer": ""}))];
    let empty = DataSection::from(jsonl(dir.path(), &empty, OnBadExample::Stop));
    let error = empty.open_to_ask().err().unwrap().to_string();
    assert!(error.contains("`answer` is empty"), "{error}");

    let mut studies = DataSection::from(jsonl(dir.path(), &lines, OnBadExample::Stop));
    studies.task = Task::report();
    let rows = examples(&studies.open_to_ask().unwrap());
    assert!(rows.iter().all(|row| row.answer.is_none() && !row.question.is_empty()));
    let error = studies.open().err().unwrap().to_string();
    assert!(error.contains("rows.jsonl:3: `report` is missing"), "{error}");
}

#[test]
fn every_kind_of_broken_row_is_named_by_file_line_and_cause() {
    let (dir, _) = with_picture("a.jpg");
    fs::write(dir.path().join("b.jpg"), "not a picture").unwrap();
    let jpeg = fs::read(golden("image_files/gray.jpg")).unwrap();
    fs::write(dir.path().join("cut.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    let broken = [
        ("{\"id\": 1,".to_owned(), "not JSON"),
        ("[1]".to_owned(), "a list, not an object"),
        (line("x", json!({"answer": null})), "`answer` is missing"),
        (line("x", json!({"answer": ["no", []]})), "one element of which is a list"),
        (line("x", json!({"answer": {}})), "`answer` is an object"),
        (line("x", json!({"answer": " "})), "`answer` is empty"),
        (line("x", json!({"question": ""})), "`question` is empty"),
        (line("x", json!({"question": ["Is it?"]})), "`question` is a list"),
        (line("x", json!({"question": null, "image": null})), "`image` and `question` are missing"),
        ("{\"id\": NaN}".to_owned(), "`id` is NaN"),
        ("{\"id\": 1, \"id\": 2}".to_owned(), "`id` is there twice"),
        (line("x", json!({"answer_type": "YES/NO"})), "`answer_type` is `YES/NO`"),
        (line("x", json!({"split": "dev2"})), "`split` is `dev2`"),
        (line("x", json!({"image": "gone.jpg"})), "image `gone.jpg`: there is no file"),
        (line("x", json!({"image": "b.jpg"})), "b.jpg: is not a supported image"),
        (line("good", json!({})), "the id `good` is already that of"),
    ];
    let good = line("good", json!({}));
    for (row, cause) in &broken {
        let lines = [good.clone(), String::new(), row.clone()];
        let text = failure(&jsonl(dir.path(), &lines, OnBadExample::Stop));
        assert!(text.contains("rows.jsonl:3: ") && text.contains(cause), "{cause}: {text}");
    }

    let mut lines = vec![good];
    lines.extend(broken.iter().map(|(row, _)| row.clone()));
    lines.push(line("x", json!({"image": "cut.jpg"})));
    lines.push(line("last", json!({})));
    let opened = open(&jsonl(dir.path(), &lines, OnBadExample::Skip)).unwrap();
    assert_eq!(opened.dataset.len(), 2);
    assert_eq!(opened.skipped.len(), broken.len() + 1);
    for (i, (skipped, (_, cause))) in opened.skipped.iter().zip(&broken).enumerate() {
        let place = format!("rows.jsonl:{}: ", i + 2);
        assert!(skipped.contains(&place) && skipped.contains(cause), "{cause}: {skipped}");
    }
    assert!(opened.skipped[broken.len()].contains("cut short"), "{:?}", opened.skipped);

    let text = failure(&jsonl(dir.path(), &["[[]]".into()], OnBadExample::Skip));
    assert!(text.contains("all 1 rows are broken") && text.contains(":1: "), "{text}");
    assert!(
        failure(&jsonl(dir.path(), &[], OnBadExample::Skip)).contains("rows.jsonl: holds no row")
    );
    let nowhere = DataSpec::Jsonl {
        file: dir.path().join("none.jsonl"),
        image_root: None,
        on_bad_example: OnBadExample::Skip,
    };
    assert!(failure(&nowhere).contains("none.jsonl: no such file"));
}

#[test]
fn broken_rows_of_native_layouts_are_named() {
    let (dir, _) = with_picture("VQA_RAD Image Folder/a.jpg");
    let row = |qid: Value, phrase_type: &str| {
        json!({"qid": qid, "phrase_type": phrase_type, "image_name": "a.jpg",
            "question": "Is it normal?", "answer": 3, "answer_type": "OPEN "})
    };
    let rows = [row(json!("0"), "freeform"), row(json!(1), "test_para"), row(json!(2), "new")];
    let text = serde_json::to_string_pretty(&rows).unwrap();
    let at = 1 + text.lines().take_while(|line| !line.contains("new")).count();
    fs::write(dir.path().join("VQA_RAD Dataset Public.json"), &text).unwrap();
    let spec = |on_bad_example| DataSpec::VqaRad { root: Some(dir.path().into()), on_bad_example };
    let error = failure(&spec(OnBadExample::Stop));
    // The row starts two lines above its phrase_type.
    let place = format!("Public.json:{}: row 3: ", at - 2);
    assert!(error.contains(&place) && error.contains("`phrase_type` is `new`"), "{error}");
    assert!(error.contains("hint: "), "{error}");
    let opened = open(&spec(OnBadExample::Skip)).unwrap();
    assert_eq!(sizes(&examples(&opened)), [1, 0, 1]);
    assert_eq!(opened.skipped.len(), 1);

    let (dir, _) = with_picture("imgs/x/source.jpg");
    let row = |qid: usize, q_lang: Value| {
        json!([{"qid": qid, "img_name": "x/source.jpg", "q_lang": q_lang, "question": "Normal?",
            "answer": "", "answer_type": "OPEN"}])
    };
    for (i, split) in ["train", "validate", "test"].iter().enumerate() {
        let q_lang = if i == 1 { Value::Null } else { json!("en") };
        fs::write(dir.path().join(format!("{split}.json")), row(i, q_lang).to_string()).unwrap();
    }
    let spec = |on_bad_example| DataSpec::Slake {
        root: Some(dir.path().into()),
        lang: Some("en".into()),
        on_bad_example,
    };
    let error = failure(&spec(OnBadExample::Stop));
    assert!(error.contains("validate.json:1: row 1: `q_lang` is missing"), "{error}");
    assert_eq!(open(&spec(OnBadExample::Skip)).unwrap().dataset.len(), 2);
}

/// PathVQA's layout with pickles that Python wrote (reference/make_medical_image_goldens.py), and its
/// images.
fn path_vqa() -> (tempfile::TempDir, DataSpec) {
    let dir = tempfile::tempdir().unwrap();
    for (split, pictures) in [
        ("train", &["train_0000", "train_0001"][..]),
        ("val", &["val_0261"]),
        ("test", &["test_0003"]),
    ] {
        let (images, qas) =
            (dir.path().join("images").join(split), dir.path().join("qas").join(split));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&qas).unwrap();
        for picture in pictures {
            fs::copy(golden("image_files/rgb.jpg"), images.join(format!("{picture}.jpg"))).unwrap();
        }
        let name = format!("{split}_qa.pkl");
        let from = golden("medical/pvqa/qas").join(split).join(&name);
        fs::copy(from, qas.join(name)).unwrap();
    }
    let root = Some(dir.path().to_owned());
    (dir, DataSpec::PathVqa { root, on_bad_example: OnBadExample::Stop })
}

#[test]
fn path_vqa_as_pickled() {
    let (dir, spec) = path_vqa();
    let opened = open(&spec).unwrap();
    let rows = examples(&opened);
    assert_eq!(sizes(&rows), [3, 2, 2]);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.id.as_str(),
                row.image_name.as_str(),
                row.expect_answer().unwrap().text.as_str(),
                row.expect_answer().unwrap().answer_type,
            )
        })
        .collect();
    use AnswerType::{Closed, Open};
    assert_eq!(
        told,
        [
            ("pathvqa-train-0", "train_0000", "in the canals of hering", Open),
            ("pathvqa-train-1", "train_0000", "yes", Closed),
            ("pathvqa-train-2", "train_0001", "n\u{b0}5 \u{2014} na\u{ef}ve", Open),
            ("pathvqa-val-0", "val_0261", "neutrophils", Open),
            ("pathvqa-val-1", "val_0261", "no", Closed),
            ("pathvqa-test-0", "test_0003", "Yes", Closed),
            ("pathvqa-test-1", "test_0003", "", Open),
        ]
    );
    assert_eq!(rows[0].question, "Where are liver stem cells (oval cells) located?");
    let image = dir.path().join("images/val/val_0261.jpg");
    assert_eq!(rows[3].images, [normed::data::ImageSource::File(image)]);
    let warned = |text: &str| opened.warnings.iter().any(|warning| warning.contains(text));
    assert!(warned(
        "7 answers have no `answer_type`: 3 that are yes or no are taken for CLOSED, the other 4"
    ));
    assert!(warned("1 answers are empty; they are kept. The first: "), "{:?}", opened.warnings);

    // JSON takes the place of the pickle.
    let json = json!([{"image": "val_0261", "question": "Is it?", "answer": "no"}]).to_string();
    fs::write(dir.path().join("qas/val/val_qa.json"), json).unwrap();
    assert_eq!(sizes(&examples(&open(&spec).unwrap())), [3, 1, 2]);
    fs::remove_file(dir.path().join("qas/val/val_qa.json")).unwrap();

    let pickle = dir.path().join("qas/val/val_qa.pkl");
    for (bytes, cause) in [
        (&b"\x80\x02cos\nsystem\n"[..], "`os.system` is not allowed in plain data"),
        (b"\x80\x02}.", "holds no list of rows"),
        (b"\x80\x02]K\x01a.", "val_qa.pkl: row 1 is not a dict"),
        (b"\x80\x02]}a.", "row 1: `image`, `question` and `answer` are missing"),
        (b"\x80\x02]}(X\x05\0\0\0image]ua.", "row 1: `question` and `answer` are missing"),
        (b"\x80\x02]", "ends early"),
    ] {
        fs::write(&pickle, bytes).unwrap();
        let text = failure(&spec);
        assert!(text.contains(cause) && text.contains("hint: "), "{cause}: {text}");
    }
    // One long text in a hundred thousand rows.
    let mut bytes = b"\x80\x02](}(X\x05\0\0\0imageq\x01X\0\0\x10\0".to_vec();
    bytes.extend(vec![b'x'; 1 << 20]); // too much for a thread's stack
    bytes.extend(b"q\0u");
    for _ in 0..100_000 {
        bytes.extend(b"}h\x01h\0s");
    }
    bytes.extend(b"e.");
    fs::write(&pickle, bytes).unwrap();
    assert!(failure(&spec).contains("more than 256 MiB of text"), "{}", failure(&spec));
    fs::remove_file(&pickle).unwrap();
    let text = failure(&spec);
    assert!(text.contains("no such file") && text.contains("images/{train,val,test}"), "{text}");
}

#[test]
fn every_data_set_takes_dicom_and_volumes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["ct.dcm", "frames.dcm", "float.nii.gz"] {
        fs::copy(golden("medical").join(name), dir.path().join(name)).unwrap();
    }
    let lines = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| line(name, json!({"image": name}))).collect()
    };
    let spec =
        jsonl(dir.path(), &lines(&["ct.dcm", "frames.dcm", "float.nii.gz"]), OnBadExample::Stop);
    let image =
        ImageOptions { frame: SliceIndex::At(0), window: Window::Range, ..ImageOptions::default() };
    let (usual, other) = (examples(&open(&spec).unwrap()), DataSection { image, ..spec.into() });
    let other = examples(&other.open().unwrap());
    for (a, b) in usual.iter().zip(&other) {
        assert_ne!(a.images[0].content_hash().unwrap(), b.images[0].content_hash().unwrap());
        let same = a.images[0].load().unwrap() == b.images[0].load().unwrap();
        assert_eq!(same, a.id == "float.nii.gz", "{}", a.id);
    }
    // A frame that not all of them have.
    let image = ImageOptions { frame: SliceIndex::At(4), ..image };
    let section = |on_bad_example| {
        let spec = jsonl(dir.path(), &lines(&["ct.dcm", "frames.dcm"]), on_bad_example);
        DataSection { image, ..spec.into() }
    };
    let error = section(OnBadExample::Stop).open().err().unwrap().to_string();
    assert!(error.contains("rows.jsonl:1: ") && error.contains("has no frame 4"), "{error}");
    let opened = section(OnBadExample::Skip).open().unwrap();
    assert_eq!((opened.dataset.len(), opened.skipped.len()), (1, 1));
}

/// A NaN, as Python and pandas write it, costs its row: in a list, in JSON Lines and in a list inside an object.
#[test]
fn a_row_with_nan_is_skipped_and_named() {
    let (dir, _) = with_picture("VQA_RAD Image Folder/a.jpg");
    let row = |qid: usize, answer: &str| {
        format!(
            "{{\"qid\": {qid}, \"phrase_type\": \"freeform\", \"image_name\": \"a.jpg\",\n \
             \"question\": \"Is it?\", \"answer\": {answer}, \"answer_type\": \"CLOSED\"}}"
        )
    };
    let rows = [row(1, "\"no\""), row(2, "NaN"), row(3, "true"), row(4, "2.0")];
    let file = dir.path().join("VQA_RAD Dataset Public.json");
    fs::write(&file, format!("[\n{}\n]", rows.join(",\n"))).unwrap();
    let root = Some(dir.path().into());
    let stop = DataSpec::VqaRad { root: root.clone(), on_bad_example: OnBadExample::Stop };
    let text = failure(&stop);
    assert!(text.contains("Public.json:4: row 2: `answer` is NaN"), "{text}");
    let skip = DataSpec::VqaRad { root, on_bad_example: OnBadExample::Skip };
    let opened = open(&skip).unwrap();
    let answers: Vec<_> = examples(&opened)
        .into_iter()
        .map(|row| row.expect_answer().unwrap().text.clone())
        .collect();
    assert_eq!((answers, opened.skipped.len()), (vec!["no".into(), "yes".into(), "2".into()], 1));
}

/// Rows are found in a list and in JSON Lines, whatever the file is called.
#[test]
fn a_list_is_read_where_json_lines_are_expected() {
    let (dir, _) = with_picture("a.jpg");
    let rows = [line("1", json!({})), line("2", json!({"answer": [2, 3, 3.0]}))];
    let indented = |row: &String| {
        let row: Value = serde_json::from_str(row).unwrap();
        serde_json::to_string_pretty(&row).unwrap()
    };
    let pretty: Vec<_> = rows.iter().map(indented).collect();
    for text in [
        rows.join("\r\n"),
        format!("\u{feff}[{}]", rows.join(", ")),
        format!("[\n{}\n]\n", pretty.join(",\n")),
        pretty.join("\n"),
    ] {
        let read = examples(&open(&jsonl(dir.path(), &[text], OnBadExample::Stop)).unwrap());
        let read: Vec<_> = read
            .iter()
            .map(|row| (row.id.as_str(), row.expect_answer().unwrap().text.as_str()))
            .collect();
        assert_eq!(read, [("1", "no"), ("2", "3")]);
    }
    let wrapped = format!("{{\"data\": [{}]}}", rows.join(", "));
    let text = failure(&jsonl(dir.path(), &[wrapped], OnBadExample::Stop));
    assert!(text.contains("the list under `data`"), "{text}");
}
