//! The kernel for AMX (`tdpbssd`): signed codes times signed codes, 64 of them at a time.
//!
//! The sums of a group leave the tiles for memory, where AVX-512 scales them and adds them up, while the
//! tiles already multiply the next group.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::LazyLock;

use crate::ops::product::int8::kernel::{CodeKernel, LINES_PER_ROW, LeftGroups, RightGroups};
use crate::ops::product::x86::{ConfiguredTiles, has_amx};
use crate::tensor::{CodeLine, GROUP, LINES_PER_GROUP, PANEL};

/// AMX with products of 8-bit integers. Scaling uses AVX-512.
#[derive(Clone, Copy)]
pub(in crate::ops::product::int8) struct AmxInt8(());

/// Rows of a hardware tile.
const TILE: usize = 16;
/// Rows of a kernel's tile: two hardware tiles.
const ROWS: usize = 2 * TILE;
/// The bit of CPUID leaf 7, EDX, that names AMX-INT8.
const INT8: u32 = 1 << 25;

const _: () = assert!(PANEL == ROWS && GROUP.is_multiple_of(64));

impl AmxInt8 {
    /// The kernel, if this processor has the instructions and the operating system lets this process use
    /// them.
    pub fn detect() -> Option<Self> {
        static USABLE: LazyLock<bool> = LazyLock::new(|| has_amx(INT8));
        USABLE.then_some(Self(()))
    }
}

/// The sums of a group, `[ROWS, PANEL]`.
#[repr(C, align(64))]
struct Sums([i32; ROWS * PANEL]);

impl CodeKernel for AmxInt8 {
    const TILE_ROWS: usize = ROWS;
    const UNSIGNED_LEFT: bool = false;
    const TASKS_PER_THREAD: usize = 2;
    const MIN_ROW_PANELS: usize = 6;

    #[inline(always)]
    fn with_tile_state<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that there are tiles. Calls are not nested: `multiply_block`, the only
        // caller, holds a thread-local buffer mutably borrowed.
        let _tiles = unsafe { ConfiguredTiles::new() };
        f()
    }

    unsafe fn multiply_tile(
        self,
        height: usize,
        left: LeftGroups<'_>,
        right: RightGroups<'_>,
        sums: &mut [f32],
    ) {
        // SAFETY: `self` proves that the processor has these instructions, and the tiles are configured by
        // this function's contract.
        unsafe {
            with_avx512(
                #[inline(always)]
                || multiply_groups(height, left, right, sums),
            );
        }
    }
}

/// Runs `f`, and all that is inlined into it, compiled for AVX-512.
#[target_feature(enable = "avx512f")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// [`CodeKernel::multiply_tile`].
///
/// # Safety
/// The processor must have AVX-512F, and the tiles must be configured on this thread
/// ([`ConfiguredTiles`]).
#[inline(always)]
unsafe fn multiply_groups(
    height: usize,
    left: LeftGroups<'_>,
    right: RightGroups<'_>,
    sums: &mut [f32],
) {
    let groups = right.count(left, ROWS, sums);
    assert!(height <= ROWS);
    let mut buffers = [const { Sums([0; ROWS * PANEL]) }; 2];
    for group in 0..=groups {
        if group < groups {
            let left = &left.codes[group * ROWS * LINES_PER_ROW..][..ROWS * LINES_PER_ROW];
            let right = &right.codes[group * LINES_PER_GROUP..][..LINES_PER_GROUP];
            // SAFETY: The tiles are configured by this function's contract.
            unsafe { multiply_group(height, left, right, &mut buffers[group % 2]) };
        }
        // The group before, so that its sums are in memory by now.
        if let Some(group) = group.checked_sub(1) {
            let left = &left.scales[group * ROWS..][..ROWS];
            let right = &right.scales[group * PANEL..][..PANEL];
            // SAFETY: The processor has AVX-512F by this function's contract.
            unsafe { add_scaled(height, &buffers[group % 2], left, right, sums) };
        }
    }
}

/// Adds a group's sums times the scales of both factors to `sums`, in the first `height` rows.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
unsafe fn add_scaled(
    height: usize,
    products: &Sums,
    left: &[f32],
    right: &[f32],
    sums: &mut [f32],
) {
    assert!(height <= left.len() && height <= ROWS && right.len() == PANEL);
    assert!(sums.len() >= height * PANEL);
    // SAFETY: By the contract of this function and the assertions.
    unsafe {
        let halves = [0, TILE];
        let right = halves.map(|c| _mm512_loadu_ps(right.as_ptr().add(c)));
        for (row, left) in left[..height].iter().enumerate() {
            let left = _mm512_set1_ps(*left);
            for (c, right) in halves.into_iter().zip(right) {
                let at = row * PANEL + c;
                let product = _mm512_load_si512(products.0.as_ptr().add(at).cast());
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(product), right);
                let to = sums.as_mut_ptr().add(at);
                _mm512_storeu_ps(to, _mm512_fmadd_ps(scaled, left, _mm512_loadu_ps(to)));
            }
        }
    }
}

/// The sums of one group: of a whole tile, or of its upper half if `height` is at most [`TILE`]. The sums
/// are in tmm0 to tmm3, the left factor in tmm4 and tmm5, the right one in tmm6 and tmm7.
///
/// # Safety
/// The tiles must be configured on this thread.
///
/// # Panics
/// If the factors are not of one group.
#[inline(always)]
unsafe fn multiply_group(height: usize, left: &[CodeLine], right: &[CodeLine], out: &mut Sums) {
    assert!(left.len() == ROWS * LINES_PER_ROW && right.len() == LINES_PER_GROUP);
    let (left, right) = (left.as_ptr(), right.as_ptr());
    // SAFETY: `ROWS * GROUP` codes of the left and as many of the right factor are valid for reading, by
    // the assertion: `GROUP / 64` steps of 64 columns of 32 rows, and of 16 rows of 128 bytes. The stores
    // are of `ROWS` rows of 128 bytes. All changed registers and tiles are declared.
    unsafe {
        if height > TILE {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{right} + {stride}]",
                "tileloadd tmm4, [{left} + {left_stride}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{lower} + {left_stride}]",
                "tdpbssd tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{right} + {stride} + 64]",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbssd tmm3, tmm5, tmm7",
                "add {left}, 64",
                "add {lower}, 64",
                "add {right}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{out} + {stride}], tmm0",
                "tilestored [{out} + {stride} + 64], tmm1",
                "tilestored [{out} + {stride} + 2048], tmm2",
                "tilestored [{out} + {stride} + 2112], tmm3",
                left = inout(reg) left => _, lower = inout(reg) left.add(TILE * LINES_PER_ROW) => _,
                right = inout(reg) right => _, steps = inout(reg) GROUP / 64 => _,
                out = in(reg) out, left_stride = in(reg) GROUP, stride = in(reg) 4 * PANEL,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        } else {
            asm!(
                "tilezero tmm0", "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{left} + {left_stride}]",
                "tileloadd tmm6, [{right} + {stride}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {stride} + 64]",
                "tdpbssd tmm1, tmm4, tmm7",
                "add {left}, 64",
                "add {right}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{out} + {stride}], tmm0",
                "tilestored [{out} + {stride} + 64], tmm1",
                left = inout(reg) left => _, right = inout(reg) right => _,
                steps = inout(reg) GROUP / 64 => _,
                out = in(reg) out, left_stride = in(reg) GROUP, stride = in(reg) 4 * PANEL,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
