//! The keys of a recipe outside of its sections.
//!
//! After a mistake, a default takes the place of the wrong value, so that reading continues and finds the
//! next mistake. A recipe with mistakes never leaves this module's caller.

use std::path::PathBuf;

use super::field::{Field, read_fields};
use super::parser::{Parser, ValueError, integer, model, seed, text, variant};
use super::read_data::{data, placeholder};
use super::read_init::{IMAGE_SIZE, init};
use super::read_train::{cache, default_train, generate, train};
use super::read_tuning::tuning;
use super::section::Section;
use super::source::Node;
use super::{Base, ByteSize, InitSpec, Recipe};
use crate::data::TemplateName;
use crate::models::GenerationConfig;
use crate::tensor::{Precision, RunPrecision};
use crate::tuning::{Method, Tuning};

/// The values of the keys outside of sections.
#[derive(Default)]
pub(super) struct RootKeys {
    model: PathBuf,
    output: Option<PathBuf>,
    seed: u64,
    image_size: Option<usize>,
    template: Option<TemplateName>,
    precision: Option<RunPrecision>,
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
            "the faster of f32 and bf16 on this machine; `\"f32\"` for a new model",
            "Number format of frozen matrices and of the factors of matrix products. `\"int8\"` multiplies the frozen \
             matrices of linear layers in integers and everything else in bf16. Trained parameters and sums are \
             f32 in every case.",
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
    let tuning = tuning.unwrap_or_else(|| Tuning::new(Method::FULL));
    let is_new = matches!(base, Base::Init(InitSpec::Miss(_) | InitSpec::Llava(_)));
    if s.has("image_size") && is_new {
        s.report("image_size", "is init.vision.image_size for a new model");
    }
    if s.has("template") && is_new {
        s.report("template", "cannot be chosen for a new model: it has the template of its kind");
    }
    if s.has("memory") && s.has("planned_for") {
        s.report("memory", "cannot be combined with planned_for, the memory already planned for");
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
            Base::Model(_) => Precision::fastest().into(),
            Base::Init(_) => RunPrecision::F32,
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
            s.report("init", "cannot be combined with model: a recipe has one or the other");
            Base::Model(model)
        }
        (has_model, None) => {
            if !has_model && !s.has("init") {
                s.report("model", "is missing: the folder or the ORG/NAME of the base model");
            }
            Base::Model(model)
        }
    }
}

fn byte_size() -> Parser<ByteSize> {
    let parse = |node: &Node| text(node)?.parse().map_err(ValueError::new);
    Parser::new("a size, as in \"6GiB\" or \"900MiB\"", parse)
}
