//! The caption metrics and their names.

use serde::{Deserialize, Serialize};

/// A metric of a set of generated texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptionMetric {
    /// BLEU with unigrams.
    #[serde(rename = "bleu_1")]
    Bleu1,
    /// BLEU with n-grams of up to two words.
    #[serde(rename = "bleu_2")]
    Bleu2,
    /// BLEU with n-grams of up to three words.
    #[serde(rename = "bleu_3")]
    Bleu3,
    /// BLEU with n-grams of up to four words.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// METEOR 1.5, which needs [`MeteorData`](super::MeteorData).
    Meteor,
    /// METEOR 1.5 without its tables: words match exactly or by their stems only.
    MeteorExactStem,
    /// ROUGE-L.
    RougeL,
    /// CIDEr-D, from 0 to 10.
    Cider,
}

impl CaptionMetric {
    /// All metrics, in the order of a table.
    pub const ALL: [Self; 8] = [
        Self::Bleu1,
        Self::Bleu2,
        Self::Bleu3,
        Self::Bleu4,
        Self::Meteor,
        Self::MeteorExactStem,
        Self::RougeL,
        Self::Cider,
    ];

    /// The metrics that need no tables of METEOR.
    pub const WITHOUT_TABLES: [Self; 7] = [
        Self::Bleu1,
        Self::Bleu2,
        Self::Bleu3,
        Self::Bleu4,
        Self::MeteorExactStem,
        Self::RougeL,
        Self::Cider,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bleu1 => "bleu_1",
            Self::Bleu2 => "bleu_2",
            Self::Bleu3 => "bleu_3",
            Self::Bleu4 => "bleu_4",
            Self::Meteor => "meteor",
            Self::MeteorExactStem => "meteor_exact_stem",
            Self::RougeL => "rouge_l",
            Self::Cider => "cider",
        }
    }

    /// The length of the longest n-grams of a BLEU metric; `None` for other metrics.
    pub(super) fn max_ngram(self) -> Option<usize> {
        match self {
            Self::Bleu1 => Some(1),
            Self::Bleu2 => Some(2),
            Self::Bleu3 => Some(3),
            Self::Bleu4 => Some(4),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_keys() {
        for metric in CaptionMetric::ALL {
            assert_eq!(serde_json::json!(metric), metric.name());
        }
    }
}
