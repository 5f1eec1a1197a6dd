//! What a run will take, before it is made, and the way to make its steps inside a memory.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::rates::{Rates, Sizes};
use super::rehearsal::{BatchShape, Needs, Rehearsal, Rehearsed};
use super::splits::Splits;
use super::tables;
use crate::data::{Collator, ImageSource};
use crate::models::UnloadedModel;
use crate::recipe::{Base, ByteSize, CachePlace, CacheSpec, Recipe, TrainSpec};
use crate::tensor::{
    EmbeddingKind, Module, ParamKind, Parameters, Precision, Recompute, Tower, Work,
};
use crate::{Error, Result};

/// What a process takes that does no training, and what each word of its tokenizer adds to that: fitted
/// to what runs over a vocabulary of a few hundred words and one of 30,000 take.
const PROGRAM: usize = 20 << 20;
const PROGRAM_A_WORD: usize = 1400;

/// How steps are made: no choice changes the result but by rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Examples a forward pass.
    pub batch_size: usize,
    /// Forward passes a step.
    pub grad_accum_steps: usize,
    /// What is computed again.
    pub recompute: Recompute,
}

/// A choice and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Way {
    /// The choice.
    #[serde(flatten)]
    pub choice: Choice,
    /// Bytes, of the longest batches.
    pub needs: Needs,
    /// Operations of a step, of batches of middle length.
    pub work: Work,
    /// Seconds that a step takes.
    pub step_seconds: f64,
    /// Seconds that the run takes, validation included; absent without the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<f64>,
}

/// What a run will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Elements trained: at most so many where a part of the norms is kept.
    pub trained: usize,
    /// Elements in all.
    pub total: usize,
    /// Examples a step.
    pub examples: usize,
    /// Optimizer steps; absent without the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Why the data is not known, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data: Option<String>,
    /// The memory to stay inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How fast this machine is.
    pub rates: Rates,
    /// Every way to make the steps, from the largest micro-batch to the smallest.
    pub ways: Vec<Way>,
    /// The place of the recipe's own way, or with a memory of the fastest that fits, in `ways`; absent
    /// if none does.
    pub chosen: Option<usize>,
}

/// Plans the run of `recipe` without reading weights. Where the data cannot be had, its texts are
/// taken to be as long as the model allows.
pub fn plan(recipe: &Recipe) -> Result<Plan> {
    let mut declared = recipe.declare_base()?;
    let tuned = recipe.tuning.apply(&mut declared.params)?;
    let candidates = recipe.tuning.candidates(&declared.params);
    let left: usize = candidates.iter().map(|some| some.left(&declared.params)).sum();
    let texts = Texts::of(recipe, &declared);
    let program = PROGRAM + PROGRAM_A_WORD * declared.tokenizer.len();
    let rates = Rates::measure(sizes(&declared.params), recipe.precision);
    let unread = match (&recipe.base, &texts.known) {
        (Base::Model(dir), Ok(known)) => {
            tables::unread(&declared, dir, recipe.precision, known.tokens)
        }
        _ => 0,
    };
    let mut scene =
        Scene { recipe, declared: &declared, texts: &texts, program, unread, rates, cached: true };
    scene.cached = scene.keeps_states()?;
    let spec = &recipe.train;
    let examples = spec.batch_size * spec.grad_accum_steps;
    let own = Choice {
        batch_size: spec.batch_size,
        grad_accum_steps: spec.grad_accum_steps,
        recompute: spec.recompute,
    };
    let sizes = (1..=spec.batch_size).rev().filter(|size| examples.is_multiple_of(*size));
    let mut ways = Vec::new();
    for batch_size in sizes {
        for recompute in Recompute::ALL {
            let grad_accum_steps = examples / batch_size;
            ways.push(scene.way(Choice { batch_size, grad_accum_steps, recompute })?);
        }
    }
    let chosen = match recipe.memory {
        None => ways.iter().position(|way| way.choice == own),
        Some(memory) => fastest_inside(&ways, memory),
    };
    Ok(Plan {
        trained: tuned.trained - left,
        total: tuned.total,
        examples,
        steps: texts.known.as_ref().ok().map(|known| known.steps),
        no_data: texts.known.err(),
        memory: recipe.memory,
        rates,
        ways,
        chosen,
    })
}

