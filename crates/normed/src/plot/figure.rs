//! Figures: points with intervals, or lines, over two axes, with the names of the series at the side, each near the
//! height of its last point.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::Error;
use super::colors::COLORS;
use super::font::sans_serif;
use super::marker::Marker;

/// A plot of several series of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The name of its files, without extension.
    pub name: String,
    /// The title, which a page shows next to the plot; it is not drawn.
    pub title: String,
    /// The horizontal axis.
    pub x_axis: Axis,
    /// The vertical axis.
    pub y_axis: Axis,
    /// The series, in the order of the legend.
    pub series: Vec<Series>,
}

/// An axis: its label and its scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The quantity and its unit.
    pub label: String,
    /// How values are placed on it.
    pub scale: Scale,
}

/// How values are placed on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Linear, with ticks at integers only.
    Integer,
    /// Logarithmic.
    Log,
}

/// A series of points with one name and one color.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// The index of its color in [`COLORS`], modulo their number, and of its shape.
    pub color: usize,
    /// The points, in the order of the line that connects them.
    pub points: Vec<Point>,
    /// Whether a line connects the points.
    pub connected: bool,
}

/// A point with an optional interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The value on the horizontal axis.
    pub x: f64,
    /// The value on the vertical axis.
    pub y: f64,
    /// The lower and upper end of the interval of `y`.
    pub interval: Option<(f64, f64)>,
}

/// Width and height, in pixels. Texts of 15 pixels stay legible where a page shows it at 360 pixels.
const SIZE: (u32, u32) = (540, 350);

/// Width of the legend, in pixels.
const LEGEND_WIDTH: u32 = 160;

/// Height of a name in the legend, in pixels.
const LINE_HEIGHT: i32 = 19;

const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(228, 228, 228);

impl Figure {
    /// What the figure shows, in words, for those who cannot see it: the last point of each series.
    pub fn alternative_text(&self) -> String {
        let point = |series: &Series| {
            let point = series.points.last()?;
            let [x, y] = [(&self.x_axis, point.x), (&self.y_axis, point.y)].map(|(axis, value)| {
                let spread = if axis.scale == Scale::Log { 0.0 } else { value.abs() / 10.0 };
                format_short(value, spread)
            });
            Some(format!("{}: {y} at {x}", series.name))
        };
        let points: Vec<_> = self.series.iter().filter_map(point).collect();
        format!("Plot of {} over {}. {}.", self.y_axis.label, self.x_axis.label, points.join("; "))
    }

