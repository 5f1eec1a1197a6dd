//! Draws plots as SVG or PNG: line charts, panels of norm changes, and points with intervals. Input is
//! plain numbers, output is text or bytes.

mod colors;
mod figure;
mod font;
mod line_chart;
mod marker;
mod panel_grid;

pub use colors::COLORS;
pub use figure::{Axis, Figure, Point, Scale, Series};
pub use line_chart::{Line, LineChart, LineStyle};
pub use panel_grid::{Panel, PanelGrid};

/// An error of the drawing library, which offers no more than a message.
pub type Error = Box<dyn std::error::Error>;
