//! Sizes of a recipe's data: lengths of texts, and numbers of images, tokens and steps.

use std::collections::HashSet;
use std::sync::Arc;

use super::fit_data::fit_data;
use super::simulation::BatchShape;
use super::splits::Splits;
use crate::data::{AnswerType, Collator, ImageSource, OpenedDataset};
use crate::models::UnloadedModel;
use crate::recipe::Recipe;
use crate::{Error, ErrorKind, Result};

/// Sizes of the data that a plan depends on.
pub(super) struct DataSizes {
    /// Batches of the longest question and the longest answer.
    pub longest: RunShapes,
    /// Batches of average lengths.
    pub average: RunShapes,
    /// Bytes of decoded images that stay in memory.
    pub image_bytes: usize,
    /// Bytes that decoding takes at most, for all images that are decoded at the same time.
    pub decoding_bytes: usize,
    /// How much data there is, or why the data cannot be read.
    pub amounts: Result<Amounts, String>,
    /// What the user should know of the data.
    pub warnings: Vec<String>,
}

/// The batches of a run.
#[derive(Clone, Copy)]
pub(super) struct RunShapes {
    /// Of training steps, whose reports may be truncated.
    pub training: BatchShape,
    /// Of evaluations.
    pub evaluation: BatchShape,
}

/// How much data a run processes.
pub(super) struct Amounts {
    /// Optimizer steps.
    pub steps: usize,
    /// Examples of all validations together.
    pub validated: usize,
    /// Distinct images.
    pub images: usize,
    /// Distinct tokens.
    pub tokens: usize,
}

impl DataSizes {
    /// The sizes of the recipe's data, or the largest possible ones if it is not there.
    ///
    /// # Errors
    ///
    /// If the data is there, and rows of it are broken or do not fit the model, and are not to be skipped.
    pub fn of(recipe: &Recipe, declared: &UnloadedModel) -> Result<Self> {
        let opened = match recipe.data.open() {
            Ok(opened) => opened,
            // A run would refuse it, too.
            Err(error) if error.kind() == ErrorKind::Invalid => return Err(error),
            Err(error) => return Ok(Self::largest(recipe, declared, &error)),
        };
        let collator = Collator::new(
            Arc::clone(&declared.tokenizer),
            Arc::clone(&declared.image_processor),
            declared.text_rule.clone(),
        );
        let opened = fit_data(recipe, opened, &collator)?;
        let read = Self::read(recipe, declared, opened, &collator);
        Ok(read.unwrap_or_else(|error| Self::largest(recipe, declared, &error)))
    }

    /// The largest possible sizes; `error` is why those of the data are not known.
    fn largest(recipe: &Recipe, declared: &UnloadedModel, error: &Error) -> Self {
        let image_size = declared.image_processor.largest_size();
        let (mut question, answer) = declared.text_rule.max_lengths();
        let most = match recipe.data.task.is_vqa() {
            true => usize::MAX,
            false => recipe.generate.max_new_tokens,
        };
        let views = recipe.data.set.usual_images_per_example();
        let image_tokens = declared.image_processor.num_tokens(image_size);
        if image_tokens > 0 {
            question = question.saturating_sub(views * image_tokens).max(1) + views;
        }
        let evaluation = BatchShape { image_size, views, question, answer };
        let training = BatchShape { answer: answer.min(most), ..evaluation };
        let longest = RunShapes { training, evaluation };
        Self {
            longest,
            average: longest,
            image_bytes: Collator::MAX_CACHE_BYTES,
            decoding_bytes: 0,
            amounts: Err(error.to_string()),
            warnings: Vec::new(),
        }
    }

    fn read(
        recipe: &Recipe,
        declared: &UnloadedModel,
        opened: OpenedDataset,
        collator: &Collator,
    ) -> Result<Self> {
        let trains = declared.params.trained_element_count() > 0;
        let decoding_bytes = usize::try_from(opened.decoding_bytes).unwrap_or(usize::MAX);
        let mut warnings = opened.warnings;
        if !opened.skipped.is_empty() {
            warnings.push(format!(
                "{} rows are skipped. The first: {}",
                opened.skipped.len(),
                opened.skipped[0]
            ));
        }
        let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
        let image_size = declared.image_processor.largest_size();
        let (mut questions, mut answers, mut views) = (Vec::new(), Vec::new(), Vec::new());
        let mut training_answers = Vec::new();
        let (mut images, mut cached, mut tokens) = (HashSet::new(), HashSet::new(), HashSet::new());
        for i in 0..splits.dataset.len() {
            let example = splits.dataset.get(i)?;
            let tokenized = collator.tokenize(&example)?;
            questions.push(tokenized.question.len());
            let answer = tokenized.answer.as_ref().map_or(0, Vec::len) + 1; // the collator needs one
            answers.push(answer);
            training_answers.push(match example.expect_answer()?.answer_type {
                AnswerType::Report => answer.min(recipe.generate.max_new_tokens),
                _ => answer,
            });
            tokens.extend([tokenized.question, tokenized.answer.unwrap_or_default()].concat());
            views.push(example.images.len());
            images.extend(example.images.iter().map(ImageSource::key));
            let read = example.images.iter().filter(|image| !image.is_drawn());
            cached.extend(read.map(ImageSource::key));
        }
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(1);
        let average =
            |lengths: &[usize]| lengths.iter().sum::<usize>().div_ceil(lengths.len().max(1));
        let shapes = |size: &dyn Fn(&[usize]) -> usize| {
            let shape = |answers: &[usize]| BatchShape {
                image_size,
                views: size(&views),
                question: size(&questions),
                answer: size(answers).min(declared.text_rule.max_lengths().1),
            };
            RunShapes { training: shape(&training_answers), evaluation: shape(&answers) }
        };
        let spec = &recipe.train;
        let epochs = if trains { spec.epochs } else { 0 };
        let validations = epochs.div_ceil(spec.eval_every_epochs.max(1));
        let amounts = Amounts {
            steps: epochs * spec.steps_per_epoch(splits.train.len()),
            validated: validations * splits.validate.len(),
            images: images.len(),
            tokens: tokens.len(),
        };
        Ok(Self {
            longest: shapes(&longest),
            average: shapes(&average),
            image_bytes: Collator::MAX_CACHE_BYTES.min(cached.len() * 3 * image_size.pixels()),
            decoding_bytes,
            amounts: Ok(amounts),
            warnings,
        })
    }
}
