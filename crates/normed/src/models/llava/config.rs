//! A LLaVA's config.json: Hugging Face's, and the one of LLaVA's own code. Both are read; the former is
//! written.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Llava;
use crate::files::read_json;
use crate::models::Layout;
use crate::models::config_keys::ConfigKeys;
use crate::models::towers::ClipConfig;
use crate::models::towers::ProjectorKind;
use crate::models::towers::{LlamaConfig, LlamaKind};
use crate::tensor::Parameters;
use crate::{Error, Result};

const HUGGING_FACE: &str = "LlavaForConditionalGeneration";

/// What LLaVA's own code calls its models, and whose keys stand in their configs.
const ORIGINAL: [(&str, LlamaKind); 2] =
    [("LlavaLlamaForCausalLM", LlamaKind::Llama), ("LlavaMistralForCausalLM", LlamaKind::Mistral)];

/// A whole model's sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct LlavaConfig {
    /// The image encoder's.
    pub vision: ClipConfig,
    /// The language model's.
    pub text: LlamaConfig,
    /// What stands between them.
    pub projector: ProjectorKind,
    /// Whether its layers have biases.
    pub projector_bias: bool,
    /// The blocks of the image encoder that are computed: the language model reads the last one's states.
    pub feature_layers: usize,
    /// Whether the class token's state is among them.
    pub with_class: bool,
    /// Hugging Face's token for the picture, in its texts.
    pub image_token_index: Option<u32>,
    /// LLaVA's `mm_vision_tower`: whose image encoder it is, where the checkpoint does not hold it.
    pub vision_tower: Option<String>,
}

/// More than this is a mistake in the file: 400 GB of weights.
const MAX_PARAMETERS: usize = 100_000_000_000;

impl LlavaConfig {
    /// Whether config.json's `json` is a LLaVA's.
    pub fn is_meant(json: &Value) -> bool {
        let named = json["architectures"].as_array().is_some_and(|names| {
            let known = |name: &Value| {
                let name = name.as_str().unwrap_or_default();
                name == HUGGING_FACE || ORIGINAL.iter().any(|(original, _)| *original == name)
            };
            names.iter().any(known)
        });
        named || json["model_type"].as_str().is_some_and(|kind| kind.starts_with("llava"))
    }

