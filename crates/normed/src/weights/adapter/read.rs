//! Reads an adapter, in PEFT's format or in normed's own.

use std::path::Path;

use serde::Deserialize;

use super::adapter_files::expect_adapter;
use super::base_check::BaseCheck;
use super::layout::CONFIG;
use super::loaded::LoadedAdapter;
use super::virtual_tokens::{self, VirtualTokens};
use super::{own_format, peft_reader};
use crate::files::{CONFIG_LIMIT, read_bounded, read_json};
use crate::tensor::Parameters;
use crate::{Error, Result};

/// Reads the name that the adapter in `dir` gives its base: a directory or a repository.
///
/// # Errors
/// If the adapter's configuration cannot be read or does not name a base.
pub fn adapter_base(dir: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Named {
        base_model_name_or_path: Option<String>,
    }
    let path = dir.join(CONFIG);
    let named: Named = read_json(&path)?;
    named
        .base_model_name_or_path
        .ok_or_else(|| Error::invalid(path.display(), "it does not name the base model"))
}

/// Loads the adapter in `dir`, made by normed or by PEFT: sets the values of `params`, and plugs what the adapter
/// adds into sockets.
///
/// ```
/// use std::path::Path;
///
/// use normed::models;
/// use normed::tuning::{Method, Tuning};
/// use normed::weights::{AdapterCard, BaseCheck, load_adapter, save_adapter};
///
/// let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom"));
/// let mut model = models::load(dir, None)?;
/// let tuning = Tuning::new(Method::LORA.with("rank", 2)?);
/// tuning.apply(&mut model.params)?;
/// tuning.initialize(&mut model.params, 0);
///
/// let out = tempfile::tempdir().expect("a temporary directory");
/// let card = AdapterCard {
///     base: "models/phantom",
///     base_hash: &model.content_hash,
///     base_class: model.config.transformers_class(),
///     readme: "An example.",
/// };
/// save_adapter(out.path(), &model.params, &card)?;
///
/// let mut again = models::load(dir, None)?;
/// let hash = again.content_hash.clone();
/// let loaded = load_adapter(out.path(), &mut again.params, BaseCheck::Is(&hash))?;
/// assert_eq!(loaded.set.len(), model.params.trained().count());
/// assert!(loaded.warnings.is_empty());
/// # Ok::<(), normed::Error>(())
/// ```
///
/// # Errors
/// If the adapter cannot be read, belongs to another base, or does not fit the model; or if `params` have something
/// in a socket already. Nothing is changed then. Names that are missing or unknown, and shapes that differ, are one
/// error.
pub fn load_adapter(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    expect_adapter(dir)?;
    let text = read_bounded(&dir.join(CONFIG), CONFIG_LIMIT)?;
    if params.iter().any(|(_, p)| p.is_added()) {
        return Err(Error::invalid(dir.display(), "another adapter is already loaded"));
    }
    let peft_type = peft_type(&text).unwrap_or_default();
    match VirtualTokens::from_peft_type(&peft_type) {
        Some(kind) => virtual_tokens::load(dir, params, kind, base),
        None if peft_type == own_format::PEFT_TYPE => own_format::load(dir, params, base),
        None => peft_reader::load(dir, &text, params, base),
    }
}

/// `peft_type` in the text of a configuration, if it has one.
fn peft_type(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        peft_type: String,
    }
    serde_json::from_slice::<Typed>(text).ok().map(|typed| typed.peft_type)
}
