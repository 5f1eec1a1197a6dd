//! Reads adapter_config.json of PEFT 0.21.2.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::patterns::{Modules, ModulesText, PatternTable};
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
    pub saved_whole: Vec<String>,
    /// `layers_to_transform`: the blocks whose targets are adapted; all blocks if it is empty.
    pub blocks: Vec<u64>,
    /// `layers_pattern`: names of the lists of blocks that `layers_to_transform` counts in; any if it is empty.
    pub block_lists: Vec<String>,
    /// Whether biases are trained as well.
    pub has_biases: bool,
    /// `trainable_token_indices`: rows that have new values, with the name of their table. Rows of the input embeddings
    /// have no name.
    pub token_rows: Vec<(Option<String>, Vec<usize>)>,
    /// Whether PEFT keeps tied layers tied, so that a change of one is a change of both.
    pub keeps_ties: bool,
    /// `rank_pattern`.
    pub ranks: PatternTable,
    /// `alpha_pattern`.
    pub alphas: PatternTable,
    /// The keys of LoRA that hold for all layers.
    pub lora: Lora,
}

/// The keys of LoRA that hold for all layers, with PEFT's defaults.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Lora {
    pub r: usize,
    pub lora_alpha: f32,
    pub lora_dropout: f32,
    pub use_rslora: bool,
    pub use_dora: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self { r: 8, lora_alpha: 8.0, lora_dropout: 0.0, use_rslora: false, use_dora: false }
    }
}

/// A value, or several.
#[derive(Debug, Deserialize, Default)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
    #[default]
    None,
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
            Self::None => Vec::new(),
        }
    }
}

/// `trainable_token_indices` as it is in the file: of the input embeddings, or by the name of a table.
#[derive(Debug, Deserialize, Default)]
#[serde(untagged)]
enum TokenRows {
    Input(Vec<usize>),
    Tables(BTreeMap<String, Vec<usize>>),
    #[default]
    None,
}

/// adapter_config.json as it is in the file.
#[derive(Deserialize)]
struct Raw {
    peft_type: String,
    #[serde(default)]
    target_modules: ModulesText,
    #[serde(default)]
    exclude_modules: ModulesText,
    #[serde(default)]
    modules_to_save: OneOrMany<String>,
    #[serde(default)]
    layers_to_transform: OneOrMany<u64>,
    #[serde(default)]
    layers_pattern: OneOrMany<String>,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(default)]
    trainable_token_indices: TokenRows,
    #[serde(default)]
    ensure_weight_tying: bool,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Keys of PEFT variants that change the computation and are not supported.