    /// Draws the figure as SVG.
    ///
    /// # Errors
    ///
    /// If the drawing library fails.
    pub fn to_svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), 1)
            .map_err(|error| error.to_string())?;
        Ok(svg)
    }

    /// Draws the figure as a PNG file, with twice the resolution.
    ///
    /// # Errors
    ///
    /// If the drawing library fails.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        const SCALE: u32 = 2;
        let (width, height) = (SCALE * SIZE.0, SCALE * SIZE.1);
        let mut rgb = vec![0; 3 * width as usize * height as usize];
        self.draw(BitMapBackend::with_buffer(&mut rgb, (width, height)).into_drawing_area(), SCALE)
            .map_err(|error| error.to_string())?;
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
        Ok(png)
    }

    /// Draws the figure, with `scale` pixels per unit of length.
    fn draw<'d, B: DrawingBackend + 'd>(
        &self,
        area: DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), Box<dyn std::error::Error + 'd>>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(scale * (SIZE.0 - LEGEND_WIDTH));
        let points = || self.series.iter().flat_map(|series| &series.points);
        let ends = |p: &Point| p.interval.map_or([p.y, p.y], |(lo, hi)| [lo.min(p.y), hi.max(p.y)]);
        let x = self.x_axis.layout(points().map(|p| p.x));
        let y = self.y_axis.layout(points().flat_map(ends));
        let (width, height) = (x.right - x.left, y.right - y.left);
        let mut chart = ChartBuilder::on(&plot)
            .margin(10 * scale)
            .margin_right(14 * scale)
            .x_label_area_size(48 * scale)
            .y_label_area_size(62 * scale)
            .build_cartesian_2d(
                TickedAxis { positions: (x.left..x.right).into(), ticks: x.ticks },
                TickedAxis { positions: (y.left..y.right).into(), ticks: y.ticks },
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x_axis.label.as_str())
            .y_desc(self.y_axis.label.as_str())
            .x_label_formatter(&|x| self.x_axis.label_of_tick(*x, width))
            .y_label_formatter(&|y| self.y_axis.label_of_tick(*y, height))
            .label_style(font(15, scale))
            .axis_desc_style(font(15, scale))
            .axis_style(INK.stroke_width(scale))
            .bold_line_style(GRID.stroke_width(scale))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for series in &self.series {
            self.draw_lines(&mut chart, series, scale)?;
        }
        // Shapes are drawn in pixels, over all lines.
        let mut heights = Vec::new();
        for series in &self.series {
            let size = scale as i32 * if series.connected { 4 } else { 5 };
            let mut last = None;
            for point in &series.points {
                let at = chart.backend_coord(&self.position(point));
                last = Some(at.1);
                let marker = Marker::of(series.color);
                marker.draw(&area, at, size, COLORS[series.color % COLORS.len()])?;
            }
            heights.push(last.unwrap_or_default());
        }
        self.draw_names(&legend, &heights, scale)?;
        area.present()?;
        Ok(())
    }

    fn position(&self, point: &Point) -> (f64, f64) {
        (self.x_axis.position(point.x), self.y_axis.position(point.y))
    }

    /// Draws the intervals and the line of one series.
    fn draw_lines<'d, B: DrawingBackend + 'd>(
        &self,
        chart: &mut Chart<'_, B>,
        series: &Series,
        scale: u32,
    ) -> Result<(), Box<dyn std::error::Error + 'd>>
    where
        B::ErrorType: 'static,
    {
        let color = COLORS[series.color % COLORS.len()];
        for point in &series.points {
            if let Some((lo, hi)) = point.interval {
                let x = self.x_axis.position(point.x);
                let ends = vec![(x, self.y_axis.position(lo)), (x, self.y_axis.position(hi))];
                let style = color.mix(0.5).stroke_width(2 * scale);
                chart.draw_series([PathElement::new(ends, style)])?;
            }
        }
        if series.connected {
            let line = series.points.iter().map(|point| self.position(point));
            chart.draw_series(LineSeries::new(line, color.stroke_width(2 * scale)))?;
        }
        Ok(())
    }

    /// Draws the name of each series near `heights`, where its last point is, without overlaps.
    fn draw_names<'d, B: DrawingBackend + 'd>(
        &self,
        area: &DrawingArea<B, Shift>,
        heights: &[i32],
        scale: u32,
    ) -> Result<(), Box<dyn std::error::Error + 'd>>
    where
        B::ErrorType: 'static,
    {
        let pixels = scale as i32;
        let lowest = pixels * (SIZE.1 as i32 - 60);
        let heights = spread(heights, LINE_HEIGHT * pixels, (14 * pixels, lowest));
        for (series, y) in self.series.iter().zip(heights) {
            let color = COLORS[series.color % COLORS.len()];
            Marker::of(series.color).draw(area, (8 * pixels, y), 5 * pixels, color)?;
            let position = (20 * pixels, y - 7 * pixels);
            area.draw(&Text::new(series.name.clone(), position, font(15, scale)))?;
        }
        Ok(())
    }
}

/// Moves `heights` as little as needed so that no two are nearer than `distance`, in their order, from `top` to
/// `bottom` if they all fit.
fn spread(heights: &[i32], distance: i32, (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|&i| (heights[i], i));
    let mut placed = heights.to_vec();
    let mut free = bottom;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(free);
        free = placed[i] - distance;
    }
    let mut free = top;
    for &i in &order {
        placed[i] = placed[i].max(free);
        free = placed[i] + distance;
    }
    placed
}

/// The drawing library's chart with two axes of numbers.
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<TickedAxis, TickedAxis>>;

