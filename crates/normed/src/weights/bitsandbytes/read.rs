//! QuantizedMatrix matrices out of a checkpoint.

use safetensors::Dtype;

use super::{ABSMAX, NESTED_ABSMAX, NESTED_QUANT_MAP, QUANT_MAP, STATE, State, beside};
use crate::tensor::{
    NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, QuantizedMatrix, Tensor, dynamic_map,
};
use crate::weights::stored::{Checkpoint, Stored};

/// How far a table in a file may be from the known one.
const TOLERANCE: f32 = 1e-6;

/// A quantised matrix, and the names of the tensors that it is made of beside its own.
pub(in crate::weights) struct Found {
    pub value: Tensor,
    pub names: Vec<String>,
}

/// The matrix `name`, of this shape, if it is quantised in `checkpoint`; an error says which of its
/// tensors is wrong, and how.
pub(in crate::weights) fn find(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &[usize],
) -> Option<Result<Found, String>> {
    let weight = checkpoint.tensors.get(name)?;
    let parts = Parts { checkpoint, name, weight, shape };
    let four = parts.states().next().is_some() || parts.get(ABSMAX).is_ok();
    match weight.dtype() {
        Dtype::I8 => Some(parts.int8()),
        Dtype::U8 => Some(parts.nf4()),
        _ if four => Some(parts.nf4()),
        _ => None,
    }
}

struct Parts<'a> {
    checkpoint: &'a Checkpoint,
    name: &'a str,
    weight: &'a Stored,
    shape: &'a [usize],
}