const UNSUPPORTED: [&str; 10] = [
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

/// Values of `init_lora_weights` with which training starts from the base's own weights.
const PLAIN_STARTS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// Types whose adapters are no change of weights, so that no merge in Python helps.
const UNMERGEABLE: [&str; 9] = [
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "LILY",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "POLY",
    "SHADOW",
    "XLORA",
];

/// What to do with an adapter that only Python's PEFT can read.
const MERGE_IN_PYTHON: &str = "merge it in Python, and use the merged model: \
     PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder)";

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
            let cause =
                format!("adapters of type {} are not supported; {known} are", raw.peft_type);
            let error = invalid(cause);
            match UNMERGEABLE.contains(&&*raw.peft_type) {
                true => error.with_remedy("use it with Python's peft"),
                false => error.with_remedy(MERGE_IN_PYTHON),
            }
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
            return Err(invalid(format!("{key} is not supported")).with_remedy(MERGE_IN_PYTHON));
        }
        // Other initializations change the base's own weights before training.
        if let Value::String(method) = &raw.init_lora_weights
            && !PLAIN_STARTS.contains(&method.as_str())
        {
            return Err(invalid(format!(
                "init_lora_weights = {method} changes the base's weights"
            ))
            .with_remedy(format!(
                "convert it to a plain LoRA with PEFT (path_initial_model_for_weight_conversion), or {MERGE_IN_PYTHON}"
            )));
        }
        let lora =
            serde_json::from_value(Value::Object(raw.rest)).map_err(|e| invalid(e.to_string()))?;
        let token_rows = match raw.trainable_token_indices {
            TokenRows::Input(rows) => vec![(None, rows)],
            TokenRows::Tables(tables) => {
                tables.into_iter().map(|(name, rows)| (Some(name), rows)).collect()
            }
            TokenRows::None => Vec::new(),
        };
        Ok(Self {
            peft_type,
            targets: Modules::new(raw.target_modules).map_err(invalid)?,
            exclude: Modules::new(raw.exclude_modules).map_err(invalid)?,
            saved_whole: raw.modules_to_save.into_vec(),
            blocks: raw.layers_to_transform.into_vec(),
            block_lists: raw.layers_pattern.into_vec(),
            has_biases: raw.bias.is_some_and(|bias| bias != "none"),
            // New rows of tokens are tied without being asked for.
            keeps_ties: raw.ensure_weight_tying || !token_rows.is_empty(),
            token_rows,
            ranks: PatternTable::new(raw.rank_pattern).map_err(invalid)?,
            alphas: PatternTable::new(raw.alpha_pattern).map_err(invalid)?,
            lora,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("config"), text.as_bytes()).map_err(|e| e.to_string())
    }

    /// Every type and variant of PEFT 0.21.2: what is read, and how else what is not read can be used.
    #[test]
    fn each_type_is_read_or_refused_by_name_with_a_way_out() {
        let read = |text: &str| parse(text).map(|config| config.peft_type);
        for (text, peft_type) in [
            (r#""LORA""#, PeftType::Lora),
            (r#""LORA", "use_rslora": true"#, PeftType::Lora),
            (r#""LORA", "use_dora": true"#, PeftType::Lora),
            (r#""LORA", "lora_bias": true"#, PeftType::Lora),
            (r#""LORA", "loftq_config": {}, "corda_config": null"#, PeftType::Lora),
            (r#""LORA", "init_lora_weights": false"#, PeftType::Lora),
            (r#""LORA", "init_lora_weights": "eva", "eva_config": {"rho": 2.0}"#, PeftType::Lora),
            (r#""LORA", "init_lora_weights": "orthogonal""#, PeftType::Lora),
            (r#""IA3""#, PeftType::Ia3),
            (r#""LN_TUNING""#, PeftType::LnTuning),
        ] {
            assert_eq!(read(&format!(r#"{{"peft_type": {text}}}"#)), Ok(peft_type), "{text}");
        }
        let merged = "merge_and_unload";
        let types = [
            ("ADALORA", merged),
            ("ADAMSS", merged),
            ("ADAPTION_PROMPT", "Python's peft"),
            ("BEFT", merged),
            ("BOFT", merged),
            ("BONE", merged),
            ("C3A", merged),
            ("CARTRIDGE", "Python's peft"),
            ("CPT", "Python's peft"),
            ("DEFT", merged),
            ("DELORA", merged),
            ("FOURIERFT", merged),
            ("FROD", merged),
            ("GLORA", merged),
            ("GRALORA", merged),
            ("HIRA", merged),
            ("HRA", merged),
            ("LILY", "Python's peft"),
            ("LOHA", merged),
            ("LOKR", merged),
            ("MISS", merged),
            ("MULTITASK_PROMPT_TUNING", "Python's peft"),
            ("OFT", merged),
            ("OSF", merged),
            ("PEANUT", merged),
            ("POLY", "Python's peft"),
            ("PSOFT", merged),
            ("PVERA", merged),
            ("P_TUNING", "Python's peft"),
            ("RANDLORA", merged),
            ("ROAD", merged),
            ("SHADOW", "Python's peft"),
            ("SHIRA", merged),
            ("SUPERTUNING", merged),
            ("TINYLORA", merged),
            ("TRAINABLE_TOKENS", merged),
            ("UNILORA", merged),
            ("VBLORA", merged),
            ("VERA", merged),
            ("WAVEFT", merged),
            ("XLORA", "Python's peft"),
        ];
        for (name, way_out) in types {
            let error = read(&format!(r#"{{"peft_type": "{name}"}}"#)).unwrap_err();
            assert!(error.contains(&format!("of type {name} are not supported")), "{error}");
            assert!(error.contains(way_out), "{error}");
        }
        for start in ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"] {
            let text = format!(r#"{{"peft_type": "LORA", "init_lora_weights": "{start}"}}"#);
            let error = read(&text).unwrap_err();
            for part in [start, "path_initial_model_for_weight_conversion", merged] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn settings_that_change_the_computation_are_refused() {
        for (config, cause) in [
            (
                r#"{"peft_type": "BOFT"}"#,
                "of type BOFT are not supported; LN_TUNING, LORA, IA3 are",
            ),
            (r#"{"peft_type": "ADALORA"}"#, "merge_and_unload"),
            (r#"{"peft_type": "P_TUNING"}"#, "use it with Python's peft"),
            (r#"{"peft_type": "LORA", "init_lora_weights": "pissa"}"#, "changes the base"),
            (r#"{"peft_type": "LORA", "init_lora_weights": "loftq"}"#, "changes the base"),
            (r#"{"peft_type": "LORA", "layer_replication": [[0, 1]]}"#, "layer_replication"),
            (r#"{"peft_type": "LORA", "r": -1}"#, "invalid"),
            (r#"{"peft_type": "LORA", "target_modules": "("}"#, "regular expression"),
            (r#"{}"#, "peft_type"),
        ] {
            let error = parse(config).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn keys_that_are_missing_have_pefts_defaults() {
        let config = parse(r#"{"peft_type": "LORA", "layers_to_transform": 3}"#).unwrap();
        assert_eq!((config.lora.r, config.lora.lora_alpha), (8, 8.0));
        assert_eq!(config.blocks, [3]);
        let config = parse(
            r#"{"peft_type": "LORA", "init_lora_weights": "gaussian", "fan_in_fan_out": true,
                "layers_pattern": ["layer", "layers"], "trainable_token_indices": {"table": [1, 2]}}"#,
        )
        .unwrap();
        assert_eq!(config.block_lists, ["layer", "layers"]);
        assert_eq!(config.token_rows, [(Some("table".to_owned()), vec![1, 2])]);
    }
}
