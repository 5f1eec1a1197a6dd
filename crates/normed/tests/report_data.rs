//! The data sets of reports in their layouts, and what is said of files that are not so.

use std::fs;
use std::path::Path;

use normed::data::{
    AnswerType, DataSection, DataSpec, Example, ImageSource, OnBadExample, OpenedDataset, Split,
    Task, open,
};
use serde_json::{Value, json};

#[allow(dead_code)] // what other tests use
#[path = "data_common/mod.rs"]
mod common;
use common::real_data;

const STOP: OnBadExample = OnBadExample::Stop;

fn picture(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(4, 4, image::Luma([9])).save(path).unwrap();
}

fn examples(opened: &OpenedDataset) -> Vec<Example> {
    (0..opened.dataset.len()).map(|i| opened.dataset.get(i).unwrap()).collect()
}

fn failure(section: &DataSection) -> String {
    let error = section.open().err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn reports_of(file: &Path) -> DataSection {
    let set = DataSpec::Jsonl { file: file.to_owned(), image_root: None, on_bad_example: STOP };
    DataSection { task: Task::Report { prompt: "Report.".into() }, ..set.into() }
}

/// Two studies to train with, one to validate, one to test.
fn annotation() -> Value {
    let study = |id: &str, report: &str| {
        json!({ "id": id, "image_path": [format!("{id}/0.png"), format!("{id}/1.png")],
                "report": report, "split": "ignored" })
    };
    json!({
        "train": [study("CXR1", "The heart is normal. XXXX."), study("CXR2", "1. Clear.")],
        "val": [study("CXR3", "No effusion.")],
        "test": [study("CXR4", "Stable, as before.")],
    })
}

fn r2gen(annotation: &Value) -> (tempfile::TempDir, DataSection) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("annotation.json"), annotation.to_string()).unwrap();
    for study in 1..=4 {
        for view in 0..2 {
            picture(&dir.path().join(format!("images/CXR{study}/{view}.png")));
        }
    }
    let root = Some(dir.path().to_owned());
    (dir, DataSpec::IuXray { root, on_bad_example: STOP }.into())
}

#[test]
fn iu_xray_is_read_as_r2gen_has_it() {
    let (dir, section) = r2gen(&annotation());
    let rows = examples(&section.open().unwrap());
    let splits: Vec<_> = rows.iter().map(|row| row.split).collect();
    assert_eq!(splits, [Split::Train, Split::Train, Split::Validate, Split::Test]);
    let [first, ..] = &rows[..] else { panic!() };
    assert_eq!(
        (first.id.as_str(), first.expect_answer().unwrap().text.as_str()),
        ("CXR1", "the heart is normal . xxxx .")
    );
    let file = |view: usize| ImageSource::File(dir.path().join(format!("images/CXR1/{view}.png")));
    assert_eq!(first.images, [file(0), file(1)]);
    assert_eq!(
        (first.question.as_str(), first.expect_answer().unwrap().answer_type),
        (Task::DEFAULT_REPORT_PROMPT, AnswerType::Report)
    );
    assert_eq!(rows[1].expect_answer().unwrap().text, "clear .");

    let root = Some(dir.path().to_owned());
    let mimic = open(&DataSpec::MimicCxr { root, on_bad_example: STOP }).unwrap();
    assert_eq!(mimic.dataset.len(), 4);
}

