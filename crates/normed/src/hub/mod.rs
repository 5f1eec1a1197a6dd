//! The Hugging Face hub: checkpoints and data sets, fetched into the cache that its Python library
//! reads, and found there.
//!
//! [`fetch`] is the only thing in this crate that goes to the network. A recipe's `model` and a data
//! set's `root` may say `ORG/NAME`: [`find`] looks for it in the cache and nowhere else.
//!
//! The cache and the names in it are `hf-hub`'s. The transfer is not: its releases keep no checksum,
//! and send the token on to the host that a download is redirected to; from 1.0 they start a broken
//! download again from its beginning.

mod answer;
mod cache;
mod client;
mod event;
mod fetch;
mod file;
mod listing;
mod repo;
mod select;
mod settings;

pub use cache::{FromHub, find, find_or};
pub use event::Event;
pub use fetch::{FetchOptions, Fetched, fetch};
pub use listing::ListedFile;
pub use repo::{Kind, RepoId};
pub use settings::{Settings, Token};
