//! Writes a checkpoint again with some of its tensors changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use super::safetensors_header::TensorEntry;
use super::safetensors_writer::write_elements;
use super::shard_writer::{TensorGroup, WriteError, write_sharded};
use super::stored::{Checkpoint, Stored};
use crate::tensor::{ChangedValues, Precision, Tensor};
use crate::{Error, Result};

/// The largest file, in bytes, unless a single tensor is larger.
const LARGEST_FILE: usize = 4 << 30;

/// The new value of a tensor.
pub struct TensorChange<'a> {
    /// Computes the value. It is called when the tensor is written, so that only one new value is in memory.
    pub value: Box<dyn Fn() -> Tensor + 'a>,
    /// The value's shape, which has more rows than before where a vocabulary grew.
    pub shape: Vec<usize>,
    /// Whether the tensor is written in f32; in the element type that it had otherwise.
    pub in_f32: bool,
}

/// What [`write_merged`] changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergedTensors {
    /// Tensors with a value that differs from the base's, as they are in the file.
    pub changed: usize,
    /// The values that differ before and after rounding to the element types in the file.
    pub values: ChangedValues,
    /// The names of the half-precision types that changed tensors were rounded to: `bf16`, `f16`.
    pub rounded_to: BTreeSet<&'static str>,
    /// Whether a tensor is in f32 that was in half precision.
    pub widened: bool,
}

/// Writes `checkpoint` as safetensors into `dir`, with the tensors in `changes` replaced and all others copied.
/// `saved_name` gives a tensor's name in the file. `on_done` is called after each tensor, with the number of tensors
/// written so far.
///
/// # Errors
/// If a tensor's element type is not supported, or a file cannot be written.
pub fn write_merged(
    dir: &Path,
    checkpoint: &Checkpoint,
    changes: &BTreeMap<String, TensorChange<'_>>,
    saved_name: &dyn Fn(&str) -> String,
    on_done: &mut dyn FnMut(usize),
) -> Result<MergedTensors> {
    let merged = RefCell::new(MergedTensors::default());
    let mut groups = Vec::with_capacity(checkpoint.tensors.len());
    for (name, stored) in &checkpoint.tensors {
        let change = changes.get(name);
        let dtype = match change {
            Some(TensorChange { in_f32: true, .. }) => Dtype::F32,
            _ => stored.dtype(),
        };
        let (dtype_name, size) = name_and_size(dtype).ok_or_else(|| {
            Error::invalid(
                checkpoint.path.display(),
                format!("{name}: the element type of {stored:?} is not supported"),
            )
        })?;
        let shape = change.map_or(stored.shape(), |change| &change.shape);
        let bytes = shape.iter().product::<usize>() * size;
        let entry = TensorEntry::new(&saved_name(name), dtype_name, shape, bytes);
        let merged = &merged;
        groups.push(TensorGroup::new(vec![entry], move |out| match change {
            Some(change) => {
                let value = (change.value)();
                merged.borrow_mut().count(stored, &value, dtype);
                write_value(out, &value, dtype)
            }
            None => {
                out.write_all(&stored.bytes())?;
                stored.release_pages();
                Ok(())
            }
        }));
    }
    write_sharded(dir, groups, LARGEST_FILE, on_done)?;
    Ok(merged.into_inner())
}

impl MergedTensors {
    /// Counts the values of one tensor, which is written in `dtype`.
    fn count(&mut self, stored: &Stored, value: &Tensor, dtype: Dtype) {
        let Some(before) = stored.to_tensor() else { return };
        let value = value.to_precision(Precision::F32);
        let mut values = ChangedValues::count(
            before.data(),
            value.data(),
            match dtype {
                Dtype::BF16 => |x| bf16::from_f32(x).to_f32(),
                Dtype::F16 => |x| f16::from_f32(x).to_f32(),
                _ => |x| x,
            },
        );
        // Rows that the base lacks are in no rounding's way.
        let new = value.len() - before.len();
        values += ChangedValues { changed: new, surviving: new };
        self.values += values;
        self.changed += usize::from(values.surviving > 0);
        if values.changed > 0 {
            self.widened |= dtype != stored.dtype();
            match dtype {
                Dtype::BF16 => _ = self.rounded_to.insert("bf16"),
                Dtype::F16 => _ = self.rounded_to.insert("f16"),
                _ => {}
            }
        }
    }
}

/// Writes `value`, rounded to `dtype`.
fn write_value(out: &mut dyn Write, value: &Tensor, dtype: Dtype) -> Result<(), WriteError> {
    let value = value.to_precision(Precision::F32);
    match dtype {
        Dtype::F32 => write_elements(out, value.data(), f32::to_le_bytes)?,
        Dtype::BF16 => write_elements(out, value.data(), |x| bf16::from_f32(x).to_le_bytes())?,
        Dtype::F16 => write_elements(out, value.data(), |x| f16::from_f32(x).to_le_bytes())?,
        Dtype::F64 => write_elements(out, value.data(), |x| f64::from(x).to_le_bytes())?,
        _ => {
            let cause = format!("a tensor of type {dtype:?} cannot be changed");
            return Err(WriteError::Tensor(Error::invalid("weights", cause)));
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
