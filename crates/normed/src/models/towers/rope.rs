//! Rotary position embeddings (RoPE, Su et al. 2021, arXiv 2104.09864), and the variants that extend a model's
//! context. Formulas and keys are those of transformers' `modeling_rope_utils.py`.

use std::f64::consts::TAU;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::models::config_keys::ConfigKeys;
use crate::ops::RotaryTable;
use crate::{Error, Result};

/// The rotary embedding's settings, as config.json has them.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the wavelengths, `theta`.
    pub rope_theta: f64,
    /// How the context is extended.
    pub scaling: RopeScaling,
}

/// How a model's context is extended.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// The context is not extended.
    Default,
    /// Positions are divided by the factor (Chen et al. 2023, arXiv 2306.15595).
    Linear {
        /// The factor by which the context is longer.
        factor: f64,
    },
    /// The base grows with the length of the sequence, once that exceeds the original context.
    Dynamic {
        /// How fast the base grows.
        factor: f64,
    },
    /// Low frequencies are divided by the factor, high ones are kept (Llama 3.1).
    Llama3 {
        /// The factor by which the context is longer.
        factor: f64,
        /// The original context divided by this is the longest wavelength that is not fully divided.
        low_freq_factor: f64,
        /// The original context divided by this is the longest wavelength that is kept.
        high_freq_factor: f64,
        /// The original context in tokens.
        original: usize,
    },
    /// As `Llama3`, with a ramp over the dimensions, and with scaled scores (Peng et al. 2023, arXiv
    /// 2309.00071).
    Yarn {
        /// The factor by which the context is longer.
        factor: f64,
        /// The factor of cosines and sines.
        attention_factor: f64,
        /// Dimensions with at least this many turns within the original context are kept.
        beta_fast: f64,
        /// Dimensions with at most this many turns within the original context are fully divided.
        beta_slow: f64,
        /// The original context in tokens.
        original: usize,
        /// Whether the ramp starts and ends at whole dimensions.
        truncate: bool,
    },
}

impl RopeConfig {
    /// Reads `rope_parameters`, or the older `rope_theta` and `rope_scaling`, of a config whose context has
    /// `context` tokens.
    ///
    /// # Errors
    /// If the kind of scaling is not supported, or a value is missing or out of range.
    pub(in crate::models) fn read(keys: &ConfigKeys, context: usize) -> Result<Self> {
        let outer = keys.get_or("rope_theta", 10_000.0)?;
        let section = match keys.section("rope_parameters")? {
            Some(section) => Some(section),
            None => keys.section("rope_scaling")?,
        };
        let Some(rope) = section else {
            return Self { rope_theta: outer, scaling: RopeScaling::Default }.checked(&keys.place);
        };
        let kind = match rope.get::<String>("rope_type")? {
            Some(kind) => kind,
            None => rope.get_or("type", "default".to_owned())?,
        };
        let partial =
            rope.get_or("partial_rotary_factor", keys.get_or("partial_rotary_factor", 1.0)?)?;
        if partial != 1.0 {
            let cause = format!("partial_rotary_factor is {partial}; only 1 is supported");
            return Err(Error::invalid(&rope.place, cause));
        }
        let need = |key: &str| -> Result<f64> {
            let missing = || Error::invalid(&rope.place, format!("{kind} needs {key}"));
            rope.get(key)?.ok_or_else(missing)
        };
        let original = rope.get_or("original_max_position_embeddings", context)?;
        let scaling = match kind.as_str() {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: need("factor")? },
            "dynamic" => RopeScaling::Dynamic { factor: need("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: need("factor")?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original,
            },
            "yarn" => {
                let factor = match rope.get("factor")? {
                    Some(factor) => factor,
                    None => context as f64 / original as f64,
                };
                RopeScaling::Yarn {
                    factor,
                    attention_factor: yarn_attention_factor(&rope, factor)?,
                    beta_fast: rope.get_or("beta_fast", 32.0)?,
                    beta_slow: rope.get_or("beta_slow", 1.0)?,
                    original,
                    truncate: rope.get_or("truncate", true)?,
                }
            }
            other => {
                let cause = format!("rope_type is {other:?}");
                return Err(Error::invalid(&rope.place, cause)
                    .with_remedy("default, linear, dynamic, llama3 and yarn are supported"));
            }
        };
        let rope_theta = rope.get_or("rope_theta", outer)?;
        Self { rope_theta, scaling }.checked(&rope.place)
    }

