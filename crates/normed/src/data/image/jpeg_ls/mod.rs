//! A decoder of JPEG-LS (ITU T.87): lossless and near-lossless, 2 to 16 bits, one or three components in all
//! three orders.
//!
//! Letters are those of the recommendation: `a` is the sample to the left, `b` the one above, `c` and `d` those
//! above to the left and to the right.

mod bits;
mod coding;
mod scan;

pub(super) use scan::{check, decode};
