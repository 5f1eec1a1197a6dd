//! Every kernel that this machine has against a plain product, and packing against packing.

use half::{bf16, f16};

use super::epilogue::{row_by_row, store};
use super::few_rows::{FewRowsKernel, multiply_few_rows};
use super::kernel::{Kernel, Portable};
use super::multiply::{SHARED_WORDS, multiply_with};
use super::packed::{PackedMatrix, multiply_packed_with};
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Matrix, Rows};
use crate::ops::testing::{assert_close, random_values};
use crate::tensor::{Elements, Factor, Quantization, QuantizedMatrix};

/// Calls `f` with every kernel that this machine has.
macro_rules! on_every_kernel {
    ($f:ident) => {
        $f(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            x86::Avx2::detect().map($f);
            x86::Avx512::detect().map($f);
            x86::Avx512Bf16::detect().map($f);
            x86::AmxBf16::detect().map($f);
        }
    };
}

/// A random matrix in one of the eight forms that a factor can have.
struct RandomMatrix {
    rows: usize,
    cols: usize,
    stride: usize,
    is_column_major: bool,
    in_f32: Vec<f32>,
    /// The same values, if the matrix is bf16.
    in_bf16: Option<Vec<bf16>>,
}

impl RandomMatrix {
    /// The bits of `form` choose column-major order, bf16, and gaps between rows.
    fn new(rows: usize, cols: usize, form: usize, seed: u64) -> Self {
        let (is_column_major, is_bf16) = (form & 1 == 1, form & 2 == 2);
        let (lines, length) = if is_column_major { (cols, rows) } else { (rows, cols) };
        let stride = length + (form & 4) * 2;
        let mut in_f32 = random_values(lines * stride, seed);
        let in_bf16 = is_bf16.then(|| {
            let in_bf16: Vec<_> = in_f32.iter().map(|&x| bf16::from_f32(x)).collect();
            in_f32 = in_bf16.iter().map(|x| x.to_f32()).collect();
            in_bf16
        });
        Self { rows, cols, stride, is_column_major, in_f32, in_bf16 }
    }

    fn at(&self, row: usize, col: usize) -> f32 {
        let (line, at) = if self.is_column_major { (col, row) } else { (row, col) };
        self.in_f32[line * self.stride + at]
    }

    fn matrix(&self) -> Matrix<'_> {
        let data = match &self.in_bf16 {
            Some(data) => Elements::Bf16(data),
            None => Elements::F32(&self.in_f32),
        };
        if self.is_column_major {
            Matrix::new(data, self.cols, self.rows, self.stride).transposed()
        } else {
            Matrix::new(data, self.rows, self.cols, self.stride)
        }
    }
}

/// `a b`, one element at a time in f64, of factors that are rounded to bf16 first if `pairs`.
fn plain_product(a: &RandomMatrix, b: &RandomMatrix, pairs: bool) -> Vec<f32> {
    let round = |x: f32| if pairs { bf16::from_f32(x).to_f32() } else { x };
    let dot = |i: usize, j: usize| {
        let term = |k| f64::from(round(a.at(i, k))) * f64::from(round(b.at(k, j)));
        (0..a.cols).map(term).sum::<f64>() as f32
    };
    (0..a.rows).flat_map(|i| (0..b.cols).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).collect()
}

fn multiply<K: Kernel>(kernel: K, a: &RandomMatrix, b: &RandomMatrix) -> Vec<f32> {
    let mut out = vec![f32::NAN; a.rows * b.cols];
    // SAFETY: One product of the size of `out`, which nothing else uses meanwhile.
    let epilogue = unsafe { store(Rows::new(&mut out, b.cols)) };
    multiply_with(kernel, a.matrix(), b.matrix(), &row_by_row(epilogue));
    out
}

/// [`multiply`] with the first `cols` columns of a right factor that was packed beforehand.
fn multiply_packed<K: Kernel>(
    kernel: K,
    a: &RandomMatrix,
    b: &RandomMatrix,
    cols: usize,
) -> Vec<f32> {
    let packed = PackedMatrix::packed_with(kernel, b.matrix());
    let mut out = vec![f32::NAN; a.rows * cols];
    // SAFETY: One product of the size of `out`, which nothing else uses meanwhile.
    let epilogue = unsafe { store(Rows::new(&mut out, cols)) };
    multiply_packed_with(kernel, a.matrix(), &packed, cols, &row_by_row(epilogue));
    out
}

#[test]
fn kernels_match_the_plain_product_in_every_form() {
    fn check<K: Kernel>(kernel: K) {
        let shapes = [
            (1, 1, 1),
            (1, 33, 2),
            (13, 31, 15),
            (14, 32, 16),
            (15, 33, 17),
            (29, 65, 31),
            (7, 300, 33),
            (300, 7, 5),
            (3, 5, 2 * K::BLOCK_WORDS + 3),
        ];
        for (m, n, k) in shapes {
            for form in 0..64 {
                let a = RandomMatrix::new(m, k, form % 8, 1);
                let b = RandomMatrix::new(k, n, form / 8, 2);
                let got = multiply(kernel, &a, &b);
                assert_close(&got, &plain_product(&a, &b, K::BF16_PAIRS), 1e-5);
                assert!(multiply_packed(kernel, &a, &b, n) == got);
            }
        }
    }
    on_every_kernel!(check);
}

