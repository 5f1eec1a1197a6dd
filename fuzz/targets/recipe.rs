//! A recipe. One that is read is written and read again: both are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::recipe::Recipe;
use normed_fuzz::{HERE, abort_at_own_panics, write};

fuzz_target!(|input: &[u8]| {
    abort_at_own_panics();
    let path = HERE.path().join("recipe.toml");
    write(&path, input);
    let Ok(recipe) = Recipe::open(&path, &[]) else { return };
    let Ok(text) = recipe.to_toml() else { return };
    write(&path, text.as_bytes());
    let again = Recipe::open(&path, &[]).expect("a recipe that normed writes can be read");
    assert_eq!(again.to_toml().expect("its paths are UTF-8"), text);
});
