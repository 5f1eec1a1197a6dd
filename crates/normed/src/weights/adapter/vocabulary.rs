//! The vocabulary of an adapter, which can be larger than its base's.

use std::collections::BTreeSet;
use std::path::Path;

use super::adapter_files::{read_adapter_tensors, read_beside_lora};
use super::adapter_key::{AdapterKey, Subject};
use super::model_names::ModelNames;
use crate::tensor::{Parameter, Parameters};
use crate::weights::blip_names::TIED;
use crate::weights::llava_names::TIED_HEAD;
use crate::{Error, Result};

/// The number of rows that the adapter in `dir` has in its tables of tokens and its head, if that is more than `params`
/// have.
///
/// # Errors
/// If the adapter's tensors cannot be read, or its tables have different numbers of rows.
pub fn grown_vocabulary(dir: &Path, params: &Parameters) -> Result<Option<usize>> {
    let names = ModelNames::new(params);
    let file = read_adapter_tensors(dir)?;
    let beside = read_beside_lora(dir)?;
    let tensors = file.tensors.iter().chain(beside.iter().flat_map(|beside| &beside.tensors));
    let mut found = BTreeSet::new();
    for (key, stored) in tensors {
        let Subject::Own { name, .. } = AdapterKey::parse(key, &names).subject else { continue };
        let Some((_, id)) = names.parameter(&name) else { continue };
        let own = params.get(id);
        let rows = stored.shape().first().copied().unwrap_or(0);
        if has_row_for_each_token(own)
            && stored.shape().get(1..) == own.shape().get(1..)
            && rows > own.shape()[0]
        {
            found.insert(rows);
        }
    }
    if found.len() > 1 {
        let rows = found.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
        let cause = format!("its tables of tokens have different numbers of rows ({rows})");
        return Err(Error::invalid(file.path.display(), cause));
    }
    Ok(found.pop_first())
}

/// Whether `parameter` has a row for each token: a table of tokens, or the last layer of a head.
pub fn has_row_for_each_token(parameter: &Parameter) -> bool {
    let heads = [TIED_HEAD.0, TIED[0].0, TIED[1].0, TIED[1].1];
    parameter.role().is_token_embedding() || heads.contains(&parameter.name())
}
