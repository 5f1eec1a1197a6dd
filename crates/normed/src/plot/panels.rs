//! Panels of dots over depth: a column a tower, a row a measure, all of a row at one scale.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::font::sans_serif;
use super::{COLOURS, Error};

/// A panel's size, in pixels.
const PANEL: (u32, u32) = (400, 230);

/// What stands above the panels, in pixels.
const HEAD: u32 = 76;

/// One panel.
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What each place on the axis below is called, from left to right.
    pub places: Vec<String>,
    /// For each kind, values at places.
    pub kinds: Vec<Vec<(usize, f64)>>,
}

/// A picture of panels.
pub struct Panels<'a> {
    /// Above all.
    pub title: String,
    /// Below each panel.
    pub x: &'a str,
    /// What each kind is called, in the order of the panels' kinds.
    pub kinds: Vec<String>,
    /// Rows from the top: what is measured, and its panels, as many in each row.
    pub rows: Vec<(&'a str, Vec<Panel>)>,
}

impl Panels<'_> {
    /// Draws it; an SVG's text.
    pub fn to_svg(&self) -> Result<String, Error> {
        let columns = self.rows.iter().map(|(_, panels)| panels.len()).max().unwrap_or(0).max(1);
        let size = (PANEL.0 * columns as u32, HEAD + PANEL.1 * self.rows.len() as u32);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE)?;
            self.head(&area)?;
            let (_, below) = area.split_vertically(HEAD);
            let cells = below.split_evenly((self.rows.len(), columns));
            for ((measure, panels), cells) in self.rows.iter().zip(cells.chunks(columns)) {
                let values = panels.iter().flat_map(|p| p.kinds.iter().flatten()).map(|v| v.1);
                let top = values.filter(|x| x.is_finite()).fold(0.0, f64::max);
                let top = if top > 0.0 { 1.08 * top } else { 1.0 };
                for (panel, cell) in panels.iter().zip(cells) {
                    panel.draw(cell, self.x, measure, top)?;
                }
            }
            area.present()?;
        }
        Ok(svg)
    }

    /// The title and what colours mean.
    fn head<DB: DrawingBackend>(
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
        for (kind, colour) in self.kinds.iter().zip(COLOURS) {
            area.draw(&Circle::new((x, 54), 5, colour.filled()))?;
            let style = TextStyle::from((sans_serif(), 14).into_font()).pos(left);
            area.draw(&Text::new(kind.clone(), (x + 10, 54), style))?;
            x += 40 + 7 * kind.len() as i32;
        }
        Ok(())
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        x: &str,
        y: &str,
        top: f64,
    ) -> Result<(), Error>
    where
        DB::ErrorType: 'static,
    {
        let last = self.places.len().max(1) as f64 - 0.5;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(&self.title, (sans_serif(), 15))
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(-0.5..last, 0.0..top)?;
        let name = |place: &f64| match self.places.get(place.round() as usize) {
            Some(name) if (place - place.round()).abs() < 1e-6 && *place >= 0.0 => name.clone(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.places.len().min(14))
            .x_label_formatter(&name)
            .y_labels(5)
            .y_label_formatter(&|y| percent(*y))
            .x_desc(x)
            .y_desc(y)
            .light_line_style(WHITE)
            .draw()?;
        for (points, colour) in self.kinds.iter().zip(COLOURS) {
            let points = || points.iter().map(|&(place, value)| (place as f64, value));
            let stems =
                points().map(|(x, y)| PathElement::new([(x, 0.0), (x, y)], colour.mix(0.25)));
            chart.draw_series(stems)?;
            chart.draw_series(LineSeries::new(points(), colour.mix(0.5)))?;
            chart.draw_series(points().map(|at| Circle::new(at, 4, colour.filled())))?;
        }
        Ok(())
    }
}

/// A part as a percentage of two significant digits.
fn percent(part: f64) -> String {
    match 100.0 * part {
        0.0 => "0".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
}
