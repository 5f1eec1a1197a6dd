//! Matrix products with a fused last store: `epilogue(row, col, (A B)[row, col..])`.
//!
//! Both factors are packed on the fly into panels of 32-bit words, f32 or pairs of bf16 that are
//! neighbours along the inner dimension, so that a frozen weight stays once in memory, in the
//! checkpoint's orientation and precision, whichever side of it is needed. A micro-kernel multiplies a
//! panel of rows with one of columns in registers (Goto and van de Geijn 2008, "Anatomy of
//! high-performance matrix multiplication"); what happens to the sums is up to the caller.
//!
//! An element is summed from the first inner index to the last in an order that is the kernel's,
//! whatever the blocking and the number of threads: the same bits on any of them.

mod kernel;
mod lines;
mod matrix;
mod pack;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;

use rayon::prelude::*;

use kernel::{Kernel, Portable};
use lines::Lines;
pub(super) use matrix::{Matrix, Rows};

use super::number::Number;
use super::simd::vectorised;
use crate::tensor::Precision;

/// Words of the right factor that are packed at a time, by all threads: a good part of the last
/// level of cache.
const SHARED_WORDS: usize = 2 << 20;
/// Panels of it that a task packs.
const PACKED_TOGETHER: usize = 8;
/// Columns that a task walks through for every block of inner words.
const TASK_COLS: usize = 256;

thread_local! {
    /// The packed right factor. Taken while in use, so that a product within a product gets its own.
    static RIGHT: RefCell<Lines<u32>> = const { RefCell::new(Lines::new()) };
    /// A task's packed left rows, and its sums.
    static LEFT: RefCell<(Lines<u32>, Lines<f32>)> =
        const { RefCell::new((Lines::new(), Lines::new())) };
}

/// `f(kernel, ..)` with the best kernel that this processor has for products in `precision`.
macro_rules! with_kernel {
    ($precision:expr, $f:ident($($argument:expr),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            if $precision == Precision::Bf16 {
                if let Some(kernel) = x86::AmxBf16::detect() {
                    return $f(kernel, $($argument),*);
                }
                if let Some(kernel) = x86::Avx512Bf16::detect() {
                    return $f(kernel, $($argument),*);
                }
            }
            if let Some(kernel) = x86::Avx512::detect() {
                return $f(kernel, $($argument),*);
            }
            if let Some(kernel) = x86::Avx2::detect() {
                return $f(kernel, $($argument),*);
            }
        }
        $f(Portable, $($argument),*)
    }};
}

/// Calls `epilogue(row, col, sums)` once for every run of columns of every row of `a b`, from any
/// thread. The epilogue owns those elements of its output while it runs. It is compiled for every
/// instruction set, so it should be `#[inline(always)]` and leave the loops to the compiler.
///
/// `precision` is what factors are rounded to before they are multiplied, where the processor
/// multiplies bf16; sums are f32 in either case.
pub(super) fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    precision: Precision,
    epilogue: impl Fn(usize, usize, &[f32]) + Sync,
) {
    on_best_kernel(a, b, precision, &row_by_row(epilogue));
}

/// Apart from [`product`], so that kernels are compiled once and not for every epilogue.
fn on_best_kernel(a: Matrix<'_>, b: Matrix<'_>, precision: Precision, finish: Finish<'_>) {
    with_kernel!(precision, on_all_threads(a, b, finish))
}

