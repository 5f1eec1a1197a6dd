//! The keys of a recipe, section by section: what each is called, what it must be, and what stands
//! in its place where it is absent.
//!
//! After a mistake some value stands in too, so that reading goes on and finds the next mistake; a
//! recipe with mistakes never leaves this module's caller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::read_init::init;
use super::section::{
    Section, ValueError, boolean, integer, list, one_of, pair, real, text, unknown,
};
use super::source::{Node, Value};
use super::{Base, BestBy, ByteSize, CachePlace, CacheSpec, InitSpec, Recipe, TrainSpec};
use crate::data::{
    DataSection, DataSpec, ImageOptions, PhantomDomain, RowFilter, SliceIndex, Task, Window,
};
use crate::hub::Kind;
use crate::metrics::Metric;
use crate::models::GenerationConfig;
use crate::tensor::{Precision, Tower};
use crate::tuning::{Keep, Layers, Method, Options, Rule, Target, Tuning};

/// The whole recipe; `name` is what its run directory is called by default.
pub(super) fn recipe(s: &Section<'_>, name: &str) -> Recipe {
    let base = base(s);
    let tuning = match base {
        Base::Model(_) => s.require_section("tuning", tuning),
        Base::Init(_) => s.section("tuning", tuning),
    };
    let is_new = matches!(base, Base::Init(InitSpec::Miss(_) | InitSpec::Llava(_)));
    if s.has("image_size") && is_new {
        s.wrong("image_size", "a new model's image size is init.vision.image_size");
    }
    if s.has("template") && is_new {
        s.wrong("template", "a new model has that of its kind, or none");
    }
    if s.has("memory") && s.has("planned_for") {
        s.wrong("memory", "stands beside planned_for, the memory that was already planned for");
    }
    let size = |node: &Node| text(node)?.parse::<ByteSize>().map_err(ValueError::new);
    let tuning = tuning.unwrap_or_else(|| Tuning::new(Method::Full));
    let data = s.require_section("data", data).flatten().unwrap_or_else(|| PLACEHOLDER.into());
    let reports = !data.task.is_vqa();
    let default = TrainSpec {
        lr: tuning.default_lr(),
        metric: BestBy::usual(&data.task),
        ..TrainSpec::default()
    };
    Recipe {
        memory: s.get("memory", size),
        planned_for: s.get("planned_for", size),
        output: s.get("output", text).map_or_else(|| PathBuf::from("runs").join(name), Into::into),
        seed: s.get("seed", a_seed()).unwrap_or(0),
        image_size: s.get("image_size", at_least_1()),
        template: s.get("template", one_of),
        precision: s.get("precision", one_of).unwrap_or_else(|| match base {
            Base::Model(_) => Precision::fastest(),
            Base::Init(_) => Precision::F32,
        }),
        train: s.section("train", |s| train(s, &default, reports)).unwrap_or(default),
        tuning,
        generate: match s.section("generate", |s| generate(s, &data.task)) {
            Some(rule) => rule,
            None => GenerationConfig::default_for(&data.task),
        },
        data,
        cache: s.section("cache", cache).unwrap_or_default(),
        base,
    }
}

/// Stands for a data set that could not be read.
const PLACEHOLDER: DataSpec =
    DataSpec::Phantom { domain: PhantomDomain::Source, train: 0, validate: 0, test: 0, seed: 0 };

fn base(s: &Section<'_>) -> Base {
    match (s.has("model"), s.section("init", init)) {
        (false, Some(init)) => Base::Init(init),
        (model, init) => {
            if model && init.is_some() {
                s.wrong("init", "a recipe has either a model or an [init] that makes one");
            } else if !model && !s.has("init") {
                s.wrong("model", "is missing: the directory of the base model");
            }
            Base::Model(s.get("model", a_model(s)).unwrap_or_default())
        }
    }
}

