//! The choice of a kernel at run time.

/// Calls `f(kernel, ..)` with the fastest kernel that this processor has for products in `precision`.
macro_rules! with_kernel {
    ($precision:expr, $f:ident($($argument:expr),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::ops::product::limit::{InstructionSet, allows};
            use $crate::ops::product::x86;
            if $precision == $crate::tensor::Precision::Bf16 && allows(InstructionSet::Avx512) {
                if allows(InstructionSet::Amx)
                    && let Some(kernel) = x86::AmxBf16::detect()
                {
                    return $f(kernel, $($argument),*);
                }
                if let Some(kernel) = x86::Avx512Bf16::detect() {
                    return $f(kernel, $($argument),*);
                }
            }
            if allows(InstructionSet::Avx512)
                && let Some(kernel) = x86::Avx512::detect()
            {
                return $f(kernel, $($argument),*);
            }
            if allows(InstructionSet::Avx2)
                && let Some(kernel) = x86::Avx2::detect()
            {
                return $f(kernel, $($argument),*);
            }
        }
        $f($crate::ops::product::kernel::Portable, $($argument),*)
    }};
}
pub(super) use with_kernel;
