//! `normed export`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use normed::files::{CONFIG_LIMIT, read_text};
use normed::tensor::Precision;
use normed::weights::{AdapterCard, save_adapter, write_safetensors};
use normed::{Error, Result};

use crate::args::{ExportArgs, ExportFormat};
use crate::format::grouped;
use crate::output::print_out;
use crate::tuned::ModelLocation;

/// Writes trained weights in another format.
pub fn export(args: &ExportArgs) -> Result<ExitCode> {
    let location = ModelLocation::find(&args.from, args.model.as_deref())?;
    let Some(adapter) = &location.adapter else {
        return Err(Error::invalid(args.from.display(), "is neither a run nor an adapter")
            .with_remedy(
                "a model folder needs no export: its weights are plain safetensors already",
            ));
    };
    if args.out.exists() {
        return Err(Error::invalid(args.out.display(), "exists already"));
    }
    let mut loaded = location.open_base()?;
    let set = location.adapt(&mut loaded.params, &loaded.content_hash)?;
    let base = location.base.to_string_lossy();
    match args.format {
        ExportFormat::Safetensors => {
            let tensors: Vec<_> = (set.iter())
                .map(|&id| loaded.params.get(id))
                .map(|p| (p.name(), p.value()))
                .collect();
            let metadata = BTreeMap::from([
                ("base_content_sha256".to_owned(), loaded.content_hash.to_string()),
                ("base_model_name_or_path".to_owned(), base.to_string()),
            ]);
            write_safetensors(&args.out, &tensors, Precision::F32, &metadata)?;
        }
        ExportFormat::Peft => {
            for &id in &set {
                loaded.params.get_mut(id).set_trained(true);
            }
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
            save_adapter(&args.out, &loaded.params, &card)?;
        }
    }
    let elements: usize = set.iter().map(|&id| loaded.params.get(id).len()).sum();
    print_out(format_args!(
        "{} tensors with {} parameters are in {}",
        set.len(),
        grouped(elements),
        args.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
