//! loss.svg: the losses over the steps, drawn from events.jsonl.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::{Error, Result};

/// Points `(step, value)` of one curve.
type Curve = Vec<(f64, f64)>;

/// In pixels.
const SIZE: (u32, u32) = (800, 480);

/// Draws the training and validation losses that `events` tells of; as an SVG's text.
pub(super) fn loss_curve(events: &Path) -> Result<String> {
    let text = std::fs::read_to_string(events).map_err(|e| Error::io(events, &e))?;
    let (train, validation) = read(&text);
    draw(&train, &validation)
        .map_err(|e| Error::failed("loss.svg", format!("cannot be drawn: {e}")))
}

fn read(events: &str) -> (Curve, Curve) {
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    // Every line was written by us; one that is broken has nothing to draw.
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

fn draw(train: &Curve, validation: &Curve) -> Result<String, Box<dyn std::error::Error>> {
    let points = || train.iter().chain(validation);
    let steps = points().map(|p| p.0).fold(1.0, f64::max);
    let top = points().map(|p| p.1).fold(0.0, f64::max);
    let top = if top > 0.0 { 1.05 * top } else { 1.0 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..steps, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc("step")
            .y_desc("loss, nats a token")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .light_line_style(WHITE)
            .draw()?;
        chart
            .draw_series(LineSeries::new(train.iter().copied(), &BLUE))?
            .label("training, label smoothing included")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE));
        chart
            .draw_series(
                LineSeries::new(validation.iter().copied(), RED.stroke_width(2)).point_size(3),
            )?
            .label("validation")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RED.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        area.present()?;
    }
    Ok(svg)
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
    fn it_draws_both_losses_and_not_the_tests() {
        let (train, validation) = read(EVENTS);
        assert_eq!(train, [(1.0, 3.0), (2.0, 2.0)]);
        assert_eq!(validation, [(2.0, 2.5)]);
        let svg = draw(&train, &validation).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("validation"), "{svg}");
    }

    #[test]
    fn a_run_without_steps_has_an_empty_picture() {
        assert!(draw(&Vec::new(), &Vec::new()).unwrap().starts_with("<svg"));
    }
}
