//! The keys of a recipe outside of its sections, and those of `[tuning]`.
//!
//! After a mistake, a default takes the place of the wrong value, so that reading continues and finds the
//! next mistake. A recipe with mistakes never leaves this module's caller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::field::{Field, read_fields};
use super::parser::{
    Parser, ValueError, boolean, integer, list, model, number, one_of, seed, text, variant,
};
use super::read_data::{data, placeholder};
use super::read_init::{IMAGE_SIZE, init};
use super::read_train::{cache, default_train, generate, train};
use super::section::Section;
use super::source::{Node, Value};
use super::{Base, ByteSize, InitSpec, Recipe};
use crate::Range;
use crate::data::TemplateName;
use crate::models::GenerationConfig;
use crate::tensor::{Precision, Tower};
use crate::tuning::{Keep, Layers, Method, Options, Rule, Target, Tuning};

/// A rank, a bottleneck or a number of virtual tokens.
const SIZE: Range<usize> = Range::from_to(1, 16_384);

/// The values of the keys outside of sections.
#[derive(Default)]
pub(super) struct RootKeys {
    model: PathBuf,
    output: Option<PathBuf>,
    seed: u64,
    image_size: Option<usize>,
    template: Option<TemplateName>,
    precision: Option<Precision>,
    memory: Option<ByteSize>,
    planned_for: Option<ByteSize>,
}

/// The keys outside of sections.
pub(super) fn root_fields() -> Vec<Field<RootKeys>> {
    vec![
        Field::keeping(
            "model",
            model(),
            "required, unless there is an `[init]`",
            "The base model.",
            |r: &mut RootKeys| &mut r.model,
        ),
        Field::optional(
            "output",
            Parser::new("a path", |node| text(node).map(PathBuf::from)),
            "`runs/NAME`, after the recipe's file name",
            "Run directory, relative to the current directory.",
            |r| &mut r.output,
        ),
        Field::new("seed", seed(), "Seed of every random stream.", |r| &mut r.seed),
        Field::optional(
            "image_size",
            integer(IMAGE_SIZE),
            "the checkpoint's",
            "Image size in pixels. Position embeddings are interpolated if it differs from the checkpoint's.",
            |r| &mut r.image_size,
        ),
        Field::optional(
            "template",
            variant(),
            "the checkpoint's, else the usual one of its kind",
            "Prompt template of a decoder-only model.",
            |r| &mut r.template,
        ),
        Field::optional(
            "precision",
            variant(),
            "the faster one on this machine; `\"f32\"` for a new model",
            "Number format of frozen matrices and of the factors of matrix products. Trained parameters and \
             sums are f32 in either case.",
            |r| &mut r.precision,
        ),
        Field::optional(
            "memory",
            byte_size(),
            "no limit",
            "Memory limit of the process. The fastest `train.batch_size`, `train.grad_accum_steps` and \
             `train.recompute` that fit it are chosen; the number of examples per step stays the same.",
            |r| &mut r.memory,
        ),
        Field::optional(
            "planned_for",
            byte_size(),
            "nothing",
            "The `memory` that those three were already chosen for. A run writes it into its recipe.toml.",
            |r| &mut r.planned_for,
        ),
    ]
}

/// Reads a whole recipe. `name` is the default name of its run directory.
pub(super) fn recipe(s: &Section<'_>, name: &str) -> Recipe {
    let keys = read_fields(s, &root_fields(), RootKeys::default());
    let base = base(s, keys.model);
    let tuning = match base {
        Base::Model(_) => s.require_section("tuning", tuning),
        Base::Init(_) => s.section("tuning", tuning),
    };
    let tuning = tuning.unwrap_or_else(|| Tuning::new(Method::Full));
    let is_new = matches!(base, Base::Init(InitSpec::Miss(_) | InitSpec::Llava(_)));
    if s.has("image_size") && is_new {
        s.wrong("image_size", "is init.vision.image_size for a new model");
    }
    if s.has("template") && is_new {
        s.wrong("template", "cannot be chosen for a new model: it has the template of its kind");
    }
    if s.has("memory") && s.has("planned_for") {
        s.wrong("memory", "cannot be combined with planned_for, the memory already planned for");
    }
    let data = s.require_section("data", data).unwrap_or_else(placeholder);
    let default = default_train(tuning.default_lr(), &data.task);
    let reports = !data.task.is_vqa();
    let generate = s.section("generate", |s| generate(s, &data.task));
    Recipe {
        output: keys.output.unwrap_or_else(|| PathBuf::from("runs").join(name)),
        seed: keys.seed,
        image_size: keys.image_size,
        template: keys.template,
        precision: keys.precision.unwrap_or_else(|| match base {
            Base::Model(_) => Precision::fastest(),
            Base::Init(_) => Precision::F32,
        }),
        memory: keys.memory,
        planned_for: keys.planned_for,
        train: s.section("train", |s| train(s, &default, reports)).unwrap_or(default),
        generate: generate.unwrap_or_else(|| GenerationConfig::default_for(&data.task)),
        cache: s.section("cache", cache).unwrap_or_default(),
        base,
        data,
        tuning,
    }
}

fn base(s: &Section<'_>, model: PathBuf) -> Base {
    match (s.has("model"), s.section("init", init)) {
        (false, Some(init)) => Base::Init(init),
        (true, Some(_)) => {
            s.wrong("init", "cannot be combined with model: a recipe has one or the other");
            Base::Model(model)
        }
        (has_model, None) => {
            if !has_model && !s.has("init") {
                s.wrong("model", "is missing: the folder or the ORG/NAME of the base model");
            }
            Base::Model(model)
        }
    }
}

fn byte_size() -> Parser<ByteSize> {
    let parse = |node: &Node| text(node)?.parse().map_err(ValueError::new);
    Parser::new("a size, as in \"6GiB\" or \"900MB\"", parse)
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
                let part = number(Range::from_to_less_than(0.0, 1.0));
                lora.rank = s.parse("rank", &integer(SIZE)).unwrap_or(lora.rank);
                lora.alpha =
                    s.parse("alpha", &number(Range::above(0.0))).unwrap_or(2.0 * lora.rank as f32);
                lora.dropout = s.parse("dropout", &part).unwrap_or(lora.dropout);
                lora.use_rslora = s.get("use_rslora", boolean).unwrap_or_default();
                lora.use_dora = s.get("use_dora", boolean).unwrap_or_default();
                targets(s, &mut lora.targets);
            }
            Method::Ia3 => targets(s, &mut ia3.targets),
            Method::Prefix => {
                prefix.length = s.parse("length", &integer(SIZE)).unwrap_or(prefix.length);
                prefix.projection = s.get("projection", boolean).unwrap_or(prefix.projection);
            }
            Method::PTuningV2 => {
                prefix.length = s.parse("length", &integer(SIZE)).unwrap_or(prefix.length);
            }
            Method::Prompt => {
                prompt.length = s.parse("length", &integer(SIZE)).unwrap_or(prompt.length);
            }
            Method::Adapter => {
                adapter.bottleneck =
                    s.parse("bottleneck", &integer(SIZE)).unwrap_or(adapter.bottleneck);
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