fn on_all_threads<K: Kernel>(kernel: K, a: Matrix<'_>, b: Matrix<'_>, finish: Finish<'_>) {
    assert_eq!(a.cols(), b.rows(), "inner dimensions");
    let (rows, cols) = (a.rows(), b.cols());
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(a.cols() > 0, "a product of empty rows");
    let words = K::words(a.cols());
    let panel = K::COLS * words;
    let panels = cols.div_ceil(K::COLS);
    let at_once = (SHARED_WORDS / panel).clamp(1, panels);
    let columns = b.transposed();
    let mut right = RIGHT.take();
    right.grow(at_once * panel);
    for first in (0..panels).step_by(at_once) {
        let count = at_once.min(panels - first);
        let packed = &mut right.words_mut()[..count * panel];
        packed.par_chunks_mut(PACKED_TOGETHER * panel).enumerate().for_each(|(i, out)| {
            kernel.pack_right(columns, (first + i * PACKED_TOGETHER) * K::COLS, out);
        });
        let packed = Panels { words: &*packed, stride: panel };
        let grid = Grid::new::<K>(rows, count);
        (0..grid.tasks()).into_par_iter().with_max_len(1).for_each(|task| {
            let (from, to) = grid.panels(task);
            let block = Block { rows: grid.rows(task), col: (first + from) * K::COLS, cols };
            block.multiply(kernel, a, packed.range(from, to), words, finish);
        });
    }
    RIGHT.set(right);
}

/// A tile whose sums are whole.
struct Tile<'a> {
    row: usize,
    col: usize,
    height: usize,
    width: usize,
    sums: &'a [f32],
    /// From one row of sums to the next.
    stride: usize,
}

/// Takes tiles, from any thread.
type Finish<'a> = &'a (dyn Fn(Tile<'_>) + Sync);

/// Hands the rows of a tile to an epilogue.
fn row_by_row(epilogue: impl Fn(usize, usize, &[f32]) + Sync) -> impl Fn(Tile<'_>) + Sync {
    move |Tile { row, col, height, width, sums, stride }| {
        vectorised(
            #[inline(always)]
            || {
                for (r, sums) in sums.chunks_exact(stride).take(height).enumerate() {
                    match width {
                        // The same with a length that the compiler knows.
                        32 => epilogue(row + r, col, &sums[..32]),
                        16 => epilogue(row + r, col, &sums[..16]),
                        _ => epilogue(row + r, col, &sums[..width]),
                    }
                }
            },
        );
    }
}

/// An epilogue that writes the sums to `out`, whose elements must be the caller's own as long as the
/// product runs.
pub(super) fn store<T: Number>(out: Rows<T>) -> impl Fn(usize, usize, &[f32]) + Sync {
    #[inline(always)]
    move |row, col, sums| {
        // SAFETY: the caller's own; every element is handed out once.
        let out = unsafe { out.at(row, col, sums.len()) };
        for i in 0..sums.len() {
            out[i] = T::nearest(sums[i]);
        }
    }
}

/// A right factor, packed once for several products of one task: these run on the calling thread,
/// which is itself one of many.
#[derive(Debug)]
pub(super) struct Packed {
    words: Lines<u32>,
    rows: usize,
    cols: usize,
    precision: Precision,
}

impl Packed {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { words: Lines::new(), rows: 0, cols: 0, precision: Precision::F32 }
    }

    /// The bytes of a packed `[rows, cols]`.
    pub fn size(rows: usize, cols: usize, precision: Precision) -> usize {
        with_kernel!(precision, packed_size(rows, cols))
    }

    /// Packs `b` for products in `precision`, in the memory of what was packed before.
    pub fn pack(&mut self, b: Matrix<'_>, precision: Precision) {
        (self.rows, self.cols, self.precision) = (b.rows(), b.cols(), precision);
        with_kernel!(precision, pack_panels(b, &mut self.words));
    }

    /// As [`product`] of `a` and the first `a.cols()` rows and `cols` columns of what was packed.
    pub fn product(
        &self,
        a: Matrix<'_>,
        cols: usize,
        epilogue: impl Fn(usize, usize, &[f32]) + Sync,
    ) {
        assert!(a.cols() <= self.rows && cols <= self.cols, "more than was packed");
        self.on_best_kernel(a, cols, &row_by_row(epilogue));
    }

    fn on_best_kernel(&self, a: Matrix<'_>, cols: usize, finish: Finish<'_>) {
        with_kernel!(self.precision, on_this_thread(a, self, cols, finish));
    }
}

fn packed_size<K: Kernel>(_: K, rows: usize, cols: usize) -> usize {
    size_of::<u32>() * cols.next_multiple_of(K::COLS) * K::words(rows)
}

/// The bytes that all threads work in during a product of `[rows, inner]` and `[inner, cols]`.
pub(super) fn scratch(rows: usize, inner: usize, cols: usize, precision: Precision) -> usize {
    with_kernel!(precision, scratch_size(rows, inner, cols))
}

fn scratch_size<K: Kernel>(_: K, rows: usize, inner: usize, cols: usize) -> usize {
    let words = K::words(inner);
    let panel = K::COLS * words;
    let right = panel * (SHARED_WORDS / panel.max(1)).clamp(1, cols.div_ceil(K::COLS).max(1));
    let strips = rows.div_ceil(K::ROWS).min(K::TALLEST);
    let left = strips * K::ROWS * (words + TASK_COLS);
    size_of::<u32>() * (right + left * rayon::current_num_threads())
}

fn pack_panels<K: Kernel>(kernel: K, b: Matrix<'_>, out: &mut Lines<u32>) {
    let panel = K::COLS * K::words(b.rows());
    let panels = b.cols().div_ceil(K::COLS);
    out.grow(panels * panel);
    for (i, out) in out.words_mut().chunks_exact_mut(panel.max(1)).take(panels).enumerate() {
        kernel.pack_right(b.transposed(), i * K::COLS, out);
    }
}

fn on_this_thread<K: Kernel>(
    kernel: K,
    a: Matrix<'_>,
    b: &Packed,
    cols: usize,
    finish: Finish<'_>,
) {
    if a.rows() == 0 || cols == 0 {
        return;
    }
    let stride = K::COLS * K::words(b.rows);
    let packed = Panels { words: b.words.words(), stride }.range(0, cols.div_ceil(K::COLS));
    let block = Block { rows: (0, a.rows()), col: 0, cols };
    block.multiply(kernel, a, packed, K::words(a.cols()), finish);
}

/// Packed columns of a right factor.
#[derive(Clone, Copy)]
struct Panels<'a> {
    words: &'a [u32],
    /// From one panel to the next.
    stride: usize,
}

