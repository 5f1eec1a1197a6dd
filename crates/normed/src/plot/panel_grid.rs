//! Grids of panels: points over the blocks of a model, one column per tower and one row per measure. All
//! panels of a row have the same scale.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Error;
use super::colors::COLORS;
use super::font::sans_serif;

/// Width and height of a panel, in pixels.
const PANEL: (u32, u32) = (400, 230);

/// Height of the heading above the panels, in pixels.
const HEADING: u32 = 76;

/// One panel of a [`PanelGrid`].
pub struct Panel {
    /// Its title.
    pub title: String,
    /// The labels along the horizontal axis, from left to right.
    pub x_labels: Vec<String>,
    /// For each series, its values as `(index of the label, value)`.
    pub series: Vec<Vec<(usize, f64)>>,
}

/// A grid of panels with a title and a legend.
pub struct PanelGrid<'a> {
    /// The title above all panels.
    pub title: String,
    /// The label of the horizontal axis of each panel.
    pub x_label: &'a str,
    /// The names of the series, in the order of [`Panel::series`].
    pub series: Vec<String>,
    /// The rows from the top: the label of the vertical axis, and the panels, the same number in each row.
    pub rows: Vec<(&'a str, Vec<Panel>)>,
}

impl PanelGrid<'_> {
    /// Draws the grid as SVG.
    ///
    /// # Errors
    ///
    /// If the drawing library fails.
    pub fn to_svg(&self) -> Result<String, Error> {
        let columns = self.rows.iter().map(|(_, panels)| panels.len()).max().unwrap_or(0).max(1);
        let size = (PANEL.0 * columns as u32, HEADING + PANEL.1 * self.rows.len() as u32);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE)?;
            self.draw_heading(&area)?;
            let (_, below) = area.split_vertically(HEADING);
            let cells = below.split_evenly((self.rows.len(), columns));
            for ((measure, panels), cells) in self.rows.iter().zip(cells.chunks(columns)) {
                let values = panels.iter().flat_map(|p| p.series.iter().flatten()).map(|v| v.1);
                let top = values.filter(|x| x.is_finite()).fold(0.0, f64::max);
                let top = if top > 0.0 { 1.08 * top } else { 1.0 };
                for (panel, cell) in panels.iter().zip(cells) {
                    panel.draw(cell, self.x_label, measure, top)?;
                }
            }
            area.present()?;
        }
        Ok(svg)
    }

    /// Draws the title and the legend.
    fn draw_heading<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), Error>
    where
        DB::ErrorType: 'static,
    {
        let left = Pos::new(HPos::Left, VPos::Center);
        let title = TextStyle::from((sans_serif(), 18).into_font()).pos(left);
        area.draw(&Text::new(self.title.clone(), (16, 24), title))?;
        let mut x = 22;
        for (name, color) in self.series.iter().zip(COLORS) {
            area.draw(&Circle::new((x, 54), 5, color.filled()))?;
            let style = TextStyle::from((sans_serif(), 14).into_font()).pos(left);
            area.draw(&Text::new(name.clone(), (x + 10, 54), style))?;
            x += 40 + 7 * name.len() as i32;
        }
        Ok(())
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        x_label: &str,
        y_label: &str,
        top: f64,
    ) -> Result<(), Error>
    where
        DB::ErrorType: 'static,
    {
        let last = self.x_labels.len().max(1) as f64 - 0.5;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(&self.title, (sans_serif(), 15))
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(-0.5..last, 0.0..top)?;
        let label = |x: &f64| match self.x_labels.get(x.round() as usize) {
            Some(label) if (x - x.round()).abs() < 1e-6 && *x >= 0.0 => label.clone(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.x_labels.len().min(14))
            .x_label_formatter(&label)
            .y_labels(5)
            .y_label_formatter(&|y| percent(*y))
            .x_desc(x_label)
            .y_desc(y_label)
            .light_line_style(WHITE)
            .draw()?;
        for (points, color) in self.series.iter().zip(COLORS) {
            let points = || points.iter().map(|&(x, value)| (x as f64, value));
            let stems =
                points().map(|(x, y)| PathElement::new([(x, 0.0), (x, y)], color.mix(0.25)));
            chart.draw_series(stems)?;
            chart.draw_series(LineSeries::new(points(), color.mix(0.5)))?;
            chart.draw_series(points().map(|at| Circle::new(at, 4, color.filled())))?;
        }
        Ok(())
    }
}

/// A fraction as a percentage with two or three significant digits.
fn percent(fraction: f64) -> String {
    match 100.0 * fraction {
        0.0 => "0".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
}
