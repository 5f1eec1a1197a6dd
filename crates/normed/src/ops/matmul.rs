//! Matrix products through the `gemm` crate.

use gemm::Parallelism;

/// A matrix inside a slice, by the strides of its rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major `[rows, cols]`, rows `stride` elements apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len());
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy)]
pub(super) enum Threads {
    /// All of rayon's.
    All,
    /// This one: the caller is itself one of many tasks.
    One,
}

/// `out = a b`, or `out += a b`. `out` is row-major, rows `out_stride` elements apart. Every
/// element is summed in the same order whatever the number of threads.
pub(super) fn matmul(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    out_stride: usize,
    accumulate: bool,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows);
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * out_stride + n <= out.len());
    // SAFETY: the bounds of `out` were just checked, those of `a` and `b` by `Matrix::new`.
    unsafe { matmul_raw(a, b, out.as_mut_ptr(), out_stride, accumulate, threads) };
}

/// [`matmul`] into memory of which other tasks write other elements.
///
/// # Safety
/// `out` must be valid for writes at every `i * out_stride + j`, `i < a.rows`, `j < b.cols`, and
/// nobody else may touch those elements meanwhile.
pub(super) unsafe fn matmul_raw(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    threads: Threads,
) {
    debug_assert_eq!(a.cols, b.rows);
    let parallelism = match threads {
        Threads::All => Parallelism::Rayon(0),
        Threads::One => Parallelism::None,
    };
    // SAFETY: by this function's contract and `Matrix::new`, all strides stay inside the buffers.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out,
            1,
            out_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::random;

    fn plain(m: usize, n: usize, k: usize, a: &[f32], b: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                out[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            }
        }
        out
    }

    #[test]
    fn equals_the_plain_product_in_every_orientation() {
        for (m, n, k) in [(1, 1, 1), (5, 7, 3), (33, 65, 17), (2, 128, 200)] {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let want = plain(m, n, k, &a, &b);
            let transposed = |x: &[f32], r: usize, c: usize| -> Vec<f32> {
                (0..r * c).map(|i| x[(i % r) * c + i / r]).collect()
            };
            let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
            for (a, b) in [
                (Matrix::new(&a, m, k, k), Matrix::new(&b, k, n, n)),
                (Matrix::new(&at, k, m, m).t(), Matrix::new(&bt, n, k, k).t()),
            ] {
                let mut out = vec![1.0; m * n];
                matmul(a, b, &mut out, n, false, Threads::All);
                assert!(out.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-4));
                matmul(a, b, &mut out, n, true, Threads::One);
                assert!(out.iter().zip(&want).all(|(x, y)| (x - 2.0 * y).abs() < 1e-4));
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (m, n, k) = (197, 311, 768);
        let (a, b) = (random(m * k, 3), random(n * k, 4));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut out = vec![0.0; m * n];
            let (a, b) = (Matrix::new(&a, m, k, k), Matrix::new(&b, n, k, k).t());
            pool.expect("a thread pool").install(|| matmul(a, b, &mut out, n, false, Threads::All));
            out
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
        assert_eq!(one, run(7));
    }
}
