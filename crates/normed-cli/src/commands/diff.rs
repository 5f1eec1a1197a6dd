//! `normed diff`.

use std::process::ExitCode;

use normed::files::{Inputs, write_atomically};
use normed::plot::{Panel, PanelGrid};
use normed::predict::ModelLocation;
use normed::tensor::{NormPosition, ParamKind, Tower};
use normed::tuning::{ModelDiff, NormChange};
use normed::weights::LoadedAdapter;
use normed::{Error, Result};
use serde_json::json;

use crate::args::DiffArgs;
use crate::format::{grouped, surviving, table};
use crate::output::{print_about, print_text, print_warning};
use crate::outputs::add_model;

/// How many norms the table lists.
const LISTED: usize = 12;

/// Compares the norm layers of two models.
pub fn diff(args: &DiffArgs) -> Result<ExitCode> {
    let [first, second] =
        [&args.first, &args.second].map(|dir| ModelLocation::find(dir, args.model.as_deref()));
    let (first, second) = (first?, second?);
    if let Some(path) = &args.svg {
        let mut inputs = Inputs::default();
        for location in [&first, &second] {
            location
                .directories()
                .for_each(|path| add_model(&mut inputs, "a model that is compared", path));
        }
        inputs.check_file(path, args.overwrite.force)?;
    }
    let mut a = first.open_base()?;
    // Cloned parameters share their values; those that no adapter sets stay shared and are not compared.
    let (mut b, hash) = match first.has_base_of(&second) {
        true => (a.params.clone(), a.content_hash.clone()),
        false => {
            let loaded = second.open_base()?;
            (loaded.params, loaded.content_hash)
        }
    };
    print_warnings(first.adapt(&mut a.params, &a.content_hash)?);
    print_warnings(second.adapt(&mut b, &hash)?);
    let found = ModelDiff::between(&a.params, &b)?;
    if let Some(path) = &args.svg {
        let title =
            format!("Change of norms from {} to {}", args.first.display(), args.second.display());
        let svg = panels(&title, &found.norms)
            .to_svg()
            .map_err(|e| Error::failed(path.display(), format!("cannot draw the plot: {e}")))?;
        write_atomically(path, |out| out.write_all(svg.as_bytes()))?;
    }
    let text = if args.json {
        let found = json!({
            "norms": found.norms, "others": found.others, "values": found.values,
        });
        found.to_string()
    } else {
        let values = changed_values(&found, second.adapter.is_some());
        format!("{}\n\n{values}", as_text(&found))
    };
    match &args.svg {
        Some(path) => print_about(path, text),
        None => print_text(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the warnings about an adapter.
fn print_warnings(read: Option<LoadedAdapter>) {
    let warnings = read.into_iter().flat_map(|read| read.warnings);
    warnings.for_each(print_warning);
}

/// How many values differ; of an adapter, how many would still differ once it is merged.
fn changed_values(found: &ModelDiff, has_adapter: bool) -> String {
    match found.values.changed {
        0 => "no value differs".to_owned(),
        _ if has_adapter => {
            let merged = surviving(found.values, "the half precision of the first model");
            format!("if the second were merged into the first model: {merged}")
        }
        1 => "1 value differs".to_owned(),
        changed => format!("{} values differ", grouped(changed)),
    }
}

/// Tables of the changes by tower, norm and term, and of the largest changes.
fn as_text(found: &ModelDiff) -> String {
    let head = [
        "tower",
        "norm",
        "parameter",
        "changed",
        "mean change",
        "largest change",
        "largest absolute",
    ];
    let mut rows = Vec::new();
    for (tower, place, term) in kinds() {
        let here: Vec<_> = select(&found.norms, tower, place, term).collect();
        if here.is_empty() {
            continue;
        }
        let changed = here.iter().filter(|m| m.distance > 0.0).count();
        let relative: Vec<_> = here.iter().filter_map(|m| m.relative).collect();
        let mean =
            (!relative.is_empty()).then(|| relative.iter().sum::<f64>() / relative.len() as f64);
        rows.push(vec![
            tower.name().to_owned(),
            place.name().to_owned(),
            term_name(term).to_owned(),
            format!("{changed} of {}", here.len()),
            percent(mean),
            percent(relative.into_iter().reduce(f64::max)),
            format!("{:.2e}", here.iter().map(|m| m.max).fold(0.0, f64::max)),
        ]);
    }
    let mut text = table(&head, &rows, 3, 3);
    let mut most: Vec<_> = found.norms.iter().filter(|m| m.distance > 0.0).collect();
    most.sort_by(|a, b| b.relative.unwrap_or(0.0).total_cmp(&a.relative.unwrap_or(0.0)));
    if most.is_empty() {
        text.push_str("\n\nno norm changed");
    } else {
        let line =
            |m: &&NormChange| vec![m.name.clone(), percent(m.relative), format!("{:.2e}", m.max)];
        let rows: Vec<_> = most.iter().take(LISTED).map(line).collect();
        text.push_str("\n\nlargest changes, relative to the norm's weights\n");
        text.push_str(&table(&["norm", "change", "largest absolute"], &rows, 1, 1));
    }
    if !found.others.is_empty() {
        text.push_str(&format!("\n\n{} other tensors differ as well:", found.others.len()));
        found.others.iter().take(LISTED).for_each(|name| text.push_str(&format!("\n  {name}")));
        if found.others.len() > LISTED {
            text.push_str(&format!("\n  and {} more", found.others.len() - LISTED));
        }
    }
    text
}

/// A panel per tower, gains above biases. The x axis has the blocks, with the norms outside of blocks at its ends.
fn panels(title: &str, norms: &[NormChange]) -> PanelGrid<'static> {
    let row = |term: ParamKind| {
        let towers = Tower::ALL.into_iter().filter(|&t| norms.iter().any(|m| m.tower == t));
        towers.map(|tower| panel(norms, tower, term)).collect::<Vec<_>>()
    };
    let measured = [
        ("change of gains", ParamKind::Weight, row(ParamKind::Weight)),
        ("change of biases", ParamKind::Bias, row(ParamKind::Bias)),
    ];
    let has = |term: ParamKind| norms.iter().any(|m| m.term == term && m.relative.is_some());
    PanelGrid {
        title: title.to_owned(),
        x_label: "block",
        series: NormPosition::ALL.map(|place| place.name().replace('_', "-")).to_vec(),
        rows: measured
            .into_iter()
            .filter(|(_, term, _)| has(*term))
            .map(|(name, _, panels)| (name, panels))
            .collect(),
    }
}

/// The changes of one tower.
fn panel(norms: &[NormChange], tower: Tower, term: ParamKind) -> Panel {
    let here = || norms.iter().filter(|m| m.tower == tower);
    let blocks = here().filter_map(|m| m.layer).max().map_or(0, |last| last + 1);
    let outside = |place: NormPosition| here().any(|m| m.layer.is_none() && m.place == place);
    let before = usize::from(outside(NormPosition::Embedding));
    let mut places: Vec<String> = vec!["in".to_owned(); before];
    places.extend((0..blocks).map(|block| block.to_string()));
    let after: Vec<_> = NormPosition::ALL
        .into_iter()
        .filter(|&place| place != NormPosition::Embedding && outside(place))
        .collect();
    places.extend(after.iter().map(|place| match place {
        NormPosition::Final => "out".to_owned(),
        place => place.name().to_owned(),
    }));
    let at = |m: &NormChange| match m.layer {
        Some(layer) => before + layer,
        None => after.iter().position(|&p| p == m.place).map_or(0, |i| before + blocks + i),
    };
    let points = |place| {
        let changes = select(norms, tower, place, term);
        changes.filter_map(|m| Some((at(m), m.relative?))).collect()
    };
    Panel {
        title: tower.name().to_owned(),
        x_labels: places,
        series: NormPosition::ALL.map(points).to_vec(),
    }
}

/// Every combination of tower, norm and term.
fn kinds() -> impl Iterator<Item = (Tower, NormPosition, ParamKind)> {
    Tower::ALL.into_iter().flat_map(|tower| {
        NormPosition::ALL.into_iter().flat_map(move |place| {
            [ParamKind::Weight, ParamKind::Bias].map(|term| (tower, place, term))
        })
    })
}

/// The changes of one kind of norm.
fn select(
    norms: &[NormChange],
    tower: Tower,
    place: NormPosition,
    term: ParamKind,
) -> impl Iterator<Item = &NormChange> {
    norms.iter().filter(move |m| (m.tower, m.place, m.term) == (tower, place, term))
}

fn term_name(term: ParamKind) -> &'static str {
    match term {
        ParamKind::Weight => "weight",
        ParamKind::Bias => "bias",
    }
}

/// A fraction in percent; a dash if there is none.
fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |fraction| format!("{:.3} %", 100.0 * fraction))
}
