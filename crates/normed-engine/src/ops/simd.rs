//! Row kernels that the compiler vectorizes: written once, and compiled for every instruction set
//! that `pulp` detects at run time.
//!
//! Sums run over 16 lanes on every machine and use fused multiply-add throughout, so that all
//! machines compute the same bits.

use rayon::prelude::*;

use super::element::Element;
use crate::tensor::{Operation, Precision, Tensor};

/// Lanes of a sum: an AVX-512 register of f32.
const LANES: usize = 16;

/// Runs `f` compiled for the best instruction set of this machine.
///
/// Only code that is inlined into `f` is compiled for that instruction set, so arithmetic goes into
/// closures and functions marked `#[inline(always)]`, here and in the row loops below. Code that is
/// not inlined calls libm's `fmaf` for every `mul_add`: ten times slower with the same bits, so that
/// no test would notice.
#[inline]
pub(super) fn with_simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The sum of a row, over [`LANES`] lanes.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    fold(x, x, x, |acc, x, _, _| acc + x)
}

/// The dot product of two rows of the same length.
#[inline(always)]
pub(super) fn dot<T: Element>(x: &[f32], y: &[T]) -> f32 {
    fold(x, y, x, |acc, x, y, _| x.mul_add(y.to_f32(), acc))
}

/// Folds `f(sum, x, y, z)` over three rows in [`LANES`] lanes, then adds the lanes in order.
#[inline(always)]
pub(super) fn fold<A: Copy, B: Copy>(
    x: &[f32],
    y: &[A],
    z: &[B],
    f: impl Fn(f32, f32, A, B) -> f32,
) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (y, z) = (&y[..x.len()], &z[..x.len()]);
    let whole = x.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (x, y, z) = (&x[at..at + LANES], &y[at..at + LANES], &z[at..at + LANES]);
        for i in 0..LANES {
            lanes[i] = f(lanes[i], x[i], y[i], z[i]);
        }
    }
    for i in whole..x.len() {
        let lane = i - whole;
        lanes[lane] = f(lanes[lane], x[i], y[i], z[i]);
    }
    lanes.iter().sum()
}

/// The largest element of a row; negative infinity if the row is empty.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// `e^x` to about 1 ulp for `-87 <= x <= 88`. Arguments outside are clamped to that range.
///
/// Cody-Waite range reduction and a minimax polynomial of degree 6, from Cephes' `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p.mul_add(r, c);
    }
    let p = p.mul_add(r * r, r + 1.0);
    let scale = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(scale)
}

/// The error function `erf(x)`, to about 3e-7: a rational minimax approximation on [-4, 4], with the
/// coefficients that Eigen and XLA use.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-3.832_507, 3.832_507);
    let x2 = x * x;
    let mut p = -2.726_142_3e-10f32;
    for c in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p.mul_add(x2, c);
    }
    let mut q = -1.456_607_2e-5f32;
    for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        q = q.mul_add(x2, c);
    }
    x * p / q
}

/// Rows of a parallel task, so that a task has about 16,000 elements.
fn rows_per_task(width: usize) -> usize {
    (16_384 / width.max(1)).max(1)
}

/// Calls `f(i, row)` for every row of `out`, in parallel.
pub(super) fn for_each_row<T: Send>(
    out: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let block = rows_per_task(width);
    out.par_chunks_mut(block * width).enumerate().for_each(|(task, rows)| {
        with_simd(
            #[inline(always)]
            || {
                for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                    f(task * block + i, row);
                }
            },
        );
    });
}

/// Elements of a chunk in [`for_each_chunk`].
pub(super) const CHUNK: usize = 4096;

/// Calls `f(start, chunk)` for every chunk of [`CHUNK`] elements of `data`, in parallel. The last
/// chunk may be shorter.
pub(super) fn for_each_chunk<T: Send>(data: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    let whole = data.len() / CHUNK * CHUNK;
    let (head, tail) = data.split_at_mut(whole);
    for_each_row(
        head,
        CHUNK,
        #[inline(always)]
        |i, row| f(i * CHUNK, row),
    );
    if !tail.is_empty() {
        let width = tail.len();
        for_each_row(
            tail,
            width,
            #[inline(always)]
            |_, row| f(whole, row),
        );
    }
}

