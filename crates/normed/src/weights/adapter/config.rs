//! adapter_config.json, as PEFT 0.21.2 writes and reads it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::tensor::LowRankConfig;
use crate::{Error, Result};

/// What PEFT calls a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changed copies of modules.
    LnTuning,
    /// Paths of low rank.
    Lora,
    /// Factors of channels.
    Ia3,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::LnTuning, Kind::Lora, Kind::Ia3];

    pub fn name(self) -> &'static str {
        match self {
            Self::LnTuning => "LN_TUNING",
            Self::Lora => "LORA",
            Self::Ia3 => "IA3",
        }
    }
}

/// What a reader wants to know.
#[derive(Debug)]
pub(super) struct Config {
    pub kind: Kind,
    /// Modules that are adapted.
    pub targets: Modules,
    /// But for these.
    pub exclude: Modules,
    /// Modules that are kept whole.
    pub whole: Modules,
    /// Whether some of the targets are left out, which only Python could tell.
    pub narrowed: bool,
    /// Whether biases are trained beside.
    pub biases: bool,
    lora: Lora,
}

/// LoRA's own.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Lora {
    r: usize,
    lora_alpha: f32,
    lora_dropout: f32,
    use_rslora: bool,
    use_dora: bool,
    rank_pattern: Option<Map<String, Value>>,
    alpha_pattern: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Raw {
    peft_type: String,
    #[serde(default)]
    target_modules: Modules,
    #[serde(default)]
    exclude_modules: Modules,
    #[serde(default)]
    modules_to_save: Modules,
    #[serde(default)]
    layers_to_transform: Value,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What would change the computation in a way that is not known here.
const UNKNOWN: [&str; 13] = [
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

impl Config {
    /// Reads what stands in the file at `path`.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let invalid = |cause: String| Error::invalid(path.display(), cause);
        let raw: Raw = serde_json::from_slice(text).map_err(|e| invalid(e.to_string()))?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == raw.peft_type);
        let kind = kind.ok_or_else(|| {
            let known = Kind::ALL.map(Kind::name).join(", ");
            invalid(format!("a {} adapter; {known} are read", raw.peft_type))
        })?;
        let plain = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if let Some(key) = UNKNOWN.iter().find(|key| raw.rest.get(**key).is_some_and(|v| !plain(v)))
        {
            return Err(invalid(format!("{key} is not supported")));
        }
        // These change the base's own weights before training.
        if let Value::String(start) = &raw.init_lora_weights
            && !["gaussian", "eva", "orthogonal"].contains(&start.as_str())
        {
            return Err(invalid(format!("init_lora_weights {start} changes the base's weights"))
                .with_remedy("convert it to a plain LoRA with PEFT: path_initial_model_for_weight_conversion"));
        }
        let lora = match kind {
            Kind::Lora => serde_json::from_value(Value::Object(raw.rest))
                .map_err(|e| invalid(e.to_string()))?,
            Kind::LnTuning | Kind::Ia3 => Lora::default(),
        };
        Ok(Self {
            kind,
            targets: raw.target_modules,
            exclude: raw.exclude_modules,
            whole: raw.modules_to_save,
            narrowed: !plain(&raw.layers_to_transform),
            biases: raw.bias.is_some_and(|bias| bias != "none"),
            lora,
        })
    }

    /// What the path beside the layer `module` is like, or why that cannot be told.
    pub fn path(&self, module: &str) -> Result<LowRankConfig, String> {
        let Lora { r, lora_alpha, lora_dropout, use_rslora, use_dora, .. } = self.lora;
        let rank = pattern(self.lora.rank_pattern.as_ref(), module)?;
        let alpha = pattern(self.lora.alpha_pattern.as_ref(), module)?;
        let rank = match rank {
            None => Some(r),
            Some(rank) => rank.as_u64().and_then(|rank| usize::try_from(rank).ok()),
        };
        let alpha = alpha.map_or(Some(lora_alpha), |alpha| Some(alpha.as_f64()? as f32));
        match (rank, alpha) {
            (Some(rank), Some(alpha)) if rank > 0 && alpha.is_finite() => Ok(LowRankConfig {
                rank,
                alpha,
                use_rslora,
                dropout: if (0.0..1.0).contains(&lora_dropout) { lora_dropout } else { 0.0 },
                has_magnitude: use_dora,
            }),
            _ => Err(format!("the rank or alpha of {module} is no number that can be")),
        }
    }

    /// Whether `module` is adapted, as far as that can be told.
    pub fn adapts(&self, module: &str) -> bool {
        let excluded = match &self.exclude {
            Modules::Pattern(_) => true, // cannot be told
            list => list.matches(module),
        };
        self.targets.matches(module) && !excluded && !self.narrowed
    }

    /// Whether `module` is kept whole, or is inside one that is.
    pub fn keeps(&self, module: &str) -> bool {
        let mut outer = Some(module);
        while let Some(module) = outer {
            if self.whole.matches(module) {
                return true;
            }
            outer = module.rsplit_once('.').map(|(outer, _)| outer);
        }
        false
    }
}

