//! What a fetch reports while it runs.

use std::path::PathBuf;

use serde::Serialize;

use super::{ListedFile, RepoId};

/// What happens during a fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The hub has said what there is.
    Listed {
        /// The repository.
        id: RepoId,
        /// What its revision stands for.
        commit: String,
        /// As the card says it; absent if it says nothing.
        licence: Option<String>,
        /// Whether terms have to be accepted first.
        gated: bool,
        /// What is fetched, unless it is here already.
        files: Vec<ListedFile>,
        /// What is not.
        left_out: Vec<ListedFile>,
    },
    /// The disk is short of space for what may be missing.
    LittleSpace {
        /// Bytes to fetch at most.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// So much of a file is here.
    Received {
        /// Its path in the repository.
        path: String,
        /// Bytes from its beginning.
        at: u64,
    },
    /// A file is here and is the hub's.
    Finished {
        /// Its path in the repository.
        path: String,
        /// In bytes.
        size: u64,
        /// Whether it was here before.
        was_here: bool,
        /// Whether the hub gave a checksum to hold it to.
        checked: bool,
    },
    /// What was here under a file's name is not what the hub has; it is fetched anew.
    Differs {
        /// Where it is.
        place: PathBuf,
    },
    /// Another process fetches this file; it is waited for.
    Locked {
        /// Its path in the repository.
        path: String,
    },
    /// Something failed that may pass.
    Waiting {
        /// The repository or the file.
        place: String,
        /// What failed.
        cause: String,
        /// Until it is tried again.
        seconds: f64,
    },
}