    /// Reads `json`, config.json's content in `dir`; `place` names the file in errors.
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
        keys.expect_one_of("projector_hidden_act", &["gelu"])?;
        let with_class =
            match keys.get_or("vision_feature_select_strategy", "default".to_owned())? {
                name if name == "default" => false,
                name if name == "full" => true,
                other => {
                    let cause = format!("vision_feature_select_strategy is {other:?}");
                    return Err(Error::invalid(&keys.place, cause)
                        .with_remedy("it is \"default\" or \"full\""));
                }
            };
        Ok(Self {
            feature_layers: feature_layers(keys, "vision_feature_layer", &vision)?,
            vision,
            text,
            projector: match keys.get_or("mm_projector_type", "mlp2x_gelu".to_owned())?.as_str() {
                "mlp2x_gelu" => ProjectorKind::Mlp2xGelu,
                other => {
                    let cause = format!("mm_projector_type is {other:?}");
                    return Err(Error::invalid(&keys.place, cause)
                        .with_remedy("in Hugging Face's layout it is \"mlp2x_gelu\" or absent"));
                }
            },
            projector_bias: keys.get_or("multimodal_projector_bias", true)?,
            with_class,
            image_token_index: match keys.get("image_token_index")? {
                Some(id) => Some(id),
                None => Some(keys.get_or("image_token_id", 32_000)?),
            },
            vision_tower: None,
        })
    }

    /// As LLaVA's `llava/model/llava_arch.py` and the builders beside it read it.
    fn from_original(keys: &ConfigKeys, kind: LlamaKind, dir: &Path) -> Result<Self> {
        let tower: String = keys.get("mm_vision_tower")?.ok_or_else(|| {
            Error::invalid(&keys.place, "mm_vision_tower is absent: whose image encoder is it?")
                .with_remedy(
                    "\"openai/clip-vit-large-patch14-336\", or a directory that holds a CLIP",
                )
        })?;
        let vision = match VisionTower::find(&tower, dir) {
            Some(found) => found.config()?,
            None => known_tower(&tower).ok_or_else(|| not_found(&tower, dir))?,
        };
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
        let with_class = match keys.get_or("mm_vision_select_feature", "patch".to_owned())? {
            name if name == "patch" => false,
            name if name == "cls_patch" => true,
            other => {
                let cause = format!("mm_vision_select_feature is {other:?}");
                return Err(Error::invalid(&keys.place, cause)
                    .with_remedy("it is \"patch\" or \"cls_patch\""));
            }
        };
        Ok(Self {
            feature_layers: feature_layers(keys, "mm_vision_select_layer", &vision)?,
            vision,
            text: LlamaConfig::read(keys, kind)?,
            projector,
            projector_bias: true,
            with_class,
            image_token_index: None,
            vision_tower: Some(tower),
        })
    }

    /// As transformers' config.json. Fails for what that has no room for: a projector of one layer, and a
    /// model whose table has no row for the picture.
    pub fn to_hugging_face(&self) -> Result<Value> {
        let lacks = |cause: &str| {
            Error::invalid("config", cause).with_remedy(
                "Hugging Face's layout has no room for that; keep LLaVA's own, and adapters",
            )
        };
        if self.projector == ProjectorKind::Linear {
            return Err(lacks("the projector is one linear layer"));
        }
        let image_token_index =
            self.image_token_index.ok_or_else(|| lacks("no token stands for the picture"))?;
        Ok(json!({
            "architectures": [HUGGING_FACE],
            "model_type": "llava",
            "vision_config": self.vision.to_json(),
            "text_config": self.text.to_json(),
            "tie_word_embeddings": self.text.tie_word_embeddings,
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": self.projector_bias,
            // States are counted from the embeddings', which are 0.
            "vision_feature_layer":
                self.feature_layers as i64 - self.vision.num_hidden_layers as i64 - 1,
            "vision_feature_select_strategy": if self.with_class { "full" } else { "default" },
            "image_token_index": image_token_index,
            "image_seq_length": self.states(),
        }))
    }

    /// What config.json's `architectures` has in this layout.
    pub fn architecture(&self, layout: Layout) -> &'static str {
        match layout {
            Layout::HuggingFace => HUGGING_FACE,
            Layout::Original => match self.text.kind {
                LlamaKind::Llama => ORIGINAL[0].0,
                LlamaKind::Mistral => ORIGINAL[1].0,
            },
        }
    }

    /// Whether a model of these sizes can be.
    pub fn check(&self, place: &str) -> Result<()> {
        self.vision.check(place)?;
        self.text.check(place)?;
        let count = self.num_parameters();
        if count > MAX_PARAMETERS {
            return Err(Error::invalid(place, format!("these sizes make {count} parameters")));
        }
        if self.states() >= self.text.positions() {
            let (states, positions) = (self.states(), self.text.positions());
            let cause = format!("a picture is {states} tokens, the language model has {positions}");
            return Err(Error::invalid(place, cause).with_remedy(
                "max_position_embeddings must leave room for a question and its answer",
            ));
        }
        Ok(())
    }

    /// States of a picture, each of which becomes a token.
    pub fn states(&self) -> usize {
        self.vision.num_patches() + usize::from(self.with_class)
    }

    /// The number of parameters.
    pub fn num_parameters(&self) -> usize {
        let mut params = Parameters::new();
        Llava::declare(self, &mut params);
        params.element_count()
    }
}

/// The number of blocks up to the states that `key` names: they are counted from the embeddings', which
/// are 0; negative ones from the last's, which are -1.
fn feature_layers(keys: &ConfigKeys, key: &str, vision: &ClipConfig) -> Result<usize> {
    let layer = keys.get::<Value>(key)?.unwrap_or(json!(-2));
    let last = vision.num_hidden_layers;
    let found = layer.as_i64().and_then(|layer| {
        let from_start = if layer < 0 { layer + last as i64 + 1 } else { layer };
        usize::try_from(from_start).ok().filter(|&layers| layers <= last)
    });
    found.ok_or_else(|| {
        let cause = format!("{key} is {layer}; the image encoder has {last} blocks");
        Error::invalid(&keys.place, cause)
            .with_remedy("one layer is supported, -2 in published models")
    })
}