impl Panels<'_> {
    fn range(self, from: usize, to: usize) -> Self {
        Self { words: &self.words[from * self.stride..to * self.stride], ..self }
    }
}

/// How the rows and the right factor's panels are dealt out to tasks.
struct Grid {
    rows: usize,
    /// Rows of a left panel.
    step: usize,
    panels: usize,
    /// Tasks from top to bottom, and from left to right.
    down: usize,
    across: usize,
}

impl Grid {
    fn new<K: Kernel>(rows: usize, panels: usize) -> Self {
        let threads = rayon::current_num_threads();
        let strips = rows.div_ceil(K::ROWS);
        let tall = strips.div_ceil(K::TALLEST);
        // A few tasks for every thread, so that none waits long for another; from left to right only
        // if there are too few rows, as each packs the rows that it needs.
        let wanted = if threads == 1 { 1 } else { K::TASKS_PER_THREAD * threads };
        let down = tall.max(wanted.min(strips / K::SHORTEST)).next_multiple_of(threads).min(strips);
        let across = wanted.div_ceil(down).min(panels);
        Self { rows, step: K::ROWS, panels, down, across }
    }

    fn tasks(&self) -> usize {
        self.down * self.across
    }

    fn rows(&self, task: usize) -> (usize, usize) {
        let strips = self.rows.div_ceil(self.step);
        let at = |i: usize| (i * strips / self.down * self.step).min(self.rows);
        (at(task / self.across), at(task / self.across + 1))
    }