/// The style of texts of this size.
fn font(size: u32, scale: u32) -> TextStyle<'static> {
    (sans_serif(), scale * size).into_font().color(&INK)
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// A linear axis with ticks at integers only.
    pub fn integer(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Integer }
    }

    /// A logarithmic axis; values should be above 0.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log }
    }

    /// The position of a value on the axis.
    fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Linear | Scale::Integer => value,
        }
    }

    /// Where `values` and the ticks are placed. Ticks surround the values, and a small margin the ticks.
    fn layout(&self, values: impl Iterator<Item = f64>) -> AxisLayout {
        let is_shown = |&x: &f64| x.is_finite() && (x > 0.0 || self.scale != Scale::Log);
        let ends = values
            .filter(is_shown)
            .fold((f64::MAX, f64::MIN), |(lo, hi), x| (lo.min(x), hi.max(x)));
        let (lo, hi) = if ends.0 > ends.1 { (1.0, 2.0) } else { ends };
        let ticks: Vec<f64> = match self.scale {
            Scale::Linear => linear_ticks(lo, hi, 0.0),
            Scale::Integer => linear_ticks(lo, hi.max(lo + 1.0), 1.0),
            Scale::Log => log_ticks(lo, hi).into_iter().map(|tick| self.position(tick)).collect(),
        };
        let (first, last) =
            (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
        let margin = MARGIN * (last - first);
        AxisLayout { left: first - margin, right: last + margin, ticks }
    }

    /// The label of the tick at this position, on an axis of this length.
    fn label_of_tick(&self, position: f64, length: f64) -> String {
        match self.scale {
            Scale::Log => format_short(10f64.powf(position), 0.0),
            Scale::Integer | Scale::Linear => format_short(position, length),
        }
    }
}

/// An axis with these ticks and no others.
struct TickedAxis {
    positions: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for TickedAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, limits: (i32, i32)) -> i32 {
        self.positions.map(position, limits)
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.positions.range()
    }
}

/// The ends of an axis and its ticks, as positions.
struct AxisLayout {
    left: f64,
    right: f64,
    ticks: Vec<f64>,
}

/// The margin beyond the first and the last tick, as a part of the distance between them.
const MARGIN: f64 = 0.04;

/// About how many intervals there are between ticks.
const INTERVALS: f64 = 5.0;

/// Multiples of 1, 2 or 5 times a power of ten that surround `lo` and `hi`, at least `least` apart.
fn linear_ticks(lo: f64, hi: f64, least: f64) -> Vec<f64> {
    let (lo, hi) = match hi > lo {
        true => (lo, hi),
        false => (lo - 0.5 * lo.abs().max(0.1), hi + 0.5 * hi.abs().max(0.1)),
    };
    let rough = (hi - lo) / INTERVALS;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power).max(least);
    // Rounding must not add an interval where an end is a tick.
    let (first, last) = ((lo / step + 1e-9).floor(), (hi / step - 1e-9).ceil());
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step + 0.0).collect()
}

/// Powers of ten that surround `lo` and `hi`, both above 0; with 2 and 5 times of each where the two are near.
fn log_ticks(lo: f64, hi: f64) -> Vec<f64> {
    let (lo, hi) = (lo.max(f64::MIN_POSITIVE), hi.max(f64::MIN_POSITIVE));
    let digits: &[f64] = if hi / lo <= 30.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = lo.log10().floor() as i32..=hi.log10().ceil() as i32;
    let all: Vec<f64> =
        powers.flat_map(|n| digits.iter().map(move |d| d * 10f64.powi(n))).collect();
    let first = all.iter().rposition(|&tick| tick <= lo).unwrap_or(0);
    let last = all.iter().position(|&tick| tick >= hi).unwrap_or(all.len() - 1);
    // One value that is a tick itself.
    all[first.min(last)..=last.max(first + 1).min(all.len() - 1)].to_vec()
}

