//! The codes of a right factor `[inner, cols]` in panels of columns, as the kernels of products read them.

use std::fmt;

use rayon::prelude::*;

use super::quantize::quantize_group;

/// Neighbors along the inner dimension that share a scale.
pub const GROUP: usize = 128;
/// Columns of a panel.
pub const PANEL: usize = 32;
/// Codes of one column that are next to each other in a panel: what an instruction multiplies and adds.
const TOGETHER: usize = 4;
/// Cache lines of a group of a panel.
pub const LINES_PER_GROUP: usize = GROUP * PANEL / 64;
/// Columns of which a line has codes.
const COLS_PER_LINE: usize = 64 / TOGETHER;

/// 64 codes, aligned to a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct CodeLine(pub [i8; 64]);

/// A right factor `[inner, cols]` of products in int8: codes, scales and sums of codes, in panels of
/// [`PANEL`] columns. Elements beyond the edges are zeros.
///
/// The codes of a panel are `[groups][GROUP / 4][PANEL][4]`: four neighbors along the inner dimension are
/// next to each other. Its scales and its sums are `[groups][PANEL]`.
#[derive(Clone)]
pub struct CodePanels {
    inner: usize,
    cols: usize,
    codes: Vec<CodeLine>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl CodePanels {
    /// Quantizes a matrix in parallel. `read(inner, col, block)` writes the elements from the inner index
    /// `inner` and the column `col` on into `block`, `[PANEL][GROUP]`: [`GROUP`] of each column. It leaves those beyond
    /// the edges as they are.
    pub(super) fn quantize(
        inner: usize,
        cols: usize,
        read: impl Fn(usize, usize, &mut [[f32; GROUP]; PANEL]) + Sync,
    ) -> Self {
        let groups = inner.div_ceil(GROUP);
        let panels = cols.div_ceil(PANEL);
        let mut codes = vec![CodeLine([0; 64]); panels * groups * LINES_PER_GROUP];
        let mut scales = vec![0.0; panels * groups * PANEL];
        let mut sums = vec![0; panels * groups * PANEL];
        let groups = groups.max(1);
        let each = codes
            .par_chunks_exact_mut(groups * LINES_PER_GROUP)
            .zip(scales.par_chunks_exact_mut(groups * PANEL))
            .zip(sums.par_chunks_exact_mut(groups * PANEL));
        each.enumerate().for_each(|(panel, ((codes, scales), sums))| {
            let of_groups = codes
                .chunks_exact_mut(LINES_PER_GROUP)
                .zip(scales.chunks_exact_mut(PANEL).zip(sums.chunks_exact_mut(PANEL)));
            for (group, (codes, (scales, sums))) in of_groups.enumerate() {
                let mut block = [[0.0; GROUP]; PANEL];
                read(group * GROUP, panel * PANEL, &mut block);
                for (col, values) in block.iter().enumerate() {
                    let mut column = [0; GROUP];
                    scales[col] = quantize_group(values, &mut column);
                    sums[col] = column.iter().map(|&code| i32::from(code)).sum();
                    for (k, four) in column.chunks_exact(TOGETHER).enumerate() {
                        let (line, at) = position(k, col);
                        codes[line].0[at..][..TOGETHER].copy_from_slice(four);
                    }
                }
            }
        });
        Self { inner, cols, codes, scales, sums }
    }

    /// The inner dimension.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The number of groups of each column.
    pub fn groups(&self) -> usize {
        self.inner.div_ceil(GROUP)
    }

    /// The codes of the groups `from..to` of a panel.
    pub fn codes(&self, panel: usize, from: usize, to: usize) -> &[CodeLine] {
        let start = panel * self.groups();
        &self.codes[(start + from) * LINES_PER_GROUP..(start + to) * LINES_PER_GROUP]
    }

    /// The scales of the groups `from..to` of a panel, `[to - from][PANEL]`.
    pub fn scales(&self, panel: usize, from: usize, to: usize) -> &[f32] {
        let start = panel * self.groups();
        &self.scales[(start + from) * PANEL..(start + to) * PANEL]
    }

    /// The sums of the codes of each group, as [`CodePanels::scales`].
    pub fn sums(&self, panel: usize, from: usize, to: usize) -> &[i32] {
        let start = panel * self.groups();
        &self.sums[(start + from) * PANEL..(start + to) * PANEL]
    }

    /// Writes the elements `[inner.., col]` of one column into `out`.
    pub(super) fn copy_column(&self, col: usize, inner: usize, out: &mut [f32]) {
        let (panel, col) = (col / PANEL, col % PANEL);
        let mut out = out;
        let mut at = inner;
        while !out.is_empty() {
            let (group, within) = (at / GROUP, at % GROUP);
            let run = out.len().min(GROUP - within);
            let (now, rest) = out.split_at_mut(run);
            let codes = self.codes(panel, group, group + 1);
            let scale = self.scales(panel, group, group + 1)[col];
            for (i, x) in (within..).zip(now) {
                let (line, at) = position(i / TOGETHER, col);
                *x = f32::from(codes[line].0[at + i % TOGETHER]) * scale;
            }
            (out, at) = (rest, at + run);
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        size_of_val(&*self.codes) + size_of_val(&*self.scales) + size_of_val(&*self.sums)
    }

    /// The bytes of the panels of a matrix `[inner, cols]`.
    pub fn bytes(inner: usize, cols: usize) -> usize {
        let groups = inner.div_ceil(GROUP) * cols.div_ceil(PANEL);
        groups * PANEL * (GROUP + size_of::<f32>() + size_of::<i32>())
    }
}

/// Where the codes `4 * k..4 * k + 4` of a column of a group lie: the line, and the first position in it.
fn position(k: usize, col: usize) -> (usize, usize) {
    (k * PANEL / COLS_PER_LINE + col / COLS_PER_LINE, col % COLS_PER_LINE * TOGETHER)
}

impl fmt::Debug for CodePanels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codes [{}, {}]", self.inner, self.cols)
    }
}
