//! The plan of a run: its memory and time, estimated before anything is trained, and the batch setting
//! that fits a memory limit.

use serde::Serialize;

use super::data_sizes::{Amounts, DataSizes, RunShapes};
use super::embedding_tables::unread_bytes;
use super::machine_speed::{BenchmarkSizes, MachineSpeed};
use super::simulation::{MemoryNeeds, SimulatedCost, Simulation};
use crate::models::UnloadedModel;
use crate::recipe::{Base, ByteSize, CachePlace, CacheSpec, Recipe, TrainSpec};
use crate::tensor::{
    EmbeddingKind, Module, OperationCounts, ParamKind, Parameters, Recompute, RunPrecision, Tower,
};
use crate::{Error, Result};

/// Bytes of a process that trains nothing, and bytes added by each token of its tokenizer's vocabulary.
/// Fitted to processes with vocabularies of a few hundred and of 30,000 tokens.
const PROGRAM_BYTES: usize = 20 << 20;
const PROGRAM_BYTES_PER_TOKEN: usize = 1400;

/// A choice of batch size, gradient accumulation and recomputation. It affects memory and speed; the
/// result only by rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchSetting {
    /// Examples per forward pass.
    pub batch_size: usize,
    /// Forward passes per optimizer step.
    pub grad_accum_steps: usize,
    /// Activations that are recomputed in the backward pass.
    pub recompute: Recompute,
}

impl BatchSetting {
    /// The setting of a recipe's `[train]` section.
    pub fn of(train: &TrainSpec) -> Self {
        let TrainSpec { batch_size, grad_accum_steps, recompute, .. } = *train;
        Self { batch_size, grad_accum_steps, recompute }
    }
}

/// The estimated cost of a run with one [`BatchSetting`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostEstimate {
    /// The setting.
    #[serde(flatten)]
    pub setting: BatchSetting,
    /// Memory in bytes, for the longest batches of the data.
    pub needs: MemoryNeeds,
    /// Operations per optimizer step, for batches of average length.
    pub work: OperationCounts,
    /// Seconds per optimizer step.
    pub step_seconds: f64,
    /// Seconds of the run, validation included; absent if the data cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<f64>,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Trained elements. If `tuning.keep` selects a subset of the norms, an upper bound.
    pub trained: usize,
    /// All elements of the model.
    pub total: usize,
    /// Examples per optimizer step.
    #[serde(rename = "examples")]
    pub examples_per_step: usize,
    /// Total optimizer steps; absent if the data cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Why the data cannot be read, if it cannot.
    #[serde(rename = "no_data", skip_serializing_if = "Option::is_none")]
    pub data_error: Option<String>,
    /// What the user should know of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Bytes that decoding images takes at most, as part of every estimate's data.
    pub decoding_bytes: usize,
    /// The memory limit, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The measured speed of this machine.
    #[serde(rename = "rates")]
    pub speed: MachineSpeed,
    /// The cost of every possible setting, from the largest batch size to the smallest.
    #[serde(rename = "ways")]
    pub estimates: Vec<CostEstimate>,
    /// Index in `estimates` of the recipe's own setting or, with a memory limit, of the fastest setting
    /// that fits; absent if none fits.
    pub chosen: Option<usize>,
}

