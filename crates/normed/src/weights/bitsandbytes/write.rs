//! A model's parameters into a directory, its linear layers' matrices quantised: one after the other, so
//! that no more than one is in memory.

use std::io::{self, Write};
use std::path::Path;

use half::{bf16, f16};

use super::{
    ABSMAX, NESTED_ABSMAX, NESTED_QUANT_MAP, QUANT_MAP, QuantisationConfig, STATE, State, beside,
};
use crate::tensor::{
    Absmax, Factor, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, Parameter, Parameters,
    Quantization, QuantizedMatrix, Tensor, dynamic_map,
};
use crate::weights::names::TIED;
use crate::weights::save::write_all;
use crate::weights::shards::{Entry, Item, Stop, write_sharded};
use crate::{Error, Result};

/// The bytes of a state, filled up with spaces: its length must be known before its numbers are.
const STATE_BYTES: usize = 256;

/// What [`write_quantised`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What config.json is to say.
    pub config: QuantisationConfig,
    /// Matrices that were quantised.
    pub matrices: usize,
    /// Bytes of all parameters as they were.
    pub before: usize,
    /// And as they are now.
    pub after: usize,
}

/// Writes `params` as safetensors into `dir`, several files and an index if it is more than `limit`
/// bytes. The matrices of linear layers but for the prediction head's are quantised to `to`; everything
/// else is written as it is. A file calls a parameter what `saved_name` says. `on_done` is told how many
/// parameters are written, each time.
pub fn write_quantised(
    dir: &Path,
    params: &Parameters,
    saved_name: &dyn Fn(&str) -> String,
    to: Quantization,
    limit: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<Written> {
    let mut items = Vec::with_capacity(params.len());
    let mut skip = vec!["lm_head".to_owned()];
    let (mut matrices, mut before) = (0, 0);
    for (_, parameter) in params.iter() {
        before += parameter.value().bytes();
        let name = &saved_name(&parameter.name);
        let [rows, cols] = match (parameter.role.is_quantizable(), parameter.shape.as_slice()) {
            (true, &[rows, cols]) if rows * cols > 0 => [rows, cols],
            _ => {
                if parameter.role.is_matmul_operand() {
                    skip.extend(parameter.name.strip_suffix(".weight").map(str::to_owned));
                }
                items.push(dense(name, parameter));
                continue;
            }
        };
        matrices += 1;
        items.push(match to {
            Quantization::Int8 => int8(name, parameter, rows, cols),
            Quantization::Nf4 => nf4(name, parameter, rows, cols),
        });
    }
    // Second names of tied tables are linear layers to transformers.
    let tied = TIED.iter().filter(|(_, first)| params.find(first).is_some());
    skip.extend(tied.filter_map(|(second, _)| Some(second.strip_suffix(".weight")?.to_owned())));
    let after = items.iter().map(Item::bytes).sum();
    write_sharded(dir, items, limit, on_done)?;
    let config = QuantisationConfig { to, skip };
    Ok(Written { config, matrices, before, after })
}

/// A parameter as it is.
fn dense<'p>(name: &str, parameter: &'p Parameter) -> Item<'p> {
    let value = parameter.value();
    let (dtype, _) = type_of(value);
    let entry = Entry::new(name, dtype, &parameter.shape, value.bytes());
    Item::new(vec![entry], move |out| {
        match value.factor() {
            Factor::F32(data) => write_all(out, data, f32::to_le_bytes)?,
            Factor::Bf16(data) => write_all(out, data, bf16::to_le_bytes)?,
            Factor::F16(data) => write_all(out, data, f16::to_le_bytes)?,
            Factor::Int8(_) | Factor::Nf4(_) => {
                let cause = "it is quantised already";
                return Err(Stop::Made(Error::invalid(&parameter.name, cause)));
            }
        }
        value.let_go();
        Ok(())
    })
}