#[test]
fn threads_and_blocks_change_no_bit() {
    fn check<K: Kernel>(kernel: K) {
        // More rows than a task has, more inner words than a block and more columns than are packed at
        // once, so that every loop has several iterations.
        let m = 2 * K::MAX_ROW_PANELS * K::TILE_ROWS + 5;
        let k = 2 * K::BLOCK_WORDS + 40;
        let n = SHARED_WORDS / K::words_per_row(k) + 3 * K::TILE_COLS + 1;
        let (a, b) = (RandomMatrix::new(m, k, 0, 3), RandomMatrix::new(k, n, 1, 4));
        let want = multiply_packed(kernel, &a, &b, n);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a thread pool");
            let got = pool.install(|| multiply(kernel, &a, &b));
            assert!(got == want, "{threads} threads");
        }
        let few_rows = RandomMatrix::new(3, k, 0, 3);
        assert!(multiply(kernel, &few_rows, &b) == want[..3 * n]);
    }
    on_every_kernel!(check);
}

/// The sums of the first `rows` rows of `a` times the rows of `columns`, as few rows and as many rows.
fn few_and_many_rows<K: FewRowsKernel>(
    kernel: K,
    a: &RandomMatrix,
    columns: Matrix<'_>,
) -> [Vec<f32>; 2] {
    let b = columns.transposed();
    [true, false].map(|few| {
        let multiply = if few { multiply_few_rows } else { multiply_with };
        let mut out = vec![f32::NAN; a.rows * b.cols()];
        // SAFETY: One product of the size of `out`, which nothing else uses meanwhile.
        let epilogue = unsafe { store(Rows::new(&mut out, b.cols())) };
        multiply(kernel, a.matrix(), b, &row_by_row(epilogue));
        out
    })
}

/// Nothing may depend on how many rows a product has: predictions do not depend on the batch.
#[test]
fn few_rows_have_the_bits_of_many() {
    fn check<K: FewRowsKernel>(kernel: K) {
        let mut form = 0;
        for inner in [1, 15, 17, 31, 33, 64, 128, 130, 192, 320] {
            for cols in [1, 15, 17, 31, 33, 64, 65, 129] {
                for rows in [1, 2, 3, 13, 14, 15, 16] {
                    form = (form + 3) % 8;
                    let a = RandomMatrix::new(rows, inner, form & 2 | form & 4, 1);
                    // Columns of `b` are contiguous.
                    let b = RandomMatrix::new(inner, cols, form | 1, 2);
                    let [few, many] = few_and_many_rows(kernel, &a, b.matrix().transposed());
                    assert!(few == many, "{rows} rows, {cols} columns of {inner}, form {form}");
                    assert_close(&few, &plain_product(&a, &b, K::BF16_PAIRS), 1e-5);
                }
            }
        }
    }
    on_every_kernel!(check);
}

#[test]
fn few_rows_times_narrow_factors_have_the_bits_of_many() {
    fn check<K: FewRowsKernel>(kernel: K) {
        // An inner dimension above 128 has several chunks, and one above 256 reuses their buffers.
        for (i, inner) in [1, 15, 33, 64, 128, 192, 320, 576].into_iter().enumerate() {
            for (j, cols) in [1, 31, 33, 64, 100].into_iter().enumerate() {
                let rows = 1 + (5 * i + 3 * j) % 16;
                let a = RandomMatrix::new(rows, inner, 0, 1);
                for (name, factor) in NarrowFactors::new(cols, inner).all() {
                    let columns = Matrix::new(factor, cols, inner, inner);
                    let [few, many] = few_and_many_rows(kernel, &a, columns);
                    assert!(few == many, "{rows} rows, {cols} columns of {inner} in {name}");
                    let mut in_f32 = vec![0.0; cols * inner];
                    factor.copy_to_f32(0, &mut in_f32);
                    let b = RandomMatrix { in_f32, ..RandomMatrix::new(inner, cols, 1, 2) };
                    assert_close(&few, &plain_product(&a, &b, K::BF16_PAIRS), 1e-5);
                }
            }
        }
    }
    on_every_kernel!(check);
}

#[test]
fn threads_change_no_bit_of_few_rows() {
    fn check<K: FewRowsKernel>(kernel: K) {
        let a = RandomMatrix::new(3, 320, 0, 3);
        let factors = NarrowFactors::new(500, 320);
        let columns = Matrix::new(factors.all()[2].1, 500, 320, 320);
        let [want, _] = few_and_many_rows(kernel, &a, columns);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a thread pool");
            let [got, _] = pool.install(|| few_and_many_rows(kernel, &a, columns));
            assert!(got == want, "{threads} threads");
        }
    }
    on_every_kernel!(check);
}

