//! Names for models and folders that are not supported, so that an error says what they are.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::files::read_json;
use crate::{Error, Result};

/// What a model of an unsupported `model_type` is.
#[derive(Clone, Copy)]
enum Kind {
    /// A vision-language model of another structure.
    VisionLanguage,
    /// An image encoder, with or without a text encoder, that generates no text.
    ImageEncoder,
    /// A language model or a text encoder, without an image encoder.
    TextOnly,
}

/// Model types of transformers and of models' own code, and the name of the model; a type can have an ending, as
/// `_moe`. Of two that match, the longer comes first.
const KNOWN: [(&str, &str, Kind); 84] = [
    ("aya_vision", "Aya Vision", Kind::VisionLanguage),
    ("blip-2", "BLIP-2", Kind::VisionLanguage),
    ("blip_2", "BLIP-2", Kind::VisionLanguage),
    ("bunny", "Bunny", Kind::VisionLanguage),
    ("chameleon", "Chameleon", Kind::VisionLanguage),
    ("cogvlm", "CogVLM", Kind::VisionLanguage),
    ("deepseek_vl", "DeepSeek-VL", Kind::VisionLanguage),
    ("flamingo", "Flamingo", Kind::VisionLanguage),
    ("florence2", "Florence-2", Kind::VisionLanguage),
    ("fuyu", "Fuyu", Kind::VisionLanguage),
    ("gemma3n", "Gemma 3n", Kind::VisionLanguage),
    ("gemma3_text", "Gemma 3 without images", Kind::TextOnly),
    ("gemma3", "Gemma 3", Kind::VisionLanguage),
    ("git", "GIT", Kind::VisionLanguage),
    ("glm4v", "GLM-4V", Kind::VisionLanguage),
    ("idefics2", "Idefics 2", Kind::VisionLanguage),
    ("idefics3", "Idefics 3", Kind::VisionLanguage),
    ("idefics", "Idefics", Kind::VisionLanguage),
    ("instructblip", "InstructBLIP", Kind::VisionLanguage),
    ("internvl", "InternVL", Kind::VisionLanguage),
    ("janus", "Janus", Kind::VisionLanguage),
    ("kosmos-2", "Kosmos-2", Kind::VisionLanguage),
    ("llama4", "Llama 4", Kind::VisionLanguage),
    ("llava_next", "LLaVA-NeXT", Kind::VisionLanguage),
    ("llava_onevision", "LLaVA-OneVision", Kind::VisionLanguage),
    ("llava_qwen", "LLaVA over Qwen", Kind::VisionLanguage),
    ("llava_mpt", "LLaVA over MPT", Kind::VisionLanguage),
    ("minicpmo", "MiniCPM-o", Kind::VisionLanguage),
    ("minicpmv", "MiniCPM-V", Kind::VisionLanguage),
    ("mistral3", "Mistral 3", Kind::VisionLanguage),
    ("mllama", "Llama 3.2 Vision", Kind::VisionLanguage),
    ("molmo", "Molmo", Kind::VisionLanguage),
    ("moondream", "Moondream", Kind::VisionLanguage),
    ("ovis", "Ovis", Kind::VisionLanguage),
    ("paligemma", "PaliGemma", Kind::VisionLanguage),
    ("phi3_v", "Phi-3-vision", Kind::VisionLanguage),
    ("phi4_multimodal", "Phi-4-multimodal", Kind::VisionLanguage),
    ("phi4mm", "Phi-4-multimodal", Kind::VisionLanguage),
    ("pix2struct", "Pix2Struct", Kind::VisionLanguage),
    ("pixtral", "Pixtral", Kind::VisionLanguage),
    ("qwen2_5_vl", "Qwen2.5-VL", Kind::VisionLanguage),
    ("qwen2_vl", "Qwen2-VL", Kind::VisionLanguage),
    ("qwen3_vl", "Qwen3-VL", Kind::VisionLanguage),
    ("smolvlm", "SmolVLM", Kind::VisionLanguage),
    ("tinyllava", "TinyLLaVA", Kind::VisionLanguage),
    ("video_llava", "Video-LLaVA", Kind::VisionLanguage),
    ("vilt", "ViLT", Kind::VisionLanguage),
    ("vipllava", "VipLLaVA", Kind::VisionLanguage),
    ("vision-encoder-decoder", "a vision encoder-decoder", Kind::VisionLanguage),
    ("visual_bert", "VisualBERT", Kind::VisionLanguage),
    ("align", "ALIGN", Kind::ImageEncoder),
    ("beit", "BEiT", Kind::ImageEncoder),
    ("blip_vision_model", "BLIP's image encoder", Kind::ImageEncoder),
    ("clip", "CLIP", Kind::ImageEncoder),
    ("convnext", "ConvNeXt", Kind::ImageEncoder),
    ("deit", "DeiT", Kind::ImageEncoder),
    ("dinov", "DINO", Kind::ImageEncoder),
    ("resnet", "ResNet", Kind::ImageEncoder),
    ("siglip", "SigLIP", Kind::ImageEncoder),
    ("swin", "Swin", Kind::ImageEncoder),
    ("vit", "ViT", Kind::ImageEncoder),
    ("bart", "BART", Kind::TextOnly),
    ("bert", "BERT", Kind::TextOnly),
    ("blip_text_model", "BLIP's text encoder", Kind::TextOnly),
    ("bloom", "BLOOM", Kind::TextOnly),
    ("deepseek", "DeepSeek", Kind::TextOnly),
    ("distilbert", "DistilBERT", Kind::TextOnly),
    ("falcon", "Falcon", Kind::TextOnly),
    ("gemma2", "Gemma 2", Kind::TextOnly),
    ("gemma", "Gemma", Kind::TextOnly),
    ("gpt2", "GPT-2", Kind::TextOnly),
    ("gpt_neox", "GPT-NeoX", Kind::TextOnly),
    ("gpt_oss", "gpt-oss", Kind::TextOnly),
    ("llama", "LLaMA", Kind::TextOnly),
    ("mistral", "Mistral", Kind::TextOnly),
    ("mixtral", "Mixtral", Kind::TextOnly),
    ("mpt", "MPT", Kind::TextOnly),
    ("opt", "OPT", Kind::TextOnly),
    ("phi3", "Phi-3", Kind::TextOnly),
    ("phi", "Phi", Kind::TextOnly),
    ("qwen2", "Qwen2", Kind::TextOnly),
    ("qwen3", "Qwen3", Kind::TextOnly),
    ("roberta", "RoBERTa", Kind::TextOnly),
    ("t5", "T5", Kind::TextOnly),
];

