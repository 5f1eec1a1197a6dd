//! Parts of a study, for several processes.

use super::{Experiment, Study};

/// A part of a study's experiments, for one of several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The number of the part, from 1.
    pub number: usize,
    /// The number of parts.
    pub count: usize,
}

impl Shard {
    /// The whole study.
    pub const ALL: Self = Self { number: 1, count: 1 };

    /// The experiments of `study` in this part. All runs of an experiment are in one part.
    pub(super) fn experiments(self, study: &Study) -> impl Iterator<Item = &Experiment> {
        study.experiments.iter().skip(self.number - 1).step_by(self.count)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("write it as 2/8 for the second of eight parts".to_owned()),
        }
    }
}
