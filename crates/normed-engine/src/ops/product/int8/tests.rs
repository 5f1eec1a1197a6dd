//! Every kernel that this machine has against plain sums of integers, to the bit.

use half::bf16;

use super::kernel::{CodeKernel, Portable};
use super::multiply::multiply_with;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::ops::product::epilogue::row_by_row;
use crate::ops::product::{Matrix, Rows};
use crate::ops::testing::{assert_close, random_values};
use crate::tensor::{CodeMatrix, CodePanels, Factor, GROUP, quantize_group};

/// Calls `f` with every kernel that this machine has.
macro_rules! on_every_kernel {
    ($f:ident) => {
        $f(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            x86::AvxVnni::detect().map($f);
            x86::Avx512Vnni::detect().map($f);
            x86::AmxInt8::detect().map($f);
        }
    };
}

/// Rows, columns and inner dimensions around those of tiles, panels, groups and blocks.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (15, 17, 31),
    (17, 33, 15),
    (31, 15, 33),
    (33, 31, 17),
    (13, 65, GROUP - 1),
    (14, 64, GROUP),
    (16, 32, GROUP + 1),
    (32, 31, 2 * GROUP),
    (29, 65, 3 * GROUP + 17),
    (3, 300, 2048 + 5),
    (65, 7, 4 * GROUP + 33),
];

fn multiply<K: CodeKernel>(kernel: K, a: Matrix<'_>, b: &CodePanels) -> Vec<f32> {
    let mut out = vec![f32::NAN; a.rows() * b.cols()];
    let rows = Rows::new(&mut out, b.cols());
    let epilogue = |row, col, sums: &[f32]| {
        // SAFETY: One product of the size of `out`, which nothing else uses meanwhile.
        let out = unsafe { rows.at(row, col, sums.len()) };
        assert!(out.iter().all(|x| x.is_nan()), "a sum is handed out a second time");
        out.copy_from_slice(sums);
    };
    multiply_with(kernel, a, b, &row_by_row(epilogue));
    out
}

/// The codes of a matrix `[out, inner]`.
fn quantize(matrix: &[f32], out: usize, inner: usize) -> CodeMatrix {
    CodeMatrix::quantize(out, inner, |start, to| Factor::F32(matrix).copy_to_f32(start, to))
}

/// Random codes that have the largest code in each group, so that quantizing gives them again.
fn random_codes(lines: usize, inner: usize, seed: u64) -> Vec<f32> {
    let random = random_values(lines * inner, seed);
    let mut codes: Vec<f32> = random.iter().map(|x| (x * 127.4).round()).collect();
    for line in codes.chunks_exact_mut(inner) {
        for (i, group) in line.chunks_mut(GROUP).enumerate() {
            let at = (i * 7 + seed as usize) % group.len();
            group[at] = if i % 2 == 0 { 127.0 } else { -127.0 };
        }
    }
    codes
}

/// With integers as factors all scales are 1, and each sum is exact.
#[test]
fn sums_of_integers_are_exact() {
    fn check<K: CodeKernel>(kernel: K) {
        for (m, n, k) in SHAPES {
            let (a, b) = (random_codes(m, k, 1), random_codes(n, k, 2));
            let codes = quantize(&b, n, k);
            let got = multiply(kernel, Matrix::dense(&a, m, k), codes.forward());
            for (i, row) in a.chunks_exact(k).enumerate() {
                for (j, column) in b.chunks_exact(k).enumerate() {
                    let want: i64 =
                        row.iter().zip(column).map(|(a, b)| *a as i64 * *b as i64).sum();
                    assert_eq!(got[i * n + j] as i64, want, "[{i}, {j}] of {m} x {n} x {k}");
                }
            }
        }
    }
    on_every_kernel!(check);
}

/// The largest sums that a group can have.
#[test]
fn nothing_saturates() {
    fn check<K: CodeKernel>(kernel: K) {
        for (left, right) in [(127.0, 127.0), (127.0, -127.0), (-127.0, 127.0), (-127.0, -127.0)] {
            let (a, b) = (vec![left; 17 * GROUP], vec![right; 33 * GROUP]);
            let codes = quantize(&b, 33, GROUP);
            let got = multiply(kernel, Matrix::dense(&a, 17, GROUP), codes.forward());
            assert!(got.iter().all(|x| *x == left * right * GROUP as f32));
        }
    }
    on_every_kernel!(check);
}

