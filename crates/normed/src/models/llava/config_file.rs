//! The config.json of a LLaVA, in two layouts: Hugging Face's, and that of LLaVA's own code. Both are read, and
//! the first is written.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{FeatureSelect, LlavaConfig};
use super::vision_tower::VisionTower;
use crate::models::activation_names::{activation_name, read_activation};
use crate::models::config_keys::ConfigKeys;
use crate::models::model::Layout;
use crate::models::towers::{ClipConfig, LlamaConfig, LlamaKind, ProjectorKind};
use crate::ops::Activation;
use crate::{Error, Result};

/// Hugging Face's class.
const HUGGING_FACE: &str = "LlavaForConditionalGeneration";

/// The classes of LLaVA's own code, and the language model whose keys their configs have.
const ORIGINAL: [(&str, LlamaKind); 2] =
    [("LlavaLlamaForCausalLM", LlamaKind::Llama), ("LlavaMistralForCausalLM", LlamaKind::Mistral)];

/// The most feature layers that a config may name.
const MOST_FEATURE_LAYERS: usize = 64;

/// The values of `model_type` of all these classes.
const TYPES: [&str; 3] = ["llava", "llava_llama", "llava_mistral"];

impl LlavaConfig {
    /// Whether config.json's content `json` is a LLaVA's, in either layout. Types such as `llava_next` are other
    /// models.
    pub fn matches(json: &Value) -> bool {
        let named = json["architectures"].as_array().is_some_and(|names| {
            let known = |name: &Value| {
                let name = name.as_str().unwrap_or_default();
                name == HUGGING_FACE || ORIGINAL.iter().any(|(original, _)| *original == name)
            };
            names.iter().any(known)
        });
        let kind = json["model_type"].as_str().unwrap_or_default();
        named || TYPES.contains(&kind)
    }

    /// Reads config.json's content `json`; `place` names the file in errors, and `dir` is its directory, where
    /// LLaVA's own layout may keep the image encoder.
    ///
    /// # Errors
    /// If the class is not known, if a key has a value that is not supported, if the image encoder is not
    /// found, or if no model can have these sizes.
    pub fn parse(place: &str, json: &Value, dir: &Path) -> Result<(Self, Layout)> {
        let keys = ConfigKeys::new(place, json)?;
        let names: Vec<String> = keys.get_or("architectures", Vec::new())?;
        let original = ORIGINAL.iter().find(|(known, _)| names.iter().any(|name| name == known));
        let (config, layout) = match original {
            Some(&(_, kind)) => (Self::from_original(&keys, kind, dir)?, Layout::Original),
            None if names.is_empty() || names.iter().any(|name| name == HUGGING_FACE) => {
                (Self::from_hugging_face(&keys)?, Layout::HuggingFace)
            }
            None => {
                let cause = format!("architectures are {names:?}");
                let known = [HUGGING_FACE, ORIGINAL[0].0, ORIGINAL[1].0];
                return Err(
                    Error::invalid(place, cause).with_remedy(format!("{known:?} are supported"))
                );
            }
        };
        config.check(place)?;
        Ok((config, layout))
    }