/// The value of the first key of `patterns` that fits `module`: PEFT takes a key for the end of a
/// regular expression, `(.*\.)?(KEY)$`. Fails on keys that are more than a path or its end.
fn pattern<'v>(
    patterns: Option<&'v Map<String, Value>>,
    module: &str,
) -> Result<Option<&'v Value>, String> {
    for (key, value) in patterns.into_iter().flatten() {
        let whole = key.starts_with('^');
        let path = key.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
        if !path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            return Err(format!("`{key}` is a regular expression that only Python evaluates"));
        }
        if module == path || !whole && ends_with(module, &path) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Whether `module` is `end` or ends with it after a dot.
fn ends_with(module: &str, end: &str) -> bool {
    module.strip_suffix(end).is_some_and(|s| s.is_empty() || s.ends_with('.'))
}

#[derive(Debug, Deserialize, Default)]
#[serde(untagged)]
pub(super) enum Modules {
    /// Whole paths or their ends.
    List(Vec<String>),
    /// A Python regular expression.
    Pattern(#[expect(dead_code, reason = "only Python could evaluate it")] String),
    #[default]
    None,
}

impl Modules {
    pub fn names(&self) -> &[String] {
        match self {
            Self::List(names) => names,
            Self::Pattern(_) | Self::None => &[],
        }
    }

    /// PEFT's rule: the whole path, or its end after a dot.
    pub fn matches(&self, module: &str) -> bool {
        self.names().iter().any(|name| ends_with(module, name))
    }
}

/// What a writer says of every method.
pub(super) struct Common<'a> {
    pub base: &'a str,
    pub base_class: [&'a str; 2],
    pub targets: Vec<&'a str>,
    pub whole: Vec<&'a str>,
}

/// Of LoRA: each layer's path.
pub(super) struct Paths<'a> {
    pub each: Vec<(&'a str, LowRankConfig)>,
    pub biases: bool,
}

impl Common<'_> {
    fn start(&self, kind: Kind) -> Value {
        let whole = (!self.whole.is_empty()).then_some(&self.whole);
        json!({
            "auto_mapping": {
                "base_model_class": self.base_class[0],
                "parent_library": self.base_class[1],
            },
            "base_model_name_or_path": self.base,
            "exclude_modules": null,
            "inference_mode": true,
            "modules_to_save": whole,
            "peft_type": kind.name(),
            "peft_version": "0.21.2",
            "revision": null,
            "target_modules": self.targets,
            "task_type": null,
        })
    }

    /// An LN_TUNING config.
    pub fn ln_tuning(&self) -> Value {
        sorted(self.start(Kind::LnTuning), json!({}))
    }

