//! Products of few rows with AMX. The roles of the factors are exchanged: the columns of the right factor
//! are the rows of hardware tiles as they are stored, so that nothing is transposed, and the few rows are
//! the packed factor. The instruction multiplies and adds in the same order either way.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::amx::{AmxBf16, TILE};
use super::avx512::with_avx512_bf16;
use super::narrow::{load_f16, load_int8, words_of_row};
use super::registers::{load_words_bf16, load_words_f32, prefetch, round_to_bf16};
use crate::ops::product::epilogue::{Tile, TileSink};
use crate::ops::product::few_rows::FewRowsKernel;
use crate::ops::product::kernel::Kernel;
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::PanelLayout;
use crate::tensor::{Absmax, Factor, NF4_BLOCK, NF4_NESTED_BLOCK, Nf4};

/// Columns of a panel: four hardware tiles, so that four chains of sums hide the latency of the products.
const COLS: usize = 4 * TILE;

/// Words of the columns that are read before they are multiplied.
const CHUNK: usize = 64;

/// [`CHUNK`] words of all columns: 16 KiB, a third of the first-level cache.
const BUFFER: usize = COLS * CHUNK;

impl FewRowsKernel for AmxBf16 {
    const MAX_ROWS: usize = TILE;
    const PANEL_COLS: usize = COLS;

    fn row_words(_rows: usize, inner: usize) -> usize {
        TILE * Self::words_per_row(inner)
    }

    fn panel_words(_inner: usize) -> usize {
        BUFFER
    }

    /// The sums, their transpose, and the absmax of the columns' blocks.
    fn panel_sums(inner: usize) -> usize {
        2 * COLS * TILE + COLS * inner.div_ceil(NF4_BLOCK)
    }

    fn pack_few_rows(self, a: Matrix<'_>, out: &mut [u32]) {
        let words = Self::words_per_row(a.cols());
        self.pack(a, PanelLayout { first: 0, width: TILE, words }, out);
    }

