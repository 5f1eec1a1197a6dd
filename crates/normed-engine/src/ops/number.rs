//! The precisions that values are kept in. Kernels compute in f32 and are generic over them.

use half::bf16;

use crate::tensor::{Elements, Precision, Tensor};

/// What a kernel computes in f32 and keeps in memory in this precision.
pub(super) trait Number: Copy + Default + Send + Sync + 'static {
    /// The number in f32.
    fn wide(self) -> f32;
    /// The nearest such number, ties to even.
    fn nearest(x: f32) -> Self;
    /// The elements of a tensor of this precision.
    fn of(x: &Tensor) -> &[Self];
    /// A tensor of this precision beside another, to be overwritten.
    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor;
    /// The elements of such a tensor, for writing.
    fn of_mut(x: &mut Tensor) -> &mut [Self];
}

impl Number for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        x
    }

    fn of(x: &Tensor) -> &[Self] {
        x.data()
    }

    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor {
        x.empty_like(shape, Precision::F32)
    }

    fn of_mut(x: &mut Tensor) -> &mut [Self] {
        x.data_mut()
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        Self::from_f32(x)
    }

    fn of(x: &Tensor) -> &[Self] {
        match x.elements() {
            Elements::Bf16(data) => data,
            Elements::F32(_) => panic!("{x:?} is not bf16"),
        }
    }

    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor {
        x.empty_like(shape, Precision::Bf16)
    }

    fn of_mut(x: &mut Tensor) -> &mut [Self] {
        x.bf16_data_mut()
    }
}

/// Calls a function that is generic over a [`Number`] with the precision of a tensor.
macro_rules! in_precision {
    ($precision:expr, $($f:ident).+($($argument:expr),* $(,)?)) => {
        match $precision {
            $crate::tensor::Precision::F32 => $($f).+::<f32>($($argument),*),
            $crate::tensor::Precision::Bf16 => $($f).+::<half::bf16>($($argument),*),
        }
    };
}
pub(super) use in_precision;
