//! The parts that models are composed of: image encoders, text towers, and what stands between them.

mod bert;
mod clip;
mod llama;
mod llama_config;
mod projector;
mod rope;
mod vit;

pub use bert::{Bert, BertConfig, PredictionHead};
pub use clip::{Clip, ClipConfig};
pub use llama::Llama;
pub use llama_config::{LlamaConfig, LlamaKind};
pub use projector::{Projector, ProjectorKind};
pub use rope::{RopeConfig, RopeScaling};
pub use vit::{Vit, VitConfig};
