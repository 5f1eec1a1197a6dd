//! The kernel for AMX, in assembly because stable Rust has no intrinsics for it.
//!
//! AMX has eight tiles of sixteen rows of sixteen words, and an instruction that multiplies two of them
//! (`tdpbf16ps`; Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::LazyLock;

use super::avx512::{Avx512, Avx512Bf16, with_avx512_bf16};
use super::pack_avx512::pack_avx512;
use super::registers::{
    column_words_bf16, column_words_f32, load_words_bf16, load_words_f32, mask16, transpose,
};
use crate::ops::product::kernel::Kernel;
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::{PanelLayout, pack};
use crate::tensor::Factor;

/// AMX with products of bf16 pairs. Packing uses AVX-512 with bf16.
#[derive(Clone, Copy)]
pub(in crate::ops::product) struct AmxBf16(());

/// Rows of a hardware tile, and words of each row.
pub(super) const TILE: usize = 16;
/// Rows and columns of a kernel's tile: two hardware tiles. Four hardware tiles hold the sums, two the
/// left factor and two the right.
const SIDE: usize = 2 * TILE;

impl AmxBf16 {
    /// The kernel, if this processor has the instructions and the operating system lets this process use
    /// them.
    pub fn detect() -> Option<Self> {
        const BF16: u32 = 1 << 22;
        static USABLE: LazyLock<bool> =
            LazyLock::new(|| Avx512Bf16::detect().is_some() && has_amx(BF16));
        USABLE.then_some(Self(()))
    }
}

/// Whether this processor has AVX-512 and AMX with the instructions that these bits of CPUID leaf 7, EDX,
/// name, and the operating system lets this process use them. CPUID is slow: keep the answer.
pub(in crate::ops::product) fn has_amx(instructions: u32) -> bool {
    const TILE: u32 = 1 << 24;
    let needed = instructions | TILE;
    Avx512::detect().is_some()
        && __cpuid_count(7, 0).edx & needed == needed
        && saves_tiles()
        && request_permission()
}

/// Whether the system saves both parts of the tile state (XCR0). The processor must have AVX-512.
fn saves_tiles() -> bool {
    const TILE_STATE: u64 = 0b11 << 17;
    // SAFETY: A processor with usable AVX-512 has XGETBV, and the system has enabled it.
    let state = unsafe { xcr0() };
    state & TILE_STATE == TILE_STATE
}

/// The state components that the operating system saves.
#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: Register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for tile data, which only processes that ask may use (`arch_prctl(2)`).
#[cfg(target_os = "linux")]
fn request_permission() -> bool {
    const SYS_ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: isize = 0x1023;
    const XFEATURE_XTILEDATA: isize = 18;
    let result: isize;
    // SAFETY: This system call touches no memory of the process. It changes rax, rcx and r11, which are
    // declared, and the flags, which assembly may change by default.
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
fn request_permission() -> bool {
    false
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row of each tile.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Palette 1, and all eight tiles of full size.
static FULL_TILES: TileConfig = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = (4 * TILE) as u16;
        rows[tile] = TILE as u8;
        tile += 1;
    }
    TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The configured tiles of this thread, released when dropped, also if a panic unwinds. Configured tiles
/// that are not released make every switch of threads save and restore 8 KiB.
pub(in crate::ops::product) struct ConfiguredTiles;

impl ConfiguredTiles {
    /// Configures all tiles with their full size.
    ///
    /// # Safety
    /// The processor must have AMX and the system must have granted it. No other value of this type may
    /// exist on this thread: its tiles would be released with the first.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: By the contract of this function. The instruction reads the 64 bytes of the operand
        // and changes only the state of the tiles, which no compiled code uses.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const FULL_TILES, options(nostack, preserves_flags));
        }
        Self
    }
}

impl Drop for ConfiguredTiles {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: A value of this type proves that the processor has AMX. The instruction changes only
        // the state of the tiles. All of them are declared as clobbered where they are used, so no
        // value is lost.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }
}

impl Kernel for AmxBf16 {
    const TILE_ROWS: usize = SIDE;
    const TILE_COLS: usize = SIDE;
    const BF16_PAIRS: bool = true;
    /// A panel is multiplied faster than it is loaded from memory: each is used for many rows.
    const TASKS_PER_THREAD: usize = 2;
    const MIN_ROW_PANELS: usize = 6;