/// With causal order a query attends to some of the keys: a product then has fewer inner rows, or fewer
/// columns, than were packed.
#[test]
fn a_part_of_a_packed_matrix_can_be_multiplied() {
    fn check<K: Kernel>(kernel: K) {
        for (m, n, k) in [(5, 70, 9), (15, 33, 40), (1, 3, 1)] {
            let whole = || RandomMatrix::new(k + 6, n + 40, 0, 6);
            let a = RandomMatrix::new(m, k, 4, 5);
            let part = RandomMatrix { rows: k, cols: n, ..whole() };
            let got = multiply_packed(kernel, &a, &whole(), n);
            assert_close(&got, &plain_product(&a, &part, K::BF16_PAIRS), 1e-5);
        }
    }
    on_every_kernel!(check);
}

/// All left and all right panels of `m`, packed `together` panels at a time.
fn pack_all<K: Kernel>(kernel: K, m: Matrix<'_>, together: usize) -> Vec<u32> {
    let words = K::words_per_row(m.cols());
    let mut all = Vec::new();
    let mut add = |width: usize, pack: &dyn Fn(usize, &mut [u32])| {
        let mut panels = vec![u32::MAX; m.rows().div_ceil(width) * words * width];
        for (i, panels) in panels.chunks_mut(together * words * width).enumerate() {
            pack(i * together * width, panels);
        }
        all.extend(panels);
    };
    add(K::TILE_ROWS, &|first, out| kernel.pack_left(m, first, out));
    add(K::TILE_COLS, &|first, out| kernel.pack_right(m, first, out));
    all
}

#[track_caller]
fn assert_packed_alike<K: Kernel>(kernel: K, a: Matrix<'_>, b: Matrix<'_>) {
    let want = pack_all(kernel, b, 1);
    for together in [1, 2, 100] {
        assert!(pack_all(kernel, a, together) == want, "{together} panels");
    }
}

/// A random matrix in each storage that only products read.
struct NarrowFactors {
    in_f16: Vec<f16>,
    quantized: [QuantizedMatrix; 4],
}

impl NarrowFactors {
    fn new(rows: usize, cols: usize) -> Self {
        let values = random_values(rows * cols, 3);
        let in_f16 = values.iter().map(|&x| f16::from_f32(x)).collect();
        let [int8, nf4] = Quantization::ALL.map(|to| {
            QuantizedMatrix::quantize(Factor::F32(&values), rows, cols, to)
                .expect("all values are finite")
        });
        let absmax = vec![0.7; (rows * cols).div_ceil(64)];
        let codes: Vec<u8> = (0..(rows * cols).div_ceil(2)).map(|i| (i * 37) as u8).collect();
        let not_nested = QuantizedMatrix::nf4(rows, cols, codes.into(), absmax)
            .expect("codes and absmax have the right lengths");
        let fp4 = not_nested.clone().as_fp4();
        assert_eq!(fp4.quantization(), Quantization::Fp4);
        Self { in_f16, quantized: [int8, nf4, not_nested, fp4] }
    }

    fn all(&self) -> [(&'static str, Factor<'_>); 5] {
        let [int8, nf4, not_nested, fp4] = self.quantized.each_ref().map(QuantizedMatrix::factor);
        [
            ("f16", Factor::F16(&self.in_f16)),
            ("int8", int8),
            ("nf4", nf4),
            ("nf4 that is not nested", not_nested),
            ("fp4", fp4),
        ]
    }
}

#[test]
fn f16_and_quantized_factors_are_packed_like_their_f32_values() {
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
            for (_, factor) in NarrowFactors::new(rows, cols).all() {
                let mut in_f32 = vec![0.0; rows * cols];
                factor.copy_to_f32(0, &mut in_f32);
                let original = Matrix::new(factor, rows, cols, cols);
                let converted = Matrix::dense(&in_f32, rows, cols);
                assert_packed_alike(kernel, original, converted);
                assert_packed_alike(kernel, original.transposed(), converted.transposed());
            }
        }
    }
    on_every_kernel!(check);
}

/// Kernels load without bounds checks, so that panels outside the matrix must be refused.
#[test]
fn panels_outside_the_matrix_are_refused() {
    fn check<K: Kernel>(kernel: K) {
        let values = random_values(40 * 40, 1);
        let m = Matrix::dense(&values, 40, 40);
        let panel = K::words_per_row(40) * K::TILE_COLS;
        let refuses = |first: usize, words: usize| {
            let mut out = vec![0; words];
            let pack = std::panic::AssertUnwindSafe(|| kernel.pack_right(m, first, &mut out));
            std::panic::catch_unwind(pack).is_err()
        };
        assert!(!refuses(0, panel) && !refuses(39, panel));
        assert!(refuses(40, panel) && refuses(39, 3 * panel));
    }
    on_every_kernel!(check);
}
