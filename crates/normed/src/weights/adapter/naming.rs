//! The names that a model's modules have in different versions of transformers, and in the models' own code.

use crate::weights::blip_names::{to_hugging_face, to_original};
use crate::weights::llava_names::{
    from_llava_original, from_older_transformers, to_hugging_face_llava, to_llava_original,
    to_transformers_4_52,
};

/// A scheme of names. All schemes are the same for a module that was never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Of transformers 5, and of [`Parameters`](crate::tensor::Parameters).
    Transformers5,
    /// Of transformers 4.52 to 4.57.
    Transformers4_52,
    /// Of transformers before 4.52.
    Transformers4,
    /// Of the code that the model comes from.
    OwnCode,
}

impl Naming {
    /// Every scheme, the newest first.
    pub const ALL: [Self; 4] =
        [Self::Transformers5, Self::Transformers4_52, Self::Transformers4, Self::OwnCode];

    /// The name in this scheme of the module or parameter that transformers 5 calls `name`. `projector_layers` is
    /// the number of layers of a LLaVA's projector.
    pub fn translate(self, name: &str, projector_layers: usize) -> String {
        // Prefixes end with a dot, also where the whole name is one.
        let ended = format!("{name}.");
        let mut translated = match self {
            Self::Transformers5 => ended,
            Self::Transformers4_52 => to_transformers_4_52(&ended),
            Self::Transformers4 => to_hugging_face_llava(&ended),
            Self::OwnCode => to_original(&to_llava_original(&ended, projector_layers)),
        };
        translated.pop();
        translated
    }
}

/// The names that `name` can have in transformers 5, whatever scheme it is in.
pub(super) fn candidates(name: &str) -> [String; 4] {
    let ended = format!("{name}.");
    let without_dot = |mut name: String| {
        name.pop();
        name
    };
    [
        name.to_owned(),
        without_dot(from_older_transformers(&ended)),
        without_dot(from_llava_original(&ended)),
        without_dot(to_hugging_face(&ended)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_translated_both_ways() {
        for (name, schemes) in [
            (
                "model.language_model.layers.0.mlp.up_proj",
                [
                    "model.language_model.layers.0.mlp.up_proj",
                    "language_model.model.layers.0.mlp.up_proj",
                    "model.layers.0.mlp.up_proj",
                ],
            ),
            (
                "model.vision_tower.encoder.layers.1",
                [
                    "model.vision_tower.vision_model.encoder.layers.1",
                    "vision_tower.vision_model.encoder.layers.1",
                    "model.vision_tower.vision_tower.vision_model.encoder.layers.1",
                ],
            ),
            (
                "model.multi_modal_projector.linear_1",
                [
                    "model.multi_modal_projector.linear_1",
                    "multi_modal_projector.linear_1",
                    "model.mm_projector.0",
                ],
            ),
            ("lm_head", ["lm_head", "language_model.lm_head", "lm_head"]),
            (
                "vision_model.encoder.layers.1.self_attn.qkv",
                [
                    "vision_model.encoder.layers.1.self_attn.qkv",
                    "vision_model.encoder.layers.1.self_attn.qkv",
                    "visual_encoder.blocks.1.attn.qkv",
                ],
            ),
        ] {
            for (naming, scheme) in Naming::ALL[1..].iter().zip(schemes) {
                assert_eq!(naming.translate(name, 2), scheme, "{naming:?}");
                assert!(candidates(scheme).iter().any(|found| found == name), "{scheme}");
            }
        }
        // Containers are renamed like what they contain.
        let projector = "model.multi_modal_projector";
        assert_eq!(Naming::Transformers4.translate(projector, 2), "multi_modal_projector");
        assert!(candidates("multi_modal_projector").contains(&projector.to_owned()));
    }
}
