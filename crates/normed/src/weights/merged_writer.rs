//! Writes a checkpoint again with some of its tensors changed, each in the element type that it had.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use super::safetensors_header::TensorEntry;
use super::safetensors_writer::write_elements;
use super::shard_writer::{TensorGroup, WriteError, write_sharded};
use super::stored::{Checkpoint, Stored};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The largest file, in bytes, unless a single tensor is larger.
const LARGEST_FILE: usize = 4 << 30;

/// Writes `checkpoint` as safetensors into `dir`. The tensors in `changed` (f32) are rounded to the element types
/// that they had; all others are copied. `saved_name` gives a tensor's name in the file. `on_done` is called after
/// each tensor, with the number of tensors written so far.
///
/// # Errors
/// If a tensor's element type is not supported, or a file cannot be written.
pub fn write_merged(
    dir: &Path,
    checkpoint: &Checkpoint,
    changed: &BTreeMap<String, Tensor>,
    saved_name: &dyn Fn(&str) -> String,
    on_done: &mut dyn FnMut(usize),
) -> Result<()> {
    let mut groups = Vec::with_capacity(checkpoint.tensors.len());
    for (name, stored) in &checkpoint.tensors {
        let (dtype, size) = name_and_size(stored.dtype()).ok_or_else(|| {
            Error::invalid(
                checkpoint.path.display(),
                format!("{name}: the element type of {stored:?} is not supported"),
            )
        })?;
        let bytes = stored.shape().iter().product::<usize>() * size;
        let entry = TensorEntry::new(&saved_name(name), dtype, stored.shape(), bytes);
        let value = changed.get(name);
        groups.push(TensorGroup::new(vec![entry], move |out| write(out, stored, value)));
    }
    write_sharded(dir, groups, LARGEST_FILE, on_done)
}

fn write(out: &mut dyn Write, stored: &Stored, value: Option<&Tensor>) -> Result<(), WriteError> {
    match (value, stored.dtype()) {
        (Some(value), Dtype::F32) => write_elements(out, value.data(), f32::to_le_bytes)?,
        (Some(value), Dtype::BF16) => {
            write_elements(out, value.data(), |x| bf16::from_f32(x).to_le_bytes())?;
        }
        (Some(value), Dtype::F16) => {
            write_elements(out, value.data(), |x| f16::from_f32(x).to_le_bytes())?;
        }
        (Some(_), dtype) => {
            return Err(WriteError::Tensor(Error::invalid(
                "weights",
                format!("a tensor of type {dtype:?} cannot be changed"),
            )));
        }
        (None, _) => {
            out.write_all(&stored.bytes())?;
            stored.release_pages();
        }
    }
    Ok(())
}

/// The name of an element type in safetensors, and its size in bytes.
fn name_and_size(dtype: Dtype) -> Option<(&'static str, usize)> {
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