/// Reads the keys of one data set.
type ReadData = fn(&Section<'_>) -> DataSpec;

/// Each data set, by name, and the keys it has. Whether its files are there is found out by opening.
const DATA_SETS: [(&str, ReadData); 9] = [
    ("vqa_rad", |s| DataSpec::VqaRad {
        root: s.get("root", s.a_path()),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("slake", |s| DataSpec::Slake {
        root: s.get("root", s.a_path()),
        lang: s.get("lang", text),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("path_vqa", |s| DataSpec::PathVqa {
        root: s.get("root", s.a_path()),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("jsonl", |s| DataSpec::Jsonl {
        file: s.require("file", s.a_path_or_data()).unwrap_or_default(),
        image_root: s.get("image_root", s.a_path()),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("parquet", |s| DataSpec::Parquet {
        root: s.require("root", s.a_path_or_repo(Kind::Dataset)).unwrap_or_default(),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("iu_xray", |s| DataSpec::IuXray {
        root: s.get("root", s.a_path()),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("mimic_cxr", |s| DataSpec::MimicCxr {
        root: s.get("root", s.a_path()),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("open_i", |s| DataSpec::OpenI {
        root: s.get("root", s.a_path()),
        impression: s.get("impression", boolean).unwrap_or_default(),
        split_seed: s.get("split_seed", a_seed()).unwrap_or(0),
        on_bad_example: s.get("on_bad_example", one_of).unwrap_or_default(),
    }),
    ("phantom", |s| DataSpec::Phantom {
        domain: s.require("domain", one_of).unwrap_or(PhantomDomain::Source),
        train: s.require("train", from_0()).unwrap_or(0),
        validate: s.require("validate", from_0()).unwrap_or(0),
        test: s.require("test", from_0()).unwrap_or(0),
        seed: s.get("seed", a_seed()).unwrap_or(0),
    }),
];

/// None if there is no such data set: its keys are then not looked at.
fn data(s: &Section<'_>) -> Option<DataSection> {
    let read = s.require("name", |node| {
        let name = text(node)?;
        let known = DATA_SETS.iter().find(|(known, _)| *known == name);
        known.map(|(_, read)| read).ok_or_else(|| unknown(&name, &DATA_SETS.map(|(name, _)| name)))
    });
    match read {
        Some(read) => {
            let set = read(s);
            let task = task(s, &set);
            let rows = s.get("where", rows).unwrap_or_default();
            let view = s.section("image", view).unwrap_or_default();
            Some(DataSection { set, task, rows, view })
        }
        None => {
            s.abandon();
            None
        }
    }
}

/// What is asked of `set`.
fn task(s: &Section<'_>, set: &DataSpec) -> Task {
    let (usual, other) = set.tasks();
    let known = |task: &Task| if task.is_vqa() { "vqa" } else { "report" };
    let named = |node: &Node| {
        let name = text(node)?;
        let has: Vec<&Task> = [&usual].into_iter().chain(&other).collect();
        match has.iter().find(|task| known(task) == name) {
            Some(&task) => Ok(task.clone()),
            None if ["vqa", "report"].contains(&&*name) => {
                let what =
                    if usual.is_vqa() { "questions and no reports" } else { "reports alone" };
                Err(ValueError::new(format!("this data set has {what}")))
            }
            None => Err(unknown(&name, &["vqa", "report"])),
        }
    };
    let mut task = s.get("task", named).unwrap_or_else(|| usual.clone());
    let filled = |node: &Node| match text(node)? {
        text if text.trim().is_empty() => Err(ValueError::new("must say something")),
        text => Ok(text),
    };
    match &mut task {
        Task::Report { prompt } => *prompt = s.get("prompt", filled).unwrap_or(prompt.clone()),
        Task::Vqa if s.has("prompt") => s.wrong("prompt", "is of reports: task = \"report\""),
        Task::Vqa => {}
    }
    task
}

fn view(s: &Section<'_>) -> ImageOptions {
    ImageOptions {
        window: s.get("window", window).unwrap_or_default(),
        frame: s.get("frame", pick).unwrap_or_default(),
        axis: s.get("axis", one_of).unwrap_or_default(),
        slice: s.get("slice", pick).unwrap_or_default(),
    }
}

/// `[40, 400]`, a centre and a width, or a name.
fn window(node: &Node) -> Result<Window, ValueError> {
    let Value::Text(name) = &node.value else {
        let (center, width) = pair(real("that is finite", |_| true))(node)?;
        return match width > 0.0 {
            true => Ok(Window::At { center, width }),
            false => Err(ValueError::new(format!("a window must be wider than 0, is {width}"))),
        };
    };
    let known = Window::NAMED.iter().find(|(known, _)| known == name);
    known.map(|(_, window)| *window).ok_or_else(|| unknown(name, &Window::NAMED.map(|(n, _)| n)))
}

/// `"middle"` or a number.
fn pick(node: &Node) -> Result<SliceIndex, ValueError> {
    match &node.value {
        Value::Text(name) if name == "middle" => Ok(SliceIndex::Middle),
        Value::Number(_) => from_0()(node).map(SliceIndex::At),
        other => {
            Err(ValueError::new(format!("must be \"middle\" or a number from 0 up, is {other}")))
        }
    }
}

/// `{ modality = ["CT", "MRI"], organ = "Lung" }`.
fn rows(node: &Node) -> Result<RowFilter, ValueError> {
    let Value::Table(table) = &node.value else {
        return Err(ValueError::new(format!("must be a table, is {}", node.value)));
    };
    let values = |node: &Node| match &node.value {
        Value::List(_) => list(text)(node),
        _ => text(node).map(|value| vec![value]),
    };
    let read = table
        .iter()
        .map(|(name, node)| Ok((name.clone(), values(node).map_err(|wrong| wrong.within(name))?)));
    Ok(RowFilter::new(read.collect::<Result<_, ValueError>>()?))
}

pub(super) fn tuning(s: &Section<'_>) -> Tuning {
    let rules = Tower::ALL
        .into_iter()
        .filter_map(|tower| Some((tower, s.section(tower.name(), |s| rule(s, None))?)));
    let rules: BTreeMap<_, _> = rules.collect();
    if rules.is_empty() {
        return Tuning::One(rule(s, s.get("towers", list(one_of))));
    }
    let keys = ["method", "towers", "layers", "also", "parts", "which", "keep", "norms"];
    let of_plugs = [
        "rank",
        "alpha",
        "dropout",
        "targets",
        "use_rslora",
        "use_dora",
        "length",
        "projection",
        "bottleneck",
        "parallel",
    ];
    for key in keys.into_iter().chain(of_plugs).filter(|key| s.has(key)) {
        s.wrong(key, "stands beside a rule for one tower; write it for that tower");
    }
    Tuning::PerTower(rules)
}

fn rule(s: &Section<'_>, towers: Option<Vec<Tower>>) -> Rule {
    let layers = |node: &Node| -> Result<Layers, ValueError> {
        match &node.value {
            Value::Number(text) | Value::Text(text) => text.parse().map_err(ValueError::new),
            other => Err(ValueError::new(format!("must be blocks, as in \"6..\", is {other}"))),
        }
    };
    let methods = s.require("method", one_or_more).unwrap_or_default();
    Rule {
        options: options(s, &methods),
        methods,
        towers,
        layers: s.get("layers", layers),
        also: s.get("also", list(one_of)).unwrap_or_default(),
    }
}

/// Of the methods that have any; keys of others are not looked at, and so are mistakes.
fn options(s: &Section<'_>, methods: &[Method]) -> Options {
    let mut options = Options::default();
    let Options { layer_norm, attention, lora, ia3, prefix, prompt, adapter } = &mut options;
    if methods.contains(&Method::Prefix) && methods.contains(&Method::PTuningV2) {
        s.wrong("method", "p_tuning_v2 is a prefix without projection; choose one");
    }
    if methods.contains(&Method::Prompt)
        && methods.iter().any(|m| matches!(m, Method::Prefix | Method::PTuningV2))
    {
        s.wrong("method", "prompt and prefixes share `length`; give each a tower of its own");
    }
    let two = methods.contains(&Method::Lora) && methods.contains(&Method::Ia3);
    if two {
        s.wrong("method", "lora and ia3 share `targets`; give each a tower of its own");
    }
    for (i, method) in methods.iter().enumerate() {
        if methods[..i].contains(method) {
            s.wrong("method", format!("{method} comes twice"));
        }
        match method {
            Method::LayerNorm => {
                layer_norm.parts = s.get("parts", one_of).unwrap_or_default();
                layer_norm.which = s.get("which", one_or_more).unwrap_or_default();
                layer_norm.keep = s.get("keep", keep);
            }
            Method::Attention => attention.norms = s.get("norms", boolean).unwrap_or_default(),
            Method::Lora => {
                let part = real("from 0 to less than 1", |x| (0.0..1.0).contains(x));
                lora.rank = s.get("rank", at_least_1()).unwrap_or(lora.rank);
                lora.alpha =
                    s.get("alpha", real("above 0", |x| *x > 0.0)).unwrap_or(2.0 * lora.rank as f32);
                lora.dropout = s.get("dropout", part).unwrap_or(lora.dropout);
                lora.use_rslora = s.get("use_rslora", boolean).unwrap_or_default();
                lora.use_dora = s.get("use_dora", boolean).unwrap_or_default();
                targets(s, &mut lora.targets);
            }
            Method::Ia3 => targets(s, &mut ia3.targets),
            Method::Prefix => {
                prefix.length = s.get("length", at_least_1()).unwrap_or(prefix.length);
                prefix.projection = s.get("projection", boolean).unwrap_or(prefix.projection);
            }
            Method::PTuningV2 => {
                prefix.length = s.get("length", at_least_1()).unwrap_or(prefix.length);
            }
            Method::Prompt => {
                prompt.length = s.get("length", at_least_1()).unwrap_or(prompt.length);
            }
            Method::Adapter => {
                adapter.bottleneck =
                    s.get("bottleneck", at_least_1()).unwrap_or(adapter.bottleneck);
                adapter.parallel = s.get("parallel", boolean).unwrap_or(adapter.parallel);
            }
            _ => {}
        }
    }
    options
}

/// Part of something.
fn keep(node: &Node) -> Result<Keep, ValueError> {
    match &node.value {
        Value::Number(text) | Value::Text(text) => text.parse().map_err(ValueError::new),
        other => Err(ValueError::new(format!("must be a part, as in 0.3 or \"30 %\", is {other}"))),
    }
}

fn targets(s: &Section<'_>, targets: &mut Vec<Target>) {
    if let Some(given) = s.get("targets", one_or_more) {
        *targets = given;
    }
}

/// One of some names, or a list of them.
fn one_or_more<T: DeserializeOwned>(node: &Node) -> Result<Vec<T>, ValueError> {
    match &node.value {
        Value::List(_) => list(one_of)(node),
        _ => one_of(node).map(|one| vec![one]),
    }
}

/// `reports` says of what the checkpoint is chosen by.
fn train(s: &Section<'_>, default: &TrainSpec, reports: bool) -> TrainSpec {
    let above_0 = || real("above 0", |x| *x > 0.0);
    let not_negative = || real("from 0 up", |x| *x >= 0.0);
    let part = || real("from 0 to less than 1", |x| (0.0..1.0).contains(x));
    let spec = TrainSpec {
        epochs: s.get("epochs", at_least_1()).unwrap_or(default.epochs),
        batch_size: s.get("batch_size", at_least_1()).unwrap_or(default.batch_size),
        grad_accum_steps: s
            .get("grad_accum_steps", at_least_1())
            .unwrap_or(default.grad_accum_steps),
        recompute: s.get("recompute", one_of).unwrap_or_default(),
        lr: s.get("lr", above_0()).unwrap_or(default.lr),
        vision_lr: s.get("vision_lr", above_0()),
        norm_lr: s.get("norm_lr", above_0()),
        min_lr: s.get("min_lr", not_negative()).unwrap_or(default.min_lr),
        weight_decay: s.get("weight_decay", not_negative()).unwrap_or(default.weight_decay),
        adam_betas: s.get("adam_betas", pair(part())).unwrap_or(default.adam_betas),
        adam_eps: s.get("adam_eps", above_0()).unwrap_or(default.adam_eps),
        schedule: s.get("schedule", one_of).unwrap_or(default.schedule),
        fisher_examples: s.get("fisher_examples", at_least_1()).unwrap_or(default.fisher_examples),
        warmup_ratio: s.get("warmup_ratio", part()).unwrap_or(default.warmup_ratio),
        label_smoothing: s.get("label_smoothing", part()).unwrap_or(default.label_smoothing),
        max_grad_norm: s.get("max_grad_norm", not_negative()).unwrap_or(default.max_grad_norm),
        dropout: s.get("dropout", part()),
        drop_path: s.get("drop_path", part()).unwrap_or(default.drop_path),
        eval_every_epochs: s
            .get("eval_every_epochs", at_least_1())
            .unwrap_or(default.eval_every_epochs),
        patience: s.get("patience", from_0()).unwrap_or(default.patience),
        metric: s.get("metric", one_of).unwrap_or(default.metric),
        checkpoint_every_steps: s
            .get("checkpoint_every_steps", at_least_1())
            .unwrap_or(default.checkpoint_every_steps),
        holdout: s.get("holdout", part()).unwrap_or(default.holdout),
        fraction: s
            .get("fraction", real("above 0 and to 1", |x| *x > 0.0 && *x <= 1.0))
            .unwrap_or(default.fraction),
        eval_examples: s.get("eval_examples", at_least_1()),
    };
    if spec.metric.metric().is_some_and(|metric| !Metric::all(reports).contains(&metric)) {
        let (what, instead) = match reports {
            true => ("answers", "for reports there are bleu_4, rouge_l, cider, loss, last"),
            false => ("reports", "for answers there are exact_match, loss, last"),
        };
        s.wrong("metric", format!("is of {what}; {instead}"));
    }
    if spec.min_lr > spec.lr {
        let key = if s.has("min_lr") { "min_lr" } else { "lr" };
        s.wrong(key, format!("min_lr {} is above lr {}", spec.min_lr, spec.lr));
    }
    spec
}

fn generate(s: &Section<'_>, task: &Task) -> GenerationConfig {
    let default = GenerationConfig::default_for(task);
    let rule = GenerationConfig {
        num_beams: s.get("num_beams", at_least_1()).unwrap_or(default.num_beams),
        max_new_tokens: s.get("max_new_tokens", at_least_1()).unwrap_or(default.max_new_tokens),
        length_penalty: s
            .get("length_penalty", real("that is finite", |_| true))
            .unwrap_or(default.length_penalty),
        repetition_penalty: s
            .get("repetition_penalty", real("above 0", |x| *x > 0.0))
            .unwrap_or(default.repetition_penalty),
        temperature: s
            .get("temperature", real("from 0 up", |x| *x >= 0.0))
            .unwrap_or(default.temperature),
        top_p: s
            .get("top_p", real("above 0 and up to 1", |x| *x > 0.0 && *x <= 1.0))
            .unwrap_or(default.top_p),
        seed: s.get("seed", a_seed()).unwrap_or(default.seed),
    };
    if rule.temperature > 0.0 && rule.num_beams > 1 {
        s.wrong("num_beams", "answers that are drawn (temperature above 0) have one beam");
    }
    rule
}

fn cache(s: &Section<'_>) -> CacheSpec {
    let default = CacheSpec::default();
    let a_path = s.a_path();
    let place = |node: &Node| match &node.value {
        Value::Text(name) if name == "run" => Ok(CachePlace::Run),
        Value::Text(name) if name == "off" => Ok(CachePlace::Off),
        _ => a_path(node).map(CachePlace::At),
    };
    CacheSpec {
        place: s.get("place", place).unwrap_or(default.place),
        max_gib: s.get("max_gib", real("above 0", |x| *x > 0.0)).unwrap_or(default.max_gib),
    }
}

pub(super) fn at_least_1() -> impl Fn(&Node) -> Result<usize, ValueError> {
    integer("from 1 up", |&n| n >= 1)
}

fn from_0() -> impl Fn(&Node) -> Result<usize, ValueError> {
    integer("from 0 up", |_| true)
}

/// TOML's whole numbers end there.
fn a_seed() -> impl Fn(&Node) -> Result<u64, ValueError> {
    integer("from 0 to 2^63 - 1", |&n: &u64| i64::try_from(n).is_ok())
}

/// A model's directory, or the `ORG/NAME` of one in the hub's cache.
pub(super) fn a_model(s: &Section<'_>) -> impl Fn(&Node) -> Result<PathBuf, ValueError> {
    existing(s.a_path_or_repo(Kind::Model), |path| path.is_dir(), "directory")
}

pub(super) fn existing(
    read: impl Fn(&Node) -> Result<PathBuf, ValueError>,
    right: impl Fn(&std::path::Path) -> bool,
    kind: &str,
) -> impl Fn(&Node) -> Result<PathBuf, ValueError> {
    move |node| {
        let path = read(node)?;
        if path.exists() && right(&path) {
            return Ok(path);
        }
        Err(ValueError::new(format!("there is no {kind} {}", path.display())))
    }
}
