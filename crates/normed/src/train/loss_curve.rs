//! loss.svg: a plot of the losses over the steps, from events.jsonl.

use std::path::Path;

use serde_json::Value;

use crate::files::{TABLE_LIMIT, read_text};
use crate::plot::{self, Line, LineChart, LineStyle};
use crate::{Error, Result};

/// Points `(step, value)` of one curve.
type Curve = Vec<(f64, f64)>;

/// Plots the training and validation losses in the file `events`, as SVG text.
pub(super) fn draw_loss_curve(events: &Path) -> Result<String> {
    let text = read_text(events, TABLE_LIMIT)?;
    let (train, validation) = read(&text);
    draw(&train, &validation)
        .map_err(|e| Error::failed("loss.svg", format!("cannot draw the plot: {e}")))
}

fn read(events: &str) -> (Curve, Curve) {
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    // Every line was written by a run; a damaged one is left out of the plot.
    for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(step), Some(loss)) = (event["step"].as_f64(), event["loss"].as_f64()) else {
            continue;
        };
        match event["event"].as_str() {
            Some("step_done") => train.push((step, loss)),
            Some("evaluated") if event["of"] == "validation" => validation.push((step, loss)),
            _ => {}
        }
    }
    (train, validation)
}

fn draw(train: &Curve, validation: &Curve) -> Result<String, plot::Error> {
    let smoothed = running_mean(train);
    let name = match window(train.len()) {
        1 => "training (with label smoothing)".to_owned(),
        steps => format!("training, mean of {steps} steps (with label smoothing)"),
    };
    let mut lines =
        vec![Line { name: &name, points: &smoothed, color: 0, style: LineStyle::Thick }];
    if window(train.len()) > 1 {
        let name = "training, each step";
        lines.insert(0, Line { name, points: train, color: 0, style: LineStyle::Faint });
    }
    let style = LineStyle::Marked;
    lines.push(Line { name: "validation", points: validation, color: 1, style });
    let (x, y) = ("step", "loss, nats per token");
    LineChart { x_label: x, y_label: y, log_x: false, from_zero: true, lines, vertical_line: None }
        .to_svg()
}

/// The number of steps that are averaged: a fortieth of all.
fn window(steps: usize) -> usize {
    (steps / 40).max(1)
}

/// The mean of each value and those before it in the window, which is shorter at the start.
fn running_mean(curve: &Curve) -> Curve {
    let window = window(curve.len());
    let mean = |end: usize| {
        let part = &curve[(end + 1).saturating_sub(window)..=end];
        let sum: f64 = part.iter().map(|(_, loss)| loss).sum();
        (curve[end].0, sum / part.len() as f64)
    };
    (0..curve.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = r#"{"event":"started","steps":2}
{"event":"step_done","step":1,"loss":3.0}
{"event":"step_done","step":2,"loss":2.0}
{"event":"evaluated","of":"test_before","step":0,"loss":9.0}
{"event":"evaluated","of":"validation","step":2,"loss":2.5}
"#;

    #[test]
    fn it_draws_training_and_validation_losses_only() {
        let (train, validation) = read(EVENTS);
        assert_eq!(train, [(1.0, 3.0), (2.0, 2.0)]);
        assert_eq!(validation, [(2.0, 2.5)]);
        let svg = draw(&train, &validation).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("validation"), "{svg}");
    }

    #[test]
    fn the_mean_of_a_fortieth_of_the_steps_lies_over_the_raw_line() {
        let raw: Curve = (1..=80).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let smoothed = running_mean(&raw);
        assert_eq!(smoothed[0], (1.0, 1.0));
        assert!(smoothed[1..].iter().all(|(_, loss)| *loss == 0.5), "{smoothed:?}");
        let svg = draw(&raw, &Vec::new()).unwrap();
        let (faint, mean) = (svg.find("opacity=\"0.3\""), svg.find("mean of 2 steps"));
        assert!(faint.is_some() && mean.is_some() && svg.contains("each step"), "{svg}");
        let short = draw(&raw[..79].to_vec(), &Vec::new()).unwrap();
        assert!(!short.contains("each step"), "{short}");
    }

    #[test]
    fn a_run_without_steps_has_an_empty_plot() {
        assert!(draw(&Vec::new(), &Vec::new()).unwrap().starts_with("<svg"));
    }
}