/// What OpenAI published under these names.
fn known_tower(name: &str) -> Option<ClipConfig> {
    match Path::new(name).file_name()?.to_str()? {
        "clip-vit-large-patch14" => Some(ClipConfig::large(224)),
        "clip-vit-large-patch14-336" => Some(ClipConfig::large(336)),
        _ => None,
    }
}

/// The directory of an image encoder that stands beside a checkpoint.
pub(super) struct VisionTower(pub PathBuf);

impl VisionTower {
    /// Where `mm_vision_tower` says, seen from the working directory and from the model's `dir`; or
    /// under its name, whole or the last part of it, in `dir` or beside it.
    pub fn find(tower: &str, dir: &Path) -> Option<Self> {
        let is_there = |path: &PathBuf| path.join("config.json").is_file();
        places(tower, dir).into_iter().find(is_there).map(Self)
    }

    /// As [`VisionTower::find`]; not to find it is an error that says where it was looked for.
    pub fn open(tower: &str, dir: &Path) -> Result<Self> {
        Self::find(tower, dir).ok_or_else(|| not_found(tower, dir))
    }

    /// Its sizes: the directory's config.json is a CLIP's, or its vision tower's.
    fn config(&self) -> Result<ClipConfig> {
        let path = self.0.join("config.json");
        let json: Value = read_json(&path)?;
        let place = path.display().to_string();
        let keys = ConfigKeys::new(&place, &json)?;
        keys.expect_one_of("model_type", &["clip", "clip_vision_model"])?;
        match keys.section("vision_config")? {
            Some(vision) => ClipConfig::read(&vision),
            None => ClipConfig::read(&keys),
        }
    }
}

fn places(tower: &str, dir: &Path) -> Vec<PathBuf> {
    let path = Path::new(tower);
    let mut places = vec![path.to_owned(), dir.join(path)];
    let parent = dir.parent().unwrap_or(Path::new(""));
    places.push(parent.join(path));
    if let Some(name) = path.file_name() {
        places.extend([dir.join(name), parent.join(name)]);
    }
    places
}

