//! One kind of picture: points and lines over two axes, with a legend beside them.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::font::sans_serif;
use super::{COLOURS, Error};

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
const SIZE: (u32, u32) = (640, 380);

/// Of the legend, in pixels.
const LEGEND: u32 = 150;

const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(228, 228, 228);

impl Figure {
    /// As an SVG's text.
    pub fn to_svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), 1)
            .map_err(|error| error.to_string())?;
        Ok(svg)
    }

    /// As a PNG file's bytes, with twice as many pixels a side.
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

    fn draw<'d, B: DrawingBackend + 'd>(
        &self,
        area: DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), Box<dyn std::error::Error + 'd>>
    where
        B::ErrorType: 'static,
    {
        let font = |size: u32| (sans_serif(), scale * size).into_font().color(&INK);
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(scale * (SIZE.0 - LEGEND));
        let points = || self.series.iter().flat_map(|series| &series.points);
        let ends = |p: &Point| p.interval.map_or([p.y, p.y], |(lo, hi)| [lo.min(p.y), hi.max(p.y)]);
        let (left, right) = self.x.range(points().map(|p| p.x));
        let (below, above) = self.y.range(points().flat_map(ends));
        let mut chart = ChartBuilder::on(&plot)
            .margin(10 * scale)
            .margin_right(14 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(58 * scale)
            .build_cartesian_2d(left..right, below..above)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .x_labels(7)
            .y_labels(7)
            .x_label_formatter(&|x| self.x.tick(*x, right - left))
            .y_label_formatter(&|y| self.y.tick(*y, above - below))
            .label_style(font(13))
            .axis_desc_style(font(14))
            .axis_style(INK.stroke_width(scale))
            .bold_line_style(GRID.stroke_width(scale))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for series in &self.series {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let place = |p: &Point| (self.x.place(p.x), self.y.place(p.y));
            for point in &series.points {
                if let Some((lo, hi)) = point.interval {
                    let x = self.x.place(point.x);
                    let ends = vec![(x, self.y.place(lo)), (x, self.y.place(hi))];
                    chart.draw_series([PathElement::new(
                        ends,
                        colour.mix(0.5).stroke_width(2 * scale),
                    )])?;
                }
            }
            if series.line {
                let line = series.points.iter().map(place);
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2 * scale)))?;
            }
            let size = scale * if series.line { 3 } else { 5 };
            let dots = series.points.iter().map(|p| Circle::new(place(p), size, colour.filled()));
            chart.draw_series(dots)?;
        }
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let pixels = scale as i32;
            let y = pixels * (18 + 21 * i as i32);
            legend.draw(&Circle::new((8 * pixels, y), 5 * scale, colour.filled()))?;
            let place = (20 * pixels, y - 6 * pixels);
            legend.draw(&Text::new(series.name.clone(), place, font(13)))?;
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
        let svg = figure.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("a&lt;b"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
        let png = image::load_from_memory(&figure.to_png().unwrap()).unwrap().into_rgb8();
        assert_eq!((png.width(), png.height()), (1280, 760));
        // The legend's first dot, and letters beside it, which the font must have.
        assert_eq!(png.get_pixel(996, 36).0, [COLOURS[0].0, COLOURS[0].1, COLOURS[0].2]);
        let beside = (1018..1270).flat_map(|x| (20..56).map(move |y| (x, y)));
        let dark = beside.filter(|&(x, y)| png.get_pixel(x, y).0.iter().all(|&c| c < 100)).count();
        assert!(dark > 40, "{dark}");
        assert!(Figure { series: vec![], ..figure }.to_svg().unwrap().starts_with("<svg"));
    }
}
