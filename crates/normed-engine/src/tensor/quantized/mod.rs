//! Matrices of 8 or 4 bits an element, in the formats of the Python library bitsandbytes. Only matrix
//! products read them, an element at a time while they pack their factors.

mod bytes;
mod encode;
mod int8;
mod matrix;
mod nf4;

pub use bytes::Bytes;
pub use int8::Int8;
pub use matrix::{Quantization, QuantizedMatrix};
pub use nf4::{Absmax, FP4_VALUES, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, dynamic_map};
