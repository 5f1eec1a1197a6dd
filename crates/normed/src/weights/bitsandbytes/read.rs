//! Reads quantized matrices from a checkpoint.

use safetensors::Dtype;

use super::state::{
    ABSMAX, NESTED_ABSMAX, NESTED_QUANT_MAP, QUANT_MAP, QuantState, STATE, sibling, state_name,
};
use crate::tensor::{
    FP4_VALUES, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Quantization, QuantizedMatrix, Tensor,
    dynamic_map,
};
use crate::weights::stored::{Checkpoint, Stored};

/// The largest difference of a table in a file from the known table.
const TOLERANCE: f32 = 1e-6;

/// A quantized matrix in a checkpoint.
pub(in crate::weights) struct StoredMatrix {
    /// The matrix.
    pub value: Tensor,
    /// The names of its other tensors: statistics, tables and state.
    pub names: Vec<String>,
}

/// Reads the matrix `name` of this shape; none if it is not quantized in `checkpoint`.
///
/// # Errors
/// Which of its tensors is wrong, and how.
pub(in crate::weights) fn find_quantized(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &[usize],
) -> Option<Result<StoredMatrix, String>> {
    let weight = checkpoint.tensors.get(name)?;
    let matrix = MatrixReader { checkpoint, name, weight, shape };
    let has_state = matrix.states().next().is_some() || matrix.get(ABSMAX).is_ok();
    match weight.dtype() {
        _ if has_state => Some(matrix.four_bits()),
        Dtype::I8 => Some(matrix.int8()),
        Dtype::U8 => Some(matrix.four_bits()),
        _ => None,
    }
}

/// A quantized matrix that is being read.
struct MatrixReader<'a> {
    checkpoint: &'a Checkpoint,
    name: &'a str,
    weight: &'a Stored,
    shape: &'a [usize],
}