#[test]
fn errors_of_an_annotation_are_named() {
    let said = |change: &dyn Fn(&mut Value)| {
        let mut annotation = annotation();
        change(&mut annotation);
        let (_dir, section) = r2gen(&annotation);
        failure(&section)
    };
    let text = said(&|a| a["test"][0]["report"] = json!(" "));
    assert!(text.contains("annotation.json: test[0]: `report` is empty"), "{text}");
    let text = said(&|a| a["train"][1]["report"] = json!(".., -."));
    assert!(text.contains("train[1]: `report` has no words"), "{text}");
    let text = said(&|a| a["train"][1]["image_path"][1] = json!("CXR2/9.png"));
    assert!(
        text.contains("train[1]") && text.contains("CXR2/9.png") && text.contains("hint"),
        "{text}"
    );
    let text = said(&|a| a["val"][0]["image_path"] = json!([]));
    assert!(text.contains("val[0]: `image_path` is empty"), "{text}");
    let text = said(&|a| a["val"][0]["image_path"] = json!("CXR3/0.png"));
    assert!(text.contains("`image_path` is a text, not a list of texts"), "{text}");
    let text = said(&|a| a["train"][1]["id"] = json!("CXR1"));
    assert!(text.contains("the id `CXR1` is already that of"), "{text}");
    let text = said(&|a| a["train"][1] = json!(7));
    assert!(text.contains("train[1]: the row is a number"), "{text}");
    let text = said(&|a| _ = a.as_object_mut().unwrap().remove("val"));
    assert!(text.contains("has no list `val`") && text.contains("image_path"), "{text}");
    let text = said(&|a| *a = json!([1]));
    assert!(text.contains("annotation.json:1: ") && text.contains("`{` is expected"), "{text}");

    let (dir, section) = r2gen(&annotation());
    fs::write(dir.path().join("annotation.json"), "{\"train\": [\n").unwrap();
    assert!(failure(&section).contains("annotation.json:2: "));
    fs::remove_file(dir.path().join("annotation.json")).unwrap();
    assert!(failure(&section).contains("annotation.json: no such file"));
}

const REPORTS: &str = "uid,MeSH,findings,impression\n\
                       1,normal,\"The lungs are clear.\nNo XXXX.\",Normal chest.\n\
                       2,x,Cardiomegaly.,\n\
                       3,x,,No findings were written.\n";
const PROJECTIONS: &str = "uid,filename,projection\n1,1_lat.png,Lateral\n1,1_front.png,Frontal\n\
                           2,2.png,Frontal\n3,3.png,Frontal\n";

fn open_i(reports: &str, projections: &str) -> (tempfile::TempDir, DataSpec) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("indiana_reports.csv"), reports).unwrap();
    fs::write(dir.path().join("indiana_projections.csv"), projections).unwrap();
    for name in ["1_lat", "1_front", "2", "3"] {
        picture(&dir.path().join(format!("images/images_normalized/{name}.png")));
    }
    let root = Some(dir.path().to_owned());
    let on_bad_example = OnBadExample::Skip;
    (dir, DataSpec::OpenI { root, impression: false, split_seed: 0, on_bad_example })
}

#[test]
fn open_i_is_read_from_its_two_tables() {
    let (_dir, spec) = open_i(REPORTS, PROJECTIONS);
    let opened = open(&spec).unwrap();
    assert_eq!(opened.skipped.len(), 1);
    assert!(opened.skipped[0].contains("csv:5: study 3 has no findings"), "{:?}", opened.skipped);
    let rows = examples(&opened);
    assert_eq!(rows[0].expect_answer().unwrap().text, "The lungs are clear.\nNo XXXX.");
    // Frontal views first.
    assert_eq!(rows[0].image_name, "1_front.png 1_lat.png");
    assert_eq!((rows[0].images.len(), rows[1].images.len()), (2, 1));

    let DataSpec::OpenI { root, .. } = spec else { panic!() };
    let with = |impression, split_seed, on_bad_example| {
        open(&DataSpec::OpenI { root: root.clone(), impression, split_seed, on_bad_example })
    };
    let rows = examples(&with(true, 0, OnBadExample::Skip).unwrap());
    assert_eq!(
        rows[0].expect_answer().unwrap().text,
        "The lungs are clear.\nNo XXXX. Normal chest."
    );
    assert_eq!(rows[1].expect_answer().unwrap().text, "Cardiomegaly.");
    let text = with(false, 0, STOP).err().unwrap().to_string();
    assert!(text.contains("study 3 has no findings") && text.contains("on_bad_example"), "{text}");
}

