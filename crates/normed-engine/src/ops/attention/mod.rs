//! Scaled dot-product attention over several heads (Vaswani et al. 2017, arXiv 1706.03762, eq. 1):
//! `softmax(Q Kᵀ / sqrt(d)) V`.
//!
//! The mask may be causal, leave out padding, and have a sliding window. Several query heads may share the
//! keys and values of one head (grouped-query attention; Ainslie et al. 2023, arXiv 2305.13245), which are
//! then packed once for all of them.
//!
//! Keeps for backward: Q, K and V, which are the outputs of the layers before and cost no copy, and the
//! log-sum-exp of each row of scores. Backward computes the probabilities again, a block of query rows at
//! a time (Dao et al. 2022, arXiv 2205.14135, algorithm 4): no `[T, T]` matrix ever exists.

mod backward;
mod forward;
mod kv_cache;
mod operation;
mod scratch;
mod sequences;
mod spec;

#[cfg(test)]
mod tests;

pub use kv_cache::KvCache;
pub use operation::{attention, cached_attention, self_attention};
pub use spec::AttentionSpec;
