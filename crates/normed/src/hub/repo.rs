//! Repositories on the hub: their names, kinds and files.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Result};

/// What a repository contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    /// The name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        }
    }

    /// The other kind.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Model => Self::Dataset,
            Self::Dataset => Self::Model,
        }
    }

    /// Its name in addresses of the hub's API.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// The name of a repository: `ORG/NAME`, or `NAME` alone for the hub's oldest repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RepoId(String);

impl RepoId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` has the form `ORG/NAME`.
    pub(super) fn is_full(text: &str) -> bool {
        text.contains('/') && text.parse::<Self>().is_ok()
    }
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedFile {
    /// Its path in the repository.
    pub path: String,
    /// Size in bytes, if the listing has it.
    pub size: Option<u64>,
}

/// A file of a repository that is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutFile {
    /// The file.
    #[serde(flatten)]
    pub file: ListedFile,
    /// Why it is not fetched.
    pub reason: LeftOutReason,
}

/// Why a file is not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The same weights are fetched from another file.
    SameWeights,
    /// Its folder is not one that config.json names.
    UnnamedFolder,
    /// Its format is not read.
    OtherFormat,
    /// It is state of a training run.
    TrainingState,
    /// The data set is in the parquet files.
    BesideParquet,
    /// No pattern of the user matches it.
    NotIncluded,
    /// It is neither a config nor a tokenizer nor weights.
    NotPart,
}

impl LeftOutReason {
    /// The reason, for the user; none if the file could not matter to a model.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::SameWeights => Some("the same weights are fetched from other files"),
            Self::UnnamedFolder => Some("config.json does not name these folders"),
            Self::OtherFormat => Some("normed reads safetensors and PyTorch files"),
            Self::TrainingState => Some("state of a training run, which no model needs"),
            Self::BesideParquet => Some("the data set is in the parquet files"),
            Self::NotIncluded | Self::NotPart => None,
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split('/').collect();
        let right = |part: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty()
                && part.chars().all(plain)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        if (1..=2).contains(&parts.len()) && parts.iter().all(right) && text.len() <= 96 {
            return Ok(Self(text.to_owned()));
        }
        let error =
            Error::invalid(text, "is not the name of a repository; names look like ORG/NAME");
        Err(match name_in_address(text) {
            Some(name) => error.with_remedy(format!("use the name without the address: {name}")),
            None => error,
        })
    }
}

/// The arguments of `normed fetch` for the repository at a web address.
fn name_in_address(text: &str) -> Option<String> {
    let path = text.strip_prefix("https://").or(text.strip_prefix("http://"))?;
    let mut parts = path.split('/').skip(1).filter(|part| !part.is_empty()).peekable();
    let flag = if parts.next_if_eq(&"datasets").is_some() { " --dataset" } else { "" };
    let (org, name) = (parts.next()?, parts.next()?);
    format!("{org}/{name}").parse::<RepoId>().ok().map(|id| format!("{id}{flag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["gpt2", "microsoft/llava-med-v1.5-mistral-7b", "a_b/c.d"] {
            assert_eq!(name.parse::<RepoId>().unwrap().as_str(), name);
        }
        for wrong in
            ["", "a/b/c", "/a", "a/", "../x", "a/..", "a/.b", "a b/c", "a--b/c", "-a/b", "ä/b"]
        {
            assert!(wrong.parse::<RepoId>().is_err(), "{wrong}");
        }
        assert!(RepoId::is_full("a/b") && !RepoId::is_full("a") && !RepoId::is_full("/a/b"));
    }

    #[test]
    fn an_address_is_turned_into_a_name() {
        let hint = |text: &str| text.parse::<RepoId>().unwrap_err().to_string();
        assert!(hint("https://huggingface.co/a/b/tree/main").ends_with("address: a/b"));
        assert!(hint("https://huggingface.co/datasets/a/b").ends_with("a/b --dataset"));
        assert!(!hint("https://huggingface.co").contains("hint"));
    }
}
