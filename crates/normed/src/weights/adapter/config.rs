//! Reads adapter_config.json of PEFT 0.21.2.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tensor::LowRankConfig;
use crate::{Error, Result};

/// The types of PEFT's adapters that hold trained modules or socket parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeftType {
    /// Changed copies of modules.
    LnTuning,
    /// Low-rank matrices.
    Lora,
    /// Scaling vectors.
    Ia3,
}

impl PeftType {
    /// Every type.
    const ALL: [PeftType; 3] = [PeftType::LnTuning, PeftType::Lora, PeftType::Ia3];

    /// Its name in `peft_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LnTuning => "LN_TUNING",
            Self::Lora => "LORA",
            Self::Ia3 => "IA3",
        }
    }
}

/// The keys of adapter_config.json that matter for loading.
#[derive(Debug)]
pub(super) struct Config {
    /// `peft_type`.
    pub peft_type: PeftType,
    /// `target_modules`: the modules that are adapted.
    pub targets: Modules,
    /// `exclude_modules`: targets that are not adapted.
    pub exclude: Modules,
    /// `modules_to_save`: the modules that are saved whole.
    pub saved_whole: Modules,
    /// Whether `layers_to_transform` excludes some targets; only Python can tell which.
    pub selects_layers: bool,
    /// Whether biases are trained as well.
    pub has_biases: bool,
    lora: Lora,
}

/// The keys of LoRA.
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

/// adapter_config.json as it is in the file.
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

/// Keys of PEFT variants that change the computation and are not supported.
const UNSUPPORTED: [&str; 13] = [
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
    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// If the text is not a config, its type is not supported, or it has a key that is not supported.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let invalid = |cause: String| Error::invalid(path.display(), cause);
        let raw: Raw = serde_json::from_slice(text).map_err(|e| invalid(e.to_string()))?;
        let peft_type = PeftType::ALL.into_iter().find(|known| known.name() == raw.peft_type);
        let peft_type = peft_type.ok_or_else(|| {
            let known = PeftType::ALL.map(PeftType::name).join(", ");
            invalid(format!("adapters of type {} are not supported; {known} are", raw.peft_type))
        })?;
        let is_unset = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if let Some(key) =
            UNSUPPORTED.iter().find(|key| raw.rest.get(**key).is_some_and(|v| !is_unset(v)))
        {
            return Err(invalid(format!("{key} is not supported")));
        }
        // Other initializations change the base's own weights before training.
        if let Value::String(method) = &raw.init_lora_weights
            && !["gaussian", "eva", "orthogonal"].contains(&method.as_str())
        {
            return Err(invalid(format!(
                "init_lora_weights = {method} changes the base's weights"
            ))
            .with_remedy(
                "convert it to a plain LoRA with PEFT: path_initial_model_for_weight_conversion",
            ));
        }
        let lora = match peft_type {
            PeftType::Lora => serde_json::from_value(Value::Object(raw.rest))
                .map_err(|e| invalid(e.to_string()))?,
            PeftType::LnTuning | PeftType::Ia3 => Lora::default(),
        };
        Ok(Self {
            peft_type,
            targets: raw.target_modules,
            exclude: raw.exclude_modules,
            saved_whole: raw.modules_to_save,
            selects_layers: !is_unset(&raw.layers_to_transform),
            has_biases: raw.bias.is_some_and(|bias| bias != "none"),
            lora,
        })
    }

    /// The rank and scale of the low-rank matrices of the layer `module`.
    ///
    /// # Errors
    /// If a pattern cannot be evaluated, or rank or alpha is not a valid number.
    pub fn low_rank(&self, module: &str) -> Result<LowRankConfig, String> {
        let Lora { r, lora_alpha, lora_dropout, use_rslora, use_dora, .. } = self.lora;
        let rank = matching_value(self.lora.rank_pattern.as_ref(), module)?;
        let alpha = matching_value(self.lora.alpha_pattern.as_ref(), module)?;
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
            _ => Err(format!("the rank or alpha of {module} is not valid")),
        }
    }

    /// Whether `module` is certainly adapted.
    pub fn adapts(&self, module: &str) -> bool {
        let excluded = match &self.exclude {
            Modules::Pattern(_) => true, // only Python can evaluate it
            list => list.matches(module),
        };
        self.targets.matches(module) && !excluded && !self.selects_layers
    }

    /// Whether `module` is saved whole, or is inside of a module that is.
    pub fn saves_whole(&self, module: &str) -> bool {
        let mut outer = Some(module);
        while let Some(module) = outer {
            if self.saved_whole.matches(module) {
                return true;
            }
            outer = module.rsplit_once('.').map(|(outer, _)| outer);
        }
        false
    }
}

