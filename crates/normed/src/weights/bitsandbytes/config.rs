//! config.json's `quantization_config`.

use serde_json::{Value, json};

use crate::tensor::{Parameters, Quantization};
use crate::{Error, Result};

/// What config.json says of a quantised model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantisationConfig {
    /// How its matrices are quantised.
    pub to: Quantization,
    /// Modules that are not, by names or their ends.
    pub skip: Vec<String>,
}

impl QuantisationConfig {
    /// Reads it out of `config`, config.json; None if the model is not quantised. `place` names the file
    /// in errors.
    pub fn parse(place: &str, config: &Value) -> Result<Option<Self>> {
        let file = &config["quantization_config"];
        if file.is_null() {
            return Ok(None);
        }
        let is = |key: &str| {
            let found = file.get(key).or_else(|| file.get(format!("_{key}")));
            found.and_then(Value::as_bool).unwrap_or(false)
        };
        let unsupported = |cause: String| {
            Err(Error::invalid(place, format!("quantization_config: {cause}")).with_remedy(
                "bitsandbytes' nf4 and int8 are read: make one of the model as it was before with \
                 `normed quantize`",
            ))
        };
        if let Some(method) = file["quant_method"].as_str().filter(|name| *name != "bitsandbytes") {
            return unsupported(format!("quantised by {method}"));
        }
        let to = match (is("load_in_4bit"), is("load_in_8bit")) {
            (true, false) => match file["bnb_4bit_quant_type"].as_str() {
                Some("nf4") => Quantization::Nf4,
                // What bitsandbytes takes where nothing is said.
                other => return unsupported(format!("4 bits of type {}", other.unwrap_or("fp4"))),
            },
            (false, true) => Quantization::Int8,
            _ => return unsupported("neither load_in_4bit nor load_in_8bit alone is true".into()),
        };
        if let Some(storage) = file["bnb_4bit_quant_storage"].as_str().filter(|s| *s != "uint8") {
            return unsupported(format!("4 bits stored as {storage}"));
        }
        let skip = file["llm_int8_skip_modules"].as_array();
        let skip = skip.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned));
        Ok(Some(Self { to, skip: skip.collect() }))
    }

    /// Says of every parameter in `params` whose value will be quantised how. The file has the last
    /// word: transformers leaves other modules alone as well where none are named here.
    pub fn expect(&self, params: &mut Parameters) {
        for (_, parameter) in params.iter_mut() {
            let module = parameter.name.strip_suffix(".weight").unwrap_or(&parameter.name);
            if parameter.role.is_quantizable() && !self.skips(module) {
                parameter.expect_quantized(self.to);
            }
        }
    }

    /// As transformers takes the names.
    fn skips(&self, module: &str) -> bool {
        self.skip.iter().any(|name| {
            let below = module.strip_prefix(name.as_str());
            module.ends_with(name.as_str()) || below.is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// As transformers writes it, all keys; `compute_dtype` is what its 4-bit layers multiply in.
    pub fn to_json(&self, compute_dtype: &str) -> Value {
        let four = self.to == Quantization::Nf4;
        json!({
            "quant_method": "bitsandbytes",
            "_load_in_4bit": four,
            "_load_in_8bit": !four,
            "load_in_4bit": four,
            "load_in_8bit": !four,
            "bnb_4bit_compute_dtype": compute_dtype,
            "bnb_4bit_quant_storage": "uint8",
            "bnb_4bit_quant_type": if four { "nf4" } else { "fp4" },
            "bnb_4bit_use_double_quant": four,
            "llm_int8_enable_fp32_cpu_offload": false,
            "llm_int8_has_fp16_weight": false,
            "llm_int8_skip_modules": self.skip,
            "llm_int8_threshold": 6.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for to in Quantization::ALL {
            let config = QuantisationConfig { to, skip: vec!["lm_head".into()] };
            let json = json!({ "quantization_config": config.to_json("bfloat16") });
            assert_eq!(QuantisationConfig::parse("config.json", &json).unwrap(), Some(config));
        }
        assert_eq!(QuantisationConfig::parse("config.json", &json!({})).unwrap(), None);
    }

    #[test]
    fn other_kinds_are_named() {
        let fails = |config: Value, cause: &str| {
            let json = json!({ "quantization_config": config });
            let error = QuantisationConfig::parse("config.json", &json).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(cause) && text.contains("config.json"), "{text}");
        };
        fails(json!({"quant_method": "gptq", "bits": 4}), "quantised by gptq");
        fails(json!({"load_in_4bit": true}), "type fp4");
        fails(json!({"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"}), "type fp4");
        fails(json!({"load_in_4bit": false}), "neither load_in_4bit nor load_in_8bit");
        let stored = json!({
            "load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_quant_storage": "bfloat16",
        });
        fails(stored, "stored as bfloat16");
    }

    #[test]
    fn names_are_skipped_as_transformers_does() {
        let skip = ["lm_head", "model.vision_tower", "0.fc1"].map(str::to_owned).to_vec();
        let config = QuantisationConfig { to: Quantization::Nf4, skip };
        for module in ["lm_head", "model.lm_head", "model.vision_tower.layers.1.q", "layers.0.fc1"]
        {
            assert!(config.skips(module), "{module}");
        }
        for module in ["lm_heads", "model.vision_towers.q", "model.layers.1.fc1"] {
            assert!(!config.skips(module), "{module}");
        }
    }
}
