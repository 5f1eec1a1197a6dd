//! AMX: tiles of sixteen rows of sixteen words, which one instruction multiplies (`tdpbf16ps`; Intel 64
//! and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18). Stable Rust has no
//! intrinsics for it, hence assembly.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::LazyLock;

use super::super::kernel::Kernel;
use super::super::matrix::Matrix;
use super::super::pack::{Cut, pack};
use super::{Avx512Bf16, column_words_bf16, column_words_f32, load_words_bf16, load_words_f32};
use super::{mask16, pack_512, transpose, with_avx512_bf16};
use crate::tensor::Factor;

/// AMX with products of bf16 pairs, and AVX-512 with bf16 for all around them.
#[derive(Clone, Copy)]
pub(in super::super) struct AmxBf16(());

/// Rows of a hardware tile, and words of each.
const TILE: usize = 16;
/// Rows and columns of two of them: four hold sums, two and two what is multiplied.
const SIDE: usize = 2 * TILE;

impl AmxBf16 {
    /// If this processor has it and the system lets this process use it.
    pub fn detect() -> Option<Self> {
        static USABLE: LazyLock<bool> = LazyLock::new(|| {
            Avx512Bf16::detect().is_some() && processor_has_it() && system_allows_it()
        });
        USABLE.then_some(Self(()))
    }
}

/// CPUID leaf 7: AMX-BF16 and AMX-TILE; and the system keeps both parts of the state (XCR0).
fn processor_has_it() -> bool {
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const TILE_STATE: u64 = 0b11 << 17;
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: a processor with AVX-512 has XGETBV, and the system has enabled it.
    let state = unsafe { xcr0() };
    features & BF16_AND_TILE == BF16_AND_TILE && state & TILE_STATE == TILE_STATE
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

/// Linux gives tiles to those processes alone that ask for them (`arch_prctl(2)`).
#[cfg(target_os = "linux")]
fn system_allows_it() -> bool {
    const SYS_ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: isize = 0x1023;
    const XFEATURE_XTILEDATA: isize = 18;
    let result: isize;
    // SAFETY: a system call that touches no memory of ours; it clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn system_allows_it() -> bool {
    false
}

/// What `ldtilecfg` reads: palette 1, every tile of full size.
#[repr(C, align(64))]
struct Shape {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row of each tile.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const SHAPE: Shape = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = (4 * TILE) as u16;
        rows[tile] = TILE as u8;
        tile += 1;
    }
    Shape { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

impl Kernel for AmxBf16 {
    const ROWS: usize = SIDE;
    const COLS: usize = SIDE;
    const PAIRS: bool = true;
    /// A panel is multiplied faster than it is fetched: each is used for many rows.
    const TASKS_PER_THREAD: usize = 2;
    const SHORTEST: usize = 6;

    fn words(inner: usize) -> usize {
        inner.div_ceil(2).next_multiple_of(TILE)
    }

    /// Blocks `[TILE words][ROWS]`, the words of a row side by side: `[words / TILE][ROWS][TILE]`.
    fn pack_left(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx512_bf16(
                #[inline(always)]
                || pack_left(m, first, Self::words(m.cols()), out),
            );
        }
    }

    fn pack(self, m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx512_bf16(
                #[inline(always)]
                || pack_512::<true>(m, cut, out),
            );
        }
    }

    #[inline(always)]
    fn prepared<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that there are tiles; nothing else in this program uses them.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPE, options(nostack, preserves_flags)) };
        let result = f();
        // SAFETY: as above.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
        result
    }

    #[inline(always)]
    fn tile(self, height: usize, left: &[u32], right: &[u32], sums: &mut [f32], resume: bool) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(SIDE * TILE));
        assert!(!left.is_empty() && sums.len() >= SIDE * SIDE);
        let (left, right, blocks) = (left.as_ptr(), right.as_ptr(), left.len() / (SIDE * TILE));
        // SAFETY: `self` proves that there are tiles, `Block` has prepared them; `blocks` blocks of
        // either side and the sums are inside their slices, as was just checked.
        unsafe {
            if height > TILE {
                whole(left, right, blocks, sums.as_mut_ptr(), resume);
            } else {
                upper(left, right, blocks, sums.as_mut_ptr(), resume);
            }
        }
    }
}

/// A whole tile: sums in 0 to 3, the left factor in 4 and 5, the right one in 6 and 7.
#[inline(always)]
unsafe fn whole(left: *const u32, right: *const u32, blocks: usize, sums: *mut f32, resume: bool) {
    // SAFETY: by the caller's contract.
    unsafe {
        let lower = sums.add(TILE * SIDE);
        if resume {
            asm!(
                "tileloadd tmm0, [{upper} + {wide}]",
                "tileloadd tmm1, [{upper} + {wide} + 64]",
                "tileloadd tmm2, [{lower} + {wide}]",
                "tileloadd tmm3, [{lower} + {wide} + 64]",
                upper = in(reg) sums, lower = in(reg) lower, wide = in(reg) 4 * SIDE,
                options(nostack, readonly, preserves_flags),
            );
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem, preserves_flags),
            );
        }
        asm!(
            "2:",
            "tileloadd tmm6, [{right} + {wide}]",
            "tileloadd tmm4, [{left} + {narrow}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{left} + {narrow} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {wide} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{upper} + {wide}], tmm0",
            "tilestored [{upper} + {wide} + 64], tmm1",
            "tilestored [{lower} + {wide}], tmm2",
            "tilestored [{lower} + {wide} + 64], tmm3",
            left = inout(reg) left => _, right = inout(reg) right => _,
            blocks = inout(reg) blocks => _, upper = in(reg) sums, lower = in(reg) lower,
            narrow = in(reg) 4 * TILE, wide = in(reg) 4 * SIDE,
            options(nostack),
        );
    }
}

