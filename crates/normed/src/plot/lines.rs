//! Lines over one axis.

use plotters::prelude::*;

use super::font::sans_serif;
use super::{COLOURS, Error};

/// In pixels.
const SIZE: (u32, u32) = (800, 480);

/// One line.
pub struct Line<'a> {
    /// In the legend.
    pub name: &'a str,
    /// `(x, y)`.
    pub points: &'a [(f64, f64)],
    /// Thicker, with its points marked.
    pub strong: bool,
}

/// Lines, their axes, and a mark on one of these.
pub struct Chart<'a> {
    /// What stands below.
    pub x: &'a str,
    /// What stands beside.
    pub y: &'a str,
    /// Whether the axis below goes by powers of ten; its values are above 0 then.
    pub logarithmic: bool,
    /// Whether both axes begin at 0.
    pub from_zero: bool,
    /// From the back to the front.
    pub lines: Vec<Line<'a>>,
    /// A place on the axis below, and what is there.
    pub mark: Option<(f64, String)>,
}

impl Chart<'_> {
    /// Draws it; an SVG's text.
    pub fn to_svg(&self) -> Result<String, Error> {
        let place = |x: f64| if self.logarithmic { x.log10() } else { x };
        let lines: Vec<Vec<_>> = self
            .lines
            .iter()
            .map(|line| line.points.iter().map(|&(x, y)| (place(x), y)).collect())
            .collect();
        let points = || lines.iter().flatten();
        let (left, right) = range(points().map(|p| p.0), self.from_zero, 0.0);
        let (bottom, top) = range(points().map(|p| p.1), self.from_zero, 0.05);
        sans_serif(); // what axes and legends are set in by default
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .margin(16)
                .x_label_area_size(40)
                .y_label_area_size(56)
                .build_cartesian_2d(left..right, bottom..top)?;
            chart
                .configure_mesh()
                .x_desc(self.x)
                .y_desc(self.y)
                .x_label_formatter(&|x| match self.logarithmic {
                    true if (x - x.round()).abs() < 1e-6 => format!("1e{x:.0}"),
                    true => String::new(),
                    false => format!("{x:.0}"),
                })
                .light_line_style(WHITE)
                .draw()?;
            for ((line, points), colour) in self.lines.iter().zip(&lines).zip(COLOURS) {
                let style = colour.stroke_width(if line.strong { 2 } else { 1 });
                let size = if line.strong { 3 } else { 0 };
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), style).point_size(size))?
                    .label(line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            if let Some((x, name)) = &self.mark {
                let (x, style) = (place(*x), COLOURS[2].stroke_width(2));
                chart
                    .draw_series([PathElement::new([(x, bottom), (x, top)], style)])?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            chart
                .configure_series_labels()
                .position(if self.logarithmic {
                    SeriesLabelPosition::UpperLeft
                } else {
                    SeriesLabelPosition::UpperRight
                })
                .background_style(WHITE)
                .border_style(BLACK)
                .draw()?;
            area.present()?;
        }
        Ok(svg)
    }
}

/// From the least of `values`, or 0, to the largest, and a part of the way more; never empty.
fn range(values: impl Iterator<Item = f64> + Clone, from_zero: bool, more: f64) -> (f64, f64) {
    let finite = values.filter(|x| x.is_finite());
    let top = finite.clone().reduce(f64::max).unwrap_or(1.0);
    let bottom = if from_zero { 0.0 } else { finite.reduce(f64::min).unwrap_or(0.0) };
    let span = if top > bottom { top - bottom } else { 1.0 };
    (if from_zero { 0.0 } else { bottom - more * span }, bottom + (1.0 + more) * span)
}