fn not_found(tower: &str, dir: &Path) -> Error {
    let cause = format!("there is no image encoder {tower}, which mm_vision_tower names");
    let name = Path::new(tower).file_name().unwrap_or_default();
    let place = dir.join(name);
    let place = place.display();
    Error::invalid(dir.display(), cause).with_remedy(format!(
        "put its config.json and model.safetensors or pytorch_model.bin into {place} (`normed fetch {tower} \
         --output {place}`, if it is one of the hub's), or let mm_vision_tower in config.json name the \
         directory that holds them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Module, Tower};

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

    /// The counts of paper.md.
    #[test]
    fn llava_med_has_the_known_counts() {
        let (config, layout) = parse(&llava_med()).unwrap();
        assert_eq!(layout, Layout::Original);
        assert_eq!((config.states(), config.feature_layers), (576, 23));
        assert_eq!((config.text.sliding_window, config.text.rope.rope_theta), (None, 1e6));
        let mut params = Parameters::new();
        Llava::declare(&config, &mut params);
        let norms = |tower, live: bool| -> usize {
            let norm = |p: &crate::tensor::Parameter| {
                matches!(p.role.module, Module::Norm(_)) && p.role.tower == tower
            };
            let all = params.iter().map(|(_, p)| p).filter(|p| norm(p));
            all.filter(|p| !live || p.inert.is_none()).map(|p| p.len()).sum()
        };
        assert_eq!((norms(Tower::Decoder, false), norms(Tower::Decoder, true)), (266_240, 266_240));
        assert_eq!((norms(Tower::Vision, false), norms(Tower::Vision, true)), (102_400, 96_256));
        let count = |tower| -> usize {
            params.iter().filter(|(_, p)| p.role.tower == tower).map(|(_, p)| p.len()).sum()
        };
        assert_eq!(count(Tower::Decoder), 7_241_732_096);
        assert_eq!(count(Tower::Vision), 303_507_456);
        assert_eq!(count(Tower::Projector), 20_979_712);
        let error = config.to_hugging_face().unwrap_err().to_string();
        assert!(error.contains("no token stands for the picture"), "{error}");
    }

    /// LLaVA-Med 1.0: one linear layer of 4,198,400 parameters, 256 tokens a picture.
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
        assert_eq!((config.states(), config.with_class), (256, false));
        assert_eq!((config.text.num_key_value_heads, config.text.pad_token_id), (32, None));
        let mut params = Parameters::new();
        Llava::declare(&config, &mut params);
        let projector = params.iter().filter(|(_, p)| p.role.tower == Tower::Projector);
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
                (layout, config.feature_layers, config.states()),
                (Layout::HuggingFace, 3, 17)
            );
            let again = parse(&config.to_hugging_face().unwrap()).unwrap();
            assert_eq!(again, (config, layout));
        }
        // llava-hf/llava-1.5-7b-hf names little beside the defaults.
        let (config, _) = parse(&json!({
            "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
            "text_config": { "model_type": "llama", "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5, "vocab_size": 32064 },
        }))
        .unwrap();
        assert_eq!((config.states(), config.text.vocab_size), (576, 32064));
        assert_eq!((config.feature_layers, config.image_token_index), (23, Some(32_000)));
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
            (original("mm_vision_tower", Value::Null), "mm_vision_tower is absent"),
            (original("mm_vision_tower", json!("eva")), "there is no image encoder eva"),
            (original("mm_hidden_size", json!(768)), "mm_hidden_size is 768"),
            (original("mm_projector_type", json!("mlp3x_gelu")), "mm_projector_type is"),
            (original("mm_vision_select_layer", json!(-26)), "has 24 blocks"),
            (original("mm_vision_select_feature", json!("cls")), "mm_vision_select_feature is"),
            (original("hidden_act", json!("gelu")), "hidden_act is \"gelu\""),
            (
                original("num_key_value_heads", json!(7)),
                "is not a multiple of num_key_value_heads 7",
            ),
            (original("head_dim", json!(127)), "head_dim 127"),
            (original("eos_token_id", json!(32000)), "token 32000 is outside 32000"),
            (original("max_position_embeddings", json!(500)), "a picture is 576 tokens"),
            (original("num_hidden_layers", json!("x")), "num_hidden_layers: invalid type"),
            (original("hidden_size", json!(0)), "hidden_size is 0"),
            (original("num_attention_heads", json!(0)), "num_attention_heads is 0"),
            (original("rope_scaling", json!({ "type": "su" })), "rope_type is \"su\""),
            (original("rms_norm_eps", json!(0.0)), "rms_norm_eps is 0"),
            (hf("text_config", "model_type", json!("qwen2")), "model_type is \"qwen2\""),
            (hf("vision_config", "model_type", json!("siglip")), "model_type is \"siglip\""),
            (hf("vision_config", "hidden_act", json!("relu")), "hidden_act is \"relu\""),
            (hf("vision_config", "patch_size", json!(300)), "patch_size 300 is larger"),
            (hf("", "vision_feature_layer", json!([-2, -5])), "vision_feature_layer is [-2,-5]"),
            (hf("", "vision_feature_select_strategy", json!("cls")), "strategy is \"cls\""),
            (hf("", "projector_hidden_act", json!("relu")), "projector_hidden_act is"),
            (
                json!({ "architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next" }),
                "architectures are",
            ),
        ] {
            assert!(LlavaConfig::is_meant(&json), "{json}");
            let error = parse(&json).expect_err(cause);
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with("config.json") || error.starts_with("nowhere"), "{error}");
            assert!(error.contains(cause), "{error}, not {cause}");
        }
    }
}