/// Formats a number in few characters: `12`, `0.35`, `7.7 k`, `2.5 M`. The digits suffice to
/// distinguish two numbers that differ by a tenth of `length`.
fn format_short(value: f64, length: f64) -> String {
    let (scaled, unit) = match value.abs() {
        a if a >= 1e9 => (value / 1e9, " G"),
        a if a >= 1e6 => (value / 1e6, " M"),
        a if a >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let needed =
        if length > 0.0 { (1.0 - (length / 10.0).log10()).clamp(0.0, 6.0) as usize } else { 0 };
    let digits = match scaled.abs() {
        0.0 => 0,
        a if a < 0.01 => 4,
        a if a < 0.1 => 3,
        a if a < 1.0 => 2,
        a if a < 100.0 => 1,
        _ => 0,
    };
    let digits = if unit.is_empty() { digits.max(needed) } else { digits };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_in_their_order() {
        assert_eq!(spread(&[100, 200, 50], 20, (0, 300)), [100, 200, 50]);
        assert_eq!(spread(&[100, 101, 102], 20, (0, 300)), [62, 82, 102]);
        assert_eq!(spread(&[5, 3, 299, 300], 20, (0, 300)), [20, 0, 280, 300]);
        assert_eq!(spread(&[5, 5, 5], 20, (0, 30)), [0, 20, 40]);
    }

    #[test]
    fn ticks_are_short() {
        let ticks =
            [0.0, 0.3066, 12.0, 57.64, 7680.0, 76_800.0, 2_504_686.0].map(|n| format_short(n, 0.0));
        assert_eq!([0.105, 0.11].map(|n| format_short(n, 0.03)), ["0.105", "0.11"]);
        assert_eq!(ticks, ["0", "0.31", "12", "57.6", "7680", "76.8 k", "2.5 M"]);
    }

    #[test]
    fn ticks_surround_the_values() {
        assert_eq!(log_ticks(7943.0, 15_872.0), [5e3, 1e4, 2e4]);
        assert_eq!(log_ticks(7680.0, 2.5e6), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(log_ticks(100.0, 100.0), [100.0, 200.0]);
        assert_eq!(linear_ticks(12.3, 71.0, 0.0), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(linear_ticks(1.0, 3.0, 1.0), [1.0, 2.0, 3.0]);
        assert_eq!(
            linear_ticks(-0.3, 0.1, 0.0),
            [-0.3, -0.2, -0.1, 0.0, 0.1].map(|x: f64| (x * 10.0).round() * 0.1 + 0.0)
        );
        for axis in [Axis::linear(""), Axis::integer(""), Axis::log("")] {
            for values in [&[][..], &[0.0], &[35.7], &[1.0, 2e9]] {
                let AxisLayout { left, right, ticks } = axis.layout(values.iter().copied());
                assert!(
                    left < right && (2..20).contains(&ticks.len()),
                    "{axis:?} {values:?} {ticks:?}"
                );
                let inside = |value: &f64| (left..=right).contains(&axis.position(*value));
                assert!(
                    axis.scale == Scale::Log || values.iter().all(inside),
                    "{axis:?} {values:?}"
                );
            }
        }
    }

    #[test]
    fn it_draws_points_lines_and_intervals_and_escapes_names() {
        let point = |x, y| Point { x, y, interval: Some((y - 1.0, y + 1.0)) };
        let figure = Figure {
            name: "f".into(),
            title: "t".into(),
            x_axis: Axis::log("trained parameters"),
            y_axis: Axis::linear("exact match, %"),
            series: vec![
                Series {
                    name: "a<b".into(),
                    color: 0,
                    points: vec![point(7680.0, 57.0), point(2.5e6, 61.0)],
                    connected: true,
                },
                Series { name: "empty".into(), color: 9, points: vec![], connected: false },
            ],
        };
        let svg = figure.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("a&lt;b"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        let png = image::load_from_memory(&figure.to_png().unwrap()).unwrap().into_rgb8();
        assert_eq!((png.width(), png.height()), (1080, 700));
        // The name of the first series is at the height of its last point, in letters that the font must have.
        let blue = [COLORS[0].0, COLORS[0].1, COLORS[0].2];
        let dots = |from: u32, to: u32| {
            let is_blue = |&(x, y): &(u32, u32)| png.get_pixel(x, y).0 == blue;
            let all = (from..to).flat_map(|x| (0..700).map(move |y| (x, y)));
            all.filter(is_blue).map(|(_, y)| y).collect::<std::collections::BTreeSet<_>>()
        };
        let (point, name) = (dots(600, 664), dots(764, 790));
        assert!(!name.is_empty() && name.intersection(&point).count() > 5, "{point:?} {name:?}");
        let middle = *name.first().unwrap() + 10;
        let next_to_it = (798..1070).flat_map(|x| (middle - 18..middle + 18).map(move |y| (x, y)));
        let dark =
            next_to_it.filter(|&(x, y)| png.get_pixel(x, y).0.iter().all(|&c| c < 100)).count();
        assert!(dark > 40, "{dark}");
        assert_eq!(
            figure.alternative_text(),
            "Plot of exact match, % over trained parameters. a<b: 61 at 2.5 M."
        );
        assert!(Figure { series: vec![], ..figure }.to_svg().unwrap().starts_with("<svg"));
    }
}