/// Calls `f(i, first_row, second_row)` for every row of two outputs, in parallel. The outputs may
/// have different widths.
pub(super) fn for_each_row_pair<A: Send, B: Send>(
    first: &mut [A],
    first_width: usize,
    second: &mut [B],
    second_width: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let block = rows_per_task(first_width);
    let first = first.par_chunks_mut(block * first_width);
    let tasks = first.zip(second.par_chunks_mut(block * second_width));
    tasks.enumerate().for_each(|(task, (first, second))| {
        with_simd(
            #[inline(always)]
            || {
                let second = second.chunks_exact_mut(second_width);
                for (i, (a, b)) in first.chunks_exact_mut(first_width).zip(second).enumerate() {
                    f(task * block + i, a, b);
                }
            },
        );
    });
}

/// Calls `f(i, first_row, second_row, value)` for every row of two outputs of one width and of a
/// third with one f32 a row, in parallel.
pub(super) fn for_each_row_triple<A: Send, B: Send>(
    first: &mut [A],
    second: &mut [B],
    width: usize,
    values: &mut [f32],
    f: impl Fn(usize, &mut [A], &mut [B], &mut f32) + Sync,
) {
    let block = rows_per_task(width);
    let rows = first.par_chunks_mut(block * width).zip(second.par_chunks_mut(block * width));
    let tasks = rows.zip(values.par_chunks_mut(block));
    tasks.enumerate().for_each(|(task, ((first, second), values))| {
        with_simd(
            #[inline(always)]
            || {
                let rows = first.chunks_exact_mut(width).zip(second.chunks_exact_mut(width));
                for (i, ((a, b), value)) in rows.zip(values).enumerate() {
                    f(task * block + i, a, b, value);
                }
            },
        );
    });
}

/// Sums over rows, `[width]`: `f(i, sums)` adds row `i` to `sums`, for each of `rows` rows.
///
/// Blocks of 64 rows are summed in parallel and added in order, so that the result does not depend on
/// the number of threads. The sums are planned and metered as `x` is.
pub(super) fn sum_rows(
    x: &Tensor,
    rows: usize,
    width: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Tensor {
    const BLOCK: usize = 64;
    let mut total = x.zeros_like(&[width]);
    let mut partial = x.empty_like(&[rows.div_ceil(BLOCK), width], Precision::F32);
    total.count(Operation::Elementwise(rows * width));
    if total.is_planned() {
        return total;
    }
    partial.data_mut().par_chunks_mut(width).enumerate().for_each(|(task, sums)| {
        sums.fill(0.0);
        with_simd(
            #[inline(always)]
            || {
                for i in task * BLOCK..((task + 1) * BLOCK).min(rows) {
                    f(i, sums);
                }
            },
        );
    });
    let totals = total.data_mut();
    for sums in partial.data().chunks_exact(width) {
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_to_a_few_ulp() {
        for i in -870..=880 {
            let x = i as f32 * 0.1;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 2e-38);
    }

    #[test]
    fn erf_is_accurate_to_rounding() {
        // The Maclaurin series in f64 is exact to 1e-12 on this range.
        let series = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..120 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for i in -380..=380 {
            let x = i as f32 * 0.01;
            assert!((f64::from(erf(x)) - series(f64::from(x))).abs() < 4e-7, "{x}");
        }
        assert!((erf(9.0) - 1.0).abs() < 2e-7);
    }

    #[test]
    fn reductions_cover_every_element() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum(&x), (n * n.saturating_sub(1) / 2) as f32);
            assert_eq!(max(&x), if n == 0 { f32::NEG_INFINITY } else { (n - 1) as f32 });
        }
        let total = sum_rows(&Tensor::zeros(&[130]), 130, 2, |i, s| {
            s[0] += i as f32;
            s[1] += 1.0;
        });
        assert_eq!(total.data(), [8385.0, 130.0]);
    }
}
