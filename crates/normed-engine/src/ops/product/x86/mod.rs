//! The kernels for x86-64: AMX, AVX-512 with bf16 dot products, AVX-512, and AVX2 with FMA.
//!
//! Closures are `#[inline(always)]` in all of these files. A closure that is not inlined is not compiled
//! for the instruction set, and would call every intrinsic as a function.

mod amx;
mod avx2;
mod avx512;
mod few_rows;
mod few_rows_amx;
mod narrow;
mod pack_avx512;
mod registers;
mod tile;

pub(super) use amx::{AmxBf16, ConfiguredTiles, has_amx};
pub(super) use avx2::Avx2;
pub(super) use avx512::{Avx512, Avx512Bf16};
