//! One kind of picture: points and lines over two axes, with a legend beside them.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Error, Result};

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What its files are called.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From below to above.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// What equal distances are.
    pub scale: Scale,
}

/// What equal distances on an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences.
    Linear,
    /// The same, of whole numbers.
    Whole,
    /// Equal ratios.
    Log,
}

/// Points of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// As the legend calls it.
    pub name: String,
    /// Its place among the colours: the same thing has the same colour in every plot.
    pub colour: usize,
    /// In the order of a line through them.
    pub points: Vec<Point>,
    /// Whether there is a line through them.
    pub line: bool,
}

/// A point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From left to right.
    pub x: f64,
    /// From below to above.
    pub y: f64,
    /// The ends of its interval.
    pub interval: Option<(f64, f64)>,
}

/// In pixels.
pub const SIZE: (u32, u32) = (640, 380);

/// Of the legend, in pixels.
const LEGEND: u32 = 150;

/// Colours that people who see fewer colours tell apart, too (Okabe & Ito 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(228, 228, 228);
const FONT: &str = "sans-serif";

impl Figure {
    /// As an SVG's text.
    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        self.draw(area).map_err(|e| Error::failed(&self.name, format!("cannot be drawn: {e}")))?;
        Ok(svg)
    }

    fn draw<'d, B: DrawingBackend + 'd>(
        &self,
        area: DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn std::error::Error + 'd>>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
        let points = || self.series.iter().flat_map(|series| &series.points);
        let ends = |p: &Point| p.interval.map_or([p.y, p.y], |(lo, hi)| [lo.min(p.y), hi.max(p.y)]);
        let (left, right) = self.x.range(points().map(|p| p.x));
        let (below, above) = self.y.range(points().flat_map(ends));
        let mut chart = ChartBuilder::on(&plot)
            .margin(10)
            .margin_right(14)
            .x_label_area_size(44)
            .y_label_area_size(58)
            .build_cartesian_2d(left..right, below..above)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .x_labels(7)
            .y_labels(7)
            .x_label_formatter(&|x| self.x.tick(*x, right - left))
            .y_label_formatter(&|y| self.y.tick(*y, above - below))
            .label_style((FONT, 13).into_font().color(&INK))
            .axis_desc_style((FONT, 14).into_font().color(&INK))
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for series in &self.series {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let place = |p: &Point| (self.x.place(p.x), self.y.place(p.y));
            for point in &series.points {
                if let Some((lo, hi)) = point.interval {
                    let x = self.x.place(point.x);
                    let ends = vec![(x, self.y.place(lo)), (x, self.y.place(hi))];
                    chart.draw_series([PathElement::new(ends, colour.mix(0.5).stroke_width(2))])?;
                }
            }
            if series.line {
                let line = series.points.iter().map(place);
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            }
            let size = if series.line { 3 } else { 5 };
            let dots = series.points.iter().map(|p| Circle::new(place(p), size, colour.filled()));
            chart.draw_series(dots)?;
        }
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let y = 18 + 21 * i as i32;
            legend.draw(&Circle::new((8, y), 5, colour.filled()))?;
            let style = (FONT, 13).into_font().color(&INK);
            legend.draw(&Text::new(series.name.clone(), (20, y - 6), style))?;
        }
        area.present()?;
        Ok(())
    }
}

impl Axis {
    /// With equal distances for equal differences.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// Of whole numbers.
    pub fn whole(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Whole }
    }

    /// With equal distances for equal ratios.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log }
    }

    /// Where a value stands.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Linear | Scale::Whole => value,
        }
    }

    /// From a little below the smallest to a little above the largest.
    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let places = values.map(|value| self.place(value)).filter(|place| place.is_finite());
        let (lo, hi) = places.fold((f64::MAX, f64::MIN), |(lo, hi), x| (lo.min(x), hi.max(x)));
        if lo > hi {
            return (0.0, 1.0);
        }
        let margin = match self.scale {
            _ if hi > lo => 0.06 * (hi - lo),
            Scale::Whole => 0.9,
            Scale::Linear | Scale::Log => 0.5 * lo.abs().max(0.1),
        };
        (lo - margin, hi + margin)
    }

    /// What is written at a place, of an axis that is so long.
    fn tick(&self, place: f64, length: f64) -> String {
        match self.scale {
            Scale::Log => short(10f64.powf(place), 0.0),
            Scale::Whole if (place - place.round()).abs() > 1e-9 => String::new(),
            Scale::Whole | Scale::Linear => short(place, length),
        }
    }
}

/// A number in few letters: `12`, `0.35`, `7.7 k`, `2.5 M`; in as many as tell it from others at a tenth
/// of `length`.
fn short(value: f64, length: f64) -> String {
    let (scaled, unit) = match value.abs() {
        a if a >= 1e9 => (value / 1e9, " G"),
        a if a >= 1e6 => (value / 1e6, " M"),
        a if a >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let apart =
        if length > 0.0 { (1.0 - (length / 10.0).log10()).clamp(0.0, 6.0) as usize } else { 0 };
    let digits = match scaled.abs() {
        0.0 => 0,
        a if a < 0.01 => 4,
        a if a < 0.1 => 3,
        a if a < 1.0 => 2,
        a if a < 100.0 => 1,
        _ => 0,
    };
    let digits = if unit.is_empty() { digits.max(apart) } else { digits };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let ticks =
            [0.0, 0.3066, 12.0, 57.64, 7680.0, 76_800.0, 2_504_686.0].map(|n| short(n, 0.0));
        assert_eq!([0.105, 0.11].map(|n| short(n, 0.03)), ["0.105", "0.11"]);
        assert_eq!(ticks, ["0", "0.31", "12", "57.6", "7680", "76.8 k", "2.5 M"]);
    }

    #[test]
    fn it_draws_points_lines_and_intervals_and_escapes_names() {
        let point = |x, y| Point { x, y, interval: Some((y - 1.0, y + 1.0)) };
        let figure = Figure {
            name: "f".into(),
            title: "t".into(),
            x: Axis::log("trained parameters"),
            y: Axis::linear("exact match, %"),
            series: vec![
                Series {
                    name: "a<b".into(),
                    colour: 0,
                    points: vec![point(7680.0, 57.0), point(2.5e6, 61.0)],
                    line: true,
                },
                Series { name: "empty".into(), colour: 9, points: vec![], line: false },
            ],
        };
        let svg = figure.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("a&lt;b"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
        assert!(Figure { series: vec![], ..figure }.svg().unwrap().starts_with("<svg"));
    }
}