    fn from_hugging_face(keys: &ConfigKeys) -> Result<Self> {
        let vision = match keys.section("vision_config")? {
            Some(vision) => ClipConfig::read(&vision)?,
            None => ClipConfig::large(336),
        };
        let text = match keys.section("text_config")? {
            Some(text) => text,
            None => ConfigKeys::new(&keys.place, &json!({}))?,
        };
        let kind = match text.get_or("model_type", "llama".to_owned())?.as_str() {
            "llama" => LlamaKind::Llama,
            "mistral" => LlamaKind::Mistral,
            other => {
                let cause = format!("model_type is {other:?}");
                return Err(Error::invalid(&text.place, cause)
                    .with_remedy("llama and mistral are supported"));
            }
        };
        let mut text = LlamaConfig::read(&text, kind)?;
        text.tie_word_embeddings |= keys.get_or("tie_word_embeddings", false)?;
        let strategy = keys.get_or("vision_feature_select_strategy", "default".to_owned())?;
        let vision_feature_select_strategy = match strategy.as_str() {
            "default" => FeatureSelect::Default,
            "full" => FeatureSelect::Full,
            other => {
                let cause = format!("vision_feature_select_strategy is {other:?}");
                return Err(Error::invalid(&keys.place, cause)
                    .with_remedy("set it to \"default\" or \"full\""));
            }
        };
        Ok(Self {
            vision_feature_layers: feature_layers(keys, "vision_feature_layer", &vision)?,
            vision_config: vision,
            text_config: text,
            mm_projector_type: match keys
                .get_or("mm_projector_type", "mlp2x_gelu".to_owned())?
                .as_str()
            {
                "mlp2x_gelu" => ProjectorKind::Mlp2xGelu,
                other => {
                    let cause = format!("mm_projector_type is {other:?}");
                    return Err(Error::invalid(&keys.place, cause)
                        .with_remedy("in Hugging Face's layout it is \"mlp2x_gelu\" or absent"));
                }
            },
            projector_hidden_act: read_activation(keys, "projector_hidden_act", Activation::Gelu)?,
            multimodal_projector_bias: keys.get_or("multimodal_projector_bias", true)?,
            vision_feature_select_strategy,
            image_token_index: match keys.get("image_token_index")? {
                Some(id) => Some(id),
                None => Some(keys.get_or("image_token_id", 32_000)?),
            },
            mm_vision_tower: None,
        })
    }

    /// Reads the keys as LLaVA's `llava/model/llava_arch.py` and the builders next to it do.
    fn from_original(keys: &ConfigKeys, kind: LlamaKind, dir: &Path) -> Result<Self> {
        let tower: String = keys.get("mm_vision_tower")?.ok_or_else(|| {
            Error::invalid(&keys.place, "mm_vision_tower, which names the image encoder, is absent")
                .with_remedy(
                    "set it to \"openai/clip-vit-large-patch14-336\", or to a directory that holds a CLIP",
                )
        })?;
        let vision = VisionTower::config_of(&tower, dir)?;
        if let Some(width) = keys.get::<usize>("mm_hidden_size")?
            && width != vision.hidden_size
        {
            let cause = format!(
                "mm_hidden_size is {width}, the states of {tower} are {} wide",
                vision.hidden_size
            );
            return Err(Error::invalid(&keys.place, cause));
        }
        let projector = match keys.get_or("mm_projector_type", "linear".to_owned())?.as_str() {
            "linear" => ProjectorKind::Linear,
            "mlp2x_gelu" => ProjectorKind::Mlp2xGelu,
            other => {
                let cause = format!("mm_projector_type is {other:?}");
                return Err(Error::invalid(&keys.place, cause)
                    .with_remedy("\"linear\" and \"mlp2x_gelu\" are supported"));
            }
        };
        let feature = keys.get_or("mm_vision_select_feature", "patch".to_owned())?;
        let vision_feature_select_strategy = match feature.as_str() {
            "patch" => FeatureSelect::Default,
            "cls_patch" => FeatureSelect::Full,
            other => {
                let cause = format!("mm_vision_select_feature is {other:?}");
                return Err(Error::invalid(&keys.place, cause)
                    .with_remedy("set it to \"patch\" or \"cls_patch\""));
            }
        };
        Ok(Self {
            vision_feature_layers: vec![feature_layer(keys, "mm_vision_select_layer", &vision)?],
            vision_config: vision,
            text_config: LlamaConfig::read(keys, kind)?,
            mm_projector_type: projector,
            projector_hidden_act: Activation::Gelu,
            multimodal_projector_bias: true,
            vision_feature_select_strategy,
            image_token_index: None,
            mm_vision_tower: Some(tower),
        })
    }

