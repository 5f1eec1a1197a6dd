//! Matrix products (GEMM) with a fused epilogue: the caller's closure takes the sums of a run of
//! columns and stores them, so that bias, activation and residual cost no pass of their own.
//!
//! Both factors are packed into panels of 32-bit words, each an f32 or a pair of bf16 that are neighbors
//! along the inner dimension. A micro-kernel multiplies a left panel by a right panel in registers
//! (Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Packing reads a
//! factor in any orientation and precision, so a frozen weight is in memory once, as its checkpoint
//! has it.
//!
//! A frozen matrix as codes for products in int8 has a path of its own, [`int8`].
//! Products of few rows skip the packed factor in memory ([`few_rows`]).
//!
//! An element is summed from the first inner index to the last, in an order that depends only on the
//! kernel. The bits are the same for any blocking and any number of threads.

mod aligned;
mod blocking;
mod epilogue;
mod few_rows;
mod int8;
mod kernel;
mod limit;
mod matrix;
mod multiply;
mod pack;
mod packed;
mod rows;
mod select;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

pub(super) use epilogue::store;
pub(super) use int8::{multiply_codes, scratch_bytes as code_scratch_bytes};
pub use limit::{InstructionSet, limit_instructions};
pub(super) use matrix::Matrix;
pub(super) use multiply::{multiply, scratch_bytes};
pub(super) use packed::PackedMatrix;
pub(super) use rows::Rows;
