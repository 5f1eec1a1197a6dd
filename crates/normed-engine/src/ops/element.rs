//! The element types of tensors. Kernels compute in f32 and are generic over the type in memory.

use half::bf16;

use crate::tensor::{Elements, Precision, Tensor};

/// An element type, f32 or bf16, that kernels load as f32 and store rounded.
pub(super) trait Element: Copy + Default + Send + Sync + 'static {
    /// The value in f32, exact.
    fn to_f32(self) -> f32;
    /// The nearest value of this type, ties to even.
    fn from_f32(x: f32) -> Self;
    /// The elements of a tensor of this type, row-major.
    ///
    /// # Panics
    /// If the tensor has another element type or is only planned.
    fn slice(x: &Tensor) -> &[Self];
    /// A tensor of this type to be overwritten, planned and metered as `x` is.
    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor;
    /// The elements of a tensor of this type, for writing.
    ///
    /// # Panics
    /// If the tensor has another element type or is only planned.
    fn slice_mut(x: &mut Tensor) -> &mut [Self];
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }

    fn slice(x: &Tensor) -> &[Self] {
        x.data()
    }

    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor {
        x.empty_like(shape, Precision::F32)
    }

    fn slice_mut(x: &mut Tensor) -> &mut [Self] {
        x.data_mut()
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        // The inherent method of the same name.
        bf16::to_f32(self)
    }

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x)
    }

    fn slice(x: &Tensor) -> &[Self] {
        match x.elements() {
            Elements::Bf16(data) => data,
            Elements::F32(_) => panic!("{x:?} is f32 where bf16 is expected"),
        }
    }

    fn empty_like(x: &Tensor, shape: &[usize]) -> Tensor {
        x.empty_like(shape, Precision::Bf16)
    }

    fn slice_mut(x: &mut Tensor) -> &mut [Self] {
        x.bf16_data_mut()
    }
}

/// Calls a function that is generic over an [`Element`] with the type that a [`Precision`] names:
/// `dispatch!(precision, f(x))` is `f::<f32>(x)` or `f::<bf16>(x)`.
macro_rules! dispatch {
    ($precision:expr, $($f:ident).+($($argument:expr),* $(,)?)) => {
        match $precision {
            $crate::tensor::Precision::F32 => $($f).+::<f32>($($argument),*),
            $crate::tensor::Precision::Bf16 => $($f).+::<half::bf16>($($argument),*),
        }
    };
}
pub(super) use dispatch;
