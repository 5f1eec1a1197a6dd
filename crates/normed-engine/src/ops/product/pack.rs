//! Packing, the plain version: any kernel's layout and any factor, one word at a time.
//!
//! A panel holds `width` neighbouring rows of a matrix as `[words][width]`: word `w` of a row is its
//! element `w`, or its elements `2w` and `2w + 1` as bf16. Rows and columns beyond the matrix are 0.

use half::bf16;

use super::matrix::Matrix;
use crate::tensor::Factor;

/// Which rows of a matrix go into panels, and how.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// The first row of the first panel.
    pub first: usize,
    /// Rows of a panel.
    pub width: usize,
    /// Words of a row: those beyond the matrix are 0.
    pub words: usize,
}

/// Packs rows of `m` into as many panels as `out` holds.
#[inline(always)]
pub(super) fn pack<const PAIRS: bool>(m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
    let Cut { width, words, .. } = cut;
    for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
        let first = cut.first + i * width;
        match m.data() {
            Factor::F32(x) => pack_elements::<PAIRS, _>(x, |x| x, m, first, width, out),
            Factor::Bf16(x) => pack_elements::<PAIRS, _>(x, bf16::to_f32, m, first, width, out),
            Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) if m.by_columns() => {
                pack_columns::<PAIRS>(m, first, width, out);
            }
            Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) => {
                pack_rows::<PAIRS>(m, first, width, out);
            }
        }
    }
}

#[inline(always)]
fn pack_elements<const PAIRS: bool, T: Copy>(
    data: &[T],
    wide: impl Fn(T) -> f32,
    m: Matrix<'_>,
    first: usize,
    width: usize,
    out: &mut [u32],
) {
    let height = width.min(m.rows() - first);
    let (along_row, along_col) = if m.by_columns() { (1, m.stride()) } else { (m.stride(), 1) };
    let at = |row: usize, k: usize| {
        if k < m.cols() { wide(data[(first + row) * along_row + k * along_col]) } else { 0.0 }
    };
    for (w, out) in out.chunks_exact_mut(width).enumerate() {
        out[height..].fill(0);
        for (row, out) in out[..height].iter_mut().enumerate() {
            *out =
                if PAIRS { pair(at(row, 2 * w), at(row, 2 * w + 1)) } else { at(row, w).to_bits() };
        }
    }
}

/// A word of two numbers, rounded.
#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    let [low, high] = [low, high].map(|x| u32::from(bf16::from_f32(x).to_bits()));
    low | high << 16
}

/// Elements that are widened at a time: what shares a scale is then looked at once.
const RUN: usize = 64;

/// Rows that are contiguous.
#[inline(always)]
fn pack_rows<const PAIRS: bool>(m: Matrix<'_>, first: usize, width: usize, out: &mut [u32]) {
    let height = width.min(m.rows() - first);
    let per_word = if PAIRS { 2 } else { 1 };
    out.chunks_exact_mut(width).for_each(|out| out[height..].fill(0));
    out[m.cols().div_ceil(per_word) * width..].fill(0);
    let mut run = [0.0; RUN];
    for row in 0..height {
        for from in (0..m.cols()).step_by(RUN) {
            let part = (m.cols() - from).min(RUN);
            m.data().widen((first + row) * m.stride() + from, &mut run[..part]);
            run[part..].fill(0.0);
            let words = out[from / per_word * width + row..].iter_mut().step_by(width);
            for (out, x) in words.zip(run.chunks_exact(per_word)) {
                *out = if PAIRS { pair(x[0], x[1]) } else { x[0].to_bits() };
            }
        }
    }
}

/// Rows that lie along the panel.
#[inline(always)]
fn pack_columns<const PAIRS: bool>(m: Matrix<'_>, first: usize, width: usize, out: &mut [u32]) {
    let height = width.min(m.rows() - first);
    let per_word = if PAIRS { 2 } else { 1 };
    let mut runs = [[0.0; RUN]; 2];
    assert!(width <= RUN);
    for (w, out) in out.chunks_exact_mut(width).enumerate() {
        for (i, run) in runs[..per_word].iter_mut().enumerate() {
            let k = per_word * w + i;
            if k < m.cols() {
                m.data().widen(k * m.stride() + first, &mut run[..height]);
            } else {
                run[..height].fill(0.0);
            }
        }
        out[height..].fill(0);
        let [low, high] = &runs;
        for ((out, &low), &high) in out[..height].iter_mut().zip(low).zip(high) {
            *out = if PAIRS { pair(low, high) } else { low.to_bits() };
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::kernel::{Kernel, Portable};
    #[cfg(target_arch = "x86_64")]
    use super::super::x86;
    use super::*;
    use crate::ops::check::random;
    use crate::tensor::{Quantization, QuantizedMatrix};

    /// Every panel of `m`, of either width, `together` packed at a time.
    fn panels<K: Kernel>(kernel: K, m: Matrix<'_>, together: usize) -> Vec<u32> {
        let words = K::words(m.cols());
        let mut all = Vec::new();
        let mut add = |width: usize, pack: &dyn Fn(usize, &mut [u32])| {
            let mut panels = vec![u32::MAX; m.rows().div_ceil(width) * words * width];
            for (i, panels) in panels.chunks_mut(together * words * width).enumerate() {
                pack(i * together * width, panels);
            }
            all.extend(panels);
        };
        add(K::ROWS, &|first, out| kernel.pack_left(m, first, out));
        add(K::COLS, &|first, out| kernel.pack_right(m, first, out));
        all
    }

    #[track_caller]
    fn same<K: Kernel>(kernel: K, narrow: Matrix<'_>, wide: Matrix<'_>) {
        let want = panels(kernel, wide, 1);
        for together in [1, 2, 100] {
            assert!(panels(kernel, narrow, together) == want, "{together} panels");
        }
    }

    /// What is kept narrower than bf16, or otherwise, is packed as the f32 that it stands for.
    fn check<K: Kernel>(kernel: K) {
        let shapes = [
            (1, 1),
            (3, 5),
            (14, 64),
            (33, 128),
            (64, 33),
            (37, 192),
            (67, 50),
            (128, 320),
            (2, 65),
        ];
        for (rows, cols) in shapes {
            let wide = random(rows * cols, 3);
            let half: Vec<_> = wide.iter().map(|&x| f16::from_f32(x)).collect();
            let quantised = Quantization::ALL.map(|to| {
                QuantizedMatrix::quantize(Factor::F32(&wide), rows, cols, to)
                    .expect("all are finite")
            });
            let absmax = vec![0.7; (rows * cols).div_ceil(64)];
            let codes: Vec<u8> = (0..(rows * cols).div_ceil(2)).map(|i| (i * 37) as u8).collect();
            let plain = QuantizedMatrix::nf4(rows, cols, codes.into(), absmax).expect("it fits");
            let factors =
                [Factor::F16(&half), quantised[0].factor(), quantised[1].factor(), plain.factor()];
            for factor in factors {
                let mut widened = vec![0.0; rows * cols];
                factor.widen(0, &mut widened);
                let narrow = Matrix::new(factor, rows, cols, cols);
                let wide = Matrix::dense(&widened, rows, cols);
                same(kernel, narrow, wide);
                same(kernel, narrow.transposed(), wide.transposed());
            }
        }
    }

    #[test]
    fn narrow_factors_are_packed_as_what_they_stand_for() {
        check(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            x86::Avx2::detect().into_iter().for_each(check);
            x86::Avx512::detect().into_iter().for_each(check);
            x86::Avx512Bf16::detect().into_iter().for_each(check);
            x86::AmxBf16::detect().into_iter().for_each(check);
        }
    }
}
