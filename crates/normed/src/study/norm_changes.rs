//! How much tuning changed the norms of each block.

use std::collections::BTreeMap;

use crate::Result;
use crate::recipe::Recipe;
use crate::tensor::{ParamKind, Tower};
use crate::train::Outcome;
use crate::tuning::ModelDiff;
use crate::weights::{BaseCheck, load_adapter};

/// For each block with norms, the relative change of its gains: the L2 norm of the change divided by the L2
/// norm of the original, averaged over the block's norms. `None` if no norm changed or nothing was trained.
pub fn norm_changes(
    recipe: &Recipe,
    outcome: &Outcome,
) -> Result<Option<BTreeMap<(Tower, usize), f64>>> {
    if outcome.trained == 0 {
        return Ok(None);
    }
    let (base, mut tuned) = (recipe.open_base()?, recipe.open_base()?);
    let check = BaseCheck::Is(&base.content_hash);
    load_adapter(&outcome.output.join("adapter"), &mut tuned.params, check)?;
    let mut sums: BTreeMap<(Tower, usize), (f64, usize)> = BTreeMap::new();
    for moved in ModelDiff::between(&base.params, &tuned.params)?.norms {
        let gain = moved.relative.filter(|_| moved.term == ParamKind::Weight);
        if let Some((layer, relative)) = moved.layer.zip(gain) {
            let (sum, n) = sums.entry((moved.tower, layer)).or_default();
            (*sum, *n) = (*sum + relative, *n + 1);
        }
    }
    let changes: BTreeMap<_, _> =
        sums.into_iter().map(|(block, (sum, n))| (block, sum / n as f64)).collect();
    Ok(changes.values().any(|&change| change > 0.0).then_some(changes))
}