    fn words_per_row(inner: usize) -> usize {
        inner.div_ceil(2).next_multiple_of(TILE)
    }

    /// A left panel is `[words / TILE][TILE_ROWS][TILE]`: the words of a row are contiguous within a
    /// hardware tile.
    fn pack_left(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        let layout = PanelLayout { first, width: SIDE, words: Self::words_per_row(m.cols()) };
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx512_bf16(
                #[inline(always)]
                || pack_left(m, layout, out),
            );
        }
    }

    fn pack(self, m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx512_bf16(
                #[inline(always)]
                || pack_avx512::<true>(m, layout, out),
            );
        }
    }

    #[inline(always)]
    fn with_tile_state<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that there are tiles. Calls are not nested: `Block::multiply`, the only
        // caller, holds a thread-local buffer mutably borrowed.
        let _tiles = unsafe { ConfiguredTiles::new() };
        f()
    }

    #[inline(always)]
    unsafe fn multiply_tile(
        self,
        height: usize,
        left: &[u32],
        right: &[u32],
        sums: &mut [f32],
        resume: bool,
    ) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(SIDE * TILE));
        assert!(!left.is_empty() && sums.len() >= SIDE * SIDE);
        let (left, right, blocks) = (left.as_ptr(), right.as_ptr(), left.len() / (SIDE * TILE));
        // SAFETY: `self` proves that there are tiles, and by this function's contract they are
        // configured. `blocks` blocks of either panel, at least one, and the sums are inside their
        // slices, by the assertions.
        unsafe {
            if height > TILE {
                multiply_whole(left, right, blocks, sums.as_mut_ptr(), resume);
            } else {
                multiply_upper_half(left, right, blocks, sums.as_mut_ptr(), resume);
            }
        }
    }
}

/// Multiplies a whole tile: the sums are in tmm0 to tmm3, the left factor in tmm4 and tmm5, the right one
/// in tmm6 and tmm7. Rows of the sums and of the right panel are `stride` bytes apart, rows of the left
/// panel `left_stride` bytes.
///
/// # Safety
/// - The tiles must be configured on this thread ([`ConfiguredTiles`]).
/// - `left` and `right` must be valid for reading `blocks` blocks of `SIDE * TILE` words, at least one,
///   and `sums` for reading and writing `SIDE * SIDE` f32.
#[inline(always)]
unsafe fn multiply_whole(
    left: *const u32,
    right: *const u32,
    blocks: usize,
    sums: *mut f32,
    resume: bool,
) {
    // SAFETY: `SIDE * SIDE` elements are valid, by the contract of this function.
    let lower = unsafe { sums.add(TILE * SIDE) };
    // One block of assembly from the first value of the sums, which `$start` loads or clears, to the
    // last store, so that no tile is in use between two blocks.
    macro_rules! multiply {
        ($($start:literal),*) => {
            asm!(
                $($start,)*
                "2:",
                "tileloadd tmm6, [{right} + {stride}]",
                "tileloadd tmm4, [{left} + {left_stride}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{left} + {left_stride} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{right} + {stride} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 2048",
                "add {right}, 2048",
                "dec {blocks}",
                "jnz 2b",
                "tilestored [{upper} + {stride}], tmm0",
                "tilestored [{upper} + {stride} + 64], tmm1",
                "tilestored [{lower} + {stride}], tmm2",
                "tilestored [{lower} + {stride} + 64], tmm3",
                left = inout(reg) left => _, right = inout(reg) right => _,
                blocks = inout(reg) blocks => _, upper = in(reg) sums, lower = in(reg) lower,
                left_stride = in(reg) 4 * TILE, stride = in(reg) 4 * SIDE,
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
                "tileloadd tmm0, [{upper} + {stride}]",
                "tileloadd tmm1, [{upper} + {stride} + 64]",
                "tileloadd tmm2, [{lower} + {stride}]",
                "tileloadd tmm3, [{lower} + {stride} + 64]"
            );
        } else {
            multiply!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3");
        }
    }
}