    /// The content of transformers' config.json.
    ///
    /// # Errors
    /// If Hugging Face's layout cannot express the model: the projector is one layer, or no token stands for an
    /// image.
    pub fn to_hugging_face(&self) -> Result<Value> {
        let lacks = |cause: &str| {
            Error::invalid("config", cause).with_remedy(
                "Hugging Face's layout cannot express that; keep LLaVA's own layout, and adapters",
            )
        };
        if self.mm_projector_type == ProjectorKind::Linear {
            return Err(lacks("the projector is one linear layer"));
        }
        let image_token_index =
            self.image_token_index.ok_or_else(|| lacks("no token stands for an image"))?;
        Ok(json!({
            "architectures": [HUGGING_FACE],
            "model_type": "llava",
            "vision_config": self.vision_config.to_json(),
            "text_config": self.text_config.to_json(),
            "tie_word_embeddings": self.text_config.tie_word_embeddings,
            "projector_hidden_act": activation_name(self.projector_hidden_act),
            "multimodal_projector_bias": self.multimodal_projector_bias,
            "vision_feature_layer": self.feature_layers_from_end(),
            "vision_feature_select_strategy": self.vision_feature_select_strategy.name(),
            "image_token_index": image_token_index,
            "image_seq_length": self.image_tokens(),
        }))
    }

    /// The feature layers counted from the end, where the last block is -1: a number, or a list of several.
    fn feature_layers_from_end(&self) -> Value {
        let last = self.vision_config.num_hidden_layers as i64;
        let layers: Vec<i64> =
            self.vision_feature_layers.iter().map(|&layer| layer as i64 - last - 1).collect();
        match layers.as_slice() {
            [one] => json!(one),
            several => json!(several),
        }
    }

    /// The class that config.json names in this layout.
    pub fn architecture(&self, layout: Layout) -> &'static str {
        match layout {
            Layout::HuggingFace => HUGGING_FACE,
            Layout::Original => match self.text_config.model_type {
                LlamaKind::Llama => ORIGINAL[0].0,
                LlamaKind::Mistral => ORIGINAL[1].0,
            },
        }
    }
}

/// The layers that `key` names, one or a list, as [`feature_layer`] counts them.
fn feature_layers(keys: &ConfigKeys, key: &str, vision: &ClipConfig) -> Result<Vec<usize>> {
    let layers = match keys.get::<Value>(key)?.unwrap_or(json!(-2)) {
        Value::Array(several) => several,
        one => vec![one],
    };
    if layers.is_empty() || layers.len() > MOST_FEATURE_LAYERS {
        let cause = format!("{key} names {} layers, not 1 to {MOST_FEATURE_LAYERS}", layers.len());
        return Err(Error::invalid(&keys.place, cause));
    }
    layers.iter().map(|layer| count_blocks(keys, key, layer, vision)).collect()
}

/// The layer that `key` names, as the number of blocks before its states. Files count states from the
/// embeddings', which are 0; negative numbers count from the last block's, which are -1.
fn feature_layer(keys: &ConfigKeys, key: &str, vision: &ClipConfig) -> Result<usize> {
    count_blocks(keys, key, &keys.get::<Value>(key)?.unwrap_or(json!(-2)), vision)
}