impl Plan {
    /// The way that was chosen; an error that says what would help if none fits.
    pub fn choice(&self, recipe: &Recipe) -> Result<&Way> {
        if let Some(chosen) = self.chosen {
            return Ok(&self.ways[chosen]);
        }
        let least = self.ways.iter().min_by_key(|way| way.needs.peak);
        let (Some(least), Some(memory)) = (least, self.memory) else {
            return Err(Error::invalid("recipe", "there is no way to make its steps"));
        };
        let Needs { peak, weights, optimizer, data, .. } = least.needs;
        let cause = format!(
            "{memory} is not enough: the smallest peak possible is {:.0} MiB (train.batch_size {}, \
             train.recompute \"{}\")",
            (peak as f64 / f64::from(1 << 20)).ceil(),
            least.choice.batch_size,
            least.choice.recompute.name(),
        );
        let mut remedies = Vec::new();
        if recipe.precision == Precision::F32 {
            remedies.push("precision = \"bf16\"");
        }
        if optimizer > weights / 4 {
            remedies.push("a method that trains less, or in fewer towers");
        }
        if data > weights / 8 || weights < peak / 2 {
            remedies.push("a smaller image_size");
        }
        if recipe.generate.num_beams > 1 {
            remedies.push("fewer generate.num_beams");
        }
        remedies.push("more memory");
        Err(Error::invalid("memory", cause)
            .with_remedy(format!("what helps: {}", remedies.join("; "))))
    }
}

/// The place of the fastest way that fits; of equals, the larger micro-batch and less computed again.
fn fastest_inside(ways: &[Way], memory: ByteSize) -> Option<usize> {
    let fits = |&i: &usize| ways[i].needs.peak as u64 <= memory.0;
    let seconds = |i: usize| ways[i].run_seconds.unwrap_or(ways[i].step_seconds);
    (0..ways.len()).filter(fits).min_by(|&a, &b| seconds(a).total_cmp(&seconds(b)))
}

/// Everything that the ways have in common.
struct Scene<'a> {
    recipe: &'a Recipe,
    declared: &'a UnloadedModel,
    texts: &'a Texts,
    /// Bytes of the program itself.
    program: usize,
    /// Bytes of tables that stay in their file.
    unread: usize,
    rates: Rates,
    /// Whether what a frozen prefix makes of pictures is kept.
    cached: bool,
}

impl Scene<'_> {
    fn way(&self, choice: Choice) -> Result<Way> {
        let Choice { batch_size, grad_accum_steps, recompute } = choice;
        let train = self.recipe.train.clone();
        let spec = &TrainSpec { batch_size, grad_accum_steps, recompute, ..train };
        let longest = self.rehearse(spec, self.texts.longest)?;
        let middle = self.rehearse(spec, self.texts.middle)?;
        // Nobody looks at the pictures again whose states are kept.
        let pictures = if longest.states > 0 { 0 } else { self.texts.picture_bytes };
        let mut needs = longest.needs;
        needs.program = self.program;
        needs.data += pictures;
        needs.weights -= self.unread;
        needs.peak += self.program + pictures;
        needs.peak -= self.unread;
        let step_seconds = self.rates.seconds(middle.step);
        let run_seconds = self.texts.known.as_ref().ok().map(|known| {
            let batches = |examples: usize| examples.div_ceil(batch_size) as f64;
            known.steps as f64 * step_seconds
                + batches(known.validated) * self.rates.seconds(middle.evaluation)
                + batches(known.pictures.div_ceil(self.texts.middle.views))
                    * self.rates.seconds(middle.prefix)
        });
        Ok(Way { choice, needs, work: middle.step, step_seconds, run_seconds })
    }

    /// Whether the run keeps what a frozen prefix makes of its pictures, if there is a prefix.
    fn keeps_states(&self) -> Result<bool> {
        let CacheSpec { place, max_gib } = &self.recipe.cache;
        let Ok(Amount { pictures, .. }) = self.texts.known else { return Ok(false) };
        if *place == CachePlace::Off {
            return Ok(false);
        }
        let one = &TrainSpec { batch_size: 1, ..self.recipe.train.clone() };
        let middle = self.texts.middle;
        let states = self.rehearse(one, middle)?.states / middle.views;
        Ok((pictures * states) as f64 <= f64::from(*max_gib) * f64::from(1 << 30))
    }

    fn rehearse(&self, spec: &TrainSpec, shape: BatchShape) -> Result<Rehearsed> {
        let UnloadedModel { model, params, .. } = self.declared;
        let rehearsal = Rehearsal {
            model: &**model,
            params,
            precision: self.recipe.precision,
            spec,
            training: (params.trained_element_count() > 0).then_some(shape),
            evaluation: Some(shape),
            rule: &self.recipe.generate,
            cached: self.cached,
        };
        rehearsal.run()
    }
}

