//! A directory for a run of a second or two: images with questions, a random base model, a recipe.

use std::fs;
use std::path::{Path, PathBuf};

use normed::data::Tokenizer;
use normed::models::{self, NewMiss, TextSizes, VitConfig};
use normed::ops::Activation;
use normed::recipe::Recipe;
use serde_json::{Value, json};

pub const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[DEC]\n[ENC]\n\
                     is\nit\nbright\nhow\nmuch\nlight\nyes\nno\nlittle\nsome\na\nlot\n?\n";

/// Writes `root/{data.jsonl,*.png,base/,recipe.toml}`: 24 images to train on, 6 to validate and 6
/// to test, two questions each. `settings` stand at the end of the recipe's `[train]`.
pub fn make(root: &Path, tuning: &str, settings: &str) {
    let mut rows = String::new();
    for i in 0..36 {
        let level = (i * 7 % 36 * 7) as u8;
        let name = format!("{i}.png");
        image::GrayImage::from_pixel(8, 8, image::Luma([level])).save(root.join(&name)).unwrap();
        let split = ["train", "train", "train", "train", "validate", "test"][i % 6];
        let bright = if level > 126 { "yes" } else { "no" };
        let light = ["little", "some", "a lot"][usize::from(level) / 84];
        for (kind, question, answer) in
            [("CLOSED", "Is it bright?", bright), ("OPEN", "How much light is it?", light)]
        {
            let row = json!({
                "id": format!("{i}-{kind}"), "image": name, "question": question,
                "answer": answer, "answer_type": kind, "split": split,
            });
            rows += &format!("{row}\n");
        }
    }
    fs::write(root.join("data.jsonl"), rows).unwrap();
    base(&root.join("base"));
    let recipe = format!(
        "model = \"base\"\nseed = 5\nprecision = \"f32\"\n\n[data]\nname = \"jsonl\"\nfile = \"data.jsonl\"\n\n\
         [tuning]\n{tuning}\n\n[train]\nbatch_size = 4\ngrad_accum_steps = 2\nlr = 0.02\n\
         dropout = 0.1\ndrop_path = 0.1\n{settings}\n"
    );
    fs::write(root.join("recipe.toml"), recipe).unwrap();
}

/// A random model whose towers have one or two blocks of 16 channels.
pub fn base(dir: &Path) {
    let vision = VitConfig {
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 8,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::Gelu,
        attention_dropout: 0.0,
    };
    let text = TextSizes {
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 16,
    };
    let made = NewMiss {
        vision,
        text,
        tokenizer: Tokenizer::from_words(Path::new("words"), WORDS).unwrap(),
        text_from: None,
        vision_from: None,
        seed: 1,
    }
    .create();
    models::save(&made.unwrap(), dir, false).unwrap();
}

/// The recipe in `root`, its run directory `root/name`.
pub fn recipe(root: &Path, name: &str) -> Recipe {
    let mut recipe = Recipe::open(&root.join("recipe.toml"), &[]).unwrap();
    recipe.output = root.join(name);
    recipe
}

/// Every file of a finished run, but for what differs from run to run: the time and memory that it
/// took, and where it went on.
pub fn results(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(dir).unwrap().to_owned();
        let bytes = match name.to_str().unwrap() {
            "metrics.json" => timeless(serde_json::from_slice(&bytes).unwrap()).into_bytes(),
            "events.jsonl" => {
                let text = String::from_utf8(bytes).unwrap();
                let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
                let lasting = events
                    .filter(|e: &Value| e["event"] == "step_done" || e["event"] == "evaluated");
                lasting.map(|e| timeless(e) + "\n").collect::<String>().into_bytes()
            }
            // It names the run directory; the recipe's copy in the adapter does too, and summary.md has the times.
            "recipe.toml" | "adapter/README.md" | "summary.md" => return None,
            // Its records hold the time of day.
            "events.out.tfevents.normed" => bytes.len().to_le_bytes().to_vec(),
            _ => bytes,
        };
        Some((name, bytes))
    };
    files.into_iter().filter_map(read).collect()
}

fn timeless(mut value: Value) -> String {
    let object = value.as_object_mut().unwrap();
    for key in ["time", "seconds", "examples_per_second", "peak_memory_bytes", "provenance"] {
        object.remove(key);
    }
    value.to_string()
}

/// Asserts that two finished runs left the same bytes.
pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (results(a), results(b));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{} differs", name.display());
    }
}

/// As [`make`], and also writes `reports.jsonl` and `report.toml`: the images as studies of one view and of
/// two, each with a report of what it shows.
#[allow(dead_code)]
pub fn make_reports(root: &Path, tuning: &str, settings: &str) {
    make(root, tuning, "");
    let mut rows = String::new();
    for i in 0..36 {
        let (mut images, mut report) = (Vec::new(), String::new());
        for view in [i, (i + 5) % 36].into_iter().take(1 + i % 2) {
            let level = view * 7 % 36 * 7;
            images.push(format!("{view}.png"));
            let light = ["it is little light", "is it some light", "a lot is it"][level / 84];
            report = format!("{report} {light} {}", if level > 126 { "yes" } else { "no" });
        }
        let split = ["train", "train", "train", "train", "validate", "test"][i % 6];
        let row = json!({ "id": format!("study {i}"), "images": images, "report": report.trim(),
                          "split": split, "group": format!("patient {}", i / 12) });
        rows += &format!("{row}\n");
    }
    fs::write(root.join("reports.jsonl"), rows).unwrap();
    let recipe = fs::read_to_string(root.join("recipe.toml")).unwrap();
    let recipe =
        recipe.replace("file = \"data.jsonl\"", "file = \"reports.jsonl\"\ntask = \"report\"");
    fs::write(root.join("report.toml"), format!("{recipe}{settings}\n")).unwrap();
}
