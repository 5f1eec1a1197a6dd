//! Checkpoints, from which a stopped or killed run resumes: one safetensors file, written atomically.
//!
//! It holds every trained tensor, both moments of each, and the best evaluation's tensors. Its metadata
//! holds the position in the run and everything else as JSON, and a SHA-256 over all of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::adamw::AdamW;
use super::alarm::Alarm;
use super::divergence::Divergence;
use crate::files::hex;
use crate::recipe::BestBy;
use crate::tensor::{Parameters, Precision, Tensor};
use crate::weights::{hash_elements, read_safetensors, write_safetensors};
use crate::{Error, Result};

/// Everything that changes during a run, except tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Fingerprints of the base model, the data's rows and its images, which must not change before a resume.
    pub fingerprint: String,
    /// Epochs completed.
    pub epoch: usize,
    /// Steps completed in the current epoch.
    pub step_in_epoch: usize,
    /// Steps completed in the run.
    pub step: usize,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// The epochs of the other evaluations with the score of the best one, counted from 1.
    #[serde(default)]
    pub ties: Vec<usize>,
    /// Evaluations since the best one.
    pub stale: usize,
    /// Whether the losses rise.
    #[serde(default)]
    pub divergence: Divergence,
    /// What the first steps did to each parameter.
    pub alarm: Alarm,
    /// Seconds spent so far.
    pub seconds: f64,
    /// Length of events.jsonl in bytes.
    pub log_length: u64,
    /// Length of the TensorBoard file in bytes.
    pub tensorboard_length: u64,
}

impl Progress {
    /// The epoch whose parameters a finished run keeps: that of the best evaluation, else the last.
    pub fn kept_epoch(&self) -> usize {
        self.best.map_or(self.epoch, |best| best.epoch)
    }
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    /// Its epoch, counted from 1.
    pub epoch: usize,
    /// Value of `train.metric`.
    pub value: f64,
    /// Mean loss of the validation examples.
    pub loss: f64,
}

impl Best {
    /// Whether this evaluation is better than `other`. Equal scores of generated texts are frequent on a
    /// small validation split; then the lower loss wins.
    pub fn beats(&self, other: &Self, metric: BestBy) -> bool {
        match metric.metric() {
            Some(_) if self.value != other.value => self.value > other.value,
            _ => self.loss < other.loss,
        }
    }

    /// Whether the two have the same score of generated texts, so that the loss decides between them.
    pub fn ties_with(&self, other: &Self, metric: BestBy) -> bool {
        metric.metric().is_some() && self.value == other.value
    }
}

/// Everything that a run changes.
#[derive(Debug)]
pub(super) struct State {
    /// The position in the run.
    pub progress: Progress,
    /// The optimizer with its moments.
    pub optimizer: AdamW,
    /// The trained tensors at the best evaluation, in the order of [`Parameters::trained`].
    pub best: Vec<Tensor>,
}

/// The metadata's key for [`Header`] as JSON.
const HEADER: &str = "normed.checkpoint";

/// The metadata's key for the checksum.
const CHECKSUM: &str = "normed.sha256";

#[derive(Serialize, Deserialize)]
struct Header {
    progress: Progress,
    optimizer_steps: u64,
}

impl State {
    /// The state before the first step of a run with this fingerprint.
    pub fn new(params: &Parameters, optimizer: AdamW, fingerprint: String) -> Self {
        let progress = Progress {
            fingerprint,
            epoch: 0,
            step_in_epoch: 0,
            step: 0,
            stopped_early: false,
            best: None,
            ties: Vec::new(),
            stale: 0,
            divergence: Divergence::default(),
            alarm: Alarm::new(params),
            seconds: 0.0,
            log_length: 0,
            tensorboard_length: 0,
        };
        Self { progress, optimizer, best: Vec::new() }
    }

