//! How far tuning moved the norms of each block.

use std::collections::BTreeMap;

use crate::Result;
use crate::recipe::Recipe;
use crate::tensor::{Parameters, Part, Precision, Tower};
use crate::train::Outcome;
use crate::weights::{BaseCheck, load_adapter};

/// Where norms stand: the tower, and the block in it; none outside the blocks.
pub type Place = (Tower, Option<usize>);

/// For each place with norms, the length of the change of all their gains and biases, over the length of
/// what they were. None where no norm changed, or nothing was trained.
pub fn changes(recipe: &Recipe, outcome: &Outcome) -> Result<Option<BTreeMap<Place, f64>>> {
    if outcome.trained == 0 {
        return Ok(None);
    }
    let mut loaded = recipe.open_base()?;
    let before = norms(&loaded.params);
    let base = loaded.content_hash.to_string();
    load_adapter(&outcome.output.join("adapter"), &mut loaded.params, BaseCheck::Is(&base))?;
    let after = norms(&loaded.params);
    let square =
        |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let change = |(place, before): (Place, Vec<f32>)| {
        let after = after.get(&place)?;
        let moved = square(&mut before.iter().zip(after).map(|(b, a)| a - b));
        Some((place, (moved / square(&mut before.iter().copied()).max(f64::MIN_POSITIVE)).sqrt()))
    };
    let changes: BTreeMap<Place, f64> = before.into_iter().filter_map(change).collect();
    Ok(changes.values().any(|&change| change > 0.0).then_some(changes))
}

/// The elements of the norms at each place, in the order of declaration.
fn norms(params: &Parameters) -> BTreeMap<Place, Vec<f32>> {
    let mut norms: BTreeMap<Place, Vec<f32>> = BTreeMap::new();
    for (_, p) in params.iter().filter(|(_, p)| matches!(p.role.part, Part::Norm(_))) {
        let values = p.value().to_precision(Precision::F32).into_data();
        norms.entry((p.role.tower, p.role.layer)).or_default().extend(values);
    }
    norms
}