#[test]
fn studies_of_open_i_are_divided_by_a_seed() {
    let (mut reports, mut projections) =
        ("uid,findings\n".to_owned(), "uid,filename,projection\n".to_owned());
    for uid in 0..100 {
        reports += &format!("{uid},Clear {uid}.\n");
        projections += &format!("{uid},2.png,Frontal\n");
    }
    let (_dir, spec) = open_i(&reports, &projections);
    let DataSpec::OpenI { root, on_bad_example, .. } = spec else { panic!() };
    let splits = |split_seed| {
        let root = root.clone();
        let spec = DataSpec::OpenI { root, impression: false, split_seed, on_bad_example };
        examples(&open(&spec).unwrap()).iter().map(|row| row.split).collect::<Vec<_>>()
    };
    let of = |splits: &[Split], wanted| splits.iter().filter(|s| **s == wanted).count();
    let first = splits(0);
    let sizes = [Split::Train, Split::Validate, Split::Test].map(|split| of(&first, split));
    assert_eq!(sizes, [70, 10, 20]);
    assert_eq!(splits(0), first);
    assert_ne!(splits(1), first);
}

#[test]
fn errors_of_the_tables_are_named() {
    let said = |reports: &str, projections: &str| {
        let (_dir, spec) = open_i(reports, projections);
        failure(&spec.into())
    };
    let text = said("uid,impression\n1,a\n", PROJECTIONS);
    assert!(
        text.contains("indiana_reports.csv:1: it has no column `findings`; its columns are uid"),
        "{text}"
    );
    let text = said(REPORTS, "uid,file\n1,a\n");
    assert!(text.contains("indiana_projections.csv:1: it has no column `filename`"), "{text}");
    let text = said(REPORTS, "uid,filename,projection\n1,a.png,Oblique\n");
    assert!(text.contains("csv:2: `projection` is `Oblique`"), "{text}");
    let text = said("uid,findings\n1,a,b\n", PROJECTIONS);
    assert!(text.contains("indiana_reports.csv:2: "), "{text}");
    let text = said("uid,findings\n9,a\n", PROJECTIONS);
    assert!(text.contains("study 9 has no image in indiana_projections.csv"), "{text}");
    let text = said("uid,findings\n1,a\n", "uid,filename,projection\n1,gone.png,Frontal\n");
    assert!(text.contains("gone.png"), "{text}");
    let (dir, spec) = open_i(REPORTS, PROJECTIONS);
    fs::remove_dir_all(dir.path().join("images")).unwrap();
    assert!(failure(&spec.into()).contains("images/images_normalized"));
}

#[test]
fn rows_of_reports_have_one_image_or_several() {
    let dir = tempfile::tempdir().unwrap();
    ["a", "b"].iter().for_each(|name| picture(&dir.path().join(format!("{name}.png"))));
    let file = dir.path().join("reports.jsonl");
    let open = |rows: &[Value]| {
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        reports_of(&file)
    };
    let both = json!({ "id": 1, "images": ["a.png", "b.png"], "report": "Two XXXX.",
                       "split": "train", "group": "p", "modality": "CT" });
    let one = json!({ "id": 2, "image": "b.png", "report": "One." });
    let rows = examples(&open(&[both.clone(), one]).open().unwrap());
    assert_eq!((rows[0].images.len(), rows[1].images.len()), (2, 1));
    assert_eq!(
        (rows[0].expect_answer().unwrap().text.as_str(), rows[0].question.as_str()),
        ("Two XXXX.", "Report.")
    );
    assert_eq!((rows[0].split, rows[1].split), (Split::Train, Split::Test));
    assert_eq!(
        (rows[0].group.as_deref(), &rows[0].attributes["modality"]),
        (Some("p"), &"CT".into())
    );
    for (key, value, want) in [
        ("report", json!(""), "`report` is empty"),
        ("report", Value::Null, "`report` is missing"),
        ("images", json!([]), "`images` is empty"),
        ("images", json!(["a.png", 3]), "`images` holds 3"),
        ("images", json!(["a.png", "c.png"]), "c.png"),
        ("split", json!("dev2"), "`split` is `dev2`"),
    ] {
        let mut row = both.clone();
        row[key] = value;
        let text = failure(&open(&[row]));
        assert!(text.contains(want) && text.contains("reports.jsonl:1"), "{text}");
    }
}

/// Templated reports of real images test the pipeline, and say nothing about the quality of reports.
#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn slake_s_templated_reports_are_read_real_data() {
    let data = real_data();
    let rows = examples(&reports_of(&data.join("slake/reports.jsonl")).open().unwrap());
    assert_eq!(rows.len(), 642);
    assert!(
        rows.iter()
            .all(|row| row.images.len() == 1 && !row.expect_answer().unwrap().text.is_empty())
    );
}
