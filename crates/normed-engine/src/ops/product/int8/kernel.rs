//! What a product in int8 needs of an instruction set, and an implementation for any processor.

use crate::ops::simd::with_simd;
use crate::tensor::{CodeLine, GROUP, LINES_PER_GROUP, PANEL};

/// Lines of the codes of one row in a group.
pub(super) const LINES_PER_ROW: usize = GROUP / 64;

/// Some groups of a panel of rows of the left factor.
#[derive(Clone, Copy)]
pub(super) struct LeftGroups<'a> {
    /// `[groups][TILE_ROWS][GROUP]`.
    pub codes: &'a [CodeLine],
    /// `[groups][TILE_ROWS]`.
    pub scales: &'a [f32],
}

/// The same groups of a panel of columns of the right factor; see [`CodePanels`](crate::tensor::CodePanels).
#[derive(Clone, Copy)]
pub(super) struct RightGroups<'a> {
    /// `[groups][GROUP / 4][PANEL][4]`.
    pub codes: &'a [CodeLine],
    /// `[groups][PANEL]`.
    pub scales: &'a [f32],
    /// The sums of codes, `[groups][PANEL]`.
    pub sums: &'a [i32],
}

impl RightGroups<'_> {
    /// The number of groups, which both factors have.
    ///
    /// # Panics
    /// If the factors differ in it, or if the tile of sums is too small. Kernels load and store without
    /// bounds checks and rely on this.
    pub fn count(self, left: LeftGroups<'_>, tile_rows: usize, sums: &[f32]) -> usize {
        let groups = self.codes.len() / LINES_PER_GROUP;
        let fits = self.scales.len() == groups * PANEL
            && self.sums.len() == groups * PANEL
            && left.codes.len() == groups * tile_rows * LINES_PER_ROW
            && left.scales.len() == groups * tile_rows
            && sums.len() >= tile_rows * PANEL;
        assert!(fits, "the factors of a product in int8 do not fit each other");
        groups
    }
}

/// The micro-kernel of one instruction set.
///
/// A value of an implementing type proves that the processor has the instructions: the constructor of the
/// type checks for them.
pub(super) trait CodeKernel: Copy + Send + Sync {
    /// Rows of a tile, and of a panel of the left factor. A tile has [`PANEL`] columns.
    const TILE_ROWS: usize;
    /// Whether the instruction takes the left codes unsigned. They are then packed with 128 added.
    const UNSIGNED_LEFT: bool;
    /// The largest number of left panels in a task.
    const MAX_ROW_PANELS: usize = 12;
    /// The smallest number of left panels that is worth a task.
    const MIN_ROW_PANELS: usize = 3;
    /// Tasks for every thread, so that no thread waits long for another.
    const TASKS_PER_THREAD: usize = 6;

    /// Runs `f` with the processor state that [`CodeKernel::multiply_tile`] needs. Calls must not be
    /// nested.
    #[inline(always)]
    fn with_tile_state<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// Adds the product of the groups to `sums [TILE_ROWS, PANEL]`, at least in the first `height` rows.
    ///
    /// # Safety
    /// The call must come from within [`CodeKernel::with_tile_state`], on the same thread.
    unsafe fn multiply_tile(
        self,
        height: usize,
        left: LeftGroups<'_>,
        right: RightGroups<'_>,
        sums: &mut [f32],
    );
}

/// Plain loops over arrays, which compilers turn into whatever vectors the processor has: the reference of all
/// other kernels.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl CodeKernel for Portable {
    const TILE_ROWS: usize = 4;
    const UNSIGNED_LEFT: bool = false;
    const MAX_ROW_PANELS: usize = 42;

    unsafe fn multiply_tile(
        self,
        height: usize,
        left: LeftGroups<'_>,
        right: RightGroups<'_>,
        sums: &mut [f32],
    ) {
        with_simd(
            #[inline(always)]
            || multiply_groups(height, left, right, sums),
        );
    }
}

#[inline(always)]
fn multiply_groups(height: usize, left: LeftGroups<'_>, right: RightGroups<'_>, sums: &mut [f32]) {
    let groups = right.count(left, Portable::TILE_ROWS, sums);
    for group in 0..groups {
        let columns = &right.codes[group * LINES_PER_GROUP..][..LINES_PER_GROUP];
        let scales = &right.scales[group * PANEL..][..PANEL];
        for row in 0..height.min(Portable::TILE_ROWS) {
            let at = group * Portable::TILE_ROWS + row;
            let codes = &left.codes[at * LINES_PER_ROW..][..LINES_PER_ROW];
            let products = group_products(codes, columns);
            let sums = &mut sums[row * PANEL..][..PANEL];
            for ((sum, product), scale) in sums.iter_mut().zip(products).zip(scales) {
                *sum = (product as f32 * scale).mul_add(left.scales[at], *sum);
            }
        }
    }
}

/// The products of a row's codes in one group with those of every column of a panel.
#[inline(always)]
fn group_products(row: &[CodeLine], columns: &[CodeLine]) -> [i32; PANEL] {
    let mut sums = [0; PANEL];
    let fours = row.iter().flat_map(|line| line.0.as_chunks::<4>().0);
    for (four, lines) in fours.zip(columns.as_chunks::<{ PANEL * 4 / 64 }>().0) {
        let columns = lines.iter().flat_map(|line| line.0.as_chunks::<4>().0);
        for (sum, column) in sums.iter_mut().zip(columns) {
            for i in 0..4 {
                *sum += i32::from(four[i]) * i32::from(column[i]);
            }
        }
    }
    sums
}
