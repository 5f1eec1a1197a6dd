//! Writes a model with the matrices of its linear layers quantized, one after the other, so that only one is in
//! memory at a time.

use std::io::{self, Write};
use std::path::Path;

use half::{bf16, f16};

use super::config::QuantizationConfig;
use super::state::{
    ABSMAX, NESTED_ABSMAX, NESTED_QUANT_MAP, QUANT_MAP, QuantState, sibling, state_name,
};
use crate::tensor::{
    Absmax, Factor, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, Parameter, Parameters,
    Quantization, QuantizedMatrix, Tensor, dynamic_map,
};
use crate::weights::blip_names::TIED;
use crate::weights::safetensors_header::TensorEntry;
use crate::weights::safetensors_writer::write_elements;
use crate::weights::shard_writer::{TensorGroup, WriteError, write_sharded};
use crate::{Error, Result};

/// The size of a state in bytes, padded with spaces: it must be known before the state's numbers are.
const STATE_BYTES: usize = 256;

/// What [`write_quantized`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationReport {
    /// The quantization, for config.json.
    pub config: QuantizationConfig,
    /// The number of quantized matrices.
    pub matrices: usize,
    /// The size of all parameters before, in bytes.
    pub before: usize,
    /// The size of all parameters after, in bytes.
    pub after: usize,
}

/// Writes `params` as safetensors into `dir`, as several files and an index if they have more than `limit` bytes.
///
/// The matrices of linear layers, except the prediction head's, are quantized to `to`; all other parameters are
/// written unchanged. `saved_name` gives a parameter's name in the file. `on_done` is called after each parameter,
/// with the number of parameters written so far.
///
/// # Errors
/// If a file cannot be written, or a matrix is quantized already or has a value that is not finite.
pub fn write_quantized(
    dir: &Path,
    params: &Parameters,
    saved_name: &dyn Fn(&str) -> String,
    to: Quantization,
    limit: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<QuantizationReport> {
    let mut groups = Vec::with_capacity(params.len());
    let mut skip = vec!["lm_head".to_owned()];
    let (mut matrices, mut before) = (0, 0);
    for (_, parameter) in params.iter() {
        before += parameter.value().bytes();
        let name = &saved_name(parameter.name());
        let [rows, cols] = match (parameter.role().is_quantizable(), parameter.shape()) {
            (true, &[rows, cols]) if rows * cols > 0 => [rows, cols],
            _ => {
                if parameter.role().is_matmul_operand() {
                    skip.extend(parameter.name().strip_suffix(".weight").map(str::to_owned));
                }
                groups.push(dense(name, parameter));
                continue;
            }
        };
        matrices += 1;
        groups.push(match to {
            Quantization::Int8 => int8(name, parameter, rows, cols),
            Quantization::Nf4 => nf4(name, parameter, rows, cols),
            Quantization::Fp4 => {
                return Err(Error::invalid("quantize", "fp4 is read, but not written")
                    .with_remedy("nf4 has the same size, and is nearer to the weights"));
            }
        });
    }
    // In transformers, second names of tied tables are linear layers.
    let tied = TIED.iter().filter(|(_, first)| params.find(first).is_some());
    skip.extend(tied.filter_map(|(second, _)| Some(second.strip_suffix(".weight")?.to_owned())));
    let after = groups.iter().map(TensorGroup::bytes).sum();
    write_sharded(dir, groups, limit, on_done)?;
    let config = QuantizationConfig { to, skip };
    Ok(QuantizationReport { config, matrices, before, after })
}

/// A parameter, unchanged.
fn dense<'p>(name: &str, parameter: &'p Parameter) -> TensorGroup<'p> {
    let value = parameter.value();
    let (dtype, _) = type_of(value);
    let entry = TensorEntry::new(name, dtype, parameter.shape(), value.bytes());
    TensorGroup::new(vec![entry], move |out| {
        match value.factor() {
            Factor::F32(data) => write_elements(out, data, f32::to_le_bytes)?,
            Factor::Bf16(data) => write_elements(out, data, bf16::to_le_bytes)?,
            Factor::F16(data) => write_elements(out, data, f16::to_le_bytes)?,
            Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_) => {
                let cause = "it is quantized already";
                return Err(WriteError::Tensor(Error::invalid(parameter.name(), cause)));
            }
        }
        value.release_pages();
        Ok(())
    })
}