/// What a plan needs to know of the data.
struct Texts {
    /// A batch whose question and answer are the longest there are.
    longest: BatchShape,
    /// One of middle length.
    middle: BatchShape,
    /// Bytes of pictures that are kept.
    picture_bytes: usize,
    /// How much of it there is, or why that is not known.
    known: Result<Amount, String>,
}

/// How much data a run goes through.
struct Amount {
    steps: usize,
    /// Examples of all validations.
    validated: usize,
    /// Different pictures.
    pictures: usize,
    /// Different tokens.
    tokens: usize,
}

impl Texts {
    fn of(recipe: &Recipe, declared: &UnloadedModel) -> Self {
        let image_size = declared.image_rule.size;
        let trains = declared.params.trained_element_count() > 0;
        Self::read(recipe, declared, trains).unwrap_or_else(|error| {
            let (mut question, mut answer) = declared.text_rule.max_lengths();
            if !recipe.data.task.is_vqa() {
                answer = answer.min(recipe.generate.max_new_tokens);
            }
            let views = recipe.data.set.usual_images_per_example();
            let image_tokens = declared.text_rule.image_tokens();
            if image_tokens > 0 {
                question = question.saturating_sub(views * image_tokens).max(1) + views;
            }
            let longest = BatchShape { image_size, views, question, answer };
            let known = Err(error.to_string());
            Self { longest, middle: longest, picture_bytes: Collator::CACHE, known }
        })
    }

    fn read(recipe: &Recipe, declared: &UnloadedModel, trains: bool) -> Result<Self> {
        let opened = recipe.data.open()?;
        let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
        let collator = Collator::new(
            Arc::clone(&declared.tokenizer),
            declared.image_rule.clone(),
            declared.text_rule.clone(),
        )
        .with_longest_report(recipe.generate.max_new_tokens);
        let image_size = declared.image_rule.size;
        let (mut questions, mut answers, mut views) = (Vec::new(), Vec::new(), Vec::new());
        let (mut images, mut tokens) = (HashSet::new(), HashSet::new());
        for i in 0..splits.dataset.len() {
            let example = splits.dataset.get(i)?;
            let framed = collator.tokenize(&example)?;
            questions.push(framed.question.len());
            answers.push(framed.answer.len() + 1);
            tokens.extend(framed.question.into_iter().chain(framed.answer));
            views.push(example.images.len());
            images.extend(example.images.iter().map(ImageSource::key));
        }
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(1);
        let middle =
            |lengths: &[usize]| lengths.iter().sum::<usize>().div_ceil(lengths.len().max(1));
        let shape = |of: &dyn Fn(&[usize]) -> usize| BatchShape {
            image_size,
            views: of(&views),
            question: of(&questions),
            answer: of(&answers).min(declared.text_rule.max_lengths().1),
        };
        let spec = &recipe.train;
        let group = spec.batch_size * spec.grad_accum_steps;
        let epochs = if trains { spec.epochs } else { 0 };
        let validations = epochs.div_ceil(spec.eval_every_epochs.max(1));
        let amount = Amount {
            steps: epochs * splits.train.len().div_ceil(group),
            validated: validations * splits.validate.len(),
            pictures: images.len(),
            tokens: tokens.len(),
        };
        Ok(Self {
            longest: shape(&longest),
            middle: shape(&middle),
            picture_bytes: Collator::CACHE.min(images.len() * 3 * image_size * image_size),
            known: Ok(amount),
        })
    }
}

/// What to time: the largest feed-forward network, at as many rows as a picture has tokens.
fn sizes(params: &Parameters) -> Sizes {
    let weights = || params.iter().map(|(_, p)| p).filter(|p| p.role.kind == ParamKind::Weight);
    let first = weights().filter(|p| matches!(p.role.module, Module::Fc1 | Module::Gate));
    let [inner, channels] = match first.max_by_key(|p| p.len()).map(|p| p.shape.as_slice()) {
        Some(&[inner, channels]) => [inner, channels],
        _ => [64, 64],
    };
    let positions = weights().find(|p| {
        let part = Module::Embedding(EmbeddingKind::Position);
        p.role.tower == Tower::Vision && p.role.module == part
    });
    let tokens = positions.map_or(64, |p| p.len() / p.shape.last().copied().unwrap_or(1).max(1));
    let heads = if channels % 64 == 0 { channels / 64 } else { 1 };
    let rows = tokens.clamp(256, 2048);
    Sizes { rows, channels, inner, heads, tokens, parameters: params.element_count() }
}