/// Estimates memory and time of the run of `recipe`, without reading the model's weights.
///
/// If the data cannot be read, its texts are assumed to be as long as the model allows.
///
/// # Errors
///
/// If the model's configuration cannot be read, or the recipe or its data does not fit it.
///
/// # Examples
///
/// ```
/// # use normed::recipe::{ByteSize, Recipe};
/// # use normed::train::plan;
/// # fn main() -> normed::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("recipe.toml");
/// let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
/// let recipe = format!(
///     "model = {model:?}\n\
///      data = {{ name = \"phantom\", domain = \"source\", train = 32, validate = 8, test = 8 }}\n\
///      tuning.method = \"layer_norm\"\n\
///      train = {{ batch_size = 8, lr = 1e-3 }}\n"
/// );
/// std::fs::write(&path, recipe).unwrap();
/// let mut recipe = Recipe::open(&path, &[])?;
/// recipe.memory = "2GiB".parse().ok();
///
/// let plan = plan(&recipe)?;
/// assert_eq!((plan.examples_per_step, plan.steps), (8, Some(4)));
/// let estimate = plan.chosen_estimate(&recipe)?;
/// assert!(estimate.needs.peak < 2 << 30);
/// # Ok(())
/// # }
/// ```
pub fn plan(recipe: &Recipe) -> Result<Plan> {
    let mut declared = recipe.declare_base()?;
    let tuned = recipe.tuning.apply(&mut declared.params)?;
    let candidates = recipe.tuning.norm_candidates(&declared.params);
    let left_out: usize =
        candidates.iter().map(|some| some.fewest_dropped_elements(&declared.params)).sum();
    let data = DataSizes::of(recipe, &declared)?;
    let program = PROGRAM_BYTES + PROGRAM_BYTES_PER_TOKEN * declared.tokenizer.len();
    let speed = MachineSpeed::measure(benchmark_sizes(&declared.params), recipe.precision);
    let unread = match (&recipe.base, &data.amounts) {
        (Base::Model(dir), Ok(amounts)) => {
            unread_bytes(&declared, dir, recipe.precision.values(), amounts.tokens)
        }
        _ => 0,
    };
    let mut estimator = Estimator {
        recipe,
        declared: &declared,
        data: &data,
        program,
        unread,
        speed,
        caches_features: true,
    };
    estimator.caches_features = estimator.fits_feature_cache()?;
    let estimates = estimator.estimate_all()?;
    let own = BatchSetting::of(&recipe.train);
    let chosen = match recipe.memory {
        None => estimates.iter().position(|estimate| estimate.setting == own),
        Some(memory) => fastest_that_fits(&estimates, memory),
    };
    Ok(Plan {
        trained: tuned.trained - left_out,
        total: tuned.total,
        examples_per_step: recipe.train.examples_per_step(),
        steps: data.amounts.as_ref().ok().map(|amounts| amounts.steps),
        decoding_bytes: data.decoding_bytes,
        data_error: data.amounts.err(),
        warnings: data.warnings,
        memory: recipe.memory,
        speed,
        estimates,
        chosen,
    })
}

impl Plan {
    /// The cost of the chosen setting. `recipe` is the one that was planned.
    ///
    /// # Errors
    ///
    /// If no setting fits the memory limit. The hint says what would need less.
    pub fn chosen_estimate(&self, recipe: &Recipe) -> Result<&CostEstimate> {
        if let Some(chosen) = self.chosen {
            return Ok(&self.estimates[chosen]);
        }
        let least = self.estimates.iter().min_by_key(|estimate| estimate.needs.peak);
        let (Some(least), Some(memory)) = (least, self.memory) else {
            return Err(Error::invalid("recipe", "no batch size and recomputation level work"));
        };
        let MemoryNeeds { peak, weights, optimizer, data, .. } = least.needs;
        let cause = format!(
            "{} is not enough; the smallest possible peak is {:.0} MiB (with \
             train.batch_size = {} and train.recompute = \"{}\")",
            memory.with_mebibytes(),
            (peak as f64 / f64::from(1 << 20)).ceil(),
            least.setting.batch_size,
            least.setting.recompute.name(),
        );
        let mut remedies = Vec::new();
        if recipe.precision == RunPrecision::F32 {
            remedies.push("precision = \"bf16\"");
        }
        if optimizer > weights / 4 {
            remedies.push("a method that trains fewer parameters or fewer towers");
        }
        if self.decoding_bytes > peak / 4 {
            remedies.push("smaller image files, since decoding the largest takes most of it");
        } else if data > weights / 8 || weights < peak / 2 {
            remedies.push("a smaller image_size");
        }
        if recipe.generate.num_beams > 1 {
            remedies.push("a smaller generate.num_beams");
        }
        remedies.push("a higher memory limit");
        Err(Error::invalid("memory", cause)
            .with_remedy(format!("use one of these: {}", remedies.join("; "))))
    }
}

/// Index of the fastest setting that fits. Among equally fast ones, that with the larger batch size and
/// less recomputation.
fn fastest_that_fits(estimates: &[CostEstimate], memory: ByteSize) -> Option<usize> {
    let fits = |&i: &usize| estimates[i].needs.peak as u64 <= memory.0;
    let seconds = |i: usize| estimates[i].run_seconds.unwrap_or(estimates[i].step_seconds);
    (0..estimates.len()).filter(fits).min_by(|&a, &b| seconds(a).total_cmp(&seconds(b)))
}

/// Estimates the cost of batch settings; holds everything that they have in common.
struct Estimator<'a> {
    recipe: &'a Recipe,
    declared: &'a UnloadedModel,
    data: &'a DataSizes,
    /// Bytes of the program itself.
    program: usize,
    /// Bytes of embedding tables that stay in their file.
    unread: usize,
    speed: MachineSpeed,
    /// Whether the output of a frozen image encoder is cached.
    caches_features: bool,
}