impl Parts<'_> {
    /// The matrix's rows and columns.
    fn rows_and_cols(&self) -> Result<(usize, usize), String> {
        match *self.shape {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(format!("`{}` is quantised, but the model has no matrix there", self.name)),
        }
    }

    fn int8(&self) -> Result<Found, String> {
        let (rows, cols) = self.rows_and_cols()?;
        if self.weight.shape() != self.shape {
            let (file, model) = (self.weight.shape(), self.shape);
            return Err(format!("`{}` is {file:?} instead of {model:?}", self.name));
        }
        let (scales, format) = (beside(self.name, "SCB"), beside(self.name, "weight_format"));
        let mut names = vec![scales.clone()];
        if let Some(stored) = self.checkpoint.tensors.get(&format) {
            if stored.bytes().iter().any(|&byte| byte != 0) {
                return Err(format!("`{format}` is another than 0, rows"));
            }
            names.push(format);
        }
        let absmax = self.floats(&scales, rows)?;
        let matrix = QuantizedMatrix::int8(rows, cols, self.weight.mapped_bytes(), absmax);
        let matrix = matrix.ok_or_else(|| self.misfit())?;
        Ok(Found { value: Tensor::quantized(matrix), names })
    }

    fn nf4(&self) -> Result<Found, String> {
        let (rows, cols) = self.rows_and_cols()?;
        let state = self.state()?;
        let blocks = (rows * cols).div_ceil(NF4_BLOCK);
        if self.weight.dtype() != Dtype::U8 {
            return Err(format!("`{}` is {:?} instead of U8", self.name, self.weight.dtype()));
        }
        let codes = self.weight.mapped_bytes();
        if codes.len() != (rows * cols).div_ceil(2) {
            let (found, wanted) = (codes.len(), (rows * cols).div_ceil(2));
            return Err(format!("`{}` has {found} bytes instead of {wanted}", self.name));
        }
        self.check_table(QUANT_MAP, &NF4_VALUES)?;
        let mut names = vec![self.part(STATE), self.part(ABSMAX), self.part(QUANT_MAP)];
        let matrix = match state.nested_offset {
            None => {
                let absmax = self.floats(&self.part(ABSMAX), blocks)?;
                QuantizedMatrix::nf4(rows, cols, codes, absmax)
            }
            Some(offset) => {
                names.extend([self.part(NESTED_ABSMAX), self.part(NESTED_QUANT_MAP)]);
                self.check_table(NESTED_QUANT_MAP, dynamic_map())?;
                let absmax = self.get(ABSMAX)?;
                if absmax.dtype() != Dtype::U8 || absmax.shape() != [blocks] {
                    let name = self.part(ABSMAX);
                    return Err(format!("`{name}` is {absmax:?} instead of U8[{blocks}]"));
                }
                let nested = self.part(NESTED_ABSMAX);
                let nested = self.floats(&nested, blocks.div_ceil(NF4_NESTED_BLOCK))?;
                let (absmax, offset) = (absmax.mapped_bytes(), offset as f32);
                QuantizedMatrix::nested_nf4(rows, cols, codes, absmax, nested, offset)
            }
        };
        let matrix = matrix.ok_or_else(|| self.misfit())?;
        Ok(Found { value: Tensor::quantized(matrix), names })
    }

    /// The matrix's state, which must be one that is read here.
    fn state(&self) -> Result<State, String> {
        let name = self.part(STATE);
        if let Some(other) = self.states().find(|other| **other != name) {
            let kind = other.rsplit("__").next().unwrap_or_default();
            return Err(format!("`{}` is quantised to {kind}; nf4 and int8 are read", self.name));
        }
        let state: State = serde_json::from_slice(&self.get(STATE)?.bytes())
            .map_err(|e| format!("`{name}`: {e}"))?;
        let wrong = |what: &str, found: String, wanted: &str| {
            Err(format!("`{name}` says {what} {found}; {wanted} is read"))
        };
        if state.quant_type != "nf4" {
            return wrong("quant_type", state.quant_type, "nf4");
        }
        if state.blocksize != NF4_BLOCK {
            return wrong("blocksize", state.blocksize.to_string(), "64");
        }
        if state.nested_offset.is_some() && state.nested_blocksize != Some(NF4_NESTED_BLOCK) {
            return wrong("nested_blocksize", format!("{:?}", state.nested_blocksize), "256");
        }
        if state.shape != self.shape {
            let (file, model) = (&state.shape, self.shape);
            return Err(format!("`{name}` says shape {file:?}, the model's is {model:?}"));
        }
        Ok(state)
    }

    /// The names of all states, of whichever kind.
    fn states(&self) -> impl Iterator<Item = &String> {
        let prefix = self.part("quant_state.");
        let after = self.checkpoint.tensors.range(prefix.clone()..);
        after.map(|(name, _)| name).take_while(move |name| name.starts_with(&prefix))
    }

    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    fn get(&self, part: &str) -> Result<&Stored, String> {
        let name = self.part(part);
        let stored = self.checkpoint.tensors.get(&name);
        stored.ok_or_else(|| format!("`{name}` is missing, without which `{}` is bytes", self.name))
    }

    /// So many numbers.
    fn floats(&self, name: &str, len: usize) -> Result<Vec<f32>, String> {
        let Some(stored) = self.checkpoint.tensors.get(name) else {
            return Err(format!("`{name}` is missing, without which `{}` is bytes", self.name));
        };
        let floats = stored.to_tensor().filter(|floats| floats.len() == len);
        let floats =
            floats.ok_or_else(|| format!("`{name}` is {stored:?} instead of F32[{len}]"))?;
        match floats.data().iter().all(|x| x.is_finite()) {
            true => Ok(floats.into_data()),
            false => Err(format!("`{name}` holds what is no number")),
        }
    }

    fn check_table(&self, part: &str, known: &[f32]) -> Result<(), String> {
        let name = self.part(part);
        let table = self.floats(&name, known.len())?;
        let same = table.iter().zip(known).all(|(a, b)| (a - b).abs() <= TOLERANCE);
        same.then_some(()).ok_or_else(|| format!("`{name}` is another table than bitsandbytes'"))
    }

    fn misfit(&self) -> String {
        format!("`{}` and its statistics do not fit {:?}", self.name, self.shape)
    }
}