    /// Writes the checkpoint. The previous one is kept until this one is complete.
    pub fn save(&self, params: &Parameters, path: &Path) -> Result<()> {
        let mut tensors: Vec<(String, &Tensor)> = Vec::new();
        for (i, (_, p)) in params.trained().enumerate() {
            let moments = &self.optimizer.moments[i];
            tensors.push((key("value", p.name()), p.value()));
            tensors.push((key("first", p.name()), &moments.first));
            tensors.push((key("second", p.name()), &moments.second));
            if let Some(best) = self.best.get(i) {
                tensors.push((key("best", p.name()), best));
            }
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let tensors: Vec<_> = tensors.iter().map(|(key, tensor)| (key.as_str(), *tensor)).collect();
        let header =
            Header { progress: self.progress.clone(), optimizer_steps: self.optimizer.steps };
        let header = serde_json::to_string(&header)
            .map_err(|e| Error::failed(path.display(), format!("its header: {e}")))?;
        let sum = checksum(&header, tensors.iter().copied());
        let metadata = BTreeMap::from([(HEADER.to_owned(), header), (CHECKSUM.to_owned(), sum)]);
        write_safetensors(path, &tensors, Precision::F32, &metadata)
    }

    /// Restores the checkpoint at `path`, which must have this state's fingerprint. If it fails, `params`
    /// and `self` are unchanged.
    pub fn restore(&mut self, params: &mut Parameters, path: &Path) -> Result<()> {
        let damaged = |cause: &dyn std::fmt::Display| {
            Error::failed(path.display(), format!("the checkpoint is damaged: {cause}"))
                .with_remedy("start the run again with another --output")
        };
        let file = read_safetensors(path).map_err(|e| damaged(&e))?;
        let entry = |key: &str| file.metadata.get(key).ok_or_else(|| damaged(&"it has no header"));
        let (header, sum) = (entry(HEADER)?, entry(CHECKSUM)?);
        let mut tensors = BTreeMap::new();
        for (key, stored) in &file.tensors {
            let tensor =
                stored.to_tensor().ok_or_else(|| damaged(&format!("{key} has no float type")))?;
            tensors.insert(key.as_str(), tensor);
        }
        if checksum(header, tensors.iter().map(|(key, tensor)| (*key, tensor))) != *sum {
            return Err(damaged(&"its checksum is wrong"));
        }
        let header: Header = serde_json::from_str(header).map_err(|e| damaged(&e))?;
        check_fingerprint(path, &header.progress.fingerprint, &self.progress.fingerprint)?;
        let take = |kind: &str, name: &str, shape: &[usize]| -> Result<Tensor> {
            let key = key(kind, name);
            let tensor = tensors.get(key.as_str()).filter(|t| t.shape() == shape);
            let tensor =
                tensor.ok_or_else(|| damaged(&format!("{key} is missing or has another shape")))?;
            // A copy, since the next checkpoint will replace the file.
            Ok(Tensor::new(shape, tensor.data().to_vec()))
        };
        let mut values = Vec::new();
        let mut state =
            Self { progress: header.progress, optimizer: self.optimizer.clone(), best: Vec::new() };
        state.optimizer.steps = header.optimizer_steps;
        for ((id, p), moments) in params.trained().zip(&mut state.optimizer.moments) {
            values.push((id, take("value", p.name(), p.shape())?));
            moments.first = take("first", p.name(), p.shape())?;
            moments.second = take("second", p.name(), p.shape())?;
            if state.progress.best.is_some() {
                state.best.push(take("best", p.name(), p.shape())?);
            }
        }
        for (id, value) in values {
            params.get_mut(id).set(value);
        }
        *self = state;
        Ok(())
    }
}

/// Checks that what was made in the run with the fingerprint `made`, at `path`, is of the run with the
/// fingerprint `own`. Both name the base model, the rows and the images.
pub(super) fn check_fingerprint(path: &Path, made: &str, own: &str) -> Result<()> {
    if made == own {
        return Ok(());
    }
    let names = [
        "another base model",
        "other data: its rows have changed",
        "other data: an image has changed",
    ];
    let pairs = made.split(' ').zip(own.split(' ')).zip(names);
    let changed: Vec<_> =
        pairs.filter(|((made, own), _)| made != own).map(|(_, name)| name).collect();
    let changed = match changed.is_empty() {
        true => "another version of normed".to_owned(),
        false => changed.join(", and "),
    };
    Err(Error::invalid(path.display(), format!("it was made with {changed}"))
        .with_remedy("restore the model and the data, or choose another --output"))
}

fn key(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// The SHA-256, in hexadecimal, of the header and the tensors, sorted by key.
fn checksum<'a>(header: &str, tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> String {
    let mut hash = Sha256::new().chain_update(header);
    for (key, tensor) in tensors {
        hash.update(key);
        hash.update((tensor.len() as u64).to_le_bytes());
        hash_elements(&mut hash, tensor);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::TrainSpec;
    use crate::train::test_model::{TestModel, batch};
    use crate::train::{StepOptions, train_step};

    /// The state after two steps, the first of which was the best.
    fn state() -> (Parameters, State) {
        let (model, mut params) = TestModel::new();
        let spec = TrainSpec::default();
        let optimizer = AdamW::new(&params, &spec);
        let mut state = State::new(&params, optimizer, "this run".into());
        for n in 1..=2 {
            let batches = std::iter::once(Ok(batch(&[1, 2])));
            train_step(
                &model,
                &mut params,
                &mut state.optimizer,
                batches,
                StepOptions { spec: &spec, seed: 0, lr: 0.1 },
            )
            .unwrap();
            state.progress.step = n;
            if n == 1 {
                // A value with a long decimal form.
                state.progress.best = Some(Best { epoch: 1, value: 0.1 + 0.2, loss: 1.0 / 3.0 });
                state.best = params.trained().map(|(_, p)| p.value().clone()).collect();
            }
        }
        (params, state)
    }

    fn fresh() -> (Parameters, State) {
        let (_, params) = TestModel::new();
        let optimizer = AdamW::new(&params, &TrainSpec::default());
        let state = State::new(&params, optimizer, "this run".into());
        (params, state)
    }

    fn floats<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<u32> {
        tensors.flat_map(|t| t.data().iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn restoring_gives_the_saved_state_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let (params, state) = state();
        state.save(&params, &path).unwrap();
        let (mut params2, mut state2) = fresh();
        state2.restore(&mut params2, &path).unwrap();
        assert_eq!(state2.progress, state.progress);
        assert_eq!(state2.optimizer.steps, 2);
        let values = |p: &Parameters| floats(p.trained().map(|(_, p)| p.value()));
        assert_eq!(values(&params2), values(&params));
        let moments =
            |s: &State| floats(s.optimizer.moments.iter().flat_map(|m| [&m.first, &m.second]));
        assert_eq!(moments(&state2), moments(&state));
        assert_eq!(floats(state2.best.iter()), floats(state.best.iter()));
        assert_ne!(floats(state2.best.iter()), values(&params));
    }

    #[test]
    fn a_damaged_byte_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let (params, state) = state();
        state.save(&params, &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let (mut params2, mut state2) = fresh();
        let before = floats(params2.trained().map(|(_, p)| p.value()));
        let mut damaged = 0;
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            match state2.restore(&mut params2, &path) {
                Err(_) => damaged += 1,
                // Names of other metadata entries and padding have no meaning.
                Ok(()) => assert_eq!(state2.progress, state.progress, "byte {at}"),
            }
            if damaged > 0 && state2.progress.step == 0 {
                assert_eq!(floats(params2.trained().map(|(_, p)| p.value())), before);
            }
        }
        assert!(damaged > whole.len() / 7 * 99 / 100, "{damaged} of {}", whole.len() / 7);
        for end in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..end]).unwrap();
            let error = state2.restore(&mut params2, &path).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
        }
    }

    #[test]
    fn the_loss_decides_between_equal_scores() {
        let of = |value, loss| Best { epoch: 1, value, loss };
        let beats = |a: Best, b, metric| a.beats(&b, metric);
        assert!(beats(of(0.5, 3.0), of(0.4, 1.0), BestBy::ExactMatch));
        assert!(!beats(of(0.4, 1.0), of(0.5, 3.0), BestBy::ExactMatch));
        assert!(beats(of(0.5, 1.0), of(0.5, 3.0), BestBy::ExactMatch));
        assert!(!beats(of(0.5, 1.0), of(0.5, 1.0), BestBy::ExactMatch));
        assert!(beats(of(1.0, 1.0), of(3.0, 3.0), BestBy::Loss));
    }

    #[test]
    fn a_checkpoint_of_another_run_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let (params, state) = state();
        state.save(&params, &path).unwrap();
        let (mut params2, mut state2) = fresh();
        state2.progress.fingerprint = "another".into();
        let error = state2.restore(&mut params2, &path).unwrap_err();
        assert!(error.to_string().contains("another base model"), "{error}");
        state2.progress.fingerprint = "this run with more".into();
        let error = state2.restore(&mut params2, &path).unwrap_err();
        assert!(error.to_string().contains("another version of normed"), "{error}");
        assert_eq!(state2.progress.step, 0);
    }
}
