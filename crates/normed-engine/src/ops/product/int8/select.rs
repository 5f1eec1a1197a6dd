//! The choice of a kernel for products in int8 at run time.

/// Calls `f(kernel, ..)` with the fastest kernel that this processor has.
macro_rules! with_code_kernel {
    ($f:ident($($argument:expr),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::ops::product::int8::x86;
            use $crate::ops::product::limit::{InstructionSet, allows};
            if allows(InstructionSet::Amx) && let Some(kernel) = x86::AmxInt8::detect() {
                return $f(kernel, $($argument),*);
            }
            if allows(InstructionSet::Avx512) && let Some(kernel) = x86::Avx512Vnni::detect() {
                return $f(kernel, $($argument),*);
            }
            if allows(InstructionSet::Avx2) && let Some(kernel) = x86::AvxVnni::detect() {
                return $f(kernel, $($argument),*);
            }
        }
        $f($crate::ops::product::int8::kernel::Portable, $($argument),*)
    }};
}
pub(super) use with_code_kernel;