    /// An IA3 config; `feedforward` are the layers whose inputs are multiplied.
    pub fn ia3(&self, feedforward: &[&str]) -> Value {
        let more = json!({
            "fan_in_fan_out": false,
            "feedforward_modules": feedforward,
            "init_ia3_weights": true,
        });
        sorted(self.start(Kind::Ia3), more)
    }

    /// A LORA config: what most layers have, and what others have instead.
    pub fn lora(&self, paths: &Paths<'_>) -> Value {
        let shapes = || paths.each.iter().map(|(_, shape)| *shape);
        // One for all; where layers differ, plain scales say the same.
        let use_rslora = !paths.each.is_empty() && shapes().all(|shape| shape.use_rslora);
        let alpha = |shape: LowRankConfig| match shape.use_rslora && !use_rslora {
            true => shape.scale() * shape.rank as f32,
            false => shape.alpha,
        };
        let rank = commonest(shapes().map(|shape| shape.rank)).unwrap_or(1);
        let common_alpha = commonest(shapes().map(alpha)).unwrap_or(1.0);
        let each = || paths.each.iter();
        let ranks: Map<_, _> = each()
            .filter(|(_, shape)| shape.rank != rank)
            .map(|(module, shape)| ((*module).to_owned(), json!(shape.rank)))
            .collect();
        let alphas: Map<_, _> = each()
            .filter(|(_, shape)| alpha(*shape) != common_alpha)
            .map(|(module, shape)| ((*module).to_owned(), number(alpha(*shape))))
            .collect();
        let dropout = shapes().map(|shape| shape.dropout).fold(0.0, f32::max);
        let more = json!({
            "alora_invocation_tokens": null,
            "alpha_pattern": alphas,
            "arrow_config": null,
            "bias": if paths.biases { "all" } else { "none" },
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
        sorted(self.start(Kind::Lora), more)
    }
}

/// Both tables in one, by name.
pub(super) fn sorted(mut config: Value, more: Value) -> Value {
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config.sort_all_objects();
    config
}

/// The value that comes most often; of equals, the first.
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

/// As Python writes what was written so: whole where it is.
fn number(x: f32) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e9 {
        json!(x as i64)
    } else {
        json!(x.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("config"), text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn patterns_are_paths_and_their_ends() {
        let config = parse(
            r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", "k"],
                "rank_pattern": {"^a.q": 2, "b.q": 3, "q": 5}, "alpha_pattern": {"k": 2.5}}"#,
        )
        .unwrap();
        let rank = |module| config.path(module).unwrap().rank;
        assert_eq!(["a.q", "x.a.q", "b.q", "x.b.q", "bb.q", "k"].map(rank), [2, 5, 3, 3, 5, 4]);
        assert_eq!((config.path("k").unwrap().alpha, config.path("q").unwrap().alpha), (2.5, 8.0));
        let config = parse(r#"{"peft_type": "LORA", "r": 4, "rank_pattern": {"a|b": 1}}"#).unwrap();
        assert!(config.path("a").unwrap_err().contains("only Python"));
    }

    #[test]
    fn what_would_compute_something_else_is_refused() {
        for (config, cause) in [
            (r#"{"peft_type": "BOFT"}"#, "a BOFT adapter; LN_TUNING, LORA, IA3 are read"),
            (r#"{"peft_type": "LORA", "lora_bias": true}"#, "lora_bias"),
            (r#"{"peft_type": "LORA", "init_lora_weights": "pissa"}"#, "changes the base"),
            (r#"{"peft_type": "LORA", "layer_replication": [[0, 1]]}"#, "layer_replication"),
            (r#"{"peft_type": "LORA", "r": -1}"#, "invalid"),
            (r#"{}"#, "peft_type"),
        ] {
            let error = parse(config).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        assert!(parse(r#"{"peft_type": "LORA", "r": 0}"#).unwrap().path("a").is_err());
    }
}
