//! The program as a user meets it: arguments in; text, files and exit codes out.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
    command.args(args).current_dir(dir);
    command
}

fn normed(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// What a call that must succeed prints.
fn stdout(dir: &Path, args: &[&str]) -> String {
    let output = normed(dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a call that must fail says, and its exit code.
fn failure(dir: &Path, args: &[&str]) -> (String, Option<i32>) {
    let output = normed(dir, args);
    assert!(output.stdout.is_empty(), "{args:?}");
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[test]
fn inspect_needs_only_the_config() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "architectures": ["BlipForQuestionAnswering"],
        "vision_config": { "image_size": 480 },
        "text_config": { "vocab_size": 30524, "num_attention_heads": 12 },
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();

    let text = stdout(dir.path(), &["inspect", ".", "--method", "layer_norm"]);
    for expected in ["questions start with [CLS]", "361,478,972", "153,600  0.0425 %"] {
        assert!(text.contains(expected), "{text}");
    }
    let text = stdout(dir.path(), &["inspect", ".", "--method", "layer_norm", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["parameters"], 361_478_972);
    assert_eq!(report["trained"], 153_600);
    let norms = |row: &&Value| row["role"] == "norm";
    let norms: Vec<_> = report["rows"].as_array().unwrap().iter().filter(norms).collect();
    let trained: Vec<_> = norms.iter().map(|row| row["trained"].as_u64().unwrap()).collect();
    assert_eq!(trained, [38_400, 56_832, 58_368]);
    let some = ["inspect", ".", "--method", "layer_norm", "--set", "keep=0.3"];
    let text = stdout(dir.path(), &some);
    assert!(text.contains("a run trains the 30 of 100 norms"), "{text}");
    assert!(text.contains("at least 107,520"), "{text}");
    let text = stdout(dir.path(), &[&some[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    let kept = json!([{ "of": 100, "kept": 30, "frozen_at_least": 107_520 }]);
    assert_eq!(report["kept_norms"], kept);

    // BitFit, and the rows of MILE's table (arXiv 2403.06407), `ViT | JTM | Dec`.
    let ia3 = "targets=[\"key\", \"value\", \"output\", \"fc2\"]";
    let lora = "vision.targets=[\"query\", \"output\", \"fc1\", \"fc2\", \"patch\"]";
    let both = "towers=[\"text\", \"decoder\"]";
    let text_ia3 = format!("text.{ia3}");
    let decoder_ia3 = format!("decoder.{ia3}");
    let rows: [(&[&str], &str); 9] = [
        (
            &["method=bitfit"],
            "selected: 431,420 (0.1193 %), of which 36,864 cannot affect the loss",
        ),
        (&["method=lora", "rank=4", both], "589,824  0.1629 %"),
        (
            &[
                "vision={ method = \"lora\", rank = 4 }",
                lora,
                "text={ method = \"lora\", rank = 4 }",
                "decoder={ method = \"lora\", rank = 4 }",
            ],
            "1,185,792  0.3270 %",
        ),
        (
            &["vision.method=lora", lora, "text.method=lora", "decoder.method=lora"],
            "2,371,584  0.6518 %",
        ),
        (&["method=prefix", "towers=[\"decoder\"]"], "14,772,480   3.93 %"),
        (&["method=ia3", ia3, both], "184,320  0.0510 %"),
        (
            &[
                "vision={ method = \"ia3\", targets = \"fc2\" }",
                "text.method=ia3",
                &text_ia3,
                "decoder.method=ia3",
                &decoder_ia3,
            ],
            "221,184  0.0612 %",
        ),
        (&["method=p_tuning_v2"], "368,640  0.1019 %"),
        (&["method=prompt", "length=8", "towers=[\"decoder\"]"], "6,144  0.0017 %"),
    ];
    for (settings, expected) in rows {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let text = stdout(dir.path(), &["inspect", "."].into_iter().chain(set).collect::<Vec<_>>());
        assert!(text.contains(expected), "{text}");
    }
    let (text, code) =
        failure(dir.path(), &["inspect", ".", "--method", "lora", "--set", "rang=4"]);
    assert!(text.contains("--set rang=4") && text.contains("rank"), "{text}");
    assert_eq!(code, Some(2));
}

/// LLaVA-Med 1.5, of which nothing but config.json is there.
#[test]
fn inspect_lists_the_inert_parameters_of_a_llava() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "architectures": ["LlavaMistralForCausalLM"], "model_type": "llava_mistral",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_projector_type": "mlp2x_gelu",
        "sliding_window": null, "rope_theta": 1e6, "max_position_embeddings": 32768,
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let text = stdout(dir.path(), &["inspect", ".", "--method", "layer_norm"]);
    for expected in [
        "LlavaMistralForCausalLM, LLaVA's own layout: an image of 336 x 336 takes 576 tokens",
        "102,400   96,256",
        "266,240  266,240",
        "is above the layer whose states",
        "model.vision_tower.encoder.layers.*.self_attn.k_proj.bias, 23 blocks",
        "model.vision_tower.encoder.layers.23.layer_norm1.bias",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// The recipes for LLaVA-Med 1.5, of which config.json and a tokenizer are there: what `normed plan` says
/// before 15 GB are fetched. Where nothing is there, it says how to fetch.
#[test]
fn recipes_for_llava_med_are_planned_without_its_weights() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    tiny::make(here, "method = \"layer_norm\"", "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = here.join("llava-med");
    fs::create_dir(&model).unwrap();
    let tokenizer = root.join("crates/normed/tests/golden/causal/sp/tokenizer.model");
    fs::copy(tokenizer, model.join("tokenizer.model")).unwrap();
    let named = json!({ "bos_token": "<s>", "eos_token": "</s>" });
    fs::write(model.join("tokenizer_config.json"), named.to_string()).unwrap();
    let config = json!({
        "architectures": ["LlavaMistralForCausalLM"], "model_type": "llava_mistral",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_projector_type": "mlp2x_gelu",
        "sliding_window": null, "rope_theta": 1e6, "max_position_embeddings": 32768,
    });
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    for (name, trained) in [
        ("vqa_rad_layer_norm", 266_240 + 96_256),
        ("2312_11420_norms", 266_240),
        ("2312_11420", 266_240 + 20_979_712 + 2 * 131_072_000),
    ] {
        let recipe = root.join(format!("recipes/llava_med_{name}.toml"));
        let recipe = recipe.to_str().unwrap();
        let mut args = vec!["plan", recipe, "--json", "--set", "data.name=jsonl"];
        args.extend(["--set", "data.file=data.jsonl"]);
        let mut absent = command(here, &args);
        let absent = absent.env("HF_HOME", here.join("cache")).output().unwrap();
        assert_eq!(absent.status.code(), Some(2));
        let text = String::from_utf8(absent.stderr).unwrap();
        assert!(text.contains("normed fetch microsoft/llava-med-v1.5-mistral-7b"), "{text}");

        args.extend(["--set", "model=llava-med"]);
        let plan: Value = serde_json::from_str(&stdout(here, &args)).unwrap();
        assert_eq!(plan["trained"], trained, "{name}");
        assert_eq!((&plan["total"], &plan["examples"]), (&json!(7_566_219_264_u64), &json!(16)));
        let weights = plan["ways"][0]["needs"]["weights"].as_u64().unwrap();
        assert!(weights > 14 << 30, "{weights}");
    }
}

/// Reports are scored alike by a run, by `evaluate` with its recipe, and by `evaluate --task report`.
#[test]
fn reports_can_be_evaluated_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make_reports(
        dir.path(),
        "method = \"layer_norm\"",
        "\n[generate]\nmax_new_tokens = 12\nrepetition_penalty = 1.3",
    );
    let here = dir.path();
    let text = stdout(here, &["train", "report.toml", "--output", "run"]);
    for expected in
        ["rouge_l", "bleu_4", "cider", "nll_per_token", "majority answer", "image-shuffled"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let metrics: Value =
        serde_json::from_slice(&fs::read(here.join("run/metrics.json")).unwrap()).unwrap();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&stdout(here, args)).unwrap() };
    let evaluate = ["evaluate", "--adapter", "run/adapter", "--json", "--blind"];
    let own = json(&[&evaluate[..], &["--recipe", "report.toml"]].concat());
    let how = ["--max-new-tokens", "12", "--repetition-penalty", "1.3", "--split", "test"];
    let file = ["--model", "base", "--data", "reports.jsonl", "--task", "report"];
    let file = json(&[&evaluate[..], &file, &how].concat());
    let of = |scores: &Value| {
        let names = ["bleu_1", "bleu_4", "rouge_l", "cider"];
        names.map(|name| scores["scores"][name]["value"].as_f64().unwrap())
    };
    assert_eq!(of(&own["scores"]), of(&metrics["test"]["after"]));
    assert_eq!(of(&file["scores"]), of(&own["scores"]));
    assert!(own["blind"]["scores"]["cider"].is_object());

    let other = ["predict", "--model", "base", "--data", "reports.jsonl", "--task", "report"];
    let how = ["--prompt", "how much light is it?", "--num-beams", "2", "--length-penalty", "-1"];
    let to = ["--max-new-tokens", "12", "--out", "p.jsonl"];
    stdout(here, &[&other[..], &how, &to].concat());
    let lines = fs::read_to_string(here.join("p.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 36);
    assert!(lines.contains("how much light is it?"));
    assert!(stdout(here, &["score", "p.jsonl", "--protocol", "coco"]).contains("cider"));
    let (text, code) = failure(here, &["score", "p.jsonl"]);
    assert!(code == Some(2) && text.contains("--protocol coco"), "{text}");

    let (text, code) =
        failure(here, &["evaluate", "--model", "base", "--data", "data.jsonl", "--prompt", "a"]);
    assert!(code == Some(2) && text.contains("--task report"), "{text}");
    let (text, _) = failure(here, &["evaluate", "--model", "base", "--data", "reports.jsonl"]);
    assert!(text.contains("is read with the task `report`"), "{text}");
}

#[test]
fn a_table_of_conversations_is_planned_trained_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let goldens = root.join("crates/normed/tests/golden/parquet/conversations");
    fs::create_dir(here.join("data")).unwrap();
    for split in ["train", "test"] {
        let name = format!("data/{split}-00000-of-00001.parquet");
        fs::copy(goldens.join("test_messages.parquet"), here.join(name)).unwrap();
    }
    let recipe = format!(
        "model = {:?}\ndata = {{ name = \"parquet\", root = \"data\" }}\n\
         tuning.method = \"layer_norm\"\ntrain = {{ epochs = 1, batch_size = 3, metric = \"last\" }}\n",
        root.join("models/phantom")
    );
    fs::write(here.join("r.toml"), recipe).unwrap();
    stdout(here, &["plan", "r.toml"]);
    let scores = stdout(here, &["train", "r.toml", "--output", "run"]);
    assert!(scores.contains("closed_accuracy"), "{scores}");
    let predict = ["predict", "--recipe", "r.toml", "--adapter", "run/adapter"];
    stdout(here, &[&predict[..], &["--max-new-tokens", "4", "--out", "p.jsonl"]].concat());
    let lines = fs::read_to_string(here.join("p.jsonl")).unwrap();
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<_> = rows.map(|row| [row["question"].clone(), row["target"].clone()]).collect();
    let expected = [
        ["is there a lesion in the left lobe?", "yes"],
        ["is there a lesion in the right lobe?", "no"],
        ["which organ?", "liver"],
    ];
    assert_eq!(json!(found), json!(expected));
}

/// The recipe for IU X-Ray without its data: two views are planned.
#[test]
fn the_recipe_for_iu_xray_is_planned_without_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    tiny::make(here, "method = \"layer_norm\"", "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let recipe = root.join("recipes/iu_xray_layer_norm.toml");
    let recipe = recipe.to_str().unwrap();
    let plan = |more: &[&str]| -> Value {
        let set = ["--set", "model=base", "--set", "image_size=16", "--set"];
        let args = [&["plan", recipe, "--json"], &set[..], &["generate.max_new_tokens=12"], more];
        serde_json::from_str(&stdout(here, &args.concat())).unwrap()
    };
    let two = plan(&[]);
    assert!(two["no_data"].as_str().unwrap().contains("iu_xray"), "{two}");
    // MIMIC-CXR has one view more often than not.
    let one = plan(&["--set", "data.name=mimic_cxr"]);
    let data = |plan: &Value| plan["ways"][0]["work"]["products"].as_u64().unwrap();
    assert!(data(&two) > data(&one), "{two} {one}");
}

#[test]
fn mistakes_exit_with_2_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let here = dir.path();

    let (text, code) =
        failure(here, &["train", "recipe.toml", "--set", "train.lrr=1", "--set", "sed=2"]);
    assert_eq!(code, Some(2));
    assert!(text.starts_with("error: recipe.toml: 2 mistakes\n"), "{text}");
    assert!(
        text.contains("(did you mean `lr`?)") && text.contains("(did you mean `seed`?)"),
        "{text}"
    );

    let (text, code) = failure(here, &["pretrain", "recipe.toml"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("hint: normed train recipe.toml"), "{text}");

    for args in [
        &["train", "nowhere.toml"][..],
        &["inspect", "nowhere"],
        &["predict", "--model", "nowhere", "--data", "data.jsonl", "--out", "p.jsonl"],
        &["predict", "--model", "base", "--data", "nowhere.jsonl", "--out", "p.jsonl"],
        &["predict", "--model", "base", "--adapter", "base", "--data", "data.jsonl", "--out", "p"],
        &["evaluate", "--model", "base", "--data", "data.jsonl", "--precision", "f16"],
        &["evaluate", "--model", "base"],
        &["split", "--data", "data.jsonl", "--by", "group", "--test", "1", "--out", "s.jsonl"],
        &["apply-delta", "base", "nowhere", "out"],
        &["frobnicate"],
    ] {
        let (text, code) = failure(here, args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.starts_with("error: "), "{args:?}: {text}");
    }

    // An adapter that Python saved may name no base.
    fs::create_dir(here.join("nameless")).unwrap();
    fs::write(here.join("nameless/adapter_config.json"), r#"{"peft_type": "LORA"}"#).unwrap();
    let (text, code) = failure(here, &["diff", "base", "nameless"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("does not name the base model") && text.contains("--model"), "{text}");
}

/// What a run reports of its test split is what `evaluate` and `predict` find of its adapter.
#[test]
fn a_run_can_be_evaluated_and_predicted_from() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let here = dir.path();

    let text = stdout(here, &["train", "recipe.toml", "--output", "run"]);
    for expected in ["training ", "epoch 1, step 1 of ", "validation after epoch 1", "exact_match"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let metrics: Value =
        serde_json::from_slice(&fs::read(here.join("run/metrics.json")).unwrap()).unwrap();

    let judged = ["--recipe", "recipe.toml", "--adapter", "run/adapter"];
    let args = [&["evaluate", "--blind", "--json", "--batch-size", "4"], &judged[..]].concat();
    let scores: Value = serde_json::from_str(&stdout(here, &args)).unwrap();
    for (of, reported) in [("scores", "after"), ("blind", "blind")] {
        let (found, reported) = (&scores[of], &metrics["test"][reported]);
        assert_eq!(found["n"], 12);
        assert_eq!(found["scores"]["exact_match"], reported["scores"]["exact_match"], "{of}");
        assert_eq!(found["constants_from"], "training");
        let nll = |of: &Value| of["scores"]["nll_per_token"]["value"].as_f64().unwrap();
        assert!((nll(found) - nll(reported)).abs() < 1e-5, "{of}: the adapter is the run's best");
    }
    let args = [&["evaluate", "--json", "--precision", "bf16"], &judged[..]].concat();
    let narrow: Value = serde_json::from_str(&stdout(here, &args)).unwrap();
    let [narrow, wide] = [&narrow, &scores]
        .map(|of| of["scores"]["scores"]["nll_per_token"]["value"].as_f64().unwrap());
    assert!(
        narrow != wide && (narrow / wide - 1.0).abs() < 0.05,
        "{narrow} in bf16, {wide} in f32"
    );
    let table = stdout(here, &[&["evaluate", "--blind"], &judged[..]].concat());
    assert!(table.starts_with("metric ") && table.contains("image-shuffled"), "{table}");

    let model = ["predict", "--model", "base", "--adapter", "run/adapter", "--data", "data.jsonl"];
    let rest = ["--split", "test", "--max-new-tokens", "4", "--num-beams", "2", "--out", "p.jsonl"];
    let text = stdout(here, &[&model[..], &rest].concat());
    assert_eq!(text, "12 answers are in p.jsonl\n");
    let file = fs::read_to_string(here.join("p.jsonl")).unwrap();
    let rows: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["id"]), (12, &json!("5-CLOSED")));
    for key in ["question", "prediction", "target", "answer_type", "nll", "num_target_tokens"] {
        assert!(!rows[0][key].is_null(), "{key}");
    }
    stdout(here, &[&model[..], &["--out", "all.jsonl", "--quiet"]].concat());
    let all = fs::read_to_string(here.join("all.jsonl")).unwrap();
    assert_eq!(all.lines().count(), 72, "without --split, all rows");
}

#[test]
fn how_much_is_printed_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let train = ["train", "recipe.toml", "--set", "train.epochs=1", "--no-test", "--output"];
    let quiet = stdout(dir.path(), &[&train[..], &["quiet", "--quiet"]].concat());
    assert_eq!(quiet, "");
    let json = stdout(dir.path(), &[&train[..], &["json", "--json"]].concat());
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "started");
    assert_eq!(events[events.len() - 1]["event"], "finished");
    assert!(events[events.len() - 1]["outcome"]["test"].is_null());
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_saves_and_prints_how_to_continue() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let args = ["train", "recipe.toml", "--set", "train.epochs=30", "--output", "run"];
    let mut process = command(dir.path(), &[&args[..], &["--json"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("step_done")));
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let last = lines.last().unwrap();
    assert!(last.contains("\"event\":\"stopped\""), "{last}");
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    let resume = "normed train recipe.toml --set train.epochs=30 --output run --resume";
    assert!(text.contains(resume), "{text}");

    let resume: Vec<_> = resume.split_whitespace().skip(1).collect();
    let text = stdout(dir.path(), &resume);
    assert!(text.contains("resumed after step"), "{text}");
}

#[test]
fn split_keeps_images_together() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let args = ["split", "--data", "data.jsonl", "--by", "image", "--out", "split.jsonl"];
    let text = stdout(dir.path(), &args);
    assert!(text.starts_with("train "), "{text}");
    let file = fs::read_to_string(dir.path().join("split.jsonl")).unwrap();
    let rows: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 72);
    assert!(rows.chunks(2).all(|pair| pair[0]["split"] == pair[1]["split"]));
}

/// What a run trained, as plain tensors and as a PEFT directory, and how far it is from the base.
#[test]
fn a_run_is_exported_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"\ntowers = [\"decoder\"]", "");
    let here = dir.path();
    let train = ["train", "recipe.toml", "--set", "train.epochs=1", "--no-test", "--quiet"];
    stdout(here, &[&train[..], &["--output", "run"]].concat());

    let plain = ["export", "run", "--format", "safetensors", "--out", "plain.safetensors"];
    let text = stdout(here, &plain);
    assert!(text.contains("parameters are in plain.safetensors"), "{text}");
    let (text, code) = failure(here, &plain);
    assert_eq!((code, text.contains("exists already")), (Some(2), true), "{text}");
    let plain = normed::weights::read_safetensors(&here.join("plain.safetensors")).unwrap();
    let name = "text_decoder.bert.embeddings.LayerNorm.weight";
    assert!(plain.tensors.contains_key(name), "{:?}", plain.tensors.keys());
    assert_eq!(plain.metadata["base_content_sha256"].len(), 64);

    stdout(here, &["export", "run/adapter", "--format", "peft", "--out", "again"]);
    let weights = |dir: &str| fs::read(here.join(dir).join("adapter_model.safetensors")).unwrap();
    assert_eq!(weights("again"), weights("run/adapter"));

    let report: Value =
        serde_json::from_str(&stdout(here, &["diff", "base", "run", "--json"])).unwrap();
    assert_eq!(report["others"], json!([]));
    for row in report["norms"].as_array().unwrap() {
        let moved = row["distance"].as_f64().unwrap() > 0.0;
        assert_eq!(moved, row["tower"] == "decoder", "{row}");
    }
    let text = stdout(here, &["diff", "run", "base", "--svg", "moved.svg"]);
    assert!(text.contains("largest changes"), "{text}");
    assert!(fs::read_to_string(here.join("moved.svg")).unwrap().contains("decoder"));
    let text = stdout(here, &["diff", "run", "again"]);
    assert!(text.contains("no norm changed") && text.contains("no value differs"), "{text}");
    let (text, code) = failure(here, &["export", "base", "--format", "peft", "--out", "o"]);
    assert_eq!((code, text.contains("neither a run nor an adapter")), (Some(2), true), "{text}");
}

#[test]
fn find_lr_plots_the_rate_and_makes_no_run() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"full\"", "");
    let args = ["train", "recipe.toml", "--output", "runs/a", "--find-lr"];
    let text = stdout(dir.path(), &args);
    assert!(text.contains("train.lr = ") && text.contains("excluded: "), "{text}");
    assert!(text.contains("the method's default: 3e-4"), "{text}");
    let again = stdout(dir.path(), &[&args[..], &["--json", "--force"]].concat());
    let report: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert!(report["suggestion"].as_f64().unwrap() > 1e-5 && report["withheld"].is_null());
    assert_eq!(report["curve"], "runs/a.find_lr.svg");
    assert!(dir.path().join("runs/a.find_lr.svg").exists() && !dir.path().join("runs/a").exists());

    // The LayerNorms of this small random model hardly learn in so few steps.
    let norms = ["--set", "tuning.method=layer_norm", "--json", "--force"];
    let text = stdout(dir.path(), &[&args[..], &norms].concat());
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(report["suggestion"].is_null() && report["withheld"] == "noise", "{report}");
    assert!((report["default"].as_f64().unwrap() - 3e-3).abs() < 1e-9, "{report}");
}

