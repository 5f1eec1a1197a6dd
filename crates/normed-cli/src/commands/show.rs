//! `normed show`.

use std::process::ExitCode;

use normed::Result;
use normed::data::{Image, ImageOptions};
use normed::files::{Inputs, write_atomically};
use normed::models::load_without_weights;
use normed::predict::ModelLocation;
use normed::recipe::Recipe;
use serde_json::{Map, json};

use crate::args::ShowArgs;
use crate::format::columns;
use crate::output::{print_about, print_detail, print_warning};

/// Writes an image as a model sees it, before its values are normalized, and prints how it became so.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let recipe = args.recipe.as_ref().map(|path| Recipe::open(path, &args.settings)).transpose()?;
    let location = args.model.as_ref().map(|model| ModelLocation::find(model, None)).transpose()?;
    let location = location.map(|location| location.with_recipe(recipe.as_ref()));
    let of_run = location.as_ref().and_then(|location| location.recipe.as_deref());
    let read_as = of_run.or(recipe.as_ref());
    let options = args.image.over(read_as.map_or_else(ImageOptions::default, |r| r.data.image));
    let mut inputs = Inputs::default();
    inputs.add("the image", &args.file);
    args.recipe.iter().for_each(|path| inputs.add("the recipe", path));
    inputs.check_file(&args.out, args.overwrite.force)?;
    if let Some(location) = &location {
        print_detail("model", location.base.display());
    }
    let model = match (&location, &recipe) {
        (Some(location), _) => Some(load_without_weights(&location.base, location.overrides())?),
        (None, Some(recipe)) => Some(recipe.declare_base()?),
        (None, None) => None,
    };

    let header = Image::check_header(&args.file, &options)?;
    let decoded = Image::decode(&args.file, &options)?;
    let size = |image: &Image| format!("{} x {} pixels", image.width, image.height);
    let mut facts = vec![
        ("file", args.file.display().to_string()),
        ("format", header.format.to_owned()),
        ("size", size(&decoded)),
        ("bits", header.bits.to_string()),
    ];
    facts.extend(header.view);
    let seen = match &model {
        Some(model) => {
            let seen = model.image_processor.resize(&decoded);
            facts.push(("model sees", size(&seen)));
            seen
        }
        None => decoded,
    };
    header
        .remarks
        .iter()
        .for_each(|remark| print_warning(format_args!("the image has {}", remark.0)));
    let png = seen.to_png()?;
    write_atomically(&args.out, |out| out.write_all(&png))?;
    facts.push(("written to", args.out.display().to_string()));
    if args.json {
        let facts = facts.into_iter().map(|(name, value)| (name.replace(' ', "_"), json!(value)));
        print_about(&args.out, json!(facts.collect::<Map<_, _>>()));
    } else {
        let rows: Vec<_> =
            facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        print_about(&args.out, columns(&rows, 2));
    }
    Ok(ExitCode::SUCCESS)
}
