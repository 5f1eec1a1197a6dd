//! Opens a data set by its specification: one line a data set.

use std::sync::Arc;

use super::read_options::ReadOptions;
use super::{
    DataSpec, ImageOptions, OnBadExample, OpenedDataset, Task, jsonl, open_i, parquet, path_vqa,
    phantom, r2gen, slake, vqa_rad,
};
use crate::Result;

/// Opens a data set: rows are read and checked, pictures are looked for but not decoded (unless
/// broken ones are to be skipped: then they are found out here).
///
/// It is asked what is asked of such a set where nothing else is said; [`DataSection`] says more.
pub fn open(spec: &DataSpec) -> Result<OpenedDataset> {
    open_for(spec, &spec.tasks().0, ImageOptions::default())
}

/// The same, with the pictures that are to be had in several ways looked at as `view` says.
pub(super) fn open_for(spec: &DataSpec, task: &Task, view: ImageOptions) -> Result<OpenedDataset> {
    let opened = open_set(spec, task, view)?;
    Ok(OpenedDataset { dataset: task.ask(opened.dataset), ..opened })
}

fn open_set(spec: &DataSpec, task: &Task, view: ImageOptions) -> Result<OpenedDataset> {
    let reading = |&on_bad_example: &OnBadExample| ReadOptions { on_bad_example, image: view };
    match spec {
        DataSpec::VqaRad { root, on_bad_example } => {
            vqa_rad::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Slake { root, lang, on_bad_example } => {
            slake::open(root.as_deref(), lang.as_deref(), reading(on_bad_example))
        }
        DataSpec::Jsonl { file, image_root, on_bad_example } => {
            jsonl::open(file, image_root.as_deref(), reading(on_bad_example), task)
        }
        DataSpec::PathVqa { root, on_bad_example } => {
            path_vqa::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Parquet { root, on_bad_example } => parquet::open(root, reading(on_bad_example)),
        DataSpec::IuXray { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Iu, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::MimicCxr { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Mimic, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::OpenI { root, impression, split_seed, on_bad_example } => {
            let (impression, split_seed) = (*impression, *split_seed);
            let options =
                open_i::Options { impression, split_seed, reading: reading(on_bad_example) };
            open_i::open(root.as_deref(), &options)
        }
        DataSpec::Phantom { domain, train, validate, test, seed } => {
            let mut phantom = phantom::Phantom::new(*domain, [*train, *validate, *test], *seed)?;
            if !task.is_vqa() {
                phantom = phantom.with_reports();
            }
            Ok(OpenedDataset {
                dataset: Arc::new(phantom),
                skipped: Vec::new(),
                warnings: Vec::new(),
            })
        }
    }
}
