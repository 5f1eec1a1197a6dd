//! Line charts: several lines over one horizontal axis.

use plotters::prelude::*;

use super::Error;
use super::colors::COLORS;
use super::font::sans_serif;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (800, 480);

/// One line of a [`LineChart`].
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its points, as `(x, y)`.
    pub points: &'a [(f64, f64)],
    /// The index of its color in [`COLORS`], modulo their number.
    pub color: usize,
    /// How it is drawn.
    pub style: LineStyle,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineStyle {
    /// Thin and pale: the raw values behind a smoothed line.
    Faint,
    /// Thin.
    Thin,
    /// Thick.
    Thick,
    /// Thick, with its points marked.
    Marked,
}

/// Lines with labeled axes, and optionally a vertical line.
pub struct LineChart<'a> {
    /// The label of the horizontal axis.
    pub x_label: &'a str,
    /// The label of the vertical axis.
    pub y_label: &'a str,
    /// Whether the horizontal axis is logarithmic; its values must then be above 0.
    pub log_x: bool,
    /// Whether both axes start at 0.
    pub from_zero: bool,
    /// The lines; later ones are drawn over earlier ones.
    pub lines: Vec<Line<'a>>,
    /// The position of a vertical line, and its name in the legend.
    pub vertical_line: Option<(f64, String)>,
}

impl LineChart<'_> {
    /// Draws the chart as SVG.
    ///
    /// ```
    /// use normed::plot::{Line, LineChart, LineStyle};
    ///
    /// let chart = LineChart {
    ///     x_label: "step",
    ///     y_label: "loss, nats per token",
    ///     log_x: false,
    ///     from_zero: true,
    ///     lines: vec![Line {
    ///         name: "training",
    ///         points: &[(1.0, 2.5), (2.0, 1.5), (3.0, 1.0)],
    ///         color: 0,
    ///         style: LineStyle::Marked,
    ///     }],
    ///     vertical_line: None,
    /// };
    /// let svg = chart.to_svg()?;
    /// assert!(svg.starts_with("<svg") && svg.contains("training"));
    /// # Ok::<(), normed::plot::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the drawing library fails.
    pub fn to_svg(&self) -> Result<String, Error> {
        let points = || self.lines.iter().flat_map(|line| line.points);
        let (left, right) = range(points().map(|p| self.position(p.0)), self.from_zero, 0.0);
        let (bottom, top) = range(points().map(|p| p.1), self.from_zero, 0.05);
        sans_serif(); // the default font of axes and legends
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
                .x_desc(self.x_label)
                .y_desc(self.y_label)
                .x_label_formatter(&|x| self.tick(*x))
                .light_line_style(WHITE)
                .draw()?;
            for line in &self.lines {
                let color = COLORS[line.color % COLORS.len()];
                let (opacity, width, size) = match line.style {
                    LineStyle::Faint => (0.3, 1, 0),
                    LineStyle::Thin => (1.0, 1, 0),
                    LineStyle::Thick => (1.0, 2, 0),
                    LineStyle::Marked => (1.0, 2, 3),
                };
                let style = color.mix(opacity).stroke_width(width);
                let points = line.points.iter().map(|&(x, y)| (self.position(x), y));
                chart
                    .draw_series(LineSeries::new(points, style).point_size(size))?
                    .label(line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            if let Some((x, name)) = &self.vertical_line {
                let (x, style) = (self.position(*x), COLORS[2].stroke_width(2));
                chart
                    .draw_series([PathElement::new([(x, bottom), (x, top)], style)])?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            // Where the lines usually are not: sweeps rise, training losses fall.
            let corner = match self.log_x {
                true => SeriesLabelPosition::UpperLeft,
                false => SeriesLabelPosition::UpperRight,
            };
            let mut legend = chart.configure_series_labels();
            legend.position(corner).background_style(WHITE).border_style(BLACK).draw()?;
            area.present()?;
        }
        Ok(svg)
    }

    /// The position of `x` on the horizontal axis.
    fn position(&self, x: f64) -> f64 {
        if self.log_x { x.log10() } else { x }
    }

    /// The label of a tick at this position; of a logarithmic axis, only at powers of ten.
    fn tick(&self, position: f64) -> String {
        match self.log_x {
            true if (position - position.round()).abs() < 1e-6 => format!("1e{position:.0}"),
            true => String::new(),
            false => format!("{position:.0}"),
        }
    }
}

/// The range of `values`, extended at each end by the fraction `margin` of its length; it is never empty.
/// From zero, it starts at 0 and is extended at the upper end only.
fn range(values: impl Iterator<Item = f64> + Clone, from_zero: bool, margin: f64) -> (f64, f64) {
    let finite = values.filter(|x| x.is_finite());
    let top = finite.clone().reduce(f64::max).unwrap_or(1.0);
    let bottom = if from_zero { 0.0 } else { finite.reduce(f64::min).unwrap_or(0.0) };
    let length = if top > bottom { top - bottom } else { 1.0 };
    (if from_zero { 0.0 } else { bottom - margin * length }, bottom + (1.0 + margin) * length)
}
