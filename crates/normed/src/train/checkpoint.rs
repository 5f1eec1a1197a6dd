//! What a killed run goes on from: one safetensors file that is whole or not there.
//!
//! It holds every trained tensor, both moments of each, and the best checkpoint's tensors; its
//! metadata holds the position and everything else as JSON, and a SHA-256 over all of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::adamw::AdamW;
use super::alarm::Alarm;
use super::durable;
use crate::tensor::{Parameters, Tensor};
use crate::{Error, Result};

/// Everything about a run under way but its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Of recipe, base and data: whether this is the same run.
    pub fingerprint: String,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done in the epoch under way.
    pub step_in_epoch: usize,
    /// Steps done in all.
    pub step: usize,
    /// Whether patience has run out.
    pub stopped_early: bool,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub stale: usize,
    /// What the first steps did.
    pub alarm: Alarm,
    /// Seconds spent so far.
    pub seconds: f64,
    /// Where events.jsonl stood.
    pub log_length: u64,
    /// Where the TensorBoard file stood.
    pub tensorboard_length: u64,
}

/// An evaluation that was the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    /// After this epoch, counted from 1.
    pub epoch: usize,
    /// Exact match or loss.
    pub value: f64,
}

/// Everything that a run changes.
#[derive(Debug)]
pub(super) struct State {
    /// Where it is.
    pub progress: Progress,
    /// The moments.
    pub optimizer: AdamW,
    /// The trained tensors at the best evaluation, in the order of [`Parameters::trained`].
    pub best: Vec<Tensor>,
}

/// The metadata's one entry.
const ENTRY: &str = "normed.checkpoint";

#[derive(Serialize, Deserialize)]
struct Metadata {
    progress: Progress,
    optimizer_steps: u64,
    sha256: String,
}

impl State {
    /// Writes the checkpoint; the previous one stays until this one is complete.
    pub fn save(&self, params: &Parameters, path: &Path) -> Result<()> {
        let mut tensors: Vec<(String, F32<'_>)> = Vec::new();
        for (i, (_, p)) in params.trained().enumerate() {
            let moments = &self.optimizer.moments[i];
            let named = |kind: &str, data| (name(kind, &p.name), F32 { shape: &p.shape, data });
            tensors.push(named("value", p.value().data()));
            tensors.push(named("first", &moments.first));
            tensors.push(named("second", &moments.second));
            if let Some(best) = self.best.get(i) {
                tensors.push(named("best", best.data()));
            }
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let mut metadata = Metadata {
            progress: self.progress.clone(),
            optimizer_steps: self.optimizer.steps,
            sha256: String::new(),
        };
        metadata.sha256 = checksum(&metadata, tensors.iter().map(|(n, t)| (n.as_str(), t.data())))?;
        let entry = HashMap::from([(ENTRY.to_owned(), to_json(&metadata)?)]);
        durable::replace(path, |partial| {
            safetensors::serialize_to_file(tensors, Some(entry), partial)
                .map_err(std::io::Error::other)
        })
    }

    /// Goes back to the checkpoint at `path`, which must be of the run with this state's
    /// fingerprint; `params` and `self` change only if all of it is there and right.
    pub fn restore(&mut self, params: &mut Parameters, path: &Path) -> Result<()> {
        let damaged = |cause: &dyn std::fmt::Display| {
            Error::failed(path.display(), format!("is damaged: {cause}"))
                .hint("start again in another --output")
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
        let entry = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
        let entry = entry.ok_or_else(|| damaged(&"it is no checkpoint of a run"))?;
        let mut metadata: Metadata = serde_json::from_str(entry).map_err(|e| damaged(&e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let written = std::mem::take(&mut metadata.sha256);
        let views = tensors.iter().map(|(n, t)| (n.as_str(), Cow::Borrowed(t.data())));
        if checksum(&metadata, views)? != written {
            return Err(damaged(&"its checksum does not fit"));
        }
        if metadata.progress.fingerprint != self.progress.fingerprint {
            return Err(Error::invalid(
                path.display(),
                "was made with another base model or other data",
            )
            .hint("put them back as they were, or start again in another --output"));
        }
        let read = |kind: &str, of: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let name = name(kind, of);
            let view = file.tensor(&name).map_err(|e| damaged(&e))?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(damaged(&format!("{name} has another type or shape")));
            }
            let (floats, _) = view.data().as_chunks::<4>();
            Ok(floats.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        let mut values = Vec::new();
        let mut state = Self {
            progress: metadata.progress,
            optimizer: self.optimizer.clone(),
            best: Vec::new(),
        };
        state.optimizer.steps = metadata.optimizer_steps;
        for ((id, p), moments) in params.trained().zip(&mut state.optimizer.moments) {
            values.push((id, Tensor::new(&p.shape, read("value", &p.name, &p.shape)?)));
            moments.first = read("first", &p.name, &p.shape)?;
            moments.second = read("second", &p.name, &p.shape)?;
            if state.progress.best.is_some() {
                state.best.push(Tensor::new(&p.shape, read("best", &p.name, &p.shape)?));
            }
        }
        for (id, value) in values {
            params.get_mut(id).set(value);
        }
        *self = state;
        Ok(())
    }
}

fn name(kind: &str, of: &str) -> String {
    format!("{kind}/{of}")
}

fn to_json(metadata: &Metadata) -> Result<String> {
    serde_json::to_string(metadata).map_err(|e| Error::failed("the checkpoint's metadata", e))
}

/// SHA-256 over the metadata (its own checksum empty) and the tensors, sorted by name.
fn checksum<'a>(
    metadata: &Metadata,
    tensors: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>,
) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(to_json(metadata)?);
    for (name, data) in tensors {
        hash.update(name);
        hash.update((data.len() as u64).to_le_bytes());
        hash.update(&data);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A tensor as a safetensors file wants it.
struct F32<'a> {
    shape: &'a [usize],
    data: &'a [f32],
}

impl View for F32<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.data.len()
    }
}