    fn checked(self, place: &str) -> Result<Self> {
        let (factor, original) = match self.scaling {
            RopeScaling::Default => (1.0, 1),
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => (factor, 1),
            RopeScaling::Llama3 {
                factor,
                original,
                low_freq_factor: low,
                high_freq_factor: high,
            } => {
                if !(low > 0.0 && high > low) {
                    let cause =
                        format!("high_freq_factor {high} is not above low_freq_factor {low}");
                    return Err(Error::invalid(place, cause));
                }
                (factor, original)
            }
            RopeScaling::Yarn { factor, original, .. } => (factor, original),
        };
        // Real models extend the context by some tens at most.
        if !(1.0..=1000.0).contains(&factor) {
            return Err(Error::invalid(place, format!("factor is {factor}, not 1 to 1000")));
        }
        let theta = self.rope_theta;
        if !(theta > 1.0 && theta.is_finite()) || original == 0 {
            let cause = format!("rope_theta is {theta}, the original context {original}");
            return Err(Error::invalid(place, cause));
        }
        Ok(self)
    }

    /// The number of positions, given the `context` that config.json states: with some kinds of scaling it states
    /// the original context.
    pub fn positions(&self, context: usize) -> usize {
        let times = |factor: f64, original: usize| (factor * original as f64) as usize;
        match self.scaling {
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => {
                times(factor, context)
            }
            RopeScaling::Yarn { factor, original, .. } => context.max(times(factor, original)),
            RopeScaling::Default | RopeScaling::Llama3 { .. } => context,
        }
    }