#[test]
fn the_version_names_the_build() {
    let text = stdout(Path::new("."), &["--version"]);
    assert_eq!(text, format!("normed {}\n", normed::build::FULL_VERSION));
}

#[test]
fn the_help_fits_a_narrow_terminal_and_lists_the_exit_codes() {
    let text = stdout(Path::new("."), &["--help"]);
    let commands: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty())
        })
        .collect();
    let first = ["import", "init", "train", "ask", "predict", "evaluate"];
    assert_eq!(commands[..first.len()], first, "{text}");
    assert_eq!(commands[commands.len() - 2..], ["apply-delta", "help"], "{text}");
    for code in ["0    ", "1    ", "2    ", "130  "] {
        assert!(text.contains(&format!("\n  {code}")), "{text}");
    }
    for command in &commands[..commands.len() - 1] {
        let output =
            self::command(Path::new("."), &[command, "-h"]).env("COLUMNS", "60").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let options = text.split("Examples:").next().unwrap();
        // clap wraps everything but the usage line.
        let lines = options.lines().filter(|line| !line.starts_with("Usage:"));
        let widest = lines.map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 60, "{widest}: {text}");
        assert!(text.contains("Examples:\n  normed "), "{text}");
    }
}

#[test]
fn completions_and_manual_pages_are_made_from_the_arguments() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, expected) in
        [("bash", "apply-delta"), ("zsh", "#compdef normed"), ("fish", "find-lr")]
    {
        assert!(stdout(dir.path(), &["completions", shell]).contains(expected), "{shell}");
    }
    stdout(dir.path(), &["man", "pages"]);
    let page = |name: &str| fs::read_to_string(dir.path().join("pages").join(name)).unwrap();
    assert!(page("normed.1").contains("normed\\-train(1)"));
    assert!(page("normed-train.1").contains("Suggest a learning rate"));
    assert!(page("normed-apply-delta.1").contains("LLaVA"));
}