/// What normed reads, for the end of an error.
const READS: &str = "normed reads BLIP and MISS for visual questions (as Salesforce/blip-vqa-base), and LLaVA over \
     LLaMA, Vicuna or Mistral (as llava-hf/llava-1.5-7b-hf and microsoft/llava-med-v1.5-mistral-7b)";

/// The error for a config.json with content `json` of a model that is not supported; `place` names the file.
pub(super) fn unsupported_config(place: &str, json: &Value) -> Error {
    let class = json["architectures"][0].as_str();
    if json.get("peft_type").is_some() {
        return Error::invalid(place, "is the config of an adapter, not of a model")
            .with_remedy("name the base model here, and give the adapter as `--adapter`");
    }
    if json.get("_class_name").is_some() || json.get("_diffusers_version").is_some() {
        return Error::invalid(place, "is the config of an image generator (diffusers)")
            .with_remedy(READS);
    }
    let cause = match (json["model_type"].as_str(), class) {
        (None, None) => "not the config of a BLIP, MISS or LLaVA model".to_owned(),
        (None, Some(class)) => format!("is the config of a `{class}`, which normed does not read"),
        (Some(kind), class) => describe_type(kind, class),
    };
    let own = "; for a MISS in the original layout, add {\"vit\": \"base\", \"image_size\": 480}";
    let nothing = json["model_type"].is_null() && class.is_none();
    let remedy = format!("{READS}{}", if nothing { own } else { "" });
    Error::invalid(place, cause).with_remedy(remedy)
}

