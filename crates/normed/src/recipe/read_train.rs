//! The keys of `[train]`, `[generate]` and `[cache]`.

use super::field::{Field, read_fields};
use super::parser::{Parser, integer, name_or, number, pair, path, seed, variant};
use super::section::Section;
use super::{BestBy, CachePlace, CacheSpec, TrainSpec};
use crate::Range;
use crate::data::Task;
use crate::metrics::Metric;
use crate::models::GenerationConfig;

/// A count that is only compared with other counts.
const COUNT: Range<usize> = Range::from_to(1, 1_000_000_000);
/// A fraction below 1, so that something is left.
const FRACTION: Range<f32> = Range::from_to_less_than(0.0, 1.0);

/// The keys of `[train]`.
#[allow(clippy::too_many_lines, reason = "a table, one entry per key")]
pub(super) fn train_fields() -> Vec<Field<TrainSpec>> {
    let rate = || number(Range::above(0.0));
    let at_least_0 = || number(Range::at_least(0.0));
    vec![
        Field::new(
            "epochs",
            integer(TrainSpec::EPOCHS),
            "Passes over the training split.",
            |t: &mut TrainSpec| &mut t.epochs,
        ),
        Field::new(
            "batch_size",
            integer(TrainSpec::BATCH_SIZE),
            "Examples per forward pass.",
            |t| &mut t.batch_size,
        ),
        Field::new(
            "grad_accum_steps",
            integer(TrainSpec::GRAD_ACCUM_STEPS),
            "Forward passes per optimizer step.",
            |t| &mut t.grad_accum_steps,
        ),
        Field::new(
            "recompute",
            variant(),
            "Activations to recompute in the backward pass instead of keeping them: slower, with less \
             memory and the same gradients.",
            |t| &mut t.recompute,
        ),
        Field::new("lr", rate(), "Peak learning rate.", |t: &mut TrainSpec| &mut t.lr)
            .with_default("the tuning method's"),
        Field::optional("vision_lr", rate(), "`lr`", "Learning rate of the image encoder.", |t| {
            &mut t.vision_lr
        }),
        Field::optional(
            "norm_lr",
            rate(),
            "the rate of their part of the model",
            "Learning rate of norms, the image encoder's included.",
            |t| &mut t.norm_lr,
        ),
        Field::new(
            "min_lr",
            at_least_0(),
            "Learning rate at the end of the schedule; at most `lr`.",
            |t| &mut t.min_lr,
        ),
        Field::new(
            "weight_decay",
            at_least_0(),
            "AdamW's weight decay of matrices and embedding tables. Norms and biases do not decay.",
            |t| &mut t.weight_decay,
        ),
        Field::new(
            "adam_betas",
            pair(number(FRACTION)),
            "AdamW's decay rates of the two moments.",
            |t| &mut t.adam_betas,
        ),
        Field::new("adam_eps", rate(), "AdamW's epsilon.", |t| &mut t.adam_eps),
        Field::new(
            "schedule",
            variant(),
            "Shape of the learning rate schedule after warm-up.",
            |t| &mut t.schedule,
        ),
        Field::new(
            "warmup_ratio",
            number(FRACTION),
            "Fraction of all steps in which the learning rate rises from 0.",
            |t| &mut t.warmup_ratio,
        ),
        Field::new(
            "label_smoothing",
            number(FRACTION),
            "Label smoothing of the cross-entropy.",
            |t| &mut t.label_smoothing,
        ),
        Field::new(
            "max_grad_norm",
            at_least_0(),
            "Gradients are clipped to this norm; 0 turns clipping off.",
            |t| &mut t.max_grad_norm,
        ),
        Field::optional(
            "dropout",
            number(FRACTION),
            "the checkpoint's",
            "Dropout in the text towers.",
            |t| &mut t.dropout,
        ),
        Field::new(
            "drop_path",
            number(FRACTION),
            "Stochastic depth: the drop rate of the vision tower's last block.",
            |t| &mut t.drop_path,
        ),
        Field::new(
            "eval_every_epochs",
            integer(COUNT),
            "Epochs between evaluations on the validation split.",
            |t| &mut t.eval_every_epochs,
        ),
        Field::optional(
            "eval_examples",
            integer(COUNT),
            "all",
            "Number of validation examples that an evaluation generates answers for.",
            |t| &mut t.eval_examples,
        ),
        Field::new(
            "patience",
            integer(Range::from_to(0, 1_000_000_000)),
            "Evaluations without improvement after which the run stops; 0 never stops early.",
            |t| &mut t.patience,
        ),
        Field::new(
            "metric",
            variant(),
            "What selects the best checkpoint on the validation split. `last` keeps the last one.",
            |t: &mut TrainSpec| &mut t.metric,
        )
        .with_default("`\"exact_match\"`; for reports `\"cider\"`"),
        Field::new(
            "checkpoint_every_steps",
            integer(COUNT),
            "Steps between the checkpoints that an interrupted run continues from.",
            |t| &mut t.checkpoint_every_steps,
        ),
        Field::new(
            "holdout",
            number(FRACTION),
            "Fraction of the training images (or groups) held out for validation, if the data set has no \
             validation split.",
            |t| &mut t.holdout,
        ),
        Field::new(
            "fraction",
            number(Range::above_to(0.0, 1.0)),
            "Fraction of the remaining training images (or groups) that is used. With the same seed, a \
             smaller fraction is a subset of a larger one.",
            |t| &mut t.fraction,
        ),
        Field::new(
            "fisher_examples",
            integer(COUNT),
            "Number of training examples that rank the norms by Fisher information, if `tuning.keep` \
             selects some of them.",
            |t| &mut t.fisher_examples,
        ),
    ]
}

