//! The Hugging Face hub: models and data sets are fetched into the cache that Python's `huggingface_hub`
//! shares, and found there.
//!
//! [`fetch`] is the only function in this crate that uses the network. Where a recipe says `ORG/NAME`,
//! [`find_cached`] looks for it in the cache alone.
//!
//! The layout of the cache is that of the `hf-hub` crate. The transfer is our own: the releases of `hf-hub`
//! verify no checksum, and send the token to the host that a download is redirected to; from 1.0 on they
//! restart an interrupted download from its beginning.

mod cache;
mod client;
mod event;
mod fetch;
mod file;
mod listing;
mod model_files;
mod repo;
mod response;
mod select;
mod settings;
mod shared_name;

pub use cache::{CacheLookup, find_cached, resolve_path};
pub use event::Event;
pub use fetch::{FetchOptions, Fetched, fetch};
pub use repo::{LeftOutFile, LeftOutReason, ListedFile, RepoId, RepoKind};
pub use settings::{Settings, Token};
pub use shared_name::shared_name;