/// What a model of type `kind` with this class is.
fn describe_type(kind: &str, class: Option<&str>) -> String {
    let matches = |known: &str| {
        let rest = kind.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || !rest.starts_with(char::is_alphabetic))
    };
    let known = KNOWN.iter().find(|(known, ..)| matches(known));
    let class = class.map(|class| format!(", {class}")).unwrap_or_default();
    match known {
        Some((_, name, Kind::VisionLanguage)) => {
            format!("the model is {name} (model_type {kind}{class}), which normed does not read")
        }
        Some((_, name, Kind::ImageEncoder)) => format!(
            "the model is {name} alone (model_type {kind}{class}): an image encoder, which cannot \
             answer questions"
        ),
        Some((_, name, Kind::TextOnly)) => {
            format!("the model is {name} alone (model_type {kind}{class}): it has no image encoder")
        }
        None => format!("the model is of type `{kind}`{class}, which normed does not read"),
    }
}

/// The error for a `dir` without config.json: what it is instead, if that can be told.
pub(super) fn no_model(dir: &Path, missing: Error) -> Error {
    if dir.is_file() {
        let extension = dir.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        return match &*extension {
            "gguf" | "ggml" => gguf(dir),
            _ => Error::invalid(
                dir.display(),
                "is a file; a model is a folder with config.json and the weights",
            )
            .with_remedy("name the folder that the file is in"),
        };
    }
    let Ok(entries) = fs::read_dir(dir) else { return missing };
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    known_folder(dir, &names).unwrap_or(missing)
}

/// The error for a folder with these files, if it can be told what it is.
fn known_folder(dir: &Path, names: &[String]) -> Option<Error> {
    let invalid = |cause: &str, remedy: String| {
        Some(Error::invalid(dir.display(), cause).with_remedy(remedy))
    };
    let has = |name: &str| names.iter().any(|known| known == name);
    let ends = |end: &str| names.iter().find(|name| name.to_lowercase().ends_with(end));
    if names.is_empty() {
        return invalid("is an empty folder", "`normed fetch ORG/NAME` brings a model".to_owned());
    }
    if has("adapter_config.json") {
        let base = adapter_base(dir).unwrap_or_else(|| "its base model".to_owned());
        return invalid(
            "is an adapter, not a model",
            format!("name {base} as the model, and give this folder as `--adapter`"),
        );
    }
    if has("model_index.json") {
        return invalid("is a pipeline of diffusers, which generates images", READS.to_owned());
    }
    if let Some(file) = ends(".gguf") {
        return Some(gguf(&dir.join(file)));
    }
    if has("recipe.toml") && (has("adapter") || has("model") || has("events.jsonl")) {
        return invalid(
            "is a run of normed, not a model",
            format!(
                "its weights are in {}: name the recipe's model, and give the adapter as `--adapter`",
                dir.join("adapter").display()
            ),
        );
    }
    if has("snapshots") && has("refs") {
        return invalid(
            "is a folder of the hub's cache, with several revisions",
            "name the model as ORG/NAME, or a folder below snapshots/".to_owned(),
        );
    }
    if has("params.json") && (ends(".pth").is_some() || ends(".safetensors").is_some()) {
        return invalid(
            "is a language model in its authors' own layout (params.json)",
            READS.to_owned(),
        );
    }
    let folder = names.iter().find(|name| dir.join(name).join("config.json").is_file());
    let inside = dir.join(folder?);
    invalid(
        "holds no config.json, but a folder in it does",
        format!("name {} if that is the model", inside.display()),
    )
}

fn gguf(file: &Path) -> Error {
    Error::invalid(file.display(), "is a GGUF file, llama.cpp's format").with_remedy(
        "fetch the model that it was made from, as safetensors; `normed quantize` makes it small",
    )
}

