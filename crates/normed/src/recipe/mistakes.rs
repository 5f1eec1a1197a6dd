//! The mistakes found in a recipe: all of them are collected, and reported as one error.

use std::cell::RefCell;
use std::path::Path;

use super::source::Place;
use crate::Error;

/// The mistakes found in a recipe so far.
#[derive(Default)]
pub(crate) struct Mistakes(RefCell<Vec<Mistake>>);

#[derive(PartialEq)]
struct Mistake {
    place: Option<Place>,
    cause: String,
    hint: Option<String>,
}

impl Mistakes {
    /// Adds a mistake unless it is there already. Without a place, it is about the recipe as a whole.
    pub fn add(&self, place: Option<&Place>, cause: String, hint: Option<String>) {
        let mistake = Mistake { place: place.cloned(), cause, hint };
        let mut list = self.0.borrow_mut();
        if !list.contains(&mistake) {
            list.push(mistake);
        }
    }

    /// Takes all mistakes as one error, in the order of writing; none if nothing is wrong.
    pub fn take(&self, recipe: &Path) -> Option<Error> {
        let mut list = self.0.take();
        list.sort_by_key(|mistake| match mistake.place {
            None => (0, 0),
            Some(Place::Line(line)) => (1, line),
            Some(Place::Setting(n, _)) => (2, n),
        });
        let at = |place: Option<Place>| place.map(|p| format!("{p}: ")).unwrap_or_default();
        match list.len() {
            0 => None,
            1 => list.pop().map(|Mistake { place, cause, hint }| {
                let error = Error::invalid(recipe.display(), at(place) + &cause);
                if let Some(hint) = hint { error.with_remedy(hint) } else { error }
            }),
            n => {
                let mut text = format!("{n} mistakes");
                for Mistake { place, cause, hint } in list {
                    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                    text.push_str(&format!("\n  {}{cause}{hint}", at(place)));
                }
                Some(Error::invalid(recipe.display(), text))
            }
        }
    }
}