/// Groups in order, each an integer sum times both scales: what every kernel must give to the bit.
fn plain_product(a: &[f32], b: &CodePanels, inner: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in a.chunks_exact(inner) {
        let mut sums = vec![0.0f32; b.cols()];
        for (group, values) in row.chunks(GROUP).enumerate() {
            let mut codes = [0; GROUP];
            let scale = quantize_group(values, &mut codes[..values.len()]);
            for (col, sum) in sums.iter_mut().enumerate() {
                let (panel, within) = (col / 32, col % 32);
                let right = b.codes(panel, group, group + 1);
                let product: i32 = (0..GROUP)
                    .map(|k| {
                        let at = (k / 4 * 32 + within) * 4 + k % 4;
                        i32::from(codes[k]) * i32::from(right[at / 64].0[at % 64])
                    })
                    .sum();
                let scaled = product as f32 * b.scales(panel, group, group + 1)[within];
                *sum = scaled.mul_add(scale, *sum);
            }
        }
        out.extend(sums);
    }
    out
}

#[test]
fn kernels_equal_the_plain_product_to_the_bit_in_both_directions() {
    fn check<K: CodeKernel>(kernel: K) {
        for (m, n, k) in SHAPES {
            let (a, b) = (random_values(m * k, 3), random_values(n * k, 4));
            let codes = quantize(&b, n, k);
            let got = multiply(kernel, Matrix::dense(&a, m, k), codes.forward());
            assert!(got == plain_product(&a, codes.forward(), k), "{m} x {n} x {k}");
            let exact: Vec<f32> = (0..m * n)
                .map(|i| (0..k).map(|l| a[i / n * k + l] * b[i % n * k + l]).sum())
                .collect();
            // Each factor is off by at most 1/254; the errors of many are of either sign.
            assert_close(&got, &exact, 0.04);

            let dy = random_values(m * n, 5);
            let got = multiply(kernel, Matrix::dense(&dy, m, n), codes.backward());
            assert!(got == plain_product(&dy, codes.backward(), n), "{m} x {k} x {n}");
        }
    }
    on_every_kernel!(check);
}

/// Left factors in bf16 and with gaps between their rows.
#[test]
fn every_left_factor_is_read() {
    fn check<K: CodeKernel>(kernel: K) {
        let (m, n, k, stride) = (17, 33, GROUP + 15, GROUP + 20);
        let b = random_values(n * k, 4);
        let codes = quantize(&b, n, k);
        let in_bf16: Vec<_> =
            random_values(m * stride, 3).iter().map(|&x| bf16::from_f32(x)).collect();
        let in_f32: Vec<f32> = in_bf16.iter().map(|x| x.to_f32()).collect();
        let dense: Vec<f32> =
            in_f32.chunks_exact(stride).flat_map(|row| row[..k].to_vec()).collect();
        let want = multiply(kernel, Matrix::dense(&dense, m, k), codes.forward());
        for factor in [Factor::Bf16(&in_bf16), Factor::F32(&in_f32)] {
            let a = Matrix::new(factor, m, k, stride);
            assert!(multiply(kernel, a, codes.forward()) == want);
        }
    }
    on_every_kernel!(check);
}

#[test]
fn threads_change_no_bit() {
    fn check<K: CodeKernel>(kernel: K) {
        let (m, n, k) = (2 * K::MAX_ROW_PANELS * K::TILE_ROWS + 5, 70, 2048 + 40);
        let (a, b) = (random_values(m * k, 6), random_values(n * k, 7));
        let codes = quantize(&b, n, k);
        let on = |threads: usize, rows: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let a = Matrix::dense(&a[..rows * k], rows, k);
            pool.expect("a thread pool").install(|| multiply(kernel, a, codes.forward()))
        };
        let want = on(1, m);
        for threads in [2, 3, 7] {
            assert!(on(threads, m) == want, "{threads} threads");
        }
        assert!(on(2, 3) == want[..3 * n]);
    }
    on_every_kernel!(check);
}

#[test]
fn what_is_not_finite_stays_so() {
    fn check<K: CodeKernel>(kernel: K) {
        let codes = quantize(&[1.0; 2 * GROUP], 2, GROUP);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut a = vec![1.0; 2 * GROUP];
            a[GROUP + 5] = bad;
            let got = multiply(kernel, Matrix::dense(&a, 2, GROUP), codes.forward());
            assert!(got[..2].iter().all(|x| x.is_finite()));
            assert!(got[2..].iter().all(|x| !x.is_finite()));
        }
    }
    on_every_kernel!(check);
}
