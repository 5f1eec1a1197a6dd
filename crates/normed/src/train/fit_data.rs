//! The rows of a recipe's data that its model can read.

use crate::Result;
use crate::data::{Collator, OpenedDataset, Split, TextFit, indices_of};
use crate::recipe::{BestBy, Recipe};

/// The data without the rows that do not fit the model, if these are to be skipped, and with warnings of what the
/// model does not read of the others. `collator` is that of evaluations.
///
/// # Errors
///
/// If rows do not fit the model and are not to be skipped.
pub(super) fn fit_data(
    recipe: &Recipe,
    mut opened: OpenedDataset,
    collator: &Collator,
) -> Result<OpenedDataset> {
    // Training rows may be held out for validation where there are no others.
    let holds_out = recipe.train.metric != BestBy::Last
        && recipe.train.holdout > 0.0
        && indices_of(&*opened.dataset, Split::Validate)?.is_empty();
    let fit = TextFit {
        collator,
        max_new_tokens: recipe.generate.max_new_tokens,
        generates_for: &|example| holds_out || example.split != Split::Train,
        on_bad_example: recipe.data.set.on_bad_example(),
    };
    let fitted = fit.apply(opened.dataset)?;
    opened.skipped.extend(fitted.skipped);
    opened.warnings.extend(fitted.warnings);
    Ok(OpenedDataset { dataset: fitted.dataset, ..opened })
}
