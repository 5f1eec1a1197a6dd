//! The events of a fetch.

use std::path::PathBuf;

use serde::Serialize;

use super::{LeftOutFile, ListedFile, RepoId};

/// An event of a fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The files of the repository are known.
    Listed {
        /// The repository.
        id: RepoId,
        /// The commit of the revision.
        commit: String,
        /// The license, as the card states it; none if it states nothing.
        license: Option<String>,
        /// Whether terms must be accepted first.
        gated: bool,
        /// Files to fetch, unless they are here already.
        files: Vec<ListedFile>,
        /// Files that are not fetched, and why.
        left_out: Vec<LeftOutFile>,
    },
    /// The free disk space may not suffice.
    LittleSpace {
        /// The most bytes that may be fetched.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// A part of a file has arrived.
    Received {
        /// Its path in the repository.
        path: String,
        /// Number of bytes that are here, from the beginning.
        at: u64,
    },
    /// A file is complete.
    Finished {
        /// Its path in the repository.
        path: String,
        /// Size in bytes.
        size: u64,
        /// Whether it was here before the fetch.
        was_here: bool,
        /// Whether it was verified by a checksum of the hub.
        checked: bool,
    },
    /// A file that was here differs from the one on the hub; it is fetched again.
    Differs {
        /// Its path on this machine.
        place: PathBuf,
    },
    /// Another process is fetching this file; the fetch waits for it.
    Locked {
        /// Its path in the repository.
        path: String,
    },
    /// A request failed and will be repeated.
    Waiting {
        /// The repository or the file.
        place: String,
        /// What failed.
        cause: String,
        /// Seconds until the next attempt.
        seconds: f64,
    },
}
