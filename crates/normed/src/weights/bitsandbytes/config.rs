//! `quantization_config` in config.json.

use serde_json::{Value, json};

use crate::tensor::{Parameters, Quantization};
use crate::{Error, Result};

/// How a model is quantized, as in config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// The quantization of its matrices.
    pub to: Quantization,
    /// The modules that are not quantized, by name or end of name.
    pub skip: Vec<String>,
}

impl QuantizationConfig {
    /// Reads it from the contents of config.json; none if the model is not quantized. `place` is the file's name in
    /// errors.
    ///
    /// # Errors
    /// If the quantization is not bitsandbytes' nf4, fp4 or int8.
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
                "only bitsandbytes' nf4, fp4 and int8 are supported: quantize the original model with \
                 `normed quantize`",
            ))
        };
        if let Some(method) = file["quant_method"].as_str().filter(|name| *name != "bitsandbytes") {
            return unsupported(format!("it is quantized by {method}"));
        }
        let to = match (is("load_in_4bit"), is("load_in_8bit")) {
            (true, false) => match file["bnb_4bit_quant_type"].as_str() {
                Some("nf4") => Quantization::Nf4,
                // The default of bitsandbytes.
                Some("fp4") | None => Quantization::Fp4,
                Some(other) => return unsupported(format!("its 4-bit type is {other}")),
            },
            (false, true) => Quantization::Int8,
            _ => {
                return unsupported(
                    "exactly one of load_in_4bit and load_in_8bit must be true".into(),
                );
            }
        };
        let skip = file["llm_int8_skip_modules"].as_array();
        let skip = skip.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned));
        Ok(Some(Self { to, skip: skip.collect() }))
    }

    /// Marks every parameter whose value will be quantized. The weights decide in the end: if no modules are named
    /// here, transformers still leaves some of them as they are.
    pub fn mark_parameters(&self, params: &mut Parameters) {
        for (_, parameter) in params.iter_mut() {
            let module = parameter.name().strip_suffix(".weight").unwrap_or(parameter.name());
            if parameter.role().is_quantizable() && !self.skips(module) {
                parameter.expect_quantized(self.to);
            }
        }
    }

    /// Whether a module is not quantized; names match as in transformers.
    fn skips(&self, module: &str) -> bool {
        self.skip.iter().any(|name| {
            let below = module.strip_prefix(name.as_str());
            module.ends_with(name.as_str()) || below.is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// All keys, as transformers writes them. `compute_dtype` is the dtype of products with 4-bit matrices.
    pub fn to_json(&self, compute_dtype: &str) -> Value {
        let four = self.to != Quantization::Int8;
        json!({
            "quant_method": "bitsandbytes",
            "_load_in_4bit": four,
            "_load_in_8bit": !four,
            "load_in_4bit": four,
            "load_in_8bit": !four,
            "bnb_4bit_compute_dtype": compute_dtype,
            "bnb_4bit_quant_storage": "uint8",
            "bnb_4bit_quant_type": if four { self.to.name() } else { "fp4" },
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
    fn a_written_config_is_read_back() {
        for to in [Quantization::Int8, Quantization::Nf4, Quantization::Fp4] {
            let config = QuantizationConfig { to, skip: vec!["lm_head".into()] };
            let json = json!({ "quantization_config": config.to_json("bfloat16") });
            assert_eq!(QuantizationConfig::parse("config.json", &json).unwrap(), Some(config));
        }
        assert_eq!(QuantizationConfig::parse("config.json", &json!({})).unwrap(), None);
    }

    #[test]
    fn other_quantizations_are_errors() {
        let fails = |config: Value, cause: &str| {
            let json = json!({ "quantization_config": config });
            let error = QuantizationConfig::parse("config.json", &json).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(cause) && text.contains("config.json"), "{text}");
        };
        fails(json!({"quant_method": "gptq", "bits": 4}), "quantized by gptq");
        fails(json!({"load_in_4bit": true, "bnb_4bit_quant_type": "af4"}), "type is af4");
        fails(json!({"load_in_4bit": false}), "exactly one of load_in_4bit and load_in_8bit");
        let kind = |config: Value| {
            let json = json!({ "quantization_config": config });
            QuantizationConfig::parse("config.json", &json).unwrap().unwrap().to
        };
        assert_eq!(kind(json!({"load_in_4bit": true})), Quantization::Fp4);
        let stored = json!({
            "load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_quant_storage": "bfloat16",
        });
        assert_eq!(kind(stored), Quantization::Nf4);
    }

    #[test]
    fn names_are_skipped_as_in_transformers() {
        let skip = ["lm_head", "model.vision_tower", "0.fc1"].map(str::to_owned).to_vec();
        let config = QuantizationConfig { to: Quantization::Nf4, skip };
        for module in ["lm_head", "model.lm_head", "model.vision_tower.layers.1.q", "layers.0.fc1"]
        {
            assert!(config.skips(module), "{module}");
        }
        for module in ["lm_heads", "model.vision_towers.q", "model.layers.1.fc1"] {
            assert!(!config.skips(module), "{module}");
        }
    }
}
