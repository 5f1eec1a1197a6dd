//! The largest instruction set that products use, for tests and for measuring other machines' kernels on
//! this one.

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets of matrix products, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum InstructionSet {
    /// What every processor has.
    Portable,
    /// AVX2 with FMA, and AVX-VNNI where the processor has it.
    Avx2,
    /// AVX-512, with bf16 and VNNI where the processor has them.
    Avx512,
    /// AMX.
    Amx,
}

static LARGEST: AtomicU8 = AtomicU8::new(InstructionSet::Amx as u8);

/// From now on, matrix products of this process use at most this instruction set. Call it before the first
/// product: what has been packed for another kernel cannot be multiplied.
pub fn limit_instructions(to: InstructionSet) {
    LARGEST.store(to as u8, Ordering::Relaxed);
}

/// Whether products may use this instruction set.
pub(super) fn allows(set: InstructionSet) -> bool {
    set as u8 <= LARGEST.load(Ordering::Relaxed)
}