    fn panels(&self, task: usize) -> (usize, usize) {
        let at = |i: usize| i * self.panels / self.across;
        (at(task % self.across), at(task % self.across + 1))
    }
}

/// One task: some rows of the left factor with some panels of the right one.
struct Block {
    rows: (usize, usize),
    /// The first panel's first column.
    col: usize,
    /// Of the whole product.
    cols: usize,
}

impl Block {
    fn multiply<K: Kernel>(
        &self,
        kernel: K,
        a: Matrix<'_>,
        packed: Panels<'_>,
        words: usize,
        finish: Finish<'_>,
    ) {
        LEFT.with_borrow_mut(|(left, sums)| {
            let (first, end) = self.rows;
            let row_panels = (end - first).div_ceil(K::ROWS);
            let strip = K::ROWS * words;
            left.grow(row_panels * strip);
            let left = left.words_mut();
            for (i, out) in left.chunks_exact_mut(strip).take(row_panels).enumerate() {
                kernel.pack_left(a, first + i * K::ROWS, out);
            }
            let tile = K::ROWS * K::COLS;
            let group = TASK_COLS / K::COLS;
            sums.grow(group * row_panels * tile);
            let sums = sums.words_mut();
            let inner = words.div_ceil(K::INNER);
            let stride = packed.stride;
            kernel.prepared(|| {
                for (g, packed) in packed.words.chunks(group * stride).enumerate() {
                    for part in 0..inner {
                        let (from, to) = (part * K::INNER, ((part + 1) * K::INNER).min(words));
                        for (j, right) in packed.chunks(stride).enumerate() {
                            let col = self.col + (g * group + j) * K::COLS;
                            for i in 0..row_panels {
                                let row = first + i * K::ROWS;
                                let height = K::ROWS.min(end - row);
                                let sums = &mut sums[(j * row_panels + i) * tile..][..tile];
                                let left =
                                    &left[i * strip + from * K::ROWS..i * strip + to * K::ROWS];
                                let right = &right[from * K::COLS..to * K::COLS];
                                kernel.tile(height, left, right, sums, part > 0);
                                if part + 1 == inner {
                                    let width = K::COLS.min(self.cols - col);
                                    finish(Tile { row, col, height, width, sums, stride: K::COLS });
                                }
                            }
                        }
                    }
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::ops::check::{close, random};
    use crate::tensor::Elements;

    /// A factor in one of the forms that a product takes, `[rows, cols]` seen from outside.
    struct Factor {
        rows: usize,
        cols: usize,
        stride: usize,
        by_columns: bool,
        wide: Vec<f32>,
        narrow: Option<Vec<bf16>>,
    }

    impl Factor {
        fn new(rows: usize, cols: usize, form: usize, seed: u64) -> Self {
            let (by_columns, narrow) = (form & 1 == 1, form & 2 == 2);
            let (lines, length) = if by_columns { (cols, rows) } else { (rows, cols) };
            let stride = length + (form & 4) * 2;
            let mut wide = random(lines * stride, seed);
            let narrow = narrow.then(|| {
                let narrow: Vec<_> = wide.iter().map(|&x| bf16::from_f32(x)).collect();
                wide = narrow.iter().map(|x| x.to_f32()).collect();
                narrow
            });
            Self { rows, cols, stride, by_columns, wide, narrow }
        }

        fn at(&self, row: usize, col: usize) -> f32 {
            let (line, at) = if self.by_columns { (col, row) } else { (row, col) };
            self.wide[line * self.stride + at]
        }

        fn matrix(&self) -> Matrix<'_> {
            let data = match &self.narrow {
                Some(narrow) => Elements::Bf16(narrow),
                None => Elements::F32(&self.wide),
            };
            if self.by_columns {
                Matrix::new(data, self.cols, self.rows, self.stride).transposed()
            } else {
                Matrix::new(data, self.rows, self.cols, self.stride)
            }
        }
    }

    /// `a b`, an element at a time, of factors rounded as a kernel with `pairs` rounds them.
    fn plain(a: &Factor, b: &Factor, pairs: bool) -> Vec<f32> {
        let round = |x: f32| if pairs { bf16::from_f32(x).to_f32() } else { x };
        let dot = |i: usize, j: usize| {
            let term = |k| f64::from(round(a.at(i, k))) * f64::from(round(b.at(k, j)));
            (0..a.cols).map(term).sum::<f64>() as f32
        };
        (0..a.rows).flat_map(|i| (0..b.cols).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).collect()
    }

    fn multiply<K: Kernel>(kernel: K, a: &Factor, b: &Factor) -> Vec<f32> {
        let mut out = vec![f32::NAN; a.rows * b.cols];
        let rows = Rows::new(&mut out, b.cols);
        on_all_threads(kernel, a.matrix(), b.matrix(), &row_by_row(store(rows)));
        out
    }

    /// The same with the first `cols` columns of a right factor that was packed beforehand.
    fn multiply_packed<K: Kernel>(kernel: K, a: &Factor, b: &Factor, cols: usize) -> Vec<f32> {
        let mut packed = Packed { rows: b.rows, cols: b.cols, ..Packed::new() };
        pack_panels(kernel, b.matrix(), &mut packed.words);
        let mut out = vec![f32::NAN; a.rows * cols];
        let rows = Rows::new(&mut out, cols);
        on_this_thread(kernel, a.matrix(), &packed, cols, &row_by_row(store(rows)));
        out
    }

    /// Runs `f` on every kernel that this machine has.
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

    #[test]
    fn equals_the_plain_product_in_every_form() {
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
                (3, 5, 2 * K::INNER + 3),
            ];
            for (m, n, k) in shapes {
                for form in 0..64 {
                    let (a, b) = (Factor::new(m, k, form % 8, 1), Factor::new(k, n, form / 8, 2));
                    let got = multiply(kernel, &a, &b);
                    close(&got, &plain(&a, &b, K::PAIRS), 1e-5);
                    assert!(multiply_packed(kernel, &a, &b, n) == got);
                }
            }
        }
        on_every_kernel!(check);
    }

    #[test]
    fn threads_and_blocks_change_no_bit() {
        fn check<K: Kernel>(kernel: K) {
            // More rows than a task, more inner words than a block, more columns than are packed at
            // once: every loop goes round.
            let (m, k) = (2 * K::TALLEST * K::ROWS + 5, 2 * K::INNER + 40);
            let n = SHARED_WORDS / K::words(k) + 3 * K::COLS + 1;
            let (a, b) = (Factor::new(m, k, 0, 3), Factor::new(k, n, 1, 4));
            let whole = multiply_packed(kernel, &a, &b, n);
            for threads in [1, 2, 3, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("a thread pool");
                let all = pool.install(|| multiply(kernel, &a, &b));
                assert!(all == whole, "{threads} threads");
            }
            let few = Factor::new(3, k, 0, 3);
            assert!(multiply(kernel, &few, &b) == whole[..3 * n]);
        }
        on_every_kernel!(check);
    }

    /// A causal row sees a part of the keys: fewer inner rows, or fewer columns, than were packed.
    #[test]
    fn a_part_of_what_was_packed() {
        fn check<K: Kernel>(kernel: K) {
            for (m, n, k) in [(5, 70, 9), (15, 33, 40), (1, 3, 1)] {
                let b = Factor::new(k + 6, n + 40, 0, 6);
                let a = Factor::new(m, k, 4, 5);
                let top = Factor { rows: k, cols: n, ..Factor::new(k + 6, n + 40, 0, 6) };
                let got = multiply_packed(kernel, &a, &b, n);
                close(&got, &plain(&a, &top, K::PAIRS), 1e-5);
            }
        }
        on_every_kernel!(check);
    }
}
