//! The towers that models are composed of: image encoders, text encoders and decoders, language models, and the
//! projector between an image encoder and a language model.

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
