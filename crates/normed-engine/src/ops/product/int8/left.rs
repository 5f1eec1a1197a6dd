//! Packing rows of the left factor: an f32 or bf16 row becomes codes and scales, group by group.

use super::kernel::{CodeKernel, LINES_PER_ROW};
use crate::ops::product::matrix::Matrix;
use crate::ops::simd::with_simd;
use crate::tensor::{CodeLine, Factor, GROUP, quantize_group};

/// The packed left rows of a task.
#[derive(Debug, Default)]
pub(super) struct LeftPanels {
    /// `[panels][groups][TILE_ROWS][GROUP]`.
    codes: Vec<CodeLine>,
    /// `[panels][groups][TILE_ROWS]`.
    scales: Vec<f32>,
}

impl LeftPanels {
    /// Packs the rows `first..end` of `a`. Rows beyond `end` in the last panel are unspecified.
    ///
    /// # Panics
    /// If the rows of `a` are not contiguous f32 or bf16.
    pub fn pack<K: CodeKernel>(&mut self, _: K, a: Matrix<'_>, first: usize, end: usize) {
        let (inner, groups) = (a.cols(), a.cols().div_ceil(GROUP));
        let panels = (end - first).div_ceil(K::TILE_ROWS);
        let rows = panels * groups * K::TILE_ROWS;
        if self.scales.len() < rows {
            self.codes.resize(rows * LINES_PER_ROW, CodeLine([0; 64]));
            self.scales.resize(rows, 0.0);
        }
        assert!(!a.is_column_major(), "the left factor of a product in int8 is row-major");
        let (codes, scales) = (&mut *self.codes, &mut *self.scales);
        with_simd(
            #[inline(always)]
            || {
                for row in first..end {
                    let (panel, within) =
                        ((row - first) / K::TILE_ROWS, (row - first) % K::TILE_ROWS);
                    for group in 0..groups {
                        let at = (panel * groups + group) * K::TILE_ROWS + within;
                        let from = group * GROUP;
                        let len = GROUP.min(inner - from);
                        let mut values = [0.0; GROUP];
                        read(a.data(), row * a.stride() + from, &mut values[..len]);
                        let mut quantized = [0; GROUP];
                        scales[at] = quantize_group(&values, &mut quantized);
                        if K::UNSIGNED_LEFT {
                            quantized.iter_mut().for_each(|code| *code ^= i8::MIN);
                        }
                        let lines = &mut codes[at * LINES_PER_ROW..][..LINES_PER_ROW];
                        for (line, codes) in lines.iter_mut().zip(quantized.chunks_exact(64)) {
                            line.0.copy_from_slice(codes);
                        }
                    }
                }
            },
        );
    }

    /// The groups `from..to`, of `groups`, of a panel of `rows` rows.
    pub fn groups(
        &self,
        (panel, rows): (usize, usize),
        groups: usize,
        (from, to): (usize, usize),
    ) -> super::kernel::LeftGroups<'_> {
        let (start, end) = ((panel * groups + from) * rows, (panel * groups + to) * rows);
        super::kernel::LeftGroups {
            codes: &self.codes[start * LINES_PER_ROW..end * LINES_PER_ROW],
            scales: &self.scales[start..end],
        }
    }

    /// The bytes of `rows` packed rows of `inner` elements.
    pub fn bytes(rows: usize, inner: usize) -> usize {
        rows * inner.div_ceil(GROUP) * (GROUP + size_of::<f32>())
    }
}

/// Reads contiguous elements as f32.
#[inline(always)]
fn read(data: Factor<'_>, start: usize, out: &mut [f32]) {
    match data {
        Factor::F32(x) => out.copy_from_slice(&x[start..][..out.len()]),
        Factor::Bf16(x) => {
            let x = &x[start..][..out.len()];
            for i in 0..out.len() {
                // Exact for every bf16, and without the branch that `to_f32` has for NaN.
                out[i] = f32::from_bits(u32::from(x[i].to_bits()) << 16);
            }
        }
        Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_) => {
            panic!("the left factor of a product in int8 is f32 or bf16")
        }
    }
}