/// `normed ... | head`: that nobody reads on is no failure.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let train = ["train", "recipe.toml", "--output", "run", "--json"];
    for args in [&["inspect", "base"][..], &["completions", "bash"], &["--help"], &train] {
        let mut process = command(dir.path(), args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.as_str()), (Some(0), ""), "{args:?}");
    }
    assert!(dir.path().join("run/metrics.json").exists(), "the run is not cut short");
}

/// A panic that no guard catches is one line that asks for a report.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_reported_in_one_line() {
    let output = command(Path::new("."), &["inspect", "."])
        .env("NORMED_TEST_PANIC", "1")
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{text}");
    assert!(
        text.starts_with("error: this is a bug in normed: NORMED_TEST_PANIC is set ("),
        "{text}"
    );
    assert!(text.contains("main.rs:") && text.ends_with("); please report it\n"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// A decoder that panics costs its row, not the run.
#[cfg(debug_assertions)]
#[test]
fn a_row_whose_image_makes_the_decoder_panic_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let here = dir.path();
    let rows = fs::read_to_string(here.join("data.jsonl")).unwrap();
    let first: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    let path = here.join(first["image"].as_str().unwrap());
    let bytes = [fs::read(&path).unwrap(), b"panic on purpose".to_vec()].concat();
    fs::write(&path, bytes).unwrap();
    let train = ["train", "recipe.toml", "--no-test", "--set", "train.epochs=1", "--output"];

    let output = normed(here, &[&train[..], &["stop"]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("on purpose") && !text.contains("bug in normed"), "{text}");

    let skip = ["skip", "--set", "data.on_bad_example=skip"];
    let output = normed(here, &[&train[..], &skip].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("rows are skipped:") && text.contains("on purpose"), "{text}");
    assert!(!text.contains("bug in normed"), "{text}");
}

/// Files that are no image that can be read, and a part of what is said of each.
fn unreadable_images() -> Vec<(Vec<u8>, &'static str)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../normed/tests/golden");
    let read = |name: &str| fs::read(golden.join(name)).unwrap();
    let cut = |name: &str, missing: usize| {
        let mut bytes = read(name);
        bytes.truncate(bytes.len() - missing);
        bytes
    };
    let with_syntax = |uid: &[u8; 23]| {
        let mut bytes = read("medical_variants/jpeg_xl_8.dcm");
        let at = bytes.windows(23).position(|old| old == b"1.2.840.10008.1.2.4.110").unwrap();
        bytes[at..at + 23].copy_from_slice(uid);
        bytes
    };
    // A TIFF file that names LERC as its compression.
    let tiff = |compression: u8| {
        let tags = [(256, 1), (257, 1), (258, 8), (259, compression), (262, 1), (273, 8), (279, 1)];
        let entry = |(tag, value): (u16, u8)| {
            [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0, value, 0, 0, 0]].concat()
        };
        [&b"II*\0\x08\0\0\0\x07\0"[..], &tags.map(entry).concat(), &[0; 8]].concat()
    };
    vec![
        (Vec::new(), "an empty file"),
        (b"not an image at all".to_vec(), "is not a supported image"),
        (b"%PDF-1.7".to_vec(), "a PDF document"),
        (b"\0\0\0\x1cftypavif\0\0\0\0".to_vec(), "it is AVIF"),
        (cut("image_files/bits.png", 24), "cut short"),
        (cut("image_files/rgb.jpg", 20), "cut short"),
        (cut("image_files/gray.tiff", 20), "cut short"),
        (cut("image_files/rgb.bmp", 20), "cut short"),
        (tiff(6), "the retired kind of JPEG"),
        (tiff(99), "is compressed in an unknown way (99)"),
        (cut("medical/ct.dcm", 100), "is cut short"),
        (with_syntax(b"1.2.840.10008.1.2.4.201"), "compressed by HTJ2K"),
        (with_syntax(b"1.2.840.10008.1.2.4.102"), "compressed by MPEG"),
        (cut("medical/ras.nii", 300), "cut short"),
        (cut("medical/uint16.nii.gz", 100), "cut short"),
    ]
}

/// Every command that reads images refuses those that cannot be read, all of them at once, before its first step.
#[test]
fn images_that_cannot_be_read_are_refused_together() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    tiny::make(here, "method = \"layer_norm\"", "");
    let good = ["--set", "train.epochs=1", "--no-test", "--output", "good"];
    stdout(here, &[&["train", "recipe.toml"][..], &good].concat());
    let unreadable = unreadable_images();
    for (i, (bytes, _)) in unreadable.iter().enumerate() {
        fs::write(here.join(format!("{i}.png")), bytes).unwrap();
    }
    // Each of them is in two rows.
    let rows = 2 * unreadable.len();
    let adapter = ["--recipe", "recipe.toml", "--adapter", "good/adapter"];
    for command in [
        &["plan", "recipe.toml"][..],
        &["train", "recipe.toml", "--output", "stopped"],
        &[&["evaluate"], &adapter[..]].concat(),
        &[&["predict"], &adapter[..], &["--out", "answers.jsonl"]].concat(),
    ] {
        let (text, code) = failure(here, command);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(&format!("{rows} rows are broken:")), "{text}");
        for (i, (_, cause)) in unreadable[..10].iter().enumerate() {
            let start = format!("data.jsonl:{}: image ", 2 * i + 1);
            let is_told = |line: &str| line.contains(&start) && line.contains(cause);
            let mut lines = text.lines().filter(|line| is_told(line));
            assert!(lines.any(|line| line.ends_with("(and 1 more row)")), "{cause}: {text}");
        }
        assert!(text.contains(&format!("and {} more", rows - 20)), "{text}");
        assert!(text.contains("on_bad_example = \"skip\""), "{text}");
        // The same command can be given again when the rows are corrected.
        assert!(!here.join("stopped").exists() && !here.join("answers.jsonl").exists());
    }
    let skip = ["recipe.toml", "--set", "data.on_bad_example=skip"];
    let warnings = |command: &[&str]| {
        let output = normed(here, &[&command[..1], &skip, &command[1..]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&format!("warning: {rows} rows are skipped")), "{text}");
        text
    };
    warnings(&["plan"]);
    let text = warnings(&["train", "--set", "train.epochs=1", "--no-test", "--output", "skipped"]);
    for (i, (_, cause)) in unreadable.iter().enumerate() {
        let row = format!("data.jsonl:{}: image ", 2 * i + 1);
        assert!(
            text.lines().any(|line| line.contains(&row) && line.contains(cause)),
            "{row}{cause}: {text}"
        );
    }
}