/// The value of the first key of `patterns` that matches `module`. In PEFT a key is the end of a regular
/// expression, `(.*\.)?(KEY)$`.
///
/// # Errors
/// If a key is more than a path or the end of a path.
fn matching_value<'v>(
    patterns: Option<&'v Map<String, Value>>,
    module: &str,
) -> Result<Option<&'v Value>, String> {
    for (key, value) in patterns.into_iter().flatten() {
        let whole = key.starts_with('^');
        let path = key.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
        if !path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            return Err(format!("`{key}` is a regular expression, which only Python can evaluate"));
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

/// A set of modules.
#[derive(Debug, Deserialize, Default)]
#[serde(untagged)]
pub(super) enum Modules {
    /// Paths, or ends of paths.
    List(Vec<String>),
    /// A Python regular expression.
    Pattern(#[expect(dead_code, reason = "only Python could evaluate it")] String),
    /// No modules.
    #[default]
    None,
}

impl Modules {
    /// The paths, or ends of paths; none of a pattern.
    pub fn names(&self) -> &[String] {
        match self {
            Self::List(names) => names,
            Self::Pattern(_) | Self::None => &[],
        }
    }

    /// Whether `module` is in the set: by PEFT's rule, its path or the end of its path after a dot.
    pub fn matches(&self, module: &str) -> bool {
        self.names().iter().any(|name| ends_with(module, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("config"), text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn patterns_are_paths_or_ends_of_paths() {
        let config = parse(
            r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", "k"],
                "rank_pattern": {"^a.q": 2, "b.q": 3, "q": 5}, "alpha_pattern": {"k": 2.5}}"#,
        )
        .unwrap();
        let rank = |module| config.low_rank(module).unwrap().rank;
        assert_eq!(["a.q", "x.a.q", "b.q", "x.b.q", "bb.q", "k"].map(rank), [2, 5, 3, 3, 5, 4]);
        assert_eq!(
            (config.low_rank("k").unwrap().alpha, config.low_rank("q").unwrap().alpha),
            (2.5, 8.0)
        );
        let config = parse(r#"{"peft_type": "LORA", "r": 4, "rank_pattern": {"a|b": 1}}"#).unwrap();
        assert!(config.low_rank("a").unwrap_err().contains("only Python"));
    }

    #[test]
    fn settings_that_change_the_computation_are_refused() {
        for (config, cause) in [
            (
                r#"{"peft_type": "BOFT"}"#,
                "of type BOFT are not supported; LN_TUNING, LORA, IA3 are",
            ),
            (r#"{"peft_type": "LORA", "lora_bias": true}"#, "lora_bias"),
            (r#"{"peft_type": "LORA", "init_lora_weights": "pissa"}"#, "changes the base"),
            (r#"{"peft_type": "LORA", "layer_replication": [[0, 1]]}"#, "layer_replication"),
            (r#"{"peft_type": "LORA", "r": -1}"#, "invalid"),
            (r#"{}"#, "peft_type"),
        ] {
            let error = parse(config).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        assert!(parse(r#"{"peft_type": "LORA", "r": 0}"#).unwrap().low_rank("a").is_err());
    }
}
