//! `normed import`: from spreadsheets and folders of images to rows.

mod program;
#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use program::{normed, succeeds};

#[track_caller]
fn fails(dir: &Path, args: &[&str], causes: &[&str]) {
    let output = normed(dir, args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    for cause in causes {
        assert!(text.contains(cause), "{args:?}: {cause}: {text}");
    }
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A folder with these images, each another one, in `images/`.
fn workspace(images: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in images.iter().enumerate() {
        let path = dir.path().join("images").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = image::GrayImage::from_fn(16, 16, |x, y| {
            image::Luma([(x as u8 * 9) ^ (y as u8).wrapping_mul(7 + i as u8)])
        });
        image.save_with_format(path, image::ImageFormat::Png).unwrap();
    }
    dir
}

const IMPORT: [&str; 6] = ["import", "qa.csv", "--image-root", "images", "--out", "data.jsonl"];

#[test]
fn a_table_becomes_rows_that_a_run_reads() {
    let names: Vec<String> = (0..10).map(|i| format!("p{i}/chest.png")).collect();
    let dir = workspace(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let here = dir.path();
    // Below a title, with semicolons, decimal commas, a quoted line end, and a column of names.
    let mut table = "Export\n\nBilddatei;Frage;Antwort;Name;Patienten-ID;Modalität\n".to_owned();
    for i in 0..10 {
        table += &format!(
            "C:\\scans\\p{i}\\CHEST;\"Ist es\nnormal?\";Nein.;Dr. X;{i};CR\n;;;;;\n\
             p{i}/chest.png;Wie groß?;2,{i} cm;Dr. X;{i};CR\n"
        );
    }
    let latin: Vec<u8> = table.chars().map(|c| c as u8).collect();
    fs::write(here.join("qa.csv"), latin).unwrap();
    let args = [&IMPORT[..], &["--keep", "Modalität", "--test", "0.3"]].concat();
    let (stdout, stderr) = succeeds(here, &args);
    assert_eq!(stderr, "");
    let stdout: Vec<_> =
        stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let stdout = stdout.join("\n") + "\n";
    for line in [
        "image: column `Bilddatei`, guessed\n",
        "question: column `Frage`, guessed\n",
        "group: column `Patienten-ID`, guessed\n",
        "encoding: windows-1252, guessed",
        "delimiter: semicolon",
        "names of columns: line 3\n",
        "answer_type: CLOSED where the answer is yes or no, else OPEN (20 answers;",
        "left out: `Name` (",
        "splits: made by group, 10 % validate and 30 % test, seed 0\n",
        "train 12 6 6\n",
        "all 20 10 10\n",
        "11 different answers; 10 closed questions and 10 open questions\n",
        "longest question: 14 characters (\"Ist es normal?\")\n",
    ] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    let rows = rows(&here.join("data.jsonl"));
    let split = &rows[0]["split"];
    let want = json!({"id": "row 4", "image": "images/p0/chest.png", "group": "0", "Modalität": "CR",
        "question": "Ist es\nnormal?", "answer": "Nein.", "answer_type": "CLOSED", "split": split});
    assert_eq!((rows.len(), &rows[0]), (20, &want));
    assert_eq!((&rows[1]["answer"], &rows[1]["answer_type"]), (&json!("2,0 cm"), &json!("OPEN")));
    assert_eq!(rows[0]["split"], rows[1]["split"]);

    tiny::base(&here.join("base"));
    let recipe = "model = \"base\"\n[data]\nname = \"jsonl\"\nfile = \"data.jsonl\"\n\
                  [tuning]\nmethod = \"layer_norm\"\n[train]\nbatch_size = 4\n";
    fs::write(here.join("recipe.toml"), recipe).unwrap();
    let (_, stderr) = succeeds(here, &["plan", "recipe.toml"]);
    assert!(!stderr.contains("answer_type"), "{stderr}");
}

/// The same table as XLSX, XLS and ODS, in the second sheet, with merged cells, numbers, truths and dates.
#[test]
fn workbooks_are_read_alike() {
    let dir = workspace(&["a.png", "7.png", "b.png", "c.png", "d.png"]);
    let here = dir.path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../normed/tests/golden/workbooks");
    for name in ["qa.xlsx", "qa.xls", "qa.ods"] {
        // The content tells the format, whatever the name says.
        fs::copy(golden.join(name), here.join("qa.csv")).unwrap();
        let out = format!("{name}.jsonl");
        let args = ["import", "qa.csv", "--image-root", "images", "--keep", "Datum", "--skip-bad"];
        let (stdout, stderr) = succeeds(here, &[&args[..], &["--out", &out]].concat());
        assert!(stdout.contains("sheet: `Fragen`; choose another by --sheet: `Leer`"), "{stdout}");
        assert!(stdout.contains("names of columns: row 3"), "{stdout}");
        let error = "row 10: `Antwort` holds the error #N/A of a formula";
        assert_eq!(stderr.contains(error), name == "qa.xlsx", "{stderr}");
        let rows = rows(&here.join(&out));
        let of = |row: &Value| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let images = row["images"].as_array().map(Vec::len).unwrap_or(1);
            [text("group"), text("image"), text("answer"), text("Datum"), images.to_string()]
        };
        let read: Vec<_> = rows.iter().map(of).collect();
        let want = [
            ["P1", "images/a.png", "Ja", "2024-03-01", "1"],
            ["P1", "images/a.png", "3", "2024-03-01", "1"],
            ["P2", "images/7.png", "yes", "2024-03-01", "1"],
            ["P3", "images/b.png", "2,5 cm", "2024-03-01", "1"],
            ["P4", "", "links", "2024-03-01", "2"],
        ];
        assert_eq!(read, want.map(|row| row.map(str::to_owned)), "{name}");
        assert_eq!(rows[0]["id"], "row 4");
    }
    let args = [&IMPORT[..], &["--sheet", "Fragn"]].concat();
    fails(here, &args, &["qa.csv: has no sheet `Fragn`", "its sheets are: `Leer`, `Fragen`"]);
}

#[test]
fn bad_rows_are_refused_together_or_left_out() {
    let dir = workspace(&["a.png", "b.png", "x/c.png", "y/c.png"]);
    let here = dir.path();
    fs::write(here.join("images/broken.png"), "no image").unwrap();
    let table = "file,question,answer,split,patient\n\
                 a.png,Is it?,yes,train,1\n\
                 b.png,Is it?,no,test,2\n\
                 none.png,Is it?,no,test,2\n\
                 A.jpg,Is it?,no,test,2\n\
                 c.png,Is it?,no,test,2\n\
                 broken,Is it?,no,test,2\n\
                 a.png,,,train,1\n\
                 a.png,Is it?,no,extra,1\n\
                 a.png,Is it, or not?,no,train,1\n";
    fs::write(here.join("qa.csv"), table).unwrap();
    let causes = [
        "qa.csv: 7 rows are broken:",
        "qa.csv:4: there is no image `none.png` in images or below it",
        "qa.csv:5: there is no image `A.jpg` in images or below it; did you mean `a.png`?",
        "qa.csv:6: `c.png` can be images/x/c.png or images/y/c.png",
        "qa.csv:7: image images/broken.png",
        "qa.csv:8: `question` and `answer` are empty",
        "qa.csv:9: `split` is `extra`, not train, validate or test",
        "qa.csv:10: has 6 cells, and the row of names has 5",
        "hint: correct the table, or leave such rows out: --skip-bad",
    ];
    fails(here, &IMPORT, &causes);
    assert!(!here.join("data.jsonl").exists());
    let (stdout, stderr) = succeeds(here, &[&IMPORT[..], &["--skip-bad"]].concat());
    assert!(stderr.contains("warning: 7 rows are left out:\n  qa.csv:4: "), "{stderr}");
    assert!(stdout.contains("split: column `split`, guessed"), "{stdout}");
    assert_eq!(rows(&here.join("data.jsonl")).len(), 2);
}

#[test]
fn nothing_is_overwritten_that_is_there() {
    let dir = workspace(&["a.png", "b.png", "c.png"]);
    let here = dir.path();
    let table = "image,question,answer\na,Is it?,yes\nb,Is it?,no\nc,Is it?,no\n";
    fs::write(here.join("qa.csv"), table).unwrap();
    fs::write(here.join("data.jsonl"), "mine\n").unwrap();
    fails(here, &IMPORT, &["data.jsonl: exists already"]);
    assert_eq!(fs::read_to_string(here.join("data.jsonl")).unwrap(), "mine\n");
    for out in ["qa.csv", "images/a.png"] {
        let args = ["import", "qa.csv", "--image-root", "images", "--force", "--out", out];
        fails(here, &args, &["is an input of this command"]);
    }
    fails(here, &["import", "qa.csv", "--out", "none/x.jsonl"], &["none"]);
    succeeds(here, &[&IMPORT[..], &["--force"]].concat());
    // With rows on the standard output, what is said about them is not among them.
    let (stdout, stderr) =
        succeeds(here, &["import", "qa.csv", "--image-root", "images", "--out", "/dev/stdout"]);
    assert_eq!(stdout.lines().filter(|line| line.starts_with("{\"id\":")).count(), 3, "{stdout}");
    assert_eq!(stdout.lines().count(), 3);
    assert!(stderr.contains("image: column `image`, guessed"), "{stderr}");
}

#[test]
fn reports_views_and_columns_of_questions_are_read() {
    let dir = workspace(&["f.png", "l.png", "g.png", "h.png", "i.png"]);
    let here = dir.path();
    let table = "Study,Frontal,Lateral,Findings\n1,f.png,l.png,No effusion.\n2,g.png,,Effusion.\n\
                 3,h|i,,Normal.\n";
    fs::write(here.join("qa.csv"), table).unwrap();
    let args = [&IMPORT[..], &["--image", "frontal", "--image", "lateral"]].concat();
    let (stdout, _) = succeeds(here, &args);
    for line in ["report: column `Findings`, guessed", "longest report: 12 characters"] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    let reports = rows(&here.join("data.jsonl"));
    assert_eq!(reports[0]["images"], json!(["images/f.png", "images/l.png"]));
    assert_eq!(reports[1]["image"], "images/g.png");
    assert_eq!(reports[2]["images"], json!(["images/h.png", "images/i.png"]));
    assert_eq!(
        (&reports[0]["report"], &reports[0]["group"]),
        (&json!("No effusion."), &json!("1"))
    );

    let table = "image,Is it normal?,Which side?\nf,yes,left\ng,no,\nh,no,right\n";
    fs::write(here.join("qa.csv"), table).unwrap();
    let hint = "--wide \"Is it normal?\" --wide \"Which side?\"";
    fails(here, &[&IMPORT[..], &["--force"]].concat(), &["for the question", hint]);
    let wide = ["--wide", "is it normal", "--wide", "Which side?", "--force"];
    succeeds(here, &[&IMPORT[..], &wide].concat());
    let rows = rows(&here.join("data.jsonl"));
    assert_eq!(rows.len(), 5);
    assert_eq!((&rows[1]["question"], &rows[1]["answer"]), (&json!("Which side?"), &json!("left")));
    assert_eq!(rows[1]["id"], "row 2: Which side?");
}

#[test]
fn wrong_tables_and_columns_are_named() {
    let dir = workspace(&["a.png", "b.png"]);
    let here = dir.path();
    let with = |table: &str, args: &[&str], causes: &[&str]| {
        fs::write(here.join("qa.csv"), table).unwrap();
        fails(here, &[&IMPORT[..], args].concat(), causes);
    };
    let table = "File,Question,Answer\na.png,Is it?,yes\nb.png,Is it?,no\n";
    with(
        table,
        &["--question", "Questoin"],
        &["qa.csv: has no column `Questoin`", "did you mean `Question`?"],
    );
    with(
        "Export\na.png,yes,Is it?\n",
        &["--question", "Questoin"],
        &["qa.csv: no row holds the names of columns `Questoin`", "line 2 holds `a.png`, `yes`"],
    );
    with(
        table,
        &["--image", "File", "--question", "Questoin"],
        &["qa.csv: has no column `Questoin`", "did you mean `Question`?"],
    );
    with("File,Question\na.png,Is it?\n", &[], &["for the answer", "--answer COLUMN"]);
    with("a.png,yes,Is it?\nb.png,no,Is it?\n", &[], &["no row holds usual names", "`a.png`"]);
    with(
        "File,Question,Answer,Answer\na.png,Is it?,yes,no\n",
        &[],
        &["has several columns `Answer`: C and D"],
    );
    with("File\na.png\n", &[], &["qa.csv: has one column"]);
    with("", &[], &["qa.csv: holds no cell"]);
    with("File,Question,Answer\n", &[], &["holds no row below the names"]);
    with("{\"id\": 1}\n", &[], &["is JSON, not a table", "name = \"jsonl\""]);
    with("<html><table>", &[], &["is a web page"]);
    with("PAR1", &[], &["is a parquet file"]);
    with(table, &["--sheet", "A"], &["is a text file without sheets"]);
    with(table, &["--encoding", "latin"], &["there is no encoding `latin`"]);
    with("File,Question,Answer\na,\"Is it?,yes\nb,Is it?,no\n", &[], &["a quote (\") is opened"]);
    with("File,Question,Answer\na,Is it?,yes\n", &[], &["nothing is left to train on", "--split"]);
    fails(here, &["import", "none.csv", "--out", "x"], &["none.csv: no such file or directory"]);
    fails(here, &["import", "images", "--out", "x"], &["images: is not a regular file"]);
    let args = ["import", "qa.csv", "--image-root", "pictures", "--out", "x"];
    fails(here, &args, &["pictures: there is no such folder", "--image-root"]);
}

/// A table with its own splits is warned about if they share patients.
#[test]
fn shared_patients_are_warned_about() {
    let dir = workspace(&["a.png", "b.png"]);
    let here = dir.path();
    let table =
        "image,question,answer,patient,set\na,Is it?,yes,P1,Training\nb,Is it?,no,P1,Test\n";
    fs::write(here.join("qa.csv"), table).unwrap();
    let (_, stderr) = succeeds(here, &IMPORT);
    assert!(
        stderr.contains("1 group is in more than one split (`P1` in test and train)"),
        "{stderr}"
    );
}
