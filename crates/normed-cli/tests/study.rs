//! `normed study` from the command line: a small comparison, interrupted, split into parts, and repeated.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const STUDY: &str = r#"
output = "whole"
seeds = [1, 2]

[recipe]
model = "base"
precision = "f32"

[recipe.train]
epochs = 2
batch_size = 4
dropout = 0.0

[selection.train]
epochs = 1
metric = "loss"

[data_sets.all.data]
name = "jsonl"
file = "data.jsonl"

[test_sets.closed]
own_task = true
data = { name = "jsonl", file = "data.jsonl", where = { kind = "closed" } }

[methods.none]
tuning.method = "none"

[methods.layer_norm]
tuning = { method = "layer_norm", also = ["head"] }
lr = [1e-4, 2e-2]

[methods.full]
tuning.method = "full"
lr = [1e-2, 1e-5]

[efficiency]
fractions = [0.5]
methods = ["full"]
"#;

/// A directory with data, a base model and `study.toml`. The rows have the kind of question as an attribute.
fn make_study() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"none\"", "");
    let rows = fs::read_to_string(dir.path().join("data.jsonl")).unwrap();
    let rows = rows
        .replace("\"answer_type\":\"CLOSED\"", "\"kind\":\"closed\",\"answer_type\":\"CLOSED\"")
        .replace("\"answer_type\":\"OPEN\"", "\"kind\":\"open\",\"answer_type\":\"OPEN\"");
    fs::write(dir.path().join("data.jsonl"), rows).unwrap();
    fs::write(dir.path().join("study.toml"), STUDY).unwrap();
    dir
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
    command.args(["study", "study.toml"]).args(args).current_dir(dir);
    command
}