impl MatrixReader<'_> {
    /// The numbers of rows and columns.
    fn rows_and_cols(&self) -> Result<(usize, usize), String> {
        match *self.shape {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(format!(
                "`{}` is quantized, but the model's parameter of this name is not a matrix",
                self.name
            )),
        }
    }

    fn int8(&self) -> Result<StoredMatrix, String> {
        let (rows, cols) = self.rows_and_cols()?;
        if self.weight.shape() != self.shape {
            let (file, model) = (self.weight.shape(), self.shape);
            return Err(format!("`{}` is {file:?} instead of {model:?}", self.name));
        }
        let (scales, format) = (sibling(self.name, "SCB"), sibling(self.name, "weight_format"));
        let mut names = vec![scales.clone()];
        if let Some(stored) = self.checkpoint.tensors.get(&format) {
            if stored.bytes().iter().any(|&byte| byte != 0) {
                return Err(format!("`{format}` must be 0 (rows)"));
            }
            names.push(format);
        }
        let absmax = self.floats(&scales, rows)?;
        let matrix = QuantizedMatrix::int8(rows, cols, self.weight.mapped_bytes(), absmax);
        let matrix = matrix.ok_or_else(|| self.misfit())?;
        Ok(StoredMatrix { value: Tensor::quantized(matrix), names })
    }

    /// Codes of 4 bits are stored as bytes, or as the bytes of larger numbers (`bnb_4bit_quant_storage`).
    fn four_bits(&self) -> Result<StoredMatrix, String> {
        let (rows, cols) = self.rows_and_cols()?;
        let (state, to) = self.state()?;
        let blocks = (rows * cols).div_ceil(NF4_BLOCK);
        let codes = self.weight.mapped_bytes();
        if codes.len() != (rows * cols).div_ceil(2) {
            let (found, wanted) = (codes.len(), (rows * cols).div_ceil(2));
            return Err(format!("`{}` has {found} bytes instead of {wanted}", self.name));
        }
        let (values, state_name) = match to {
            Quantization::Fp4 => (&FP4_VALUES, state_name(to)),
            _ => (&NF4_VALUES, state_name(to)),
        };
        self.check_table(QUANT_MAP, values)?;
        let mut names = vec![self.part(&state_name), self.part(ABSMAX), self.part(QUANT_MAP)];
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
        let matrix = if to == Quantization::Fp4 { matrix.as_fp4() } else { matrix };
        Ok(StoredMatrix { value: Tensor::quantized(matrix), names })
    }

    /// The matrix's state and its format, if they are supported.
    fn state(&self) -> Result<(QuantState, Quantization), String> {
        let formats = [Quantization::Nf4, Quantization::Fp4];
        let here = |to: &Quantization| self.get(&state_name(*to)).is_ok();
        let Some(to) = formats.into_iter().find(here) else {
            let other = self.states().next().and_then(|other| other.split(STATE).nth(1));
            return Err(match other {
                Some(kind) => format!(
                    "`{}` is quantized to {kind}; only nf4, fp4 and int8 are supported",
                    self.name
                ),
                None => format!(
                    "`{}` is missing; `{}` cannot be decoded without it",
                    self.part(&state_name(Quantization::Nf4)),
                    self.name
                ),
            });
        };
        let part = state_name(to);
        let name = self.part(&part);
        let state: QuantState = serde_json::from_slice(&self.get(&part)?.bytes())
            .map_err(|e| format!("`{name}`: {e}"))?;
        let wrong = |what: &str, found: String, wanted: &str| {
            Err(format!("`{name}`: {what} is {found}; only {wanted} is supported"))
        };
        if state.quant_type != to.name() {
            return wrong("quant_type", state.quant_type, to.name());
        }
        if state.blocksize != NF4_BLOCK {
            return wrong("blocksize", state.blocksize.to_string(), "64");
        }
        if state.nested_offset.is_some() && state.nested_blocksize != Some(NF4_NESTED_BLOCK) {
            return wrong("nested_blocksize", format!("{:?}", state.nested_blocksize), "256");
        }
        if state.shape != self.shape {
            let (file, model) = (&state.shape, self.shape);
            return Err(format!("`{name}`: the shape is {file:?}, the model's is {model:?}"));
        }
        Ok((state, to))
    }

    /// The names of all states, of any kind of quantization.
    fn states(&self) -> impl Iterator<Item = &String> {
        let prefix = self.part("quant_state.");
        let after = self.checkpoint.tensors.range(prefix.clone()..);
        after.map(|(name, _)| name).take_while(move |name| name.starts_with(&prefix))
    }

    /// The name of one of the matrix's other tensors.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// One of the matrix's other tensors.
    fn get(&self, part: &str) -> Result<&Stored, String> {
        let name = self.part(part);
        let stored = self.checkpoint.tensors.get(&name);
        stored.ok_or_else(|| {
            format!("`{name}` is missing; `{}` cannot be decoded without it", self.name)
        })
    }

    /// The tensor `name`: `len` finite numbers.
    fn floats(&self, name: &str, len: usize) -> Result<Vec<f32>, String> {
        let Some(stored) = self.checkpoint.tensors.get(name) else {
            return Err(format!(
                "`{name}` is missing; `{}` cannot be decoded without it",
                self.name
            ));
        };
        let floats = stored.to_tensor().filter(|floats| floats.len() == len);
        let floats =
            floats.ok_or_else(|| format!("`{name}` is {stored:?} instead of F32[{len}]"))?;
        match floats.data().iter().all(|x| x.is_finite()) {
            true => Ok(floats.into_data()),
            false => Err(format!("`{name}` has a value that is not finite")),
        }
    }

    /// Checks that a table is the known one.
    fn check_table(&self, part: &str, known: &[f32]) -> Result<(), String> {
        let name = self.part(part);
        let table = self.floats(&name, known.len())?;
        let same = table.iter().zip(known).all(|(a, b)| (a - b).abs() <= TOLERANCE);
        same.then_some(()).ok_or_else(|| format!("`{name}` is not bitsandbytes' table"))
    }

    fn misfit(&self) -> String {
        format!("`{}` and its statistics do not fit the shape {:?}", self.name, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::weights::read_safetensors;

    /// Both types, in every storage, with and without double quantization (goldens by reference/bnb_golden.py).
    #[test]
    fn four_bits_are_read_as_by_bitsandbytes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/four_bits.safetensors");
        let checkpoint = read_safetensors(Path::new(path)).unwrap();
        let names: Vec<_> =
            checkpoint.tensors.keys().filter_map(|name| name.strip_suffix(".weight")).collect();
        assert_eq!(names.len(), 2 * 4 * 2);
        for name in names {
            let weight = format!("{name}.weight");
            let matrix = find_quantized(&checkpoint, &weight, &[6, 64]).unwrap().unwrap();
            let wanted = checkpoint.tensors[&format!("{name}.values")].to_tensor().unwrap();
            let mut values = vec![0.0; wanted.len()];
            matrix.value.factor().copy_to_f32(0, &mut values);
            assert_eq!(values, wanted.data(), "{name}");
            let to = matrix.value.quantization().unwrap();
            assert!(name.starts_with(to.name()), "{name} is {to}");
            for part in matrix.names {
                assert!(checkpoint.tensors.contains_key(&part), "{part}");
            }
        }
    }
}
