//! Writes adapter_config.json as PEFT 0.21.2 does.

use serde_json::{Map, Value, json};

use super::config::PeftType;
use crate::tensor::LowRankConfig;

/// The keys that every type of adapter has.
pub(super) struct CommonKeys<'a> {
    /// `base_model_name_or_path`.
    pub base: &'a str,
    /// The base's class in transformers, and its Python module.
    pub base_class: [&'a str; 2],
    /// `target_modules`.
    pub targets: Vec<&'a str>,
    /// `modules_to_save`.
    pub saved_whole: Vec<&'a str>,
}

/// The keys of LoRA.
pub(super) struct LoraKeys<'a> {
    /// The layers with low-rank matrices.
    pub layers: Vec<(&'a str, LowRankConfig)>,
    /// Whether biases are trained as well.
    pub has_biases: bool,
}

impl CommonKeys<'_> {
    fn to_json(&self, peft_type: PeftType) -> Value {
        let saved_whole = (!self.saved_whole.is_empty()).then_some(&self.saved_whole);
        json!({
            "auto_mapping": {
                "base_model_class": self.base_class[0],
                "parent_library": self.base_class[1],
            },
            "base_model_name_or_path": self.base,
            "exclude_modules": null,
            "inference_mode": true,
            "modules_to_save": saved_whole,
            "peft_type": peft_type.name(),
            "peft_version": "0.21.2",
            "revision": null,
            "target_modules": self.targets,
            "task_type": null,
        })
    }

    /// The config of an `LN_TUNING` adapter.
    pub fn ln_tuning(&self) -> Value {
        merged(self.to_json(PeftType::LnTuning), json!({}))
    }

    /// The config of an `IA3` adapter. `feedforward` are the layers whose inputs are scaled.
    pub fn ia3(&self, feedforward: &[&str]) -> Value {
        let more = json!({
            "fan_in_fan_out": false,
            "feedforward_modules": feedforward,
            "init_ia3_weights": true,
        });
        merged(self.to_json(PeftType::Ia3), more)
    }

    /// The config of a `LORA` adapter: the commonest rank and alpha, and patterns for other layers.
    pub fn lora(&self, keys: &LoraKeys<'_>) -> Value {
        let shapes = || keys.layers.iter().map(|(_, shape)| *shape);
        // PEFT has one flag for all layers. If layers differ, equivalent alphas without rsLoRA are written.
        let use_rslora = !keys.layers.is_empty() && shapes().all(|shape| shape.use_rslora);
        let alpha = |shape: LowRankConfig| match shape.use_rslora && !use_rslora {
            true => shape.scale() * shape.rank as f32,
            false => shape.alpha,
        };
        let rank = commonest(shapes().map(|shape| shape.rank)).unwrap_or(1);
        let common_alpha = commonest(shapes().map(alpha)).unwrap_or(1.0);
        let layers = || keys.layers.iter();
        let ranks: Map<_, _> = layers()
            .filter(|(_, shape)| shape.rank != rank)
            .map(|(module, shape)| ((*module).to_owned(), json!(shape.rank)))
            .collect();
        let alphas: Map<_, _> = layers()
            .filter(|(_, shape)| alpha(*shape) != common_alpha)
            .map(|(module, shape)| ((*module).to_owned(), number(alpha(*shape))))
            .collect();
        let dropout = shapes().map(|shape| shape.dropout).fold(0.0, f32::max);
        let more = json!({
            "alora_invocation_tokens": null,
            "alpha_pattern": alphas,
            "arrow_config": null,
            "bias": if keys.has_biases { "all" } else { "none" },
            "corda_config": null,
            "ensure_weight_tying": false,
            "eva_config": null,
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "kasa_config": null,
            "layer_replication": null,
            "layers_pattern": null,
            "layers_to_transform": null,
            "loftq_config": {},
            "lora_alpha": number(common_alpha),
            "lora_bias": false,
            "lora_dropout": dropout.to_string().parse::<f64>().unwrap_or_default(),
            "lora_ga_config": null,
            "megatron_config": null,
            "megatron_core": "megatron.core",
            "monteclora_config": null,
            "qalora_group_size": 16,
            "r": rank,
            "rank_pattern": ranks,
            "target_parameters": null,
            "trainable_token_indices": null,
            "use_bdlora": null,
            "use_dora": shapes().any(|shape| shape.has_magnitude),
            "use_qalora": false,
            "use_rslora": use_rslora,
            "velora_config": null,
        });
        merged(self.to_json(PeftType::Lora), more)
    }
}

/// The keys of both objects in one, sorted.
pub(super) fn merged(mut config: Value, more: Value) -> Value {
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config.sort_all_objects();
    config
}

/// The most frequent value; of equally frequent ones, the first.
fn commonest<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let values: Vec<_> = values.collect();
    let count = |value: &T| values.iter().filter(|other| *other == value).count();
    let mut best: Option<(usize, T)> = None;
    for value in &values {
        let n = count(value);
        if best.is_none_or(|(most, _)| n > most) {
            best = Some((n, *value));
        }
    }
    best.map(|(_, value)| value)
}

/// A number as Python writes it: a whole number without a fraction.
fn number(x: f32) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e9 {
        json!(x as i64)
    } else {
        json!(x.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(x)))
    }
}
