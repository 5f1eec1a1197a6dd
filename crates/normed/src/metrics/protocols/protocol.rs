//! The protocols and their metrics.

use serde::{Deserialize, Serialize};

use super::metric::ProtocolMetric;
use super::{llava_med, miss, strict, vqa};

/// A set of rules by which answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// normed's own: exact match after normalization, token recall and F1.
    Strict,
    /// `ACC.py` of MISS.
    Miss,
    /// `run_eval.py` of LLaVA-Med v1.0.0.
    LlavaMed,
    /// The evaluation of the VQA challenge.
    Vqa,
}

impl Protocol {
    /// All protocols, in the order of a table.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Miss, Self::LlavaMed, Self::Vqa];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Miss => "miss",
            Self::LlavaMed => "llava-med",
            Self::Vqa => "vqa",
        }
    }

    /// The metrics that the protocol reports.
    pub(super) fn metrics(self) -> &'static [ProtocolMetric] {
        match self {
            Self::Strict => strict::METRICS,
            Self::Miss => miss::METRICS,
            Self::LlavaMed => llava_med::METRICS,
            Self::Vqa => vqa::METRICS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_keys() {
        for protocol in Protocol::ALL {
            assert_eq!(serde_json::json!(protocol), protocol.name());
        }
    }
}