/// Reads `[train]`. `reports` says whether reports are generated, or answers.
pub(super) fn train(s: &Section<'_>, default: &TrainSpec, reports: bool) -> TrainSpec {
    let spec = read_fields(s, &train_fields(), default.clone());
    if spec.metric.metric().is_some_and(|metric| !Metric::all(reports).contains(&metric)) {
        let cause = match reports {
            true => "is a metric of answers; reports have bleu_4, rouge_l, cider, loss and last",
            false => "is a metric of reports; answers have exact_match, loss and last",
        };
        s.report("metric", cause);
    }
    if spec.min_lr > spec.lr {
        let key = if s.has("min_lr") { "min_lr" } else { "lr" };
        s.report(key, format!("min_lr {} is above lr {}", spec.min_lr, spec.lr));
    }
    spec
}

/// The default `[train]` of a task and a learning rate.
pub(super) fn default_train(lr: f32, task: &Task) -> TrainSpec {
    TrainSpec { lr, metric: BestBy::default_for(task), ..TrainSpec::default() }
}

/// The keys of `[generate]`.
pub(super) fn generate_fields() -> Vec<Field<GenerationConfig>> {
    vec![
        Field::new(
            "max_new_tokens",
            integer(GenerationConfig::MAX_NEW_TOKENS),
            "Maximum length of an answer in tokens, end token included. Training reports are truncated to \
             it.",
            |g: &mut GenerationConfig| &mut g.max_new_tokens,
        )
        .with_default("`10`; for reports `100`"),
        Field::new(
            "num_beams",
            integer(GenerationConfig::NUM_BEAMS),
            "Beam search width; 1 is greedy decoding.",
            |g| &mut g.num_beams,
        ),
        Field::new(
            "length_penalty",
            number(GenerationConfig::LENGTH_PENALTY),
            "Length penalty of beam search: scores are divided by `length ^ length_penalty`.",
            |g| &mut g.length_penalty,
        ),
        Field::new(
            "repetition_penalty",
            number(GenerationConfig::REPETITION_PENALTY),
            "Penalty for tokens already generated: their logits are divided by it if positive, multiplied \
             if negative. 1 turns it off.",
            |g| &mut g.repetition_penalty,
        ),
        Field::new(
            "temperature",
            number(GenerationConfig::TEMPERATURE),
            "Sampling temperature; 0 always takes the most likely token.",
            |g| &mut g.temperature,
        ),
        Field::new(
            "top_p",
            number(GenerationConfig::TOP_P),
            "Nucleus sampling: sample only from the most likely tokens whose probabilities sum to this.",
            |g| &mut g.top_p,
        ),
        Field::new("seed", seed(), "Random seed of sampling.", |g| &mut g.seed),
    ]
}

/// Reads `[generate]`.
pub(super) fn generate(s: &Section<'_>, task: &Task) -> GenerationConfig {
    let config = read_fields(s, &generate_fields(), GenerationConfig::default_for(task));
    // Each key is in its range here, so that only the keys' combination can be wrong.
    if let Err(error) = config.validate() {
        s.report("num_beams", error.cause());
    }
    config
}

/// The keys of `[cache]`.
pub(super) fn cache_fields() -> Vec<Field<CacheSpec>> {
    vec![
        Field::new(
            "place",
            cache_place(),
            "Where the outputs of a frozen image encoder are cached: in the run directory until the run is \
             over, nowhere, or in a directory that several runs share. A shared directory is never emptied; \
             it is as confidential as the images.",
            |c: &mut CacheSpec| &mut c.place,
        ),
        Field::new(
            "max_gib",
            number(Range::above(0.0)),
            "Largest cache of one run, in GiB. A run that needs more runs without a cache.",
            |c| &mut c.max_gib,
        ),
    ]
}

/// Reads `[cache]`.
pub(super) fn cache(s: &Section<'_>) -> CacheSpec {
    read_fields(s, &cache_fields(), CacheSpec::default())
}

fn cache_place() -> Parser<CachePlace> {
    let names = vec![("run", CachePlace::Run), ("off", CachePlace::Off)];
    name_or(names, path().map(CachePlace::At))
}
