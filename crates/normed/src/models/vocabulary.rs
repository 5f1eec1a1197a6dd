//! A model whose vocabulary grows to that of an adapter.

use std::path::Path;
use std::sync::Arc;

use super::companion_files::{copy_companion_files, has_tokenizer, replace_tokenizer};
use super::load::{LoadedModel, read_config};
use super::model_config::LoadOverrides;
use crate::tensor::{Parameter, Parameters, Precision, Tensor};
use crate::weights::{self, BaseCheck, LoadedAdapter, grown_vocabulary, has_row_for_each_token};
use crate::{Error, Result};

/// Loads the adapter in `dir` into `loaded`, as [`weights::load_adapter`] does. If the adapter has more tokens than the
/// model, the model's tables of tokens and its head get as many rows, and the tokenizer is the adapter's if it has one.
///
/// # Errors
/// As [`weights::load_adapter`]; if the adapter does not have all rows of a table that grew; if its tokenizer cannot be
/// read.
pub fn load_adapter_and_grow(
    loaded: &mut LoadedModel,
    dir: &Path,
    overrides: LoadOverrides,
) -> Result<LoadedAdapter> {
    let hash = loaded.content_hash.clone();
    let base = BaseCheck::Is(&hash);
    weights::expect_adapter(dir)?;
    let Some(rows) = grown_vocabulary(dir, &loaded.params)? else {
        return weights::load_adapter(dir, &mut loaded.params, base);
    };
    loaded.config.set_vocabulary(rows)?;
    let mut params = Parameters::new();
    loaded.model = loaded.config.declare(&mut params);
    let mut grown = Vec::new();
    for ((id, new), (_, old)) in params.iter_mut().zip(loaded.params.iter()) {
        if new.shape() == old.shape() {
            new.set(old.value().clone());
        } else {
            new.set(with_more_rows(new, old)?);
            grown.push(id);
        }
    }
    let mut read = weights::load_adapter(dir, &mut params, base)?;
    if let Some(&id) = grown.iter().find(|id| !read.set.contains(id)) {
        let cause = format!(
            "the vocabulary grew to {rows} tokens, and {} is not in it",
            params.get(id).name()
        );
        return Err(Error::invalid(dir.display(), cause)
            .with_remedy("save the adapter with PEFT's save_embedding_layers=True"));
    }
    loaded.params = params;
    if has_tokenizer(dir) {
        // As in a model into which the adapter is merged: what its tokenizer lacks, such as a chat template, is the base's.
        let staged = tempfile::tempdir().map_err(|e| Error::io(&std::env::temp_dir(), &e))?;
        copy_companion_files(&loaded.dir, staged.path())?;
        replace_tokenizer(dir, staged.path())?;
        let json = read_config(&loaded.dir)?;
        let (tokenizer, rule) =
            loaded.config.open_tokenizer(overrides, staged.path(), loaded.layout, &json)?;
        (loaded.tokenizer, loaded.text_rule) = (Arc::new(tokenizer), rule);
    }
    read.warnings.push(format!("the vocabulary grew to {rows} tokens, as in {}", dir.display()));
    Ok(read)
}

/// The value of `old` in the shape of `new`: rows that it does not have are zero.
fn with_more_rows(new: &Parameter, old: &Parameter) -> Result<Tensor> {
    if !has_row_for_each_token(old) {
        let cause = format!("is {:?}, and would have to be {:?}", old.shape(), new.shape());
        return Err(Error::invalid(old.name(), cause));
    }
    let mut values = old.value().to_precision(Precision::F32).data().to_vec();
    values.resize(new.len(), 0.0);
    Ok(Tensor::new(new.shape(), values))
}
