//! The plots of a study.

use std::collections::BTreeMap;

use super::history::Validation;
use super::norms::changes;
use super::results::{CellResults, Results, RunResults};
use super::scoring::{Scoring, headline_name, mean, score_of, scored};
use super::tables::{file_name, title};
use crate::Result;
use crate::plot::{Axis, Figure, Point, Series};
use crate::tensor::Tower;

/// A plot's name, what it is against, its horizontal axis, and what of a run stands on that.
type Cost = (&'static str, &'static str, Axis, fn(&RunResults) -> Option<f64>);

/// The place of each method among the colours.
fn colours<'r>(results: &'r Results<'_>) -> BTreeMap<&'r str, usize> {
    let mut colours = BTreeMap::new();
    for cell in &results.study.cells {
        let next = colours.len();
        colours.entry(cell.method.as_str()).or_insert(next);
    }
    colours
}

/// The plots of one model and data set.
pub fn of_group(
    results: &Results<'_>,
    group: &[&CellResults<'_>],
    scoring: &Scoring<'_>,
) -> Result<Vec<Figure>> {
    let colours = colours(results);
    let (data_set, model) = (&group[0].cell.data_set, &group[0].cell.model);
    let title = title(data_set, model);
    let figure = |name: &str, what: &str, x: Axis, y: Axis, series: Vec<Series>| Figure {
        name: file_name([name, model, data_set]),
        title: format!("{title}: {what}"),
        x_axis: x,
        y_axis: y,
        series,
    };
    let series = |cell: &CellResults<'_>, points: Vec<Point>, line| Series {
        name: cell.cell.method.clone(),
        color: colours[cell.cell.method.as_str()],
        points,
        connected: line,
    };
    let mut figures = Vec::new();
    let headline = scoring.headline();
    let label = headline_name(headline);

    let costs: [Cost; 3] = [
        (
            "parameters",
            "scores against trained parameters",
            Axis::log("trained parameters"),
            |run| Some(run.outcome.trained as f64),
        ),
        ("memory", "scores against memory", Axis::linear("peak memory, MB"), |run| {
            Some(run.outcome.peak_memory_bytes? as f64 / 1e6)
        }),
        ("time", "scores against time", Axis::linear("seconds a step"), |run| {
            run.history.step_seconds
        }),
    ];
    for (name, what, x, cost) in costs {
        let mut all = Vec::new();
        // What trains nothing takes nothing: it has no place here.
        for cell in scoring.cells.iter().filter(|cell| cell.results.cell.trains()) {
            let score = score_of(&cell.scored, headline);
            if let (Some(x), Some(score)) = (mean(&cell.results.runs, cost), score) {
                let point = Point { x, y: score.value, interval: score.interval };
                all.push(series(cell.results, vec![point], false));
            }
        }
        if !all.is_empty() {
            figures.push(figure(name, what, x, Axis::linear(label), all));
        }
    }

    for (name, what, label, of) in [
        ("learning", "learning curves", label, (|v| v.score.map(|value| 100.0 * value)) as Of),
        ("loss", "loss on the validation examples", "nats a token", |v| Some(v.loss)),
    ] {
        let curve = |cell: &CellResults<'_>| {
            let mut sums: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
            for validation in cell.runs.iter().flat_map(|run| &run.history.validations) {
                if let Some(value) = of(validation) {
                    let (sum, n) = sums.entry(validation.epoch).or_default();
                    (*sum, *n) = (*sum + value, *n + 1);
                }
            }
            let point = |(epoch, (sum, n)): (usize, (f64, usize))| Point {
                x: epoch as f64,
                y: sum / n as f64,
                interval: None,
            };
            series(cell, sums.into_iter().map(point).collect(), true)
        };
        let all: Vec<_> =
            group.iter().map(|cell| curve(cell)).filter(|s| !s.points.is_empty()).collect();
        if !all.is_empty() {
            figures.push(figure(name, what, Axis::integer("epoch"), Axis::linear(label), all));
        }
    }

    let mut efficiency = Vec::new();
    for cell in group.iter().filter(|cell| !cell.parts.is_empty()) {
        let parts = cell.parts.iter().map(|(part, runs)| (f64::from(*part), runs));
        let mut points: Vec<Point> = parts
            .chain([(1.0, &cell.runs)])
            .filter_map(|(part, runs)| {
                let score = score_of(&scored(runs), headline)?;
                Some(Point { x: 100.0 * part, y: score.value, interval: score.interval })
            })
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        efficiency.push(series(cell, points, true));
    }
    if !efficiency.is_empty() {
        let x = Axis::log("training images, %");
        figures.push(figure("efficiency", "data efficiency", x, Axis::linear(label), efficiency));
    }

    type Changes = BTreeMap<(Tower, usize), f64>;
    let mut moved: Vec<(&CellResults<'_>, Changes)> = Vec::new();
    for &cell in group {
        if let Some(run) = cell.runs.first()
            && let Some(changes) = changes(&cell.cell.recipe, &run.outcome)?
        {
            moved.push((cell, changes));
        }
    }
    for tower in Tower::ALL {
        let of = |(cell, changes): &(&CellResults<'_>, BTreeMap<(Tower, usize), f64>)| {
            let points = changes.iter().filter_map(|(&(of, layer), &change)| {
                (of == tower).then_some(Point {
                    x: layer as f64,
                    y: 100.0 * change,
                    interval: None,
                })
            });
            series(cell, points.collect(), true)
        };
        let all: Vec<_> = moved.iter().map(of).filter(|s| !s.points.is_empty()).collect();
        if !all.is_empty() {
            let what = format!("how far the norms of each block moved, {tower} tower");
            let y = Axis::linear("change of the gains, %");
            figures.push(figure(&format!("norms-{tower}"), &what, Axis::integer("block"), y, all));
        }
    }
    Ok(figures)
}

/// What of a validation a curve shows.
type Of = fn(&Validation) -> Option<f64>;