/// What safetensors and torch call the type of its elements.
fn type_of(value: &Tensor) -> (&'static str, &'static str) {
    match value.factor() {
        Factor::F32(_) => ("F32", "float32"),
        Factor::Bf16(_) => ("BF16", "bfloat16"),
        Factor::F16(_) => ("F16", "float16"),
        Factor::Int8(_) => ("I8", "int8"),
        Factor::Nf4(_) => ("U8", "uint8"),
    }
}

fn quantised(
    parameter: &Parameter,
    [rows, cols]: [usize; 2],
    to: Quantization,
) -> Result<QuantizedMatrix, Stop> {
    let value = parameter.value();
    if value.quantization().is_some() {
        return Err(Stop::Made(Error::invalid(&parameter.name, "it is quantised already")));
    }
    let matrix = QuantizedMatrix::quantize(value.factor(), rows, cols, to).ok_or_else(|| {
        Stop::Made(
            Error::invalid(&parameter.name, "it holds what is no number, or an infinite one")
                .with_remedy("the checkpoint is damaged, or its training diverged"),
        )
    })?;
    value.let_go();
    Ok(matrix)
}

fn int8<'p>(name: &str, parameter: &'p Parameter, rows: usize, cols: usize) -> Item<'p> {
    let entries = vec![
        Entry::new(&beside(name, "SCB"), "F32", &[rows], 4 * rows),
        Entry::new(name, "I8", &[rows, cols], rows * cols),
        Entry::new(&beside(name, "weight_format"), "U8", &[], 1),
    ];
    Item::new(entries, move |out| {
        let matrix = quantised(parameter, [rows, cols], Quantization::Int8)?;
        let Factor::Int8(eight) = matrix.factor() else { unreachable!("just made so") };
        write_all(out, eight.absmax(), f32::to_le_bytes)?;
        out.write_all(eight.codes())?;
        out.write_all(&[0])?;
        Ok(())
    })
}

fn nf4<'p>(name: &str, parameter: &'p Parameter, rows: usize, cols: usize) -> Item<'p> {
    let part = |part: &str| format!("{name}.{part}");
    let (codes, blocks) = ((rows * cols).div_ceil(2), (rows * cols).div_ceil(NF4_BLOCK));
    let nested = blocks.div_ceil(NF4_NESTED_BLOCK);
    let tables = [NF4_VALUES.len(), dynamic_map().len()];
    let entries = vec![
        Entry::new(&part(NESTED_ABSMAX), "F32", &[nested], 4 * nested),
        Entry::new(&part(QUANT_MAP), "F32", &[tables[0]], 4 * tables[0]),
        Entry::new(&part(NESTED_QUANT_MAP), "F32", &[tables[1]], 4 * tables[1]),
        Entry::new(&part(STATE), "U8", &[STATE_BYTES], STATE_BYTES),
        Entry::new(&part(ABSMAX), "U8", &[blocks], blocks),
        Entry::new(name, "U8", &[codes, 1], codes),
    ];
    Item::new(entries, move |out| {
        let matrix = quantised(parameter, [rows, cols], Quantization::Nf4)?;
        let Factor::Nf4(four) = matrix.factor() else { unreachable!("just made so") };
        let (_, dtype) = type_of(parameter.value());
        write_nf4(out, four, dtype, &parameter.shape)?;
        Ok(())
    })
}

fn write_nf4(out: &mut dyn Write, four: Nf4<'_>, dtype: &str, shape: &[usize]) -> io::Result<()> {
    let Absmax::Nested { codes: maxima, absmax, offset, values } = four.absmax() else {
        unreachable!("what is quantised here has nested maxima")
    };
    write_all(out, absmax, f32::to_le_bytes)?;
    write_all(out, &NF4_VALUES, f32::to_le_bytes)?;
    write_all(out, values, f32::to_le_bytes)?;
    let state = State {
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
        return Err(io::Error::other("the state of a matrix is longer than its place"));
    }
    state.resize(STATE_BYTES, b' ');
    out.write_all(&state)?;
    out.write_all(maxima)?;
    out.write_all(four.codes())
}
