//! A checkpoint written again, some of its tensors changed, every one of its own type.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use super::save::write_all;
use super::shards::{Entry, Item, Stop, write_sharded};
use super::stored::{Checkpoint, Stored};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Bytes of a file at most, but for one of a single larger tensor.
const LARGEST_FILE: usize = 4 << 30;

/// Writes `checkpoint` as safetensors into `dir`, the tensors in `changed` (f32) rounded to the types that
/// they had, all others byte by byte. A file calls a tensor what `saved_name` says. `on_done` is told how many
/// tensors are written, each time.
pub fn write_merged(
    dir: &Path,
    checkpoint: &Checkpoint,
    changed: &BTreeMap<String, Tensor>,
    saved_name: &dyn Fn(&str) -> String,
    on_done: &mut dyn FnMut(usize),
) -> Result<()> {
    let mut items = Vec::with_capacity(checkpoint.tensors.len());
    for (name, stored) in &checkpoint.tensors {
        let (dtype, size) = named(stored.dtype()).ok_or_else(|| {
            Error::invalid(
                checkpoint.path.display(),
                format!("{name}: {stored:?} is not known here"),
            )
        })?;
        let bytes = stored.shape().iter().product::<usize>() * size;
        let entry = Entry::new(&saved_name(name), dtype, stored.shape(), bytes);
        let value = changed.get(name);
        items.push(Item::new(vec![entry], move |out| write(out, stored, value)));
    }
    write_sharded(dir, items, LARGEST_FILE, on_done)
}

fn write(out: &mut dyn Write, stored: &Stored, value: Option<&Tensor>) -> Result<(), Stop> {
    match (value, stored.dtype()) {
        (Some(value), Dtype::F32) => write_all(out, value.data(), f32::to_le_bytes)?,
        (Some(value), Dtype::BF16) => {
            write_all(out, value.data(), |x| bf16::from_f32(x).to_le_bytes())?;
        }
        (Some(value), Dtype::F16) => {
            write_all(out, value.data(), |x| f16::from_f32(x).to_le_bytes())?;
        }
        (Some(_), dtype) => {
            return Err(Stop::Made(Error::invalid(
                "weights",
                format!("{dtype:?} cannot be changed"),
            )));
        }
        (None, _) => {
            out.write_all(&stored.bytes())?;
            stored.let_go();
        }
    }
    Ok(())
}

/// What safetensors calls a type, and the bytes of an element.
fn named(dtype: Dtype) -> Option<(&'static str, usize)> {
    Some(match dtype {
        Dtype::F32 => ("F32", 4),
        Dtype::BF16 => ("BF16", 2),
        Dtype::F16 => ("F16", 2),
        Dtype::F64 => ("F64", 8),
        Dtype::I64 => ("I64", 8),
        Dtype::I32 => ("I32", 4),
        Dtype::I8 => ("I8", 1),
        Dtype::U8 => ("U8", 1),
        Dtype::BOOL => ("BOOL", 1),
        _ => return None,
    })
}