/// The names of its element type in safetensors and in PyTorch.
fn type_of(value: &Tensor) -> (&'static str, &'static str) {
    match value.factor() {
        Factor::F32(_) => ("F32", "float32"),
        Factor::Bf16(_) => ("BF16", "bfloat16"),
        Factor::F16(_) => ("F16", "float16"),
        Factor::Int8(_) | Factor::Codes(_) => ("I8", "int8"),
        Factor::Nf4(_) => ("U8", "uint8"),
    }
}

/// Quantizes a parameter.
fn quantize(
    parameter: &Parameter,
    [rows, cols]: [usize; 2],
    to: Quantization,
) -> Result<QuantizedMatrix, WriteError> {
    let value = parameter.value();
    if value.quantization().is_some() {
        return Err(WriteError::Tensor(Error::invalid(
            parameter.name(),
            "it is quantized already",
        )));
    }
    let matrix = QuantizedMatrix::quantize(value.factor(), rows, cols, to).ok_or_else(|| {
        WriteError::Tensor(
            Error::invalid(parameter.name(), "it has a value that is not finite")
                .with_remedy("the checkpoint is damaged, or its training diverged"),
        )
    })?;
    value.release_pages();
    Ok(matrix)
}

fn int8<'p>(name: &str, parameter: &'p Parameter, rows: usize, cols: usize) -> TensorGroup<'p> {
    let entries = vec![
        TensorEntry::new(&sibling(name, "SCB"), "F32", &[rows], 4 * rows),
        TensorEntry::new(name, "I8", &[rows, cols], rows * cols),
        TensorEntry::new(&sibling(name, "weight_format"), "U8", &[], 1),
    ];
    TensorGroup::new(entries, move |out| {
        let matrix = quantize(parameter, [rows, cols], Quantization::Int8)?;
        let Factor::Int8(eight) = matrix.factor() else {
            unreachable!("it was quantized to this above")
        };
        write_elements(out, eight.absmax(), f32::to_le_bytes)?;
        out.write_all(eight.codes())?;
        out.write_all(&[0])?;
        Ok(())
    })
}

fn nf4<'p>(name: &str, parameter: &'p Parameter, rows: usize, cols: usize) -> TensorGroup<'p> {
    let part = |part: &str| format!("{name}.{part}");
    let (codes, blocks) = ((rows * cols).div_ceil(2), (rows * cols).div_ceil(NF4_BLOCK));
    let nested = blocks.div_ceil(NF4_NESTED_BLOCK);
    let tables = [NF4_VALUES.len(), dynamic_map().len()];
    let entries = vec![
        TensorEntry::new(&part(NESTED_ABSMAX), "F32", &[nested], 4 * nested),
        TensorEntry::new(&part(QUANT_MAP), "F32", &[tables[0]], 4 * tables[0]),
        TensorEntry::new(&part(NESTED_QUANT_MAP), "F32", &[tables[1]], 4 * tables[1]),
        TensorEntry::new(&part(&state_name(Quantization::Nf4)), "U8", &[STATE_BYTES], STATE_BYTES),
        TensorEntry::new(&part(ABSMAX), "U8", &[blocks], blocks),
        TensorEntry::new(name, "U8", &[codes, 1], codes),
    ];
    TensorGroup::new(entries, move |out| {
        let matrix = quantize(parameter, [rows, cols], Quantization::Nf4)?;
        let Factor::Nf4(four) = matrix.factor() else {
            unreachable!("it was quantized to this above")
        };
        let (_, dtype) = type_of(parameter.value());
        write_nf4(out, four, dtype, parameter.shape())?;
        Ok(())
    })
}

fn write_nf4(out: &mut dyn Write, four: Nf4<'_>, dtype: &str, shape: &[usize]) -> io::Result<()> {
    let Absmax::Nested { codes: maxima, absmax, offset, values } = four.absmax() else {
        unreachable!("quantize() nests the maxima")
    };
    write_elements(out, absmax, f32::to_le_bytes)?;
    write_elements(out, &NF4_VALUES, f32::to_le_bytes)?;
    write_elements(out, values, f32::to_le_bytes)?;
    let state = QuantState {
        quant_type: Quantization::Nf4.name().to_owned(),
        blocksize: NF4_BLOCK,
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        nested_blocksize: Some(NF4_NESTED_BLOCK),
        nested_dtype: Some("float32".to_owned()),
        nested_offset: Some(f64::from(offset)),
    };
    let mut state = serde_json::to_vec(&state)?;
    if state.len() > STATE_BYTES {
        return Err(io::Error::other("the state of a matrix is larger than the space for it"));
    }
    state.resize(STATE_BYTES, b' ');
    out.write_all(&state)?;
    out.write_all(maxima)?;
    out.write_all(four.codes())
}
