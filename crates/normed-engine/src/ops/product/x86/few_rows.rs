//! Products of few rows with AVX2 and AVX-512: panels are packed into a cache and multiplied there.

use super::avx2::Avx2;
use super::avx512::{Avx512, Avx512Bf16};
use crate::ops::product::few_rows::FewRowsKernel;

impl FewRowsKernel for Avx2 {
    const MAX_ROWS: usize = 16;
}

impl FewRowsKernel for Avx512 {
    const MAX_ROWS: usize = 16;
}

impl FewRowsKernel for Avx512Bf16 {
    const MAX_ROWS: usize = 16;
}
