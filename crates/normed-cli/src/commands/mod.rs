//! The commands, one per file. Each returns the exit code of the process, or an error.

mod apply_delta;
mod ask;
mod completions;
mod diff;
mod evaluate;
mod export;
mod fetch;
mod inspect;
mod merge;
mod plan;
mod predict;
mod quantize;
mod score;
mod show;
mod split;
mod study;
mod train;

pub use apply_delta::apply_delta;
pub use ask::ask;
pub use completions::{completions, man};
pub use diff::diff;
pub use evaluate::evaluate;
pub use export::export;
pub use fetch::fetch;
pub use inspect::inspect;
pub use merge::merge;
pub use plan::plan;
pub use predict::predict;
pub use quantize::quantize;
pub use score::score;
pub use show::show;
pub use split::split;
pub use study::study;
pub use train::{pretrain, train};