impl Estimator<'_> {
    /// The cost of every setting that keeps the number of examples per step, from the largest batch size
    /// to the smallest.
    fn estimate_all(&self) -> Result<Vec<CostEstimate>> {
        let examples = self.recipe.train.examples_per_step();
        let sizes = (1..=self.recipe.train.batch_size).rev();
        let mut estimates = Vec::new();
        for batch_size in sizes.filter(|size| examples.is_multiple_of(*size)) {
            for recompute in Recompute::ALL {
                let grad_accum_steps = examples / batch_size;
                estimates.push(self.estimate(BatchSetting {
                    batch_size,
                    grad_accum_steps,
                    recompute,
                })?);
            }
        }
        Ok(estimates)
    }

    fn estimate(&self, setting: BatchSetting) -> Result<CostEstimate> {
        let BatchSetting { batch_size, grad_accum_steps, recompute } = setting;
        let train = self.recipe.train.clone();
        let spec = &TrainSpec { batch_size, grad_accum_steps, recompute, ..train };
        let longest = self.simulate(spec, self.data.longest)?;
        let average = self.simulate(spec, self.data.average)?;
        // Images whose features are cached are not read again.
        let images = if longest.features > 0 { 0 } else { self.data.image_bytes };
        let mut needs = longest.needs;
        needs.program = self.program;
        // Images are decoded ahead of the steps that use them, at the same time as others.
        let images = images.saturating_add(self.data.decoding_bytes);
        needs.data += images;
        needs.weights -= self.unread;
        needs.peak += self.program + images;
        needs.peak -= self.unread;
        let step_seconds = self.speed.seconds(average.step);
        let run_seconds = self.data.amounts.as_ref().ok().map(|amounts| {
            let batches = |examples: usize| examples.div_ceil(batch_size) as f64;
            amounts.steps as f64 * step_seconds
                + batches(amounts.validated) * self.speed.seconds(average.evaluation)
                + batches(amounts.images.div_ceil(self.data.average.evaluation.views.max(1)))
                    * self.speed.seconds(average.encoding)
        });
        Ok(CostEstimate { setting, needs, work: average.step, step_seconds, run_seconds })
    }

    /// Whether the features of all images fit `cache.max_gib`, if the image encoder is frozen.
    fn fits_feature_cache(&self) -> Result<bool> {
        let CacheSpec { place, max_gib } = &self.recipe.cache;
        let Ok(Amounts { images, .. }) = self.data.amounts else { return Ok(false) };
        if *place == CachePlace::Off {
            return Ok(false);
        }
        let one = &TrainSpec { batch_size: 1, ..self.recipe.train.clone() };
        let average = self.data.average;
        let per_image = self.simulate(one, average)?.features / average.evaluation.views.max(1);
        Ok((images * per_image) as f64 <= f64::from(*max_gib) * f64::from(1 << 30))
    }

    fn simulate(&self, spec: &TrainSpec, shapes: RunShapes) -> Result<SimulatedCost> {
        let UnloadedModel { model, params, .. } = self.declared;
        let simulation = Simulation {
            model: &**model,
            params,
            precision: self.recipe.precision,
            spec,
            training: (params.trained_element_count() > 0).then_some(shapes.training),
            evaluation: Some(shapes.evaluation),
            rule: &self.recipe.generate,
            caches_features: self.caches_features,
        };
        simulation.run()
    }
}

/// Sizes for the measurement of this machine's speed: the largest feed-forward network of the model, with
/// as many rows as an image has tokens.
fn benchmark_sizes(params: &Parameters) -> BenchmarkSizes {
    let weights = || params.iter().map(|(_, p)| p).filter(|p| p.role().kind == ParamKind::Weight);
    let first = weights().filter(|p| matches!(p.role().module, Module::Fc1 | Module::Gate));
    let [inner, channels] = match first.max_by_key(|p| p.len()).map(|p| p.shape()) {
        Some(&[inner, channels]) => [inner, channels],
        _ => [64, 64],
    };
    let positions = weights().find(|p| {
        let part = Module::Embedding(EmbeddingKind::Position);
        p.role().tower == Tower::Vision && p.role().module == part
    });
    let tokens = positions.map_or(64, |p| p.len() / p.shape().last().copied().unwrap_or(1).max(1));
    let heads = if channels % 64 == 0 { channels / 64 } else { 1 };
    // Longer ones run at the same speed, and attention over all tokens of a large image takes minutes.
    let (rows, tokens) = (tokens.clamp(256, 2048), tokens.min(2048));
    BenchmarkSizes { rows, channels, inner, heads, tokens, parameters: params.element_count() }
}