fn study(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs the study, which must succeed, and returns what it prints.
fn run_study(dir: &Path, args: &[&str]) -> String {
    let output = study(dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the study, which must fail by the user's mistake, and returns the error.
fn run_with_mistake(dir: &Path, args: &[&str]) -> String {
    let output = study(dir, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    stderr
}

/// The directories of a study's runs.
fn runs(output: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(output.join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut runs: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    runs.sort();
    runs
}

/// The tables that hold no times and no memory.
fn reproducible_tables(output: &Path) -> BTreeMap<String, String> {
    let names = ["rates", "generalization", "forgetting", "differences-all", "efficiency-all"];
    let table = |name: &str| {
        let path = output.join("tables").join(format!("{name}.csv"));
        (name.to_owned(), fs::read_to_string(path).unwrap())
    };
    names.map(table).into()
}

/// Asserts that two studies have the same outcomes.
fn assert_same(a: &Path, b: &Path) {
    assert_eq!(reproducible_tables(a), reproducible_tables(b));
    let (ours, theirs) = (runs(a), runs(b));
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        assert_eq!(a.file_name(), b.file_name());
        tiny::assert_same(a, b);
    }
}

#[test]
fn a_study_writes_tables_plots_and_a_page_and_repeats_nothing() {
    let dir = make_study();
    let text = run_study(dir.path(), &[]);
    for expected in
        ["learning-rate selection: 4 of 4", "runs: 7 of 7", "tests on other data: 5 of 5"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let out = dir.path().join("whole");
    for file in ["results-all.md", "results-all.tex", "results-all.csv", "runs.csv"] {
        assert!(out.join("tables").join(file).is_file(), "{file}");
    }
    for file in ["parameters-all", "memory-all", "time-all", "learning-all", "efficiency-all"] {
        for ending in ["svg", "png"] {
            assert!(out.join("plots").join(format!("{file}.{ending}")).is_file(), "{file}");
        }
    }
    assert!(out.join("plots/norms-vision-all.svg").is_file());
    let results = fs::read_to_string(out.join("tables/results-all.md")).unwrap();
    assert!(
        results.contains("| majority answer |") && results.contains("; image-shuffled "),
        "{results}"
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Example answers") && page.contains("Generalization"));
    // Images of data sets are left out by default.
    assert!(!page.contains("data:image/"));

    let times = || -> Vec<_> {
        let file = |run: &PathBuf| fs::metadata(run.join("metrics.json")).unwrap();
        runs(&out).iter().map(|run| file(run).modified().unwrap()).collect()
    };
    let before = times();
    let text = run_study(dir.path(), &["--set", "pictures=all"]);
    for expected in
        ["learning-rate selection: 0 of 4", "runs: 0 of 7", "tests on other data: 0 of 5"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(times(), before);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("data:image/jpeg"));

    // Predictions of different questions are never compared.
    let run = runs(&out).into_iter().find(|run| {
        let recipe = fs::read_to_string(run.join("recipe.toml")).unwrap();
        let has = |text: &str| recipe.contains(text);
        has("\"full\"") && has("fraction = 1.0") && run.join("predictions.jsonl").exists()
    });
    let predictions = run.unwrap().join("predictions.jsonl");
    let text = fs::read_to_string(&predictions).unwrap();
    let swapped: Vec<_> = text
        .lines()
        .map(|line| match line {
            line if line.contains("\"5-CLOSED\"") => line.replace("5-CLOSED", "5-OPEN"),
            line => line.replace("\"5-OPEN\"", "\"5-CLOSED\""),
        })
        .collect();
    assert_ne!(swapped.join("\n"), text.trim_end());
    fs::write(&predictions, swapped.join("\n")).unwrap();
    let error = run_with_mistake(dir.path(), &[]);
    assert!(error.contains("has another target, type or cluster"), "{error}");
}

#[test]
fn shards_and_parallel_runs_have_the_same_outcomes() {
    let dir = make_study();
    run_study(dir.path(), &[]);
    let first = run_study(dir.path(), &["--set", "output=parts", "--shard", "1/2"]);
    assert!(first.contains("runs: 5 of 5"), "{first}"); // none, and full with a part
    assert!(!dir.path().join("parts/report.html").exists());
    run_study(dir.path(), &["--set", "output=parts", "--shard", "2/2", "--set", "jobs=2"]);
    assert_same(&dir.path().join("whole"), &dir.path().join("parts"));
}

#[test]
fn a_killed_study_continues_to_the_same_outcomes() {
    let dir = make_study();
    run_study(dir.path(), &[]);
    let out = dir.path().join("broken");
    let broken = ["--set", "output=broken", "--set", "jobs=2"];
    // Killed twice: during rate selection, and later.
    for files in [1, 5] {
        let mut child = command(dir.path(), &broken).stdout(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !out.join("runs").exists() || runs(&out).len() < files {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run_study(dir.path(), &broken);
    assert_same(&dir.path().join("whole"), &out);
}

/// Renames the runs in `output` as if a build with other code had stored them.
fn pretend_another_build_ran(output: &Path) {
    for entry in fs::read_dir(output.join("runs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (content, build) = name.rsplit_once('-').unwrap();
        let other = path.with_file_name(format!("{content}-00000000{}", &build[8..]));
        fs::rename(&path, &other).unwrap();
        if other.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&other).unwrap();
            let (first, recipe) = text.split_once('\n').unwrap();
            assert!(first.starts_with("# stored by normed "), "{first}");
            fs::write(&other, format!("# stored by normed 0.1.9\n{recipe}")).unwrap();
        }
    }
}

#[test]
fn runs_have_names_and_those_of_earlier_versions_are_found() {
    let dir = make_study();
    run_study(dir.path(), &[]);
    let out = dir.path().join("whole");
    let names: Vec<String> = runs(&out)
        .iter()
        .map(|run| run.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for start in ["none-seed1-", "full-seed2-lr1e-2-50percent-", "layer_norm-lr1e-4-candidate-"] {
        assert!(names.iter().any(|name| name.starts_with(start)), "{start}: {names:?}");
    }
    let answers = fs::read_dir(out.join("answers")).unwrap();
    let answers: Vec<_> = answers.map(|entry| entry.unwrap().file_name()).collect();
    let on_closed =
        |name: &&std::ffi::OsString| name.to_str().unwrap().starts_with("none-seed1-on-closed-");
    assert_eq!(answers.iter().filter(on_closed).count(), 3, "{answers:?}"); // two of answers, a recipe

    // Earlier versions named runs and answers by their addresses alone.
    for folder in ["runs", "answers"] {
        for entry in fs::read_dir(out.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let (rest, build) = name.rsplit_once('-').unwrap();
            let (_, content) = rest.rsplit_once('-').unwrap();
            fs::rename(&path, path.with_file_name(format!("{content}-{build}"))).unwrap();
        }
    }
    let text = run_study(dir.path(), &[]);
    for expected in
        ["learning-rate selection: 0 of 4", "runs: 0 of 7", "tests on other data: 0 of 5"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_report_opens_with_its_title_its_authors_and_what_was_found() {
    let dir = make_study();
    let study = format!("title = \"LayerNorms & others\"\nauthors = [\"A. B\", \"C. D\"]\n{STUDY}")
        .replace("lr = [1e-4, 2e-2]", "lr = { all = [2e-2] }");
    fs::write(dir.path().join("study.toml"), study).unwrap();
    let text = run_study(dir.path(), &[]);
    // With a list for each data set there is one candidate, and nothing to select.
    assert!(text.contains("learning-rate selection: 2 of 2"), "{text}");
    assert!(text.contains("(1 of 7, about ") && text.contains("(7 of 7)"), "{text}");
    assert!(text.contains("all: ") && text.contains(" has the highest exact match"), "{text}");
    let page = fs::read_to_string(dir.path().join("whole/report.html")).unwrap();
    let position = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not there"));
    let order = [
        "<h1>LayerNorms &amp; others</h1>",
        "<p class=\"authors\">A. B, C. D</p>",
        "has the highest exact match",
        "trained with 2 seeds only",
        "Base model: base.",
        "<main>",
        "What each method learned",
        "<dt>Data: all</dt><dd>", // with its file
        "data.jsonl (SHA-256 ",
    ]
    .map(position);
    assert!(order.is_sorted(), "{order:?}");
    assert!(page.contains("<svg role=\"img\" aria-label=\"Plot of exact match, %"));
    assert!(!page.contains(&*dir.path().to_string_lossy()), "it names a place of this machine");
}

#[test]
fn outcomes_of_another_build_are_computed_again_unless_they_are_accepted() {
    let dir = make_study();
    run_study(dir.path(), &[]);
    let out = dir.path().join("whole");
    pretend_another_build_ran(&out);

    let text = run_study(dir.path(), &["--set", "accept_other_builds=true"]);
    for expected in [
        "4 stored results of another build (normed 0.1.9): accepted",
        "learning-rate selection: 0 of 4",
        "7 stored results of another build (normed 0.1.9): accepted",
        "runs: 0 of 7",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("7 of 7 reported runs were computed by other builds: normed 0.1.9."));

    let text = run_study(dir.path(), &[]);
    for expected in [
        "4 stored results of another build (normed 0.1.9): not used",
        "learning-rate selection: 4 of 4",
        "7 stored results of another build (normed 0.1.9): not used",
        "runs: 7 of 7",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!page.contains("other builds"));
    // Now this build has outcomes of its own, and the others do not matter.
    for setting in ["accept_other_builds=true", "accept_other_builds=false"] {
        let text = run_study(dir.path(), &["--set", setting]);
        assert!(text.contains("runs: 0 of 7") && !text.contains("another build"), "{text}");
    }
}

#[test]
fn learning_rates_are_selected_without_the_test_split() {
    let dir = make_study();
    run_study(dir.path(), &[]);
    let candidates = |out: &str| -> Vec<PathBuf> {
        let all = runs(&dir.path().join(out));
        all.into_iter().filter(|run| !run.join("predictions.jsonl").exists()).collect()
    };
    assert_eq!(candidates("whole").len(), 4);
    for run in candidates("whole") {
        let metrics = fs::read_to_string(run.join("metrics.json")).unwrap();
        assert!(metrics.contains("\"test\": null"), "{metrics}");
        let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
        assert!(!events.contains("test_"), "{events}");
    }
    // With other answers in the test split, all candidates have the same values, to the last digit.
    let rows = fs::read_to_string(dir.path().join("data.jsonl")).unwrap();
    let other = |line: &str| match line.contains("\"split\":\"test\"") {
        true => line.replace("\"answer\":\"yes\"", "\"answer\":\"a lot\""),
        false => line.to_owned(),
    };
    let rows: Vec<_> = rows.lines().map(other).collect();
    fs::write(dir.path().join("data.jsonl"), rows.join("\n")).unwrap();
    run_study(dir.path(), &["--set", "output=other"]);
    let rates = |out: &str| reproducible_tables(&dir.path().join(out)).remove("rates").unwrap();
    assert_eq!(rates("whole"), rates("other"));
    assert!(rates("whole").contains(",yes"), "{}", rates("whole"));
    assert_ne!(
        reproducible_tables(&dir.path().join("whole")),
        reproducible_tables(&dir.path().join("other"))
    );
}

#[test]
fn one_error_names_all_mistakes_and_a_dry_run_does_nothing() {
    let dir = make_study();
    let wrong = STUDY
        .replace("seeds = [1, 2]", "seeds = [1, -2]\nsede = 3")
        .replace("lr = [1e-4, 2e-2]", "lr = [1e-4, 0]")
        .replace("tuning.method = \"full\"", "tuning.method = \"fill\"")
        .replace("methods = [\"full\"]", "methods = [\"fulll\"]")
        .replace("epochs = 2\n", "epochs = 2\nlrr = 1\n");
    fs::write(dir.path().join("study.toml"), wrong).unwrap();
    let error = run_with_mistake(dir.path(), &[]);
    for expected in [
        "6 mistakes",
        "line 3: seeds: must be a whole number",
        "line 4: sede: no such key (did you mean `seeds`?)",
        "train.lrr: no such key (did you mean `lr`?)",
        "methods.layer_norm.lr: must be a number above 0",
        "tuning.method: there is no \"fill\" (did you mean `full`?)",
        "efficiency.methods: there is no \"fulll\" (did you mean `full`?)",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }

    fs::write(dir.path().join("study.toml"), STUDY).unwrap();
    let last = &["--set", "selection.train.metric=last"];
    assert!(run_with_mistake(dir.path(), last).contains("cannot compare learning rates"));
    let text = run_study(dir.path(), &["--dry-run"]);
    assert!(text.contains("11 runs and 5 tests on other data"), "{text}");
    // A dry run of a shard shows its own part; the parts add up to the whole.
    let part = |shard| run_study(dir.path(), &["--dry-run", "--shard", shard]);
    let rows = |text: &str| text.lines().skip(1).take_while(|line| !line.is_empty()).count();
    let parts = ["1/2", "2/2"].map(|shard| rows(&part(shard)));
    assert!(parts.iter().all(|&rows| rows > 0), "{parts:?}");
    assert_eq!(parts.iter().sum::<usize>(), rows(&text));
    assert!(!dir.path().join("whole").exists());
}

#[test]
fn a_failed_candidate_is_not_selected_and_not_tried_again() {
    let dir = make_study();
    let study = STUDY
        .replace("seeds = [1, 2]", "seeds = [1]")
        .replace("lr = [1e-2, 1e-5]", "lr = [1e30, 1e-2]");
    fs::write(dir.path().join("study.toml"), study).unwrap();
    let text = run_study(dir.path(), &[]);
    assert!(text.contains("candidate learning rate 1e30: failed: "), "{text}");
    assert!(text.contains("all, full: learning rate 1e-2"), "{text}");
    let rates = reproducible_tables(&dir.path().join("whole")).remove("rates").unwrap();
    assert!(rates.contains("full,1e30,") && rates.contains("full,1e-2,"), "{rates}");
    assert!(run_study(dir.path(), &[]).contains("learning-rate selection: 0 of 4"));
}

/// Reports are compared by caption metrics, and the base model's own task by exact match.
#[test]
fn a_study_of_reports_has_caption_scores() {
    let dir = make_study();
    tiny::make_reports(dir.path(), "method = \"none\"", "");
    let text = STUDY
        .replace(
            "file = \"data.jsonl\"\n\n[test",
            "file = \"reports.jsonl\"\ntask = \"report\"\n\n[test",
        )
        .replace(", where = { kind = \"closed\" }", "")
        .replace(
            "[recipe.train]",
            "[recipe.generate]\nmax_new_tokens = 12\n\n[recipe.train]\nmetric = \"cider\"",
        );
    fs::write(dir.path().join("study.toml"), text).unwrap();
    let printed = run_study(dir.path(), &[]);
    assert!(printed.contains("layer_norm, seed 1: cider "), "{printed}");
    let tables = dir.path().join("whole/tables");
    let read = |name: &str| fs::read_to_string(tables.join(name)).unwrap();
    let results = read("results-all.md");
    let columns =
        "| CIDEr | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR, words and stems | ROUGE-L |";
    assert!(results.contains(columns) && !results.contains("overall"), "{results}");
    assert!(
        results.contains("on 6 test reports") && results.contains("; image-shuffled "),
        "{results}"
    );
    let constant = results.lines().find(|line| line.contains("majority answer")).unwrap();
    assert!(
        constant.split('|').filter(|cell| cell.trim().parse::<f64>().is_ok()).count() == 7,
        "{constant}"
    );
    // Exact match of questions, CIDEr of reports.
    assert!(read("generalization.csv").contains("tested on closed"));
    assert!(read("forgetting.csv").contains("majority answer"));
    assert!(read("differences-all.csv").contains("CIDEr"));
    assert!(dir.path().join("whole/plots/learning-all.svg").is_file());
    let page = fs::read_to_string(dir.path().join("whole/report.html")).unwrap();
    assert!(page.contains("CIDEr times 100") && page.contains("it is"), "the page");
}