/// What decoding the largest image takes is part of the plan, so that a limit of memory that it exceeds is refused.
#[test]
fn decoding_a_large_image_counts_in_the_limit_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    tiny::make(here, "method = \"layer_norm\"", "");
    let plan = ["plan", "recipe.toml", "--set", "memory=48MiB"];
    let train = ["train", "recipe.toml", "--set", "memory=48MiB", "--output", "run"];
    stdout(here, &plan);
    // 18 million bytes as RGB.
    let large = image::RgbImage::from_fn(2500, 2400, |x, y| image::Rgb([x as u8, y as u8, 0]));
    large.save(here.join("0.png")).unwrap();
    for command in [&plan[..], &train] {
        let output = normed(here, command);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("memory: 48MiB is not enough"), "{text}");
        assert!(text.contains("smaller image files, since decoding the largest"), "{text}");
    }
    assert!(!here.join("run").exists());
}

/// Sizes that ended in a panic, an abort or minutes of silence.
#[test]
fn sizes_that_are_too_large_are_refused_by_plan_and_train_alike() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let huge = "576460752303423488";
    for settings in [
        &[format!("train.batch_size={huge}")][..],
        &[format!("train.grad_accum_steps={huge}")],
        &["tuning.method=lora".to_owned(), "tuning.rank=1000000000".to_owned()],
        &["tuning.method=adapter".to_owned(), format!("tuning.bottleneck={huge}")],
        &["tuning.method=prefix".to_owned(), format!("tuning.length={huge}")],
        &["tuning.method=prompt".to_owned(), format!("tuning.length={huge}")],
        &[format!("image_size={huge}")],
        &[format!("generate.max_new_tokens={huge}")],
    ] {
        for name in ["plan", "train"] {
            let set = settings.iter().flat_map(|setting| ["--set", setting]);
            let args: Vec<_> = [name, "recipe.toml"].into_iter().chain(set).collect();
            let (text, code) = failure(dir.path(), &args);
            assert_eq!(code, Some(2), "{text}");
            assert!(text.contains("must be a whole number from 1 to "), "{text}");
        }
    }
    // The largest sizes that are allowed are planned.
    let both = ["--set", "train.batch_size=65536", "--set", "train.grad_accum_steps=65536"];
    stdout(dir.path(), &[&["plan", "recipe.toml"][..], &both].concat());
    let model = ["predict", "--model", "base", "--data", "data.jsonl", "--out", "p.jsonl"];
    for option in ["--max-new-tokens", "--batch-size", "--num-beams"] {
        let (text, code) = failure(dir.path(), &[&model[..], &[option, huge]].concat());
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("must be a number from 1 to "), "{text}");
    }
    let beams = ["--num-beams", "2", "--temperature", "0.5"];
    let (text, code) = failure(dir.path(), &[&model[..], &beams].concat());
    assert!(code == Some(2) && text.contains("must be 1 while temperature is above 0"), "{text}");
}