fn count_blocks(keys: &ConfigKeys, key: &str, layer: &Value, vision: &ClipConfig) -> Result<usize> {
    let last = vision.num_hidden_layers;
    let found = layer.as_i64().and_then(|layer| {
        let from_start = if layer < 0 { layer.checked_add(last as i64 + 1)? } else { layer };
        usize::try_from(from_start).ok().filter(|&layers| layers <= last)
    });
    found.ok_or_else(|| {
        let cause = format!("{key} is {layer}; the image encoder has {last} blocks");
        Error::invalid(&keys.place, cause).with_remedy(
            "it is one layer, -2 in published models, or a list in Hugging Face's layout",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Llava;
    use crate::tensor::{Module, Parameters, Tower};

    fn parse(json: &Value) -> Result<(LlavaConfig, Layout)> {
        LlavaConfig::parse("config.json", json, Path::new("nowhere"))
    }

    /// The keys that stand in LLaVA-Med 1.5's config.json.
    fn llava_med() -> Value {
        json!({
            "architectures": ["LlavaMistralForCausalLM"],
            "bos_token_id": 1, "eos_token_id": 2, "freeze_mm_mlp_adapter": false,
            "hidden_act": "silu", "hidden_size": 4096, "image_aspect_ratio": "pad",
            "intermediate_size": 14336, "max_position_embeddings": 32768,
            "mm_hidden_size": 1024, "mm_projector_type": "mlp2x_gelu",
            "mm_use_im_patch_token": false, "mm_use_im_start_end": false,
            "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
            "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "model_type": "llava_mistral", "num_attention_heads": 32, "num_hidden_layers": 32,
            "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
            "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 32000,
        })
    }

    #[test]
    fn llava_med_has_the_known_counts() {
        let (config, layout) = parse(&llava_med()).unwrap();
        assert_eq!(layout, Layout::Original);
        assert_eq!((config.image_tokens(), config.vision_feature_layers.clone()), (576, vec![23]));
        assert_eq!(
            (config.text_config.sliding_window, config.text_config.rope_parameters.rope_theta),
            (None, 1e6)
        );
        let mut params = Parameters::new();
        Llava::declare(&config, &mut params);
        let norms = |tower, live: bool| -> usize {
            let norm = |p: &crate::tensor::Parameter| {
                matches!(p.role().module, Module::Norm(_)) && p.role().tower == tower
            };
            let all = params.iter().map(|(_, p)| p).filter(|p| norm(p));
            all.filter(|p| !live || p.inert_reason().is_none()).map(|p| p.len()).sum()
        };
        assert_eq!((norms(Tower::Decoder, false), norms(Tower::Decoder, true)), (266_240, 266_240));
        assert_eq!((norms(Tower::Vision, false), norms(Tower::Vision, true)), (102_400, 96_256));
        let count = |tower| -> usize {
            params.iter().filter(|(_, p)| p.role().tower == tower).map(|(_, p)| p.len()).sum()
        };
        assert_eq!(count(Tower::Decoder), 7_241_732_096);
        assert_eq!(count(Tower::Vision), 303_507_456);
        assert_eq!(count(Tower::Projector), 20_979_712);
        let error = config.to_hugging_face().unwrap_err().to_string();
        assert!(error.contains("no token stands for an image"), "{error}");
    }

    /// LLaVA-Med 1.0: one linear layer of 4,198,400 parameters, 256 tokens an image.
    #[test]
    fn llava_med_1_0_has_a_linear_projector() {
        let mut json = llava_med();
        json["architectures"] = json!(["LlavaLlamaForCausalLM"]);
        json["mm_vision_tower"] = json!("openai/clip-vit-large-patch14");
        json["max_position_embeddings"] = json!(2048);
        json["pad_token_id"] = json!(-1);
        for key in ["mm_projector_type", "mm_vision_select_feature", "num_key_value_heads"] {
            json.as_object_mut().unwrap().remove(key);
        }
        let (config, _) = parse(&json).unwrap();
        assert_eq!((config.image_tokens(), config.keeps_class_token()), (256, false));
        assert_eq!(
            (config.text_config.num_key_value_heads, config.text_config.pad_token_id),
            (32, None)
        );
        let mut params = Parameters::new();
        Llava::declare(&config, &mut params);
        let projector = params.iter().filter(|(_, p)| p.role().tower == Tower::Projector);
        assert_eq!(projector.map(|(_, p)| p.len()).sum::<usize>(), 4_198_400);
        let error = config.to_hugging_face().unwrap_err().to_string();
        assert!(error.contains("one linear layer"), "{error}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let hf = |text: Value| {
            json!({
                "architectures": ["LlavaForConditionalGeneration"],
                "vision_config": { "hidden_act": "gelu", "image_size": 32, "patch_size": 8 },
                "text_config": text,
                "vision_feature_layer": 3,
                "vision_feature_select_strategy": "full",
                "multimodal_projector_bias": false,
            })
        };
        for text in [
            json!({ "model_type": "mistral", "sliding_window": 7, "eos_token_id": [2, 3] }),
            json!({ "model_type": "mistral", "sliding_window": null, "head_dim": 64 }),
            json!({ "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true }),
            json!({ "rope_scaling": { "type": "linear", "factor": 2.0 }, "pad_token_id": 0 }),
        ] {
            let (config, layout) = parse(&hf(text)).unwrap();
            assert_eq!(
                (layout, config.vision_feature_layers.clone(), config.image_tokens()),
                (Layout::HuggingFace, vec![3], 17)
            );
            let again = parse(&config.to_hugging_face().unwrap()).unwrap();
            assert_eq!(again, (config, layout));
        }
        // llava-hf/llava-1.5-7b-hf relies on most defaults.
        let (config, _) = parse(&json!({
            "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
            "text_config": { "model_type": "llama", "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5, "vocab_size": 32064 },
        }))
        .unwrap();
        assert_eq!((config.image_tokens(), config.text_config.vocab_size), (576, 32064));
        assert_eq!(
            (config.vision_feature_layers, config.image_token_index),
            (vec![23], Some(32_000))
        );
    }

    #[test]
    fn impossible_configs_are_named() {
        let original = |key: &str, value: Value| {
            let mut json = llava_med();
            json[key] = value;
            json
        };
        let hf = |part: &str, key: &str, value: Value| {
            let mut json = json!({ "architectures": ["LlavaForConditionalGeneration"] });
            match part {
                "" => json[key] = value,
                part => json[part] = json!({ key: value }),
            }
            json
        };
        for (json, cause) in [
            (
                original("mm_vision_tower", Value::Null),
                "mm_vision_tower, which names the image encoder, is absent",
            ),
            (original("mm_vision_tower", json!("eva")), "found no image encoder eva"),
            (original("mm_hidden_size", json!(768)), "mm_hidden_size is 768"),
            (original("mm_projector_type", json!("mlp3x_gelu")), "mm_projector_type is"),
            (original("mm_vision_select_layer", json!(-26)), "has 24 blocks"),
            (original("mm_vision_select_feature", json!("cls")), "mm_vision_select_feature is"),
            (original("hidden_act", json!("prelu")), "hidden_act is \"prelu\""),
            (
                original("num_key_value_heads", json!(7)),
                "is not a multiple of num_key_value_heads 7",
            ),
            (original("head_dim", json!(127)), "head_dim 127"),
            (
                original("eos_token_id", json!(32000)),
                "token 32000 is outside a vocabulary of 32000",
            ),
            (original("max_position_embeddings", json!(500)), "an image takes 576"),
            (original("num_hidden_layers", json!("x")), "num_hidden_layers: invalid type"),
            (original("hidden_size", json!(0)), "hidden_size is 0"),
            (original("num_attention_heads", json!(0)), "num_attention_heads is 0"),
            (original("rope_scaling", json!({ "type": "su" })), "rope_type is \"su\""),
            (original("rms_norm_eps", json!(0.0)), "rms_norm_eps is 0"),
            (hf("text_config", "model_type", json!("qwen2")), "model_type is \"qwen2\""),
            (hf("vision_config", "model_type", json!("siglip")), "model_type is \"siglip\""),
            (hf("vision_config", "hidden_act", json!("xielu")), "hidden_act is \"xielu\""),
            (hf("vision_config", "patch_size", json!(300)), "patch_size 300 is larger"),
            (hf("", "vision_feature_layer", json!([-2, -50])), "vision_feature_layer is -50"),
            (hf("", "vision_feature_layer", json!([])), "vision_feature_layer names 0 layers"),
            (original("mm_vision_select_layer", json!([-2])), "mm_vision_select_layer is [-2]"),
            (hf("", "vision_feature_select_strategy", json!("cls")), "strategy is \"cls\""),
            (hf("", "projector_hidden_act", json!("prelu")), "projector_hidden_act is"),
        ] {
            assert!(LlavaConfig::matches(&json), "{json}");
            let error = parse(&json).expect_err(cause);
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with("config.json") || error.starts_with("nowhere"), "{error}");
            assert!(error.contains(cause), "{error}, not {cause}");
        }
    }
}
