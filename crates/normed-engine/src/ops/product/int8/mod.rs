//! Products in int8: the right factor is a frozen matrix as codes ([`CodePanels`]), and the left factor is
//! quantized as it is packed, in groups along the inner dimension.
//!
//! Within a group, codes are multiplied and summed in integers, which is exact. The sum of a group times
//! the scales of both factors is added to an f32 sum, group by group. Every kernel gives the same bits.
//!
//! [`CodePanels`]: crate::tensor::CodePanels

mod kernel;
mod left;
mod multiply;
mod select;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(in crate::ops) use multiply::{multiply_codes, scratch_bytes};