/// Its upper half alone.
#[inline(always)]
unsafe fn upper(left: *const u32, right: *const u32, blocks: usize, sums: *mut f32, resume: bool) {
    // SAFETY: by the caller's contract.
    unsafe {
        if resume {
            asm!(
                "tileloadd tmm0, [{sums} + {wide}]",
                "tileloadd tmm1, [{sums} + {wide} + 64]",
                sums = in(reg) sums, wide = in(reg) 4 * SIDE,
                options(nostack, readonly, preserves_flags),
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem, preserves_flags));
        }
        asm!(
            "2:",
            "tileloadd tmm4, [{left} + {narrow}]",
            "tileloadd tmm6, [{right} + {wide}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {wide} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {wide}], tmm0",
            "tilestored [{sums} + {wide} + 64], tmm1",
            left = inout(reg) left => _, right = inout(reg) right => _,
            blocks = inout(reg) blocks => _, sums = in(reg) sums,
            narrow = in(reg) 4 * TILE, wide = in(reg) 4 * SIDE,
            options(nostack),
        );
    }
}

/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ) and BF16.
#[inline(always)]
unsafe fn pack_left(m: Matrix<'_>, first: usize, words: usize, out: &mut [u32]) {
    let (stride, inner) = (m.stride(), m.cols());
    for (i, out) in out.chunks_exact_mut(words * SIDE).enumerate() {
        let first = first + i * SIDE;
        let height = (m.rows() - first).min(SIDE);
        // SAFETY: loads are masked to rows below `m.rows()` and columns below `m.cols()`, which
        // `Matrix::new` has checked against the slice; stores are within `words * SIDE` words.
        unsafe {
            match (m.data(), m.by_columns()) {
                (Factor::F32(x), false) => {
                    let x = x.as_ptr().add(first * stride);
                    rows(
                        height,
                        words,
                        out,
                        #[inline(always)]
                        |row, from| {
                            load_words_f32::<true>(x.add(row * stride), from..from + TILE, inner)
                        },
                    );
                }
                (Factor::Bf16(x), false) => {
                    let x = x.as_ptr().cast::<u16>().add(first * stride);
                    rows(
                        height,
                        words,
                        out,
                        #[inline(always)]
                        |row, from| {
                            load_words_bf16::<true>(x.add(row * stride), from..from + TILE, inner)
                        },
                    );
                }
                (Factor::F32(x), true) => {
                    let x = x.as_ptr().wrapping_add(first);
                    columns(
                        height,
                        words,
                        out,
                        #[inline(always)]
                        |word, at, mask| {
                            column_words_f32::<true>(x.wrapping_add(at), stride, inner, word, mask)
                        },
                    );
                }
                (Factor::Bf16(x), true) => {
                    let x = x.as_ptr().cast::<i16>().wrapping_add(first);
                    columns(
                        height,
                        words,
                        out,
                        #[inline(always)]
                        |word, at, mask| {
                            column_words_bf16::<true>(x.wrapping_add(at), stride, inner, word, mask)
                        },
                    );
                }
                // No layer has such a left factor: the plain order, put into this one.
                (Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_), _) => {
                    let mut panel = vec![0; out.len()];
                    pack::<true>(m, Cut { first, width: SIDE, words }, &mut panel);
                    for (word, panel) in panel.chunks_exact(SIDE).enumerate() {
                        for (row, &x) in panel.iter().enumerate() {
                            out[word / TILE * TILE * SIDE + row * TILE + word % TILE] = x;
                        }
                    }
                }
            }
        }
    }
}

/// Rows whose words are contiguous: `load(row, from)` gives [`TILE`] of them.
#[inline(always)]
unsafe fn rows(
    height: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize) -> __m512i,
) {
    // All of a row's words before the next row: it is read once from end to end.
    for row in 0..SIDE {
        for from in (0..words).step_by(TILE) {
            // SAFETY: by the caller's contract; within `words * SIDE` words.
            unsafe {
                let block = if row < height { load(row, from) } else { _mm512_setzero_si512() };
                let to = out.as_mut_ptr().add(from * SIDE + row * TILE);
                _mm512_storeu_si512(to.cast(), block);
            }
        }
    }
}

/// Rows that lie side by side: `load(word, at, mask)` gives a word of rows `at..at + TILE`.
#[inline(always)]
unsafe fn columns(
    height: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize, __mmask16) -> __m512i,
) {
    for from in (0..words).step_by(TILE) {
        for at in [0, TILE] {
            let mask = mask16(height.saturating_sub(at));
            // SAFETY: by the caller's contract; within `words * SIDE` words.
            unsafe {
                let mut block = [_mm512_setzero_si512(); TILE];
                for (word, block) in block.iter_mut().enumerate() {
                    *block = load(from + word, at, mask);
                }
                for (row, block) in transpose(block).into_iter().enumerate() {
                    let to = out.as_mut_ptr().add(from * SIDE + (at + row) * TILE);
                    _mm512_storeu_si512(to.cast(), block);
                }
            }
        }
    }
}
