//! Matrices as 8-bit codes for products in integers, each group of [`GROUP`] elements along the inner
//! dimension of a product with a scale of its own.
//!
//! An element is `code * scale`. Codes are in `-127..=127`, and a scale is the largest magnitude of its
//! group over 127 (symmetric quantization). Groups keep an outlier from coarsening more than its
//! neighbors. A run in int8 makes codes of its frozen matrices once; they are no format of files, unlike
//! the matrices of [`quantized`](super::quantized).

mod matrix;
mod panels;
mod quantize;

pub use matrix::CodeMatrix;
pub use panels::{CodeLine, CodePanels, GROUP, LINES_PER_GROUP, PANEL};
pub use quantize::quantize_group;
