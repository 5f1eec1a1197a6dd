//! A frozen matrix as codes, for products with it and with its transpose.

use std::sync::OnceLock;

use super::panels::{CodePanels, GROUP, PANEL};

/// The weight `[out, in]` of a frozen linear layer as codes.
///
/// The forward product `x Wᵀ` sums over `in` and has groups along it; the input's gradient `dy W` sums over
/// `out` and needs groups along that. The codes for the forward are the matrix. Those for the backward are
/// made of them when they are first needed, and kept.
#[derive(Debug, Clone)]
pub struct CodeMatrix {
    out: usize,
    inner: usize,
    forward: CodePanels,
    backward: OnceLock<CodePanels>,
}

impl CodeMatrix {
    /// Quantizes a matrix `[out, in]`. `copy(start, values)` copies its elements from index `start` on,
    /// row-major, into `values`.
    pub fn quantize(out: usize, inner: usize, copy: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        let forward = CodePanels::quantize(inner, out, |first, col, block| {
            let len = GROUP.min(inner - first);
            for (values, o) in block.iter_mut().zip(col..out) {
                copy(o * inner + first, &mut values[..len]);
            }
        });
        Self { out, inner, forward, backward: OnceLock::new() }
    }

    /// The transpose `[in, out]`: the right factor of the forward product.
    pub fn forward(&self) -> &CodePanels {
        &self.forward
    }

    /// The matrix `[out, in]` itself: the right factor of the product for the input's gradient. The first
    /// call makes it.
    pub fn backward(&self) -> &CodePanels {
        self.backward.get_or_init(|| {
            CodePanels::quantize(self.out, self.inner, |first, col, block| {
                let rows = GROUP.min(self.out - first);
                let cols = PANEL.min(self.inner - col);
                let mut row = [0.0; PANEL];
                for o in 0..rows {
                    self.forward.copy_column(first + o, col, &mut row[..cols]);
                    for (values, x) in block.iter_mut().zip(row) {
                        values[o] = x;
                    }
                }
            })
        })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.out * self.inner
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.out, self.inner]
    }

    /// Copies the elements from index `start` on, row-major, into `out`.
    pub(in crate::tensor) fn copy_to_f32(&self, start: usize, out: &mut [f32]) {
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let (row, col) = (at / self.inner, at % self.inner);
            let run = out.len().min(self.inner - col);
            let (now, rest) = out.split_at_mut(run);
            self.forward.copy_column(row, col, now);
            (at, out) = (at + run, rest);
        }
    }

    /// The bytes of the codes for the forward product of a matrix `[out, in]`.
    pub fn forward_bytes(out: usize, inner: usize) -> usize {
        CodePanels::bytes(inner, out)
    }

    /// The bytes of the codes for the backward product.
    pub fn backward_bytes(out: usize, inner: usize) -> usize {
        CodePanels::bytes(out, inner)
    }
}

impl PartialEq for CodeMatrix {
    /// Whether they are the same matrix in memory.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 131 + i / 7) % 509) as f32 / 254.0 - 1.0).collect()
    }

    fn quantize(values: &[f32], out: usize, inner: usize) -> CodeMatrix {
        CodeMatrix::quantize(out, inner, |start, to| {
            to.copy_from_slice(&values[start..][..to.len()])
        })
    }

    #[test]
    fn codes_are_close_to_the_matrix_in_both_directions() {
        for (out, inner) in [(1, 1), (15, 33), (33, 130), (130, 65), (64, 128), (257, 31)] {
            let values = values(out * inner);
            let matrix = quantize(&values, out, inner);
            let mut again = vec![f32::NAN; out * inner];
            matrix.copy_to_f32(0, &mut again);
            assert!(again.iter().zip(&values).all(|(a, b)| (a - b).abs() <= 0.5 / 127.0 + 1e-6));
            // From the middle of a row on, over several rows.
            let start = inner / 2;
            let mut part = vec![f32::NAN; out * inner - start];
            matrix.copy_to_f32(start, &mut part);
            assert_eq!(part, again[start..]);
            for col in 0..inner {
                let mut column = vec![f32::NAN; out];
                matrix.backward().copy_column(col, 0, &mut column);
                for (o, x) in column.iter().enumerate() {
                    assert!((x - again[o * inner + col]).abs() <= 0.5 / 127.0 + 1e-6);
                }
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_panels() {
        let matrix = quantize(&values(70 * 300), 70, 300);
        for (panels, bytes) in [
            (matrix.forward(), CodeMatrix::forward_bytes(70, 300)),
            (matrix.backward(), CodeMatrix::backward_bytes(70, 300)),
        ] {
            assert_eq!(panels.held_bytes(), bytes);
        }
    }

    #[test]
    fn an_outlier_coarsens_its_group_alone() {
        let mut values = values(2 * 4 * GROUP);
        values[GROUP + 3] = 1000.0;
        let matrix = quantize(&values, 2, 4 * GROUP);
        let mut again = vec![0.0; values.len()];
        matrix.copy_to_f32(0, &mut again);
        for (i, (a, b)) in again.iter().zip(&values).enumerate() {
            let scale = if i / GROUP == 1 { 1000.0 } else { 1.0 };
            assert!((a - b).abs() <= scale * 0.5 / 127.0 + 1e-6, "{i}");
        }
    }
}
