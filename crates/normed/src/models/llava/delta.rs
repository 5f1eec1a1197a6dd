//! Applying a weight delta: LLaVA-Med 1.0 was published as the difference to LLaMA, whose license did not allow
//! publishing the whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::f16;
use serde_json::{Value, json};

use crate::files::{NewDirectory, read_json, write_atomically};
use crate::models::weight_files::open_weight_files;
use crate::tensor::{Precision, Tensor};
use crate::weights::{self, Checkpoint, Stored};
use crate::{Error, Result};

/// Tables to which the delta's tokenizer may have added rows.
const TABLES: [&str; 2] = ["model.embed_tokens.weight", "lm_head.weight"];

/// Parts that the base lacks: the delta holds them whole.
const NEW: [&str; 2] = ["model.mm_projector.", "model.vision_tower."];

/// The approximate size of a written file in bytes. One file is in memory at a time.
const FILE_SIZE: usize = 1 << 30;

/// The result of [`apply_delta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaApplied {
    /// Tensors that are the sum of both.
    pub summed: usize,
    /// Tensors that only the delta has.
    pub new: usize,
    /// Rows that the delta adds to a table.
    pub added_rows: usize,
    /// Files of weights that were written.
    pub files: usize,
}

/// Adds the weights of `delta` to those of `base`, and writes the model to the directory `out`. Sums are computed
/// in half precision, as by LLaVA's `apply_delta.py`, and rounded to `precision`. The config, the tokenizer and
/// other files are the delta's. `out` appears when it is complete, or not at all.
///
/// # Errors
/// If `out` exists and is not empty; if a file cannot be read or written; or if the two do not belong together.
pub fn apply_delta(
    base: &Path,
    delta: &Path,
    out: &Path,
    precision: Precision,
) -> Result<DeltaApplied> {
    let (base, delta_dir) = (open_weight_files(base)?, delta);
    let delta = open_weight_files(delta_dir)?;
    let sums = pair_tensors(&base, &delta)?;
    let new = NewDirectory::create(out)?;
    let out = new.path();
    copy_other_files(delta_dir, out, precision)?;
    let files = split_into_files(&sums, precision);
    let mut map = BTreeMap::new();
    let mut total = 0;
    for (i, sums) in files.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", i + 1, files.len());
        let tensors = sums.iter().map(|sum| Ok((sum.name, sum.compute(&delta, precision)?)));
        let tensors: Vec<_> = tensors.collect::<Result<_>>()?;
        let list: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        weights::write_safetensors(&out.join(&file), &list, precision, &BTreeMap::new())?;
        for (name, tensor) in list {
            total += tensor.bytes();
            map.insert(name.to_owned(), file.clone());
        }
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
    let path = out.join("model.safetensors.index.json");
    write_atomically(&path, |out| writeln!(out, "{index:#}"))?;
    new.commit()?;
    let new = sums.iter().filter(|sum| sum.base.is_none()).count();
    let added_rows = sums.iter().map(Sum::added_rows).max().unwrap_or(0);
    Ok(DeltaApplied { summed: sums.len() - new, new, added_rows, files: files.len() })
}

/// A tensor of the delta, and the base's tensor that it is added to.
struct Sum<'a> {
    name: &'a str,
    delta: &'a Stored,
    base: Option<&'a Stored>,
}

