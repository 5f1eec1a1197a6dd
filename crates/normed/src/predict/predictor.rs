//! A model that answers rows.

use crate::Result;
use crate::data::{Collator, Example};
use crate::metrics::UnscoredPrediction;
use crate::models::{GenerationConfig, LoadedModel};
use crate::train::predict_batch;

/// A model with its settings, which answers examples: one at a time, or in batches. Their true answers may be unknown.
///
/// Images are read anew for each call, so that a file may change between calls.
pub struct Predictor {
    loaded: LoadedModel,
    collator: Collator,
    generation: GenerationConfig,
}

impl Predictor {
    /// A predictor that generates as `generation` says.
    ///
    /// # Errors
    ///
    /// If a setting is out of range.
    pub fn new(loaded: LoadedModel, generation: GenerationConfig) -> Result<Self> {
        generation.validate()?;
        let collator = loaded.collator().without_answers().without_image_cache();
        Ok(Self { loaded, collator, generation })
    }

    /// The model.
    pub fn loaded(&self) -> &LoadedModel {
        &self.loaded
    }

    /// How answers are generated.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// Answers `examples` in one batch, in their order. An answer does not depend on the others.
    ///
    /// # Errors
    ///
    /// If an image cannot be read, or if an example does not fit the model.
    pub fn answer(&self, examples: &[Example]) -> Result<Vec<UnscoredPrediction>> {
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        let prepared: Vec<_> =
            examples.iter().map(|example| self.collator.prepare(example)).collect::<Result<_>>()?;
        let batch = self.collator.batch(&prepared, 0);
        predict_batch(&self.loaded, &batch, &prepared, &self.generation)
    }
}
