//! Lists of names in error messages.

/// How many names an error lists.
const LISTED: usize = 20;

/// The first of `names`, and how many more there are.
pub(super) fn list_names(names: &[String]) -> String {
    let text = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}