/// Pairs every tensor of the delta with the base's.
fn pair_tensors<'a>(base: &'a Checkpoint, delta: &'a Checkpoint) -> Result<Vec<Sum<'a>>> {
    let computed = |name: &str| name.ends_with(".rotary_emb.inv_freq");
    let mut wrong = Vec::new();
    let mut sums = Vec::new();
    for (name, stored) in delta.tensors.iter().filter(|(name, _)| !computed(name)) {
        let found = base.tensors.get(name);
        match found {
            None if NEW.iter().any(|prefix| name.starts_with(prefix)) => {}
            None => wrong.push(format!("{name} is not in the base")),
            Some(found) if !fits(name, found.shape(), stored.shape()) => {
                let (ours, theirs) = (stored.shape(), found.shape());
                wrong.push(format!("{name} is {ours:?}, the base's {theirs:?}"));
            }
            Some(_) => {}
        }
        sums.push(Sum { name, delta: stored, base: found });
    }
    let lacks = |name: &&String| !computed(name) && !delta.tensors.contains_key(*name);
    wrong.extend(
        base.tensors.keys().filter(lacks).map(|name| format!("{name} is not in the delta")),
    );
    if wrong.is_empty() {
        return Ok(sums);
    }
    let more = wrong.len().saturating_sub(5);
    wrong.truncate(5);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let cause = format!("it is not a delta to {}: {}{more}", base.path.display(), wrong.join("; "));
    Err(Error::invalid(delta.path.display(), cause).with_remedy(
        "use the model that the delta was made from, in Hugging Face's layout, as the base",
    ))
}

/// The tensors of each file, in order: a file is full when the next tensor would exceed [`FILE_SIZE`].
fn split_into_files<'s, 'a>(sums: &'s [Sum<'a>], precision: Precision) -> Vec<Vec<&'s Sum<'a>>> {
    let (mut files, mut room): (Vec<Vec<_>>, usize) = (Vec::new(), 0);
    for sum in sums {
        let bytes = sum.delta.shape().iter().product::<usize>() * precision.size();
        match files.last_mut() {
            Some(file) if bytes <= room => file.push(sum),
            _ => {
                files.push(vec![sum]);
                room = FILE_SIZE;
            }
        }
        room = room.saturating_sub(bytes);
    }
    files
}

/// Whether a tensor of the base can be added: it has the same shape or, if it is a table, fewer rows.
fn fits(name: &str, base: &[usize], delta: &[usize]) -> bool {
    base == delta
        || TABLES.contains(&name) && matches!((base, delta), ([b, c], [d, e]) if b <= d && c == e)
}

impl Sum<'_> {
    fn added_rows(&self) -> usize {
        let rows = |stored: &Stored| stored.shape().first().copied().unwrap_or(0);
        self.base.map_or(0, |base| rows(self.delta) - rows(base))
    }

    fn compute(&self, file: &Checkpoint, precision: Precision) -> Result<Tensor> {
        let read = |stored: &Stored| {
            stored.to_tensor().ok_or_else(|| {
                let cause = format!("{} is of type {:?}", self.name, stored.dtype());
                Error::invalid(file.path.display(), cause)
            })
        };
        let mut sum = read(self.delta)?;
        if let Some(base) = self.base {
            let base = read(base)?;
            for (sum, base) in sum.data_mut().iter_mut().zip(base.data()) {
                *sum = f16::from_f32(*sum + base).to_f32();
            }
        }
        Ok(sum.into_precision(precision))
    }
}

