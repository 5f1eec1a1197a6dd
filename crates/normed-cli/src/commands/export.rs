//! `normed export`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use normed::files::{CONFIG_LIMIT, Inputs, read_text};
use normed::hub::shared_name;
use normed::predict::ModelLocation;
use normed::tensor::Precision;
use normed::weights::{AdapterCard, save_adapter, write_safetensors};
use normed::{Error, Result};

use crate::args::{ExportArgs, ExportFormat};
use crate::format::grouped;
use crate::output::{print_done, print_warning};
use crate::outputs::{OutputDirectory, add_model};

/// Writes trained weights in another format.
pub fn export(args: &ExportArgs) -> Result<ExitCode> {
    let location = ModelLocation::find(&args.from, args.model.as_deref())?;
    let Some(adapter) = &location.adapter else {
        return Err(Error::invalid(args.from.display(), "is neither a run nor an adapter")
            .with_remedy(
                "a model folder needs no export: its weights are plain safetensors already",
            ));
    };
    let mut inputs = Inputs::default();
    location
        .directories()
        .for_each(|path| add_model(&mut inputs, "the model or the adapter", path));
    let force = args.overwrite.force;
    let directory = match args.format {
        ExportFormat::Safetensors => {
            inputs.check_file(&args.out, force)?;
            None
        }
        ExportFormat::Peft => Some(OutputDirectory::start(&args.out, force, &inputs)?),
    };
    let mut loaded = location.open_base()?;
    let read = location.adapt(&mut loaded.params, &loaded.content_hash)?;
    let (set, warnings) = read.map(|read| (read.set, read.warnings)).unwrap_or_default();
    warnings.iter().for_each(print_warning);
    let base = shared_name(&location.base);
    match directory {
        None => {
            let tensors: Vec<_> = (set.iter())
                .map(|&id| loaded.params.get(id))
                .map(|p| (p.name(), p.value()))
                .collect();
            let metadata = BTreeMap::from([
                ("base_content_sha256".to_owned(), loaded.content_hash.to_string()),
                ("base_model_name_or_path".to_owned(), base.clone()),
            ]);
            write_safetensors(&args.out, &tensors, Precision::F32, &metadata)?;
        }
        Some(directory) => {
            set.iter().for_each(|&id| loaded.params.get_mut(id).set_trained(true));
            let readme = adapter.join("README.md");
            let readme = if readme.is_file() {
                read_text(&readme, CONFIG_LIMIT)?
            } else {
                format!("---\nbase_model: {base:?}\nlibrary_name: peft\n---\n")
            };
            let card = AdapterCard {
                base: &base,
                base_hash: &loaded.content_hash,
                base_class: loaded.config.transformers_class(),
                readme: &readme,
            };
            save_adapter(directory.path(), &loaded.params, &card)?;
            directory.commit()?;
        }
    }
    let elements: usize = set.iter().map(|&id| loaded.params.get(id).len()).sum();
    let (tensors, elements, out) = (set.len(), grouped(elements), args.out.display());
    let text = format_args!("{tensors} tensors with {elements} parameters are in {out}");
    print_done(&args.out, text);
    Ok(ExitCode::SUCCESS)
}