    /// The content of config.json's `rope_parameters`.
    pub(in crate::models) fn to_json(&self) -> Value {
        let mut json = match self.scaling {
            RopeScaling::Default => json!({ "rope_type": "default" }),
            RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            RopeScaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original,
            }),
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original,
                truncate,
            } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "attention_factor": attention_factor,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "original_max_position_embeddings": original,
                "truncate": truncate,
            }),
        };
        json["rope_theta"] = json!(self.rope_theta);
        json
    }

    /// The frequencies of a head of width `dim` in a sequence of `length` tokens, and the factor of cosines and
    /// sines.
    fn frequencies(&self, dim: usize, context: usize, length: usize) -> (Vec<f32>, f32) {
        let base = match self.scaling {
            RopeScaling::Dynamic { factor } if dim > 2 => {
                let stretch = factor * length.max(context) as f64 / context as f64 - (factor - 1.0);
                self.rope_theta * stretch.powf(dim as f64 / (dim as f64 - 2.0))
            }
            _ => self.rope_theta,
        };
        let plain = |i: usize| base.powf(-((2 * i) as f64) / dim as f64);
        let mut scale = 1.0;
        let each = |f: &dyn Fn(usize, f64) -> f64| -> Vec<f32> {
            (0..dim / 2).map(|i| f(i, plain(i)) as f32).collect()
        };
        let frequencies = match self.scaling {
            RopeScaling::Default | RopeScaling::Dynamic { .. } => each(&|_, plain| plain),
            RopeScaling::Linear { factor } => each(&|_, plain| plain / factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                each(&|_, plain| {
                    let turns = original as f64 * plain / TAU;
                    let left = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    let left = left.clamp(0.0, 1.0);
                    (1.0 - left) * plain / factor + left * plain
                })
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original,
                truncate,
            } => {
                scale = attention_factor;
                let dimension = |turns: f64| {
                    let wavelength = original as f64 / (turns * TAU);
                    dim as f64 * wavelength.ln() / (2.0 * base.ln())
                };
                let (mut low, mut high) = (dimension(beta_fast), dimension(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                each(&|i, plain| {
                    let divided = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    divided * plain / factor + (1.0 - divided) * plain
                })
            }
        };
        (frequencies, scale as f32)
    }
}

/// The factor of cosines and sines: `attention_factor`, or else computed from `mscale`. Scores are scaled by its
/// square.
fn yarn_attention_factor(rope: &ConfigKeys, factor: f64) -> Result<f64> {
    if let Some(given) = rope.get("attention_factor")? {
        return Ok(given);
    }
    let scale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
    let [mscale, all] = [rope.get_or("mscale", 0.0)?, rope.get_or("mscale_all_dim", 0.0)?];
    Ok(if mscale != 0.0 && all != 0.0 { scale(mscale) / scale(all) } else { scale(1.0) })
}

/// The rotary embedding of one model.
#[derive(Debug, Clone)]
pub(in crate::models) struct Rope {
    config: RopeConfig,
    dim: usize,
    context: usize,
    /// The frequencies of sequences inside the original context.
    base: Arc<[f32]>,
    scale: f32,
}

impl Rope {
    /// The rotary embedding of heads of width `dim`, given the `context` that config.json states.
    pub fn new(config: &RopeConfig, dim: usize, context: usize) -> Self {
        let (base, scale) = config.frequencies(dim, context, context);
        Self { config: config.clone(), dim, context, base: base.into(), scale }
    }

    /// The rotations of sequences with these lengths, padded to `width`, that start at position `first`.
    pub fn rotation_for_sequences(
        &self,
        lengths: &[usize],
        width: usize,
        first: usize,
    ) -> RotaryTable {
        let positions = first..first + width;
        if lengths.iter().all(|&length| self.is_base(first + length)) {
            return RotaryTable::new(positions.map(|t| (t, &*self.base)), self.scale);
        }
        let each: Vec<_> = lengths.iter().map(|&length| self.frequencies(first + length)).collect();
        let rows = each.iter().flat_map(|of| positions.clone().map(move |t| (t, &**of)));
        RotaryTable::new(rows, self.scale)
    }

    /// The rotations of one row of each sequence, at these positions.
    pub fn rotation_at(&self, positions: &[usize]) -> RotaryTable {
        let each: Vec<_> = positions.iter().map(|&p| (p, self.frequencies(p + 1))).collect();
        RotaryTable::new(each.iter().map(|(p, of)| (*p, &**of)), self.scale)
    }

    fn frequencies(&self, length: usize) -> Arc<[f32]> {
        if self.is_base(length) {
            return Arc::clone(&self.base);
        }
        self.config.frequencies(self.dim, self.context, length).0.into()
    }

    /// Whether a sequence of this length has the frequencies of sequences inside the original context.
    fn is_base(&self, length: usize) -> bool {
        length <= self.context || !matches!(self.config.scaling, RopeScaling::Dynamic { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RopeConfig> {
        let json = serde_json::from_str(text).unwrap();
        RopeConfig::read(&ConfigKeys::new("config.json", &json).unwrap(), 64)
    }

    /// What transformers 5.23's `ROPE_INIT_FUNCTIONS` give for heads of 8 elements and a context of 64.
    #[test]
    fn frequencies_are_transformers() {
        let cases: [(&str, usize, [f64; 4], f64); 8] = [
            (r#"{}"#, 64, [1.000000, 1.000000e-01, 1.000000e-02, 1.000000e-03], 1.0),
            (
                r#"{"rope_theta": 500.0}"#,
                64,
                [1.000000, 2.114742e-01, 4.472136e-02, 9.457416e-03],
                1.0,
            ),
            (
                r#"{"rope_scaling": {"type": "linear", "factor": 2.5}}"#,
                64,
                [4.000000e-01, 4.000000e-02, 4.000000e-03, 4.000000e-04],
                1.0,
            ),
            (
                r#"{"rope_scaling": {"type": "dynamic", "factor": 2.0}}"#,
                64,
                [1.000000, 1.000000e-01, 1.000000e-02, 1.000000e-03],
                1.0,
            ),
            (
                r#"{"rope_scaling": {"type": "dynamic", "factor": 2.0}}"#,
                100,
                [1.000000, 7.778222e-02, 6.050074e-03, 4.705882e-04],
                1.0,
            ),
            (
                r#"{"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 0.25, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}"#,
                64,
                [1.000000, 1.855024e-02, 1.250000e-03, 1.250000e-04],
                1.0,
            ),
            (
                r#"{"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 4.0, "original_max_position_embeddings": 16}}"#,
                64,
                [1.000000, 2.500000e-02, 2.500000e-03, 2.500000e-04],
                1.1386294,
            ),
            (
                r#"{"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 4.0, "original_max_position_embeddings": 128, "truncate": false, "mscale": 1.0, "mscale_all_dim": 0.5}}"#,
                64,
                [1.000000, 6.349659e-02, 2.500000e-03, 2.500000e-04],
                1.0648216,
            ),
        ];
        for (text, length, want, scale) in cases {
            let config = read(text).unwrap();
            let (got, got_scale) = config.frequencies(8, 64, length);
            for (a, b) in got.iter().zip(want) {
                let a = f64::from(*a);
                assert!((a - b).abs() <= 2e-6 * b, "{text}: {got:?}, not {want:?}");
            }
            assert!((f64::from(got_scale) - scale).abs() < 1e-6, "{text}: {got_scale}");
            let again = read(&json!({ "rope_parameters": config.to_json() }).to_string()).unwrap();
            assert_eq!(again, config);
        }
    }

    #[test]
    fn scaling_decides_the_number_of_positions() {
        let far = |text: &str| read(text).unwrap().positions(64);
        assert_eq!(far("{}"), 64);
        assert_eq!(far(r#"{"rope_scaling": {"type": "linear", "factor": 4.0}}"#), 256);
        assert_eq!(far(r#"{"rope_scaling": {"type": "dynamic", "factor": 2.0}}"#), 128);
        let yarn = r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 32}}"#;
        assert_eq!(far(yarn), 128);
    }

    #[test]
    fn invalid_settings_are_refused() {
        for (text, cause) in [
            (r#"{"rope_scaling": {"rope_type": "longrope"}}"#, "rope_type is \"longrope\""),
            (r#"{"rope_scaling": {"type": "linear"}}"#, "linear needs factor"),
            (r#"{"rope_scaling": {"type": "linear", "factor": 0.5}}"#, "factor is 0.5"),
            (r#"{"rope_parameters": {"partial_rotary_factor": 0.5}}"#, "partial_rotary_factor"),
            (r#"{"rope_theta": 0.0}"#, "rope_theta is 0"),
            (r#"{"rope_theta": "x"}"#, "rope_theta"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(cause), "{error}");
        }
    }
}
