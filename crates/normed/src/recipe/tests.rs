use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::Result;
use crate::data::{
    Axis, DataSection, DataSpec, ImageOptions, OnBadExample, OrientationUse, PhantomDomain,
    RowFilter, SliceIndex, Task, TemplateName, Window,
};
use crate::models::{GenerationConfig, LlamaKind};
use crate::tensor::{Precision, RunPrecision, Tower};
use crate::tuning::{
    ConfiguredMethod, ExtraPart, KeyKind, Method, OptionValue, Rule, Tuning, methods,
};

const SMALL: &str = r#"
model = "base"

[data]
name = "vqa_rad"

[tuning]
method = "layer_norm"
"#;

/// A directory with a model directory `base` and `recipe.toml`, which holds `text`.
fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("base")).unwrap();
    let path = dir.path().join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn open(text: &str, settings: &[&str]) -> Result<Recipe> {
    let settings: Vec<_> = settings.iter().map(|s| (*s).to_owned()).collect();
    let (_dir, path) = write(text);
    Recipe::open(&path, &settings)
}

fn complaint(text: &str, settings: &[&str]) -> String {
    let error = open(text, settings).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn defaults_stand_in() {
    let (dir, path) = write(SMALL);
    let recipe = Recipe::open(&path, &[]).unwrap();
    let expected = Recipe {
        base: Base::Model(dir.path().canonicalize().unwrap().join("base")),
        output: "runs/recipe".into(),
        seed: 0,
        image_size: None,
        template: None,
        precision: Precision::fastest().into(),
        memory: None,
        planned_for: None,
        data: DataSpec::VqaRad { root: None, on_bad_example: OnBadExample::Stop }.into(),
        tuning: Tuning::new(Method::LAYER_NORM),
        train: TrainSpec { lr: 3e-3, ..TrainSpec::default() },
        generate: GenerationConfig::default(),
        cache: CacheSpec { place: CachePlace::Run, max_gib: 16.0 },
    };
    assert_eq!(recipe, expected);
}

#[test]
fn all_mistakes_are_one_error() {
    let text = r#"
model = "elsewhere"
sed = 7

[data]
name = "vqa-rad"
whatever = 1

[tuning]
method = "layernorm"
towers = ["text", "decodr"]
layers = "6..6"

[train]
epochs = 0
lr = "fast"
adam_betas = [0.9, 1.0]
label_smoothing = -0.1
gradient_checkpointing = true
metric = "f1"
"#;
    let error = complaint(text, &["train.batch_size=many", "generate.beams=3", "nonsense"]);
    let (first, rest) = error.split_once('\n').unwrap();
    assert!(first.ends_with("recipe.toml: 15 mistakes"), "{first}");
    let expected = [
        "line 2: model: there is no directory ",
        "line 3: sed: no such key (did you mean `seed`?)",
        "line 6: data.name: there is no \"vqa-rad\" (did you mean `vqa_rad`?)",
        "line 10: tuning.method: there is no \"layernorm\" (did you mean `layer_norm`?)",
        "line 11: tuning.towers: there is no \"decodr\" (did you mean `decoder`?)",
        "line 12: tuning.layers: `6..6` is empty: a range does not contain its end",
        "line 15: train.epochs: must be a whole number from 1 to 1000000, is 0",
        "line 16: train.lr: must be a number above 0, is \"fast\"",
        "line 17: train.adam_betas: must be a number from 0 to less than 1, is 1.0",
        "line 18: train.label_smoothing: must be a number from 0 to less than 1, is -0.1",
        "line 19: train.gradient_checkpointing: no such key (in normed this is `recompute` in [train]: ",
        "line 20: train.metric: there is no \"f1\" (there are exact_match, bleu_4, rouge_l, cider, loss, last)",
        "--set train.batch_size=many: train.batch_size: must be a whole number from 1 to 65536, is \"many\"",
        "--set generate.beams=3: generate.beams: no such key (in normed this is `num_beams` in [generate])",
        "--set nonsense: a setting is written key=value",
    ];
    let lines: Vec<_> = rest.lines().map(str::trim).collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn a_single_mistake_has_its_remedy_as_a_hint() {
    let error = complaint(SMALL, &["train.lrr=1"]);
    assert!(
        error.ends_with("--set train.lrr=1: train.lrr: no such key\n  hint: did you mean `lr`?"),
        "{error}"
    );
}

#[test]
fn image_options_are_read() {
    let text = SMALL.replace("[tuning]", "[data.image]\nwindow = \"percentiles\"\n[tuning]");
    let view =
        open(&text, &["data.image.slice=7", "data.image.orientation=ignore"]).unwrap().data.image;
    let expected = ImageOptions {
        window: Window::Percentiles,
        orientation: OrientationUse::Ignore,
        slice: SliceIndex::At(7),
        ..ImageOptions::default()
    };
    assert_eq!(view, expected);
    for (setting, cause) in [
        ("window=percentile", "there is no \"percentile\"\n  hint: did you mean `percentiles`?"),
        ("window=[40, 0.5]", "the window's width must be a number of at least 1, is 0.5"),
        ("window=[40]", "must be a list of two"),
        ("window=[nan, 400]", "must be a number of any size, is nan"),
        ("frame=last", "must be \"middle\" or a whole number from 0 to 1000000, is \"last\""),
        ("slice=-1", "must be a whole number from 0 to 1000000, is -1"),
        ("axis=transverse", "there is no \"transverse\""),
        ("orientation=turn", "there is no \"turn\""),
        ("level=40", "no such key"),
    ] {
        let error = complaint(SMALL, &[&format!("data.image.{setting}")]);
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn missing_keys_are_named() {
    let error = complaint("", &[]);
    for missing in ["model: is missing", "data: this table is missing", "tuning: this table"] {
        assert!(error.contains(missing), "{error}");
    }
    let text = SMALL.replace("vqa_rad", "phantom").replace("method", "also = [\"head\"] #");
    let error = complaint(&text, &[]);
    for key in ["domain", "train", "validate", "test"] {
        assert!(error.contains(&format!("data.{key}: is missing")), "{error}");
    }
    assert!(error.contains("tuning.method: is missing"), "{error}");
}

#[test]
fn a_template_is_one_that_there_is() {
    let recipe = open(SMALL, &["template=mistral_instruct"]).unwrap();
    assert_eq!(recipe.template, Some(TemplateName::MistralInstruct));
    let error = complaint(SMALL, &["template=vicuna"]);
    assert!(error.contains("template: there is no \"vicuna\""), "{error}");
    assert!(error.contains("did you mean `vicuna_v1`?"), "{error}");
}

#[test]
fn impossible_values_are_refused() {
    for setting in [
        "seed=-1",
        "seed=9223372036854775808",
        "image_size=0",
        "template=0",
        "template=llama",
        "memory=6",
        "memory=lots",
        "planned_for=GiB",
        "model=3",
        "output=1",
        "data=vqa_rad",
        "data.root=true",
        "train=fast",
        "train.epochs=1.5",
        "train.batch_size=0",
        "train.grad_accum_steps=0",
        "train.lr=0",
        "train.lr=-1e-3",
        "train.lr=nan",
        "train.lr=inf",
        "train.lr=1e-60",
        "train.lr=1e60",
        "train.min_lr=1",
        "train.weight_decay=-0.1",
        "train.adam_betas=0.9",
        "train.adam_betas=[0.9]",
        "train.adam_eps=0",
        "train.schedule=step",
        "train.warmup_ratio=1",
        "train.max_grad_norm=-1",
        "train.dropout=1",
        "train.drop_path=1.5",
        "train.eval_every_epochs=0",
        "train.checkpoint_every_steps=0",
        "train.holdout=1",
        "train.eval_examples=0",
        "train.patience=-1",
        "tuning.method=[]",
        "tuning.towers=[]",
        "tuning.towers=text",
        "tuning.layers=1.5",
        "tuning.also=[\"norm\"]",
        "tuning.text.method=full",
        "generate.num_beams=0",
        "generate.max_new_tokens=0",
        "generate.length_penalty=inf",
        "init.vocab=phantom",
        "cache=off",
        "cache.place=true",
        "cache.max_gib=0",
        "cache.size=3",
    ] {
        assert!(open(SMALL, &[setting]).is_err(), "{setting} passed");
    }
}

/// Without a limit, such sizes would panic, abort or compute for minutes.
#[test]
fn sizes_have_a_largest_value() {
    const HUGE: &str = "576460752303423488";
    for key in [
        "image_size",
        "train.epochs",
        "train.batch_size",
        "train.grad_accum_steps",
        "train.fisher_examples",
        "train.eval_every_epochs",
        "train.checkpoint_every_steps",
        "train.patience",
        "train.eval_examples",
        "generate.num_beams",
        "generate.max_new_tokens",
        "data.image.frame",
    ] {
        let error = complaint(SMALL, &[&format!("{key}={HUGE}")]);
        let expected = format!("is {HUGE}");
        assert!(error.contains(&format!("{key}: must be")), "{error}");
        assert!(error.contains(" to ") && error.ends_with(&expected), "{error}");
    }
    for (method, key) in [
        ("lora", "rank"),
        ("adapter", "bottleneck"),
        ("prefix", "length"),
        ("p_tuning_v2", "length"),
        ("prompt", "length"),
    ] {
        let settings = [format!("tuning.method={method}"), format!("tuning.{key}={HUGE}")];
        let error = complaint(SMALL, &settings.each_ref().map(String::as_str));
        assert!(
            error.contains(&format!("tuning.{key}: must be a whole number from 1 to")),
            "{error}"
        );
    }
    let phantom = SMALL.replace("vqa_rad\"", "phantom\"\ndomain = \"source\"");
    let settings = ["train", "validate", "test"].map(|split| format!("data.{split}={HUGE}"));
    let error = complaint(&phantom, &settings.each_ref().map(String::as_str));
    assert!(error.contains("3 mistakes"), "{error}");
}

/// The page is generated from the tables that recipes are read by; NORMED_BLESS=1 writes it.
#[test]
fn the_reference_of_recipe_keys_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipe-keys.md");
    let page = key_reference();
    if std::env::var_os("NORMED_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/recipe-keys.md is out of date: run the tests with NORMED_BLESS=1"
    );
}

/// Every key of a recipe that has all its sections is in the reference.
#[test]
fn the_reference_has_every_key() {
    let page = key_reference();
    let recipe = open(SMALL, &["data.image.slice=7"]).unwrap();
    let recipe: toml::Table = recipe.to_toml().unwrap().parse().unwrap();
    for (name, value) in &recipe {
        let keys = match value {
            toml::Value::Table(table) => table.keys().cloned().collect(),
            _ => vec![name.clone()],
        };
        for key in keys.iter().filter(|&key| !["image", "where"].contains(&key.as_str())) {
            assert!(page.contains(&format!("| `{key}` |")), "{name}: {key}");
        }
    }
}

#[test]
fn syntax_errors_have_their_line() {
    let error = complaint("model = \"base\"\nseed = = 1\n", &[]);
    assert!(error.contains("\n  line 2: "), "{error}");
    let (_dir, path) = write("");
    std::fs::write(&path, [0xff]).unwrap();
    assert_eq!(Recipe::open(&path, &[]).unwrap_err().exit_code(), 2);
    assert_eq!(Recipe::open(Path::new("nowhere.toml"), &[]).unwrap_err().exit_code(), 2);
}

#[test]
fn paths_start_from_the_recipe_and_in_settings_from_here() {
    let (dir, path) = write(SMALL);
    let open = |setting: &str| Recipe::open(&path, &[setting.to_owned()]);
    let text = SMALL.replace("[tuning]", "root = \"pictures\"\n[tuning]");
    std::fs::write(&path, text).unwrap();
    let root = |recipe: Recipe| match recipe.data.set {
        DataSpec::VqaRad { root, .. } => root.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(root(open("seed=1").unwrap()), dir.path().join("pictures"));
    let here = std::env::current_dir().unwrap();
    assert_eq!(root(open("data.root=pictures").unwrap()), here.join("pictures"));
    assert_eq!(open("output=out").unwrap().output, Path::new("out"));
}

/// Every key of every method, with a value that is not its default, is read and written.
#[test]
fn every_key_of_every_method_comes_back_as_it_was_written() {
    for method in methods() {
        let mut expected = ConfiguredMethod::from(method);
        for key in method.description().keys {
            let value: OptionValue = match key.kind {
                KeyKind::Integer(_) => 16_384.into(),
                KeyKind::Number(_) => 0.125.into(),
                KeyKind::Boolean => (key.default.to_string() == "false").into(),
                KeyKind::OneOf(names) => names[names.len() - 1].into(),
                KeyKind::SomeOf(names) => {
                    OptionValue::Names(vec![names[names.len() - 1].to_owned()])
                }
                KeyKind::Fraction => "25 %".into(),
            };
            expected = expected.with(key.name, value).unwrap();
            assert_ne!(expected, ConfiguredMethod::from(method), "{method}.{}", key.name);
        }
        let (_dir, path) = write(SMALL);
        let mut recipe = Recipe::open(&path, &[]).unwrap();
        recipe.tuning = Tuning::new(expected);
        let text = recipe.to_toml().unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Recipe::open(&path, &[]).unwrap().tuning, recipe.tuning, "{text}");
    }
}

#[test]
fn keys_of_methods_are_checked() {
    let complaint = |settings: &[&str]| complaint(SMALL, settings);
    let lora = "tuning.method=lora";
    for (settings, cause) in [
        (&[lora, "tuning.rank=0"][..], "rank: must be a whole number from 1 to 16384, is 0"),
        (&[lora, "tuning.rank=16385"], "rank: must be a whole number from 1 to 16384, is 16385"),
        (&[lora, "tuning.rank=many"], "rank: must be a whole number from 1 to 16384, is \"many\""),
        (&[lora, "tuning.alpha=0"], "alpha: must be a number above 0, is 0"),
        (&[lora, "train.lr=0,001"], "is \"0,001\"\n  hint: write 0.001, with a point"),
        (&["tuning.method=LoRA"], "did you mean `lora`?"),
        (&[lora, "tuning.dropout=1"], "dropout: must be a number from 0 to less than 1, is 1"),
        (&[lora, "tuning.use_dora=1"], "use_dora: must be true or false, is 1"),
        (&[lora, "tuning.targets=[]"], "targets: must not be empty"),
        (&[lora, "tuning.targets=fc3"], "there is no \"fc3\" (did you mean `fc1`?)"),
        (&["tuning.parts=biases"], "there is no \"biases\" (did you mean `bias`?)"),
        (&["tuning.keep=1.5"], "keep: must be a fraction above 0 and up to 1"),
        (&["tuning.rank=4"], "rank: no such key"),
        (&["tuning.method=[\"lora\", \"ia3\"]"], "lora and ia3 share `targets`"),
        (&["tuning.method=[\"prompt\", \"prefix\"]"], "prompt and prefix share `length`"),
        (&["tuning.method=[\"ffn\", \"ffn\"]"], "ffn appears twice"),
        (&["tuning.text.method=ffn", "tuning.parts=bias"], "cannot be combined with a rule for a"),
    ] {
        let error =
            complaint(settings).replace("\n  hint: did you mean `fc1`?", " (did you mean `fc1`?)");
        let error = error.replace("\n  hint: did you mean `bias`?", " (did you mean `bias`?)");
        assert!(error.contains(cause), "{settings:?}: {error}");
    }
}

#[test]
fn layers_and_towers_are_read() {
    let rule = |settings: &[&str]| open(SMALL, settings).unwrap().tuning;
    let expected = Rule {
        towers: Some(vec![Tower::Text, Tower::Decoder]),
        layers: Some("3..4".parse().unwrap()),
        also: vec![ExtraPart::Head],
        ..Rule::new(Method::LAYER_NORM)
    };
    let settings =
        ["tuning.towers=[\"text\", \"decoder\"]", "tuning.layers=3", "tuning.also=[\"head\"]"];
    assert_eq!(rule(&settings), Tuning::One(expected));

    let text = SMALL.replace("method = \"layer_norm\"", "text.method = \"full\"");
    let tuning = open(&text, &["tuning.decoder.method=ffn", "tuning.decoder.layers=0..6"]);
    let decoder = Rule { layers: Some("..6".parse().unwrap()), ..Rule::new(Method::FFN) };
    assert_eq!(
        tuning.unwrap().tuning,
        Tuning::PerTower(BTreeMap::from([
            (Tower::Text, Rule::new(Method::FULL)),
            (Tower::Decoder, decoder),
        ]))
    );
    let error = complaint(&text, &["tuning.decoder.towers=[]", "tuning.decoder.method=ffn"]);
    assert!(error.contains("tuning.decoder.towers: no such key"), "{error}");
}

/// Every field differs from its default: one that is not read, or not written, comes back wrong.
#[test]
fn a_recipe_comes_back_as_it_was_written() {
    let (dir, path) = write(SMALL);
    let here = dir.path().canonicalize().unwrap();
    let train = TrainSpec {
        epochs: 3,
        batch_size: 5,
        grad_accum_steps: 2,
        recompute: crate::tensor::Recompute::Attention,
        lr: 0.012_345_67,
        vision_lr: Some(0.02),
        norm_lr: Some(0.03),
        min_lr: 1e-7,
        weight_decay: 0.1,
        adam_betas: (0.8, 0.95),
        adam_eps: 1e-6,
        schedule: Schedule::Linear,
        fisher_examples: 9,
        warmup_ratio: 0.2,
        label_smoothing: 0.3,
        max_grad_norm: 0.0,
        dropout: Some(0.1),
        drop_path: 0.2,
        eval_every_epochs: 4,
        patience: 6,
        metric: BestBy::Loss,
        checkpoint_every_steps: 7,
        holdout: 0.25,
        fraction: 0.5,
        eval_examples: Some(8),
    };
    let layer_norm = Method::LAYER_NORM.with("parts", "bias").unwrap();
    let layer_norm = layer_norm.with("which", ["ffn"]).unwrap().with("keep", "40 %").unwrap();
    let lora = Method::LORA.with("rank", 3).unwrap().with("alpha", 5.0).unwrap();
    let lora = lora.with("dropout", 0.25).unwrap().with("targets", ["fc1", "patch"]).unwrap();
    let lora = lora.with("use_rslora", true).unwrap().with("use_dora", true).unwrap();
    let rule = Rule {
        methods: vec![layer_norm, Method::ATTENTION.with("norms", true).unwrap(), lora],
        towers: Some(vec![Tower::Vision]),
        layers: Some("2..".parse().unwrap()),
        also: vec![ExtraPart::Embeddings, ExtraPart::Head],
    };
    let init = MissInit {
        vocab: Vocab::At(here.join("base")),
        text_from: Some(here.join("base")),
        vision_from: Some(here.join("base")),
        save_bf16: false,
        vision: VisionSize {
            hidden_size: 12,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            intermediate_size: 5,
            image_size: 6,
            patch_size: 2,
        },
        text: TextSize {
            hidden_size: 12,
            num_hidden_layers: 1,
            num_attention_heads: 6,
            intermediate_size: 7,
            max_position_embeddings: 8,
        },
    };
    let mut recipe = Recipe {
        base: Base::Model(here.join("base")),
        output: "elsewhere".into(),
        seed: 7,
        image_size: Some(224),
        template: Some(TemplateName::VicunaV1),
        precision: RunPrecision::Int8,
        memory: Some(ByteSize(900_000_000)),
        planned_for: None,
        data: DataSection {
            set: DataSpec::VqaRad {
                root: Some(here.join("rad")),
                on_bad_example: OnBadExample::Skip,
            },
            task: Task::Vqa,
            rows: RowFilter::new([("organ".to_owned(), vec!["HEAD".to_owned()])].into()),
            image: ImageOptions {
                window: Window::At { center: 40.0, width: 400.0 },
                frame: SliceIndex::At(3),
                axis: Axis::Coronal,
                slice: SliceIndex::Middle,
                orientation: OrientationUse::Apply,
            },
        },
        tuning: Tuning::One(rule.clone()),
        train,
        generate: GenerationConfig {
            num_beams: 1,
            max_new_tokens: 20,
            length_penalty: 0.5,
            repetition_penalty: 1.5,
            temperature: 0.2,
            top_p: 0.7,
            seed: 8,
        },
        cache: CacheSpec { place: CachePlace::At(here.join("states")), max_gib: 0.5 },
    };
    let check = |recipe: &Recipe| {
        let text = recipe.to_toml().unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Recipe::open(&path, &[]).unwrap(), *recipe, "{text}");
    };
    check(&recipe);

    for data in [
        DataSpec::Slake {
            root: Some(here.join("slake")),
            lang: Some("en".into()),
            on_bad_example: OnBadExample::Skip,
        },
        DataSpec::PathVqa { root: Some(here.join("pvqa")), on_bad_example: OnBadExample::Skip },
        DataSpec::Jsonl {
            file: here.join("rows.jsonl"),
            image_root: Some(here.join("images")),
            on_bad_example: OnBadExample::Skip,
        },
        DataSpec::Phantom {
            domain: PhantomDomain::Shifted,
            train: 1,
            validate: 2,
            test: 3,
            seed: 4,
        },
    ] {
        recipe.data = data.into();
        check(&recipe);
    }
    recipe.planned_for = recipe.memory.take();
    let rule = Rule { towers: None, ..rule };
    let towers = [Tower::Vision, Tower::Projector, Tower::Decoder];
    recipe.tuning = Tuning::PerTower(towers.map(|tower| (tower, rule.clone())).into());
    check(&recipe);
    (recipe.image_size, recipe.template) = (None, None);
    recipe.cache.place = CachePlace::Off;
    check(&recipe);
    recipe.cache.place = CachePlace::Run;
    recipe.base = Base::Init(InitSpec::Llava(LlavaInit {
        tokenizer: here.join("base"),
        save_bf16: false,
        vision: init.vision.clone(),
        language: LanguageSize {
            model_type: LlamaKind::Llama,
            hidden_size: 12,
            num_hidden_layers: 1,
            num_attention_heads: 6,
            num_key_value_heads: 3,
            intermediate_size: 7,
            max_position_embeddings: 8,
            tie_word_embeddings: true,
        },
    }));
    check(&recipe);
    recipe.base = Base::Init(InitSpec::Miss(init));
    check(&recipe);
    let from = FromInit { from: here.join("base"), save_bf16: false };
    recipe.base = Base::Init(InitSpec::From(from));
    check(&recipe);
    (recipe.image_size, recipe.template) = (Some(48), Some(TemplateName::Simple));
    check(&recipe);
}

#[test]
fn a_model_can_be_made() {
    let text = r#"
[init]
vocab = "phantom"
vision = { hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 16, image_size = 16, patch_size = 4 }
text = { hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 16 }

[data]
name = "phantom"
domain = "source"
train = 10
validate = 5
test = 5
"#;
    let recipe = open(text, &[]).unwrap();
    let Base::Init(InitSpec::Miss(init)) = &recipe.base else { panic!("{recipe:?}") };
    assert_eq!((init.vocab.clone(), init.save_bf16), (Vocab::Phantom, true));
    assert_eq!(init.text.max_position_embeddings, 512);
    assert_eq!(recipe.tuning, Tuning::new(Method::FULL));

    let error = complaint(
        text,
        &[
            "init.vision.patch_size=5",
            "init.text.num_attention_heads=3",
            "init.vocab=nowhere",
            "init.txt={}",
            "image_size=32",
            "template=chat",
        ],
    );
    for expected in [
        "init.vision.patch_size: 5 does not divide image_size 16",
        "init.text.num_attention_heads: 3 does not divide hidden_size 8",
        "init.vocab: there is no file or directory",
        "init.txt: no such key (did you mean `text`?)",
        "image_size: is init.vision.image_size for a new model",
        "template: cannot be chosen for a new model",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let llava = complaint(
        text,
        &[
            "init.architecture=llava",
            "init.language.num_key_value_heads=3",
            "init.language.hidden_size=8",
        ],
    );
    for expected in [
        "init.tokenizer: is missing",
        "init.text: no such key",
        "init.language.intermediate_size: is missing",
        "init.vocab: no such key",
    ] {
        assert!(llava.contains(expected), "{llava}");
    }
    let other = complaint(text, &["init.architecture=flamingo"]);
    assert!(other.contains("there is no \"flamingo\"") && other.contains("miss, llava"), "{other}");
    let from = complaint(text, &["init.from=base"]);
    assert!(from.contains("init.vision: no such key"), "{from}");
    let drawn = complaint(SMALL, &["generate.temperature=0.5", "generate.num_beams=2"]);
    assert!(
        drawn.contains("generate.num_beams: must be 1 while temperature is above 0"),
        "{drawn}"
    );
    let both = complaint(text, &["model=."]);
    assert!(both.contains("init: cannot be combined with model"), "{both}");
}

/// The data sets of a recipe are those of the library: serde reports their names.
#[test]
fn every_data_set_can_be_read() {
    let error = toml::from_str::<DataSpec>("name = \"?\"").unwrap_err().to_string();
    let names: Vec<_> = error.split('`').skip(3).step_by(2).collect();
    assert!(!names.is_empty(), "{error}");
    for name in names {
        let error = open(SMALL, &[&format!("data.name={name}")]);
        let unknown = error.is_err_and(|e| e.to_string().contains("data.name"));
        assert!(!unknown, "{name}");
    }
}

#[test]
fn the_task_is_in_the_data_section() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.toml");
    let open = |data: &str, rest: &str| {
        let text =
            format!("model = \".\"\n[data]\n{data}\n[tuning]\nmethod = \"layer_norm\"\n{rest}\n");
        std::fs::write(&path, text).unwrap();
        Recipe::open(&path, &[])
    };
    let phantom = "name = \"phantom\"\ndomain = \"source\"\ntrain = 1\nvalidate = 1\ntest = 1";
    let vqa = open(phantom, "").unwrap();
    assert_eq!((vqa.data.task.clone(), vqa.train.metric), (Task::Vqa, BestBy::ExactMatch));
    assert!(!vqa.to_toml().unwrap().contains("task"), "a recipe of questions is as it was");
    let report = open(&format!("{phantom}\ntask = \"report\""), "").unwrap();
    assert_eq!((report.data.task.clone(), report.train.metric), (Task::report(), BestBy::Cider));
    assert_eq!(report.generate.max_new_tokens, 100);
    let own = "name = \"iu_xray\"\nroot = \".\"\nprompt = \"Findings?\"";
    let rest = "[generate]\nrepetition_penalty = 1.2\n[train]\nmetric = \"bleu_4\"";
    let iu = open(own, rest).unwrap();
    assert_eq!(iu.data.task, Task::Report { prompt: "Findings?".into() });
    assert_eq!((iu.generate.repetition_penalty, iu.train.metric), (1.2, BestBy::Bleu4));
    let open_i = "name = \"open_i\"\nroot = \".\"\nimpression = true\nsplit_seed = 3";
    let mimic = "name = \"mimic_cxr\"\nroot = \".\"";
    for recipe in [report, iu, open(open_i, "").unwrap(), open(mimic, "").unwrap()] {
        std::fs::write(&path, recipe.to_toml().unwrap()).unwrap();
        assert_eq!(Recipe::open(&path, &[]).unwrap(), recipe);
    }
    let wrong = |data: &str, rest: &str| open(data, rest).unwrap_err().to_string();
    let both = |task: &str| format!("{phantom}\n{task}");
    for (text, want) in [
        (wrong(&both("task = \"reports\""), ""), "did you mean `report`?"),
        (wrong("name = \"vqa_rad\"\ntask = \"report\"", ""), "has questions, but no reports"),
        (wrong("name = \"iu_xray\"\ntask = \"vqa\"", ""), "has reports, but no questions"),
        (wrong(&both("prompt = \"a\""), ""), "data.prompt: is only used for reports"),
        (wrong(&both("task = \"report\"\nprompt = \" \""), ""), "must not be empty"),
        (wrong(phantom, "[train]\nmetric = \"cider\""), "train.metric: is a metric of reports"),
        (
            wrong(&both("task = \"report\""), "[train]\nmetric = \"exact_match\""),
            "train.metric: is a metric of answers",
        ),
        (wrong(phantom, "[generate]\nrepetition_penalty = 0"), "must be a number above 0"),
    ] {
        assert!(text.contains(want), "{text}");
    }
}