/// The base model that an adapter's config names.
fn adapter_base(dir: &Path) -> Option<String> {
    let json: Result<Value> = read_json(&dir.join("adapter_config.json"));
    json.ok()?["base_model_name_or_path"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_are_called_what_they_are() {
        for (json, name) in [
            (
                json!({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]}),
                "Gemma 3 (",
            ),
            (json!({"model_type": "qwen2_vl"}), "Qwen2-VL ("),
            (json!({"model_type": "qwen2_5_vl", "vision_config": {}}), "Qwen2.5-VL ("),
            (json!({"model_type": "qwen3_vl_moe"}), "Qwen3-VL ("),
            (json!({"model_type": "internvl_chat", "vision_config": {}}), "InternVL ("),
            (json!({"model_type": "llava_next"}), "LLaVA-NeXT ("),
            (json!({"model_type": "llava_next_video"}), "LLaVA-NeXT ("),
            (json!({"model_type": "llava_onevision"}), "LLaVA-OneVision ("),
            (json!({"model_type": "idefics3"}), "Idefics 3 ("),
            (json!({"model_type": "paligemma"}), "PaliGemma ("),
            (json!({"model_type": "blip-2"}), "BLIP-2 ("),
            (json!({"model_type": "instructblip"}), "InstructBLIP ("),
            (json!({"model_type": "florence2"}), "Florence-2 ("),
            (json!({"model_type": "phi3_v"}), "Phi-3-vision ("),
            (json!({"model_type": "minicpmv"}), "MiniCPM-V ("),
            (json!({"model_type": "clip", "vision_config": {}, "text_config": {}}), "CLIP alone"),
            (json!({"model_type": "siglip_vision_model", "image_size": 224}), "SigLIP alone"),
            (json!({"model_type": "llama"}), "LLaMA alone"),
            (json!({"model_type": "bert"}), "BERT alone"),
            (json!({"model_type": "vitamin_x"}), "of type `vitamin_x`"),
            (json!({"architectures": ["Foo"]}), "`Foo`"),
            (json!({"peft_type": "LORA"}), "of an adapter"),
            (json!({"_class_name": "UNet2DConditionModel"}), "diffusers"),
            (json!({}), "not the config of a BLIP, MISS or LLaVA"),
        ] {
            let error = unsupported_config("config.json", &json).to_string();
            assert!(error.contains(name), "{json}: {error}");
            assert!(error.contains("normed reads") || error.contains("--adapter"), "{error}");
        }
    }

    #[test]
    fn folders_without_a_config_are_called_what_they_are() {
        let missing = || Error::invalid("config.json", "no such file");
        for (files, cause, remedy) in [
            (&[][..], "is an empty folder", "normed fetch"),
            (
                &["adapter_config.json", "adapter_model.safetensors"],
                "is an adapter",
                "name org/base",
            ),
            (&["model_index.json"], "diffusers", "normed reads"),
            (&["q4.GGUF", "README.md"], "is a GGUF file", "normed quantize"),
            (&["recipe.toml", "events.jsonl"], "is a run of normed", "--adapter"),
            (&["snapshots", "refs"], "hub's cache", "ORG/NAME"),
            (&["params.json", "consolidated.00.pth"], "own layout", "normed reads"),
            (&["notes.txt"], "no such file", ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                fs::write(dir.path().join(file), r#"{"base_model_name_or_path": "org/base"}"#)
                    .unwrap();
            }
            let error = no_model(dir.path(), missing()).to_string();
            assert!(error.contains(cause) && error.contains(remedy), "{files:?}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("model")).unwrap();
        fs::write(dir.path().join("model/config.json"), "{}").unwrap();
        let error = no_model(dir.path(), missing()).to_string();
        assert!(
            error.contains("a folder in it does") && error.contains("model if that"),
            "{error}"
        );
        for (file, cause) in [("a.gguf", "GGUF"), ("model.safetensors", "is a file")] {
            let path = dir.path().join(file);
            fs::write(&path, "").unwrap();
            assert!(no_model(&path, missing()).to_string().contains(cause), "{file}");
        }
    }
}