/// Multiplies the upper half of a tile: the sums are in tmm0 and tmm1, the left factor in tmm4, the right
/// one in tmm6 and tmm7.
///
/// # Safety
/// As [`multiply_whole`].
#[inline(always)]
unsafe fn multiply_upper_half(
    left: *const u32,
    right: *const u32,
    blocks: usize,
    sums: *mut f32,
    resume: bool,
) {
    // As in `multiply_whole`.
    macro_rules! multiply {
        ($($start:literal),*) => {
            asm!(
                $($start,)*
                "2:",
                "tileloadd tmm4, [{left} + {left_stride}]",
                "tileloadd tmm6, [{right} + {stride}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {stride} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {left}, 2048",
                "add {right}, 2048",
                "dec {blocks}",
                "jnz 2b",
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 64], tmm1",
                left = inout(reg) left => _, right = inout(reg) right => _,
                blocks = inout(reg) blocks => _, sums = in(reg) sums,
                left_stride = in(reg) 4 * TILE, stride = in(reg) 4 * SIDE,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }
    // SAFETY: As in `multiply_whole`.
    unsafe {
        if resume {
            multiply!(
                "tileloadd tmm0, [{sums} + {stride}]",
                "tileloadd tmm1, [{sums} + {stride} + 64]"
            );
        } else {
            multiply!("tilezero tmm0", "tilezero tmm1");
        }
    }
}

/// Packs the rows of `m` into as many left panels as `out` holds.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ) with bf16.
///
/// # Panics
/// If the panels do not fit the matrix.
#[allow(
    clippy::too_many_lines,
    reason = "one arm for every element type and orientation, each of them one call"
)]
#[inline(always)]
unsafe fn pack_left(m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
    let PanelLayout { first, words, .. } = layout;
    layout.check::<true>(m, out);
    let (stride, inner) = (m.stride(), m.cols());
    for (i, out) in out.chunks_exact_mut(words * SIDE).enumerate() {
        let first = first + i * SIDE;
        let height = (m.rows() - first).min(SIDE);
        // SAFETY: Loads are of rows below `m.rows()` and of columns below `m.cols()`, which `Matrix::new`
        // has checked against the slice. `PanelLayout::check` has checked that panels start inside `m`
        // and that words are those of its rows, and the processor has the instructions by this
        // function's contract.
        unsafe {
            match (m.data(), m.is_column_major()) {
                (Factor::F32(x), false) => {
                    let x = x.as_ptr().add(first * stride);
                    pack_rows(
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
                    pack_rows(
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
                    pack_columns(
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
                    pack_columns(
                        height,
                        words,
                        out,
                        #[inline(always)]
                        |word, at, mask| {
                            column_words_bf16::<true>(x.wrapping_add(at), stride, inner, word, mask)
                        },
                    );
                }
                // No layer has such a left factor, so this needs no speed: the panel is packed in the
                // portable order and rearranged.
                (Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_), _) => {
                    let mut panel = vec![0; out.len()];
                    pack::<true>(m, PanelLayout { first, width: SIDE, words }, &mut panel);
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

/// Packs one panel of `height` rows whose words are contiguous. `load(row, from)` gives the [`TILE`] words
/// of a row from word `from` on.
///
/// # Safety
/// The processor must have AVX-512F, `words` must be a multiple of [`TILE`], and `out` must hold
/// `words * SIDE` words.
#[inline(always)]
unsafe fn pack_rows(
    height: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize) -> __m512i,
) {
    // All words of a row before the next row, so that memory is read in order.
    for row in 0..SIDE {
        for from in (0..words).step_by(TILE) {
            // SAFETY: By the contract of this function; stores are within its words.
            unsafe {
                let block = if row < height { load(row, from) } else { _mm512_setzero_si512() };
                let to = out.as_mut_ptr().add(from * SIDE + row * TILE);
                _mm512_storeu_si512(to.cast(), block);
            }
        }
    }
}

/// Packs one panel of `height` rows that lie along it. `load(word, at, mask)` gives a word of the rows
/// `at..at + TILE` that are in `mask`.
///
/// # Safety
/// As [`pack_rows`].
#[inline(always)]
unsafe fn pack_columns(
    height: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize, __mmask16) -> __m512i,
) {
    for from in (0..words).step_by(TILE) {
        for at in [0, TILE] {
            let mask = mask16(height.saturating_sub(at));
            // SAFETY: By the contract of this function; stores are within its words.
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
