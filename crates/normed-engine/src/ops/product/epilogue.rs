//! From finished tiles of sums to the caller's epilogue.
//!
//! An epilogue is called as `epilogue(row, col, sums)` once for every run of columns of every row, from
//! any thread.

use super::rows::Rows;
use crate::ops::element::Element;
use crate::ops::simd::with_simd;

/// A tile of finished sums.
pub(super) struct Tile<'a> {
    /// The row and the column of the product where the tile starts.
    pub row: usize,
    pub col: usize,
    /// Rows and columns of the tile that are inside the product.
    pub height: usize,
    pub width: usize,
    /// The sums, row-major.
    pub sums: &'a [f32],
    /// Elements from one row of sums to the next.
    pub stride: usize,
}

/// Takes finished tiles, from any thread. A reference, so that kernels are compiled once rather than for
/// every epilogue.
pub(super) type TileSink<'a> = &'a (dyn Fn(Tile<'_>) + Sync);

/// A [`TileSink`] that hands the rows of a tile to an epilogue. Only this loop is compiled with each
/// epilogue.
pub(super) fn row_by_row(
    epilogue: impl Fn(usize, usize, &[f32]) + Sync,
) -> impl Fn(Tile<'_>) + Sync {
    move |Tile { row, col, height, width, sums, stride }| {
        with_simd(
            #[inline(always)]
            || {
                for (r, sums) in sums.chunks_exact(stride).take(height).enumerate() {
                    match width {
                        // The common widths, as lengths that the compiler knows.
                        32 => epilogue(row + r, col, &sums[..32]),
                        16 => epilogue(row + r, col, &sums[..16]),
                        _ => epilogue(row + r, col, &sums[..width]),
                    }
                }
            },
        );
    }
}

/// An epilogue that stores the sums in `out`, rounded to `T`.
///
/// # Safety
/// - The epilogue must go to one product, which hands out every element once. The product must not
///   have more rows and columns than `out` has room for, so that indices cannot overflow.
/// - While the product runs, nothing else may read or write the elements that it hands out.
pub(in crate::ops) unsafe fn store<T: Element>(
    out: Rows<'_, T>,
) -> impl Fn(usize, usize, &[f32]) + Sync {
    #[inline(always)]
    move |row, col, sums| {
        // SAFETY: By this function's contract the elements are handed out once, nobody else uses
        // them, and the indices do not overflow.
        let out = unsafe { out.at(row, col, sums.len()) };
        for i in 0..sums.len() {
            out[i] = T::from_f32(sums[i]);
        }
    }
}