    fn multiply_panel(
        self,
        (count, rows): (usize, &[u32]),
        (columns, first): (Matrix<'_>, usize),
        (panel, sums): (&mut [u32], &mut [f32]),
        sink: TileSink<'_>,
    ) {
        let words = Self::words_per_row(columns.cols());
        assert!(count <= TILE && rows.len() == TILE * words && panel.len() == BUFFER);
        assert!(!columns.is_column_major() && first < columns.rows());
        let (sums, rest) = sums.split_at_mut(COLS * TILE);
        let (transposed, absmax) = rest.split_at_mut(COLS * TILE);
        let width = COLS.min(columns.rows() - first);
        let columns = Columns { matrix: columns, first, width };
        // SAFETY: `self` proves that the processor has these instructions.
        let absmax = unsafe {
            with_avx512_bf16(
                #[inline(always)]
                || columns.load_absmax(absmax),
            )
        };
        self.with_tile_state(|| {
            for (i, from) in (0..words).step_by(CHUNK).enumerate() {
                let to = words.min(from + CHUNK);
                let left = &mut panel[..COLS * (to - from)];
                let right = &rows[TILE * from..TILE * to];
                // SAFETY: `self` proves that the processor has these instructions. Columns are contiguous
                // and `first` is inside the matrix, by the assertions. The tiles are configured; `left`
                // and `right` have the same number of blocks, at least one, because `words` is a multiple
                // of `TILE` and `CHUNK` is one, too.
                unsafe {
                    with_avx512_bf16(
                        #[inline(always)]
                        || columns.read(from..to, absmax, left),
                    );
                    let blocks = (to - from) / TILE;
                    let sums = sums.as_mut_ptr();
                    multiply_chunk(left.as_ptr(), right.as_ptr(), blocks, sums, i > 0);
                }
            }
        });
        for (row, transposed) in transposed.chunks_exact_mut(COLS).take(count).enumerate() {
            for (to, sums) in transposed.iter_mut().zip(sums.chunks_exact(TILE)) {
                *to = sums[row];
            }
        }
        sink(Tile { row: 0, col: first, height: count, width, sums: transposed, stride: COLS });
    }
}

/// Adds the products of `blocks` blocks of [`TILE`] words to `sums [COLS, TILE]`, or starts with zeros unless
/// `resume`: the columns in `left [blocks, COLS, TILE]` times the rows in `right [blocks, TILE, TILE]`. The
/// sums are in tmm0 to tmm3.
///
/// # Safety
/// - The tiles must be configured on this thread with their full size.
/// - `left` and `right` must be valid for reading `blocks` blocks, at least one, and `sums` for reading and
///   writing.
#[inline(always)]
unsafe fn multiply_chunk(
    left: *const u32,
    right: *const u32,
    blocks: usize,
    sums: *mut f32,
    resume: bool,
) {
    // One block of assembly from the first value of the sums, which `$start` loads or clears, to the
    // last store, so that no tile is in use between two blocks.
    macro_rules! multiply {
        ($($start:literal),*) => {
            asm!(
                $($start,)*
                "2:",
                "tileloadd tmm4, [{right} + {stride}]",
                "tileloadd tmm5, [{left} + {stride}]",
                "tdpbf16ps tmm0, tmm5, tmm4",
                "tileloadd tmm6, [{left} + {stride} + 1024]",
                "tdpbf16ps tmm1, tmm6, tmm4",
                "tileloadd tmm7, [{left} + {stride} + 2048]",
                "tdpbf16ps tmm2, tmm7, tmm4",
                "tileloadd tmm5, [{left} + {stride} + 3072]",
                "tdpbf16ps tmm3, tmm5, tmm4",
                "add {left}, 4096",
                "add {right}, 1024",
                "dec {blocks}",
                "jnz 2b",
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 1024], tmm1",
                "tilestored [{sums} + {stride} + 2048], tmm2",
                "tilestored [{sums} + {stride} + 3072], tmm3",
                left = inout(reg) left => _, right = inout(reg) right => _,
                blocks = inout(reg) blocks => _, sums = in(reg) sums,
                stride = in(reg) 4 * TILE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }
    // SAFETY: By the contract of this function. Loads and stores are of `blocks` blocks and of the sums;
    // all changed registers and tiles are declared.
    unsafe {
        if resume {
            multiply!(
                "tileloadd tmm0, [{sums} + {stride}]",
                "tileloadd tmm1, [{sums} + {stride} + 1024]",
                "tileloadd tmm2, [{sums} + {stride} + 2048]",
                "tileloadd tmm3, [{sums} + {stride} + 3072]"
            );
        } else {
            multiply!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3");
        }
    }
}

/// A panel's columns: rows of the transposed right factor.
#[derive(Clone, Copy)]
struct Columns<'a> {
    /// The transposed right factor, row-major.
    matrix: Matrix<'a>,
    /// The first column.
    first: usize,
    /// The number of columns, at most [`COLS`].
    width: usize,
}

impl Columns<'_> {
    /// The factor, if it is NF4 and its columns are whole blocks without gaps.
    #[inline(always)]
    fn nf4_of_whole_blocks(&self) -> Option<Nf4<'_>> {
        let m = &self.matrix;
        let whole = m.cols().is_multiple_of(NF4_BLOCK) && m.stride() == m.cols();
        match m.data() {
            Factor::Nf4(x) if whole => Some(x),
            _ => None,
        }
    }

    /// The absmax of each block of the columns, in `out`; nothing if the factor is not
    /// [`Columns::nf4_of_whole_blocks`].
    #[inline(always)]
    fn load_absmax<'o>(&self, out: &'o mut [f32]) -> &'o [f32] {
        let Some(x) = self.nf4_of_whole_blocks() else { return &[] };
        let blocks = self.matrix.cols() / NF4_BLOCK;
        let (start, count) = (self.first * blocks, self.width * blocks);
        let out = &mut out[..count];
        match x.absmax() {
            Absmax::Plain(absmax) => out.copy_from_slice(&absmax[start..][..count]),
            Absmax::Nested { codes, absmax, offset, values } => {
                let mut at = start;
                let mut rest = &mut *out;
                while !rest.is_empty() {
                    let nested = at / NF4_NESTED_BLOCK;
                    let run = rest.len().min((nested + 1) * NF4_NESTED_BLOCK - at);
                    let (now, later) = rest.split_at_mut(run);
                    for (to, &code) in now.iter_mut().zip(&codes[at..][..run]) {
                        *to = values[usize::from(code)] * absmax[nested] + offset;
                    }
                    (at, rest) = (at + run, later);
                }
            }
        }
        out
    }

    /// Reads the words `words` of every column as pairs of bf16 into `out`, `[words / TILE][COLS][TILE]`.
    /// Columns beyond the width are zeros. `absmax` is that of [`Columns::load_absmax`].
    ///
    /// # Safety
    /// - The processor must have AVX-512 (F, BW, VL, DQ) with bf16.
    /// - The matrix must be row-major and hold the columns, and `words` must be in its packed rows, the
    ///   first a multiple of [`CHUNK`].
    #[inline(always)]
    #[expect(clippy::too_many_lines, reason = "an arm for each dtype")]
    unsafe fn read(self, words: Range<usize>, absmax: &[f32], out: &mut [u32]) {
        let m = self.matrix;
        let (stride, inner) = (m.stride(), m.cols());
        // The distance to the same column's next chunk, or to the next panel's first.
        let is_last = 2 * words.end >= inner;
        let ahead = if is_last { COLS * stride - 2 * words.start } else { 2 * CHUNK };
        // SAFETY: Loads are of columns of the panel and of elements below `inner`, which `Matrix::new` has
        // checked against the slice. The rest is this function's contract.
        unsafe {
            match m.data() {
                Factor::F32(x) => self.read_each(
                    words,
                    out,
                    #[inline(always)]
                    |column, words| {
                        let x = x.as_ptr().add(column * stride);
                        prefetch(x.wrapping_add(2 * words.start + ahead));
                        prefetch(x.wrapping_add(2 * words.start + 16 + ahead));
                        load_words_f32::<true>(x, words, inner)
                    },
                ),
                Factor::Bf16(x) => self.read_each(
                    words,
                    out,
                    #[inline(always)]
                    |column, words| {
                        let x = x.as_ptr().cast::<u16>().add(column * stride);
                        prefetch(x.wrapping_add(2 * words.start + ahead));
                        load_words_bf16::<true>(x, words, inner)
                    },
                ),
                Factor::F16(x) => self.read_each(
                    words,
                    out,
                    #[inline(always)]
                    |column, words| {
                        let x = x.as_ptr().cast::<i16>().add(column * stride);
                        prefetch(x.wrapping_add(2 * words.start + ahead));
                        words_of_row::<true>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| load_f16(x, from, mask),
                        )
                    },
                ),
                Factor::Int8(x) => self.read_each(
                    words,
                    out,
                    #[inline(always)]
                    |column, words| {
                        let codes = x.codes().as_ptr().cast::<i8>().add(column * stride);
                        let scale = _mm512_set1_ps(x.scale(column));
                        prefetch(codes.wrapping_add(2 * words.start + ahead));
                        words_of_row::<true>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| load_int8(codes, from, mask, scale),
                        )
                    },
                ),
                Factor::Nf4(x) if !absmax.is_empty() => {
                    self.read_nf4(x, words, ahead, absmax, out);
                }
                Factor::Nf4(_) | Factor::Codes(_) => self.read_each(
                    words,
                    out,
                    #[inline(always)]
                    |column, words| {
                        let (from, to) = (2 * words.start, inner.min(2 * words.end));
                        let mut run = [0.0; 2 * TILE];
                        m.data().copy_to_f32(column * stride + from, &mut run[..to - from]);
                        let run = run.as_ptr();
                        round_to_bf16(_mm512_loadu_ps(run.add(TILE)), _mm512_loadu_ps(run))
                    },
                ),
            }
        }
    }

    /// Stores what `load(column, words)` gives for [`TILE`] words at a time.
    ///
    /// # Safety
    /// As [`Columns::read`].
    #[inline(always)]
    unsafe fn read_each(
        self,
        words: Range<usize>,
        out: &mut [u32],
        load: impl Fn(usize, Range<usize>) -> __m512i,
    ) {
        for column in 0..COLS {
            for (from, out) in words.clone().step_by(TILE).zip(out.chunks_exact_mut(COLS * TILE)) {
                // SAFETY: By the contract of this function; the store is within a chunk of `out`.
                unsafe {
                    let block = if column < self.width {
                        load(self.first + column, from..from + TILE)
                    } else {
                        _mm512_setzero_si512()
                    };
                    _mm512_storeu_si512(out.as_mut_ptr().add(column * TILE).cast(), block);
                }
            }
        }
    }

    /// [`Columns::read`] of NF4 columns of whole blocks, of which each is two blocks of [`TILE`] words.
    ///
    /// # Safety
    /// As [`Columns::read`], and the columns must be whole blocks without gaps.
    #[inline(always)]
    unsafe fn read_nf4(
        self,
        x: Nf4<'_>,
        words: Range<usize>,
        ahead: usize,
        absmax: &[f32],
        out: &mut [u32],
    ) {
        let inner = self.matrix.cols();
        let blocks = inner / NF4_BLOCK;
        let first_block = 2 * words.start / NF4_BLOCK;
        // SAFETY: By the contract of this function. The codes of the blocks are inside the matrix; stores
        // are within a chunk of `out`.
        unsafe {
            let values = _mm512_loadu_ps(x.values().as_ptr());
            // Word `w` of the first 32 elements of a block is their code `w`, which is in the word `w / 4`
            // of the codes, the first in the upper half of a byte. Bits of an index from the fifth on do
            // not matter, because the table is there twice.
            let word = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
            let pair = _mm512_or_si512(word, _mm512_slli_epi64::<16>(word));
            let low = _mm512_or_si512(pair, _mm512_slli_epi64::<32>(pair));
            let high = _mm512_add_epi16(low, _mm512_set1_epi16(8));
            let shifts = _mm512_set1_epi64(0x0008_000c_0000_0004);
            for column in 0..COLS {
                let to = out.as_mut_ptr().add(column * TILE);
                let chunks = out.len() / (COLS * TILE);
                if column >= self.width {
                    for i in 0..chunks {
                        _mm512_storeu_si512(to.add(i * COLS * TILE).cast(), _mm512_setzero_si512());
                    }
                    continue;
                }
                let absmax = absmax.as_ptr().add(column * blocks + first_block);
                let at = (self.first + column) * inner + 2 * words.start;
                let codes = x.codes().as_ptr().add(at / 2);
                prefetch(codes.wrapping_add(ahead / 2));
                for i in 0..chunks / 2 {
                    let values = _mm512_mul_ps(values, _mm512_set1_ps(*absmax.add(i)));
                    let table = round_to_bf16(values, values);
                    let codes = _mm256_loadu_si256(codes.add(NF4_BLOCK / 2 * i).cast());
                    let codes = _mm512_castsi256_si512(codes);
                    for (half, spread) in [low, high].into_iter().enumerate() {
                        let words = _mm512_permutexvar_epi16(spread, codes);
                        let indices = _mm512_srlv_epi16(words, shifts);
                        let block = _mm512_permutexvar_epi16(indices, table);
                        let to = to.add((2 * i + half) * COLS * TILE);
                        _mm512_storeu_si512(to.cast(), block);
                    }
                }
            }
        }
    }
}