/// Copies the delta's other files: its config, its tokenizer and so on.
fn copy_other_files(delta: &Path, out: &Path, precision: Precision) -> Result<()> {
    for entry in fs::read_dir(delta).map_err(|e| Error::io(delta, &e))? {
        let path = entry.map_err(|e| Error::io(delta, &e))?.path();
        let Some(name) = path.file_name() else { continue };
        let text = name.to_string_lossy();
        let weights = [".bin", ".safetensors", ".index.json"].iter().any(|end| text.ends_with(end));
        if weights || !path.is_file() {
            continue;
        }
        if text != "config.json" {
            fs::copy(&path, out.join(name)).map_err(|e| Error::io(&path, &e))?;
            continue;
        }
        let mut config: Value = read_json(&path)?;
        if !config.is_object() {
            return Err(Error::invalid(path.display(), "expected a JSON object"));
        }
        config["torch_dtype"] = match precision {
            Precision::F32 => json!("float32"),
            Precision::Bf16 => json!("bfloat16"),
        };
        write_atomically(&out.join(name), |out| writeln!(out, "{config:#}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, tensors: &[(&str, &[usize], f32)]) {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|&(name, shape, first)| {
                let len: usize = shape.iter().product();
                (name, Tensor::new(shape, (0..len).map(|i| first + i as f32).collect()))
            })
            .collect();
        let list: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let path = dir.join("model.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    }

    const BASE: [(&str, &[usize], f32); 4] = [
        ("model.embed_tokens.weight", &[2, 3], 10.0),
        ("lm_head.weight", &[2, 3], 20.0),
        ("model.norm.weight", &[3], 1.0),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", &[1], 1.0),
    ];
    const DELTA: [(&str, &[usize], f32); 4] = [
        ("model.embed_tokens.weight", &[4, 3], 100.0),
        ("lm_head.weight", &[4, 3], 200.0),
        ("model.norm.weight", &[3], 0.25),
        ("model.mm_projector.weight", &[3, 2], 7.0),
    ];

    #[test]
    fn the_delta_is_added_and_its_own_rows_are_kept() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [base, delta, out] = dirs.each_ref().map(tempfile::TempDir::path);
        write(base, &BASE);
        write(delta, &DELTA);
        fs::write(delta.join("config.json"), r#"{"vocab_size": 4}"#).unwrap();
        fs::write(delta.join("tokenizer.model"), "words").unwrap();
        fs::write(base.join("tokenizer.model"), "other words").unwrap();
        let applied = apply_delta(base, delta, out, Precision::F32).unwrap();
        assert_eq!(applied, DeltaApplied { summed: 3, new: 1, added_rows: 2, files: 1 });
        let read = weights::read_sharded(&out.join("model.safetensors.index.json")).unwrap();
        let of = |name: &str| read.tensors[name].to_tensor().unwrap().into_data();
        let table = of("model.embed_tokens.weight");
        assert_eq!(table[..6], [110.0, 112.0, 114.0, 116.0, 118.0, 120.0]);
        assert_eq!(table[6..], [106.0, 107.0, 108.0, 109.0, 110.0, 111.0]);
        assert_eq!(of("model.norm.weight"), [1.25, 3.25, 5.25]);
        assert_eq!(of("model.mm_projector.weight"), [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        assert_eq!(read.tensors.len(), 4);
        let copied = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(copied("tokenizer.model"), "words");
        let config: Value = serde_json::from_str(&copied("config.json")).unwrap();
        assert_eq!((&config["vocab_size"], &config["torch_dtype"]), (&json!(4), &json!("float32")));
    }

    #[test]
    fn sums_are_rounded_as_half_precision_does() {
        let sum = f16::from_f32(1.0 + 1.0 / 4096.0).to_f32();
        assert_eq!(sum, 1.0);
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [base, delta, out] = dirs.each_ref().map(tempfile::TempDir::path);
        write(base, &[("model.norm.weight", &[1], 1.0)]);
        write(delta, &[("model.norm.weight", &[1], 1.0 / 4096.0)]);
        apply_delta(base, delta, out, Precision::F32).unwrap();
        let read = weights::read_sharded(&out.join("model.safetensors.index.json")).unwrap();
        assert_eq!(read.tensors["model.norm.weight"].to_tensor().unwrap().data(), [1.0]);
    }

    #[test]
    fn a_delta_to_another_base_is_an_error() {
        type Tensors = Vec<(&'static str, &'static [usize], f32)>;
        let refused = |spoil: &dyn Fn(&mut Tensors, &mut Tensors), cause: &str| {
            let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
            let [base, delta, out] = dirs.each_ref().map(tempfile::TempDir::path);
            let (mut ours, mut theirs) = (BASE.to_vec(), DELTA.to_vec());
            spoil(&mut ours, &mut theirs);
            write(base, &ours);
            write(delta, &theirs);
            let error = apply_delta(base, delta, out, Precision::F32).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(cause), "{error}");
            assert_eq!(fs::read_dir(out).unwrap().count(), 0, "something was written");
        };
        refused(&|_, delta| delta[2].1 = &[2], "model.norm.weight is [2], the base's [3]");
        refused(&|_, delta| delta[0].1 = &[1, 3], "model.embed_tokens.weight is [1, 3]");
        refused(&|_, delta| _ = delta.remove(2), "model.norm.weight is not in the delta");
        refused(&|base, _| _ = base.remove(2), "model.norm.weight is not in the base");
    }
}
