//! The files of an adapter's directory that hold tensors.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{CONFIG, WEIGHTS};
use crate::weights::safetensors_reader::read_safetensors;
use crate::weights::stored::Checkpoint;
use crate::weights::torch_reader::read_torch;
use crate::{Error, Result};

/// The tensors' file that PEFT wrote before it wrote safetensors.
const OLD_WEIGHTS: &str = "adapter_model.bin";

/// What LLaVA's own code trained beside LoRA: the projector, and sometimes embeddings.
const BESIDE_LORA: &str = "non_lora_trainables.bin";

/// The most folders that are named in a hint.
const MAX_NAMED: usize = 5;

/// Reads the tensors of the adapter in `dir`. If both of PEFT's files are there, the one in safetensors is read, as
/// PEFT does.
///
/// # Errors
/// If there is no file, or it cannot be read.
pub(super) fn read_adapter_tensors(dir: &Path) -> Result<Checkpoint> {
    let (new, old) = (dir.join(WEIGHTS), dir.join(OLD_WEIGHTS));
    if !new.exists() && old.exists() {
        return read_torch(&old);
    }
    if !new.exists() {
        let error =
            Error::invalid(dir.display(), format!("has neither {WEIGHTS} nor {OLD_WEIGHTS}"));
        let sharded = dir.join(format!("{WEIGHTS}.index.json"));
        return Err(match sharded.exists() {
            true => error.with_remedy("save the adapter in one file, with PEFT's save_pretrained"),
            false => error.with_remedy("download the whole folder of the adapter"),
        });
    }
    read_safetensors(&new)
}

/// Reads the tensors that LLaVA's own code saved beside a LoRA; `None` if there is no such file.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn read_beside_lora(dir: &Path) -> Result<Option<Checkpoint>> {
    let path = dir.join(BESIDE_LORA);
    path.exists().then(|| read_torch(&path)).transpose()
}

/// Checks that `dir` is an adapter: that it has a configuration.
///
/// # Errors
/// If it has none. The error names folders inside of it that have one.
pub fn expect_adapter(dir: &Path) -> Result<()> {
    if dir.join(CONFIG).exists() {
        return Ok(());
    }
    let error = Error::invalid(dir.display(), format!("is not an adapter: it has no {CONFIG}"));
    let inside = adapters_inside(dir);
    Err(match inside.first() {
        Some(first) => {
            let names: Vec<_> =
                inside.iter().take(MAX_NAMED).map(|dir| dir.display().to_string()).collect();
            error.with_remedy(format!(
                "it holds adapters in folders of its own ({}): give one of them, such as {}",
                names.join(", "),
                first.display()
            ))
        }
        None => error.with_remedy("give the folder that PEFT or normed saved the adapter to"),
    })
}

/// The folders in `dir` that hold an adapter, sorted.
fn adapters_inside(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut inside: Vec<_> =
        entries.map(|e| e.path()).filter(|p| p.join(CONFIG).is_file()).collect();
    inside.sort();
    inside
}
