//! The kernels of products in int8 for x86-64: AMX, AVX-512 with VNNI, and AVX-VNNI.
//!
//! As in the parent's `x86`, closures are `#[inline(always)]`.

mod amx;
mod vnni;

pub(super) use amx::AmxInt8;
pub(super) use vnni::{Avx512Vnni, AvxVnni};
