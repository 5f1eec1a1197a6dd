//! Pictures of numbers, as SVG or PNG: lines over an axis, how far norms moved, points with their
//! intervals. Plain data in, text out.

mod figure;
mod font;
mod lines;
mod panels;

pub use figure::{Axis, Figure, Point, Scale, Series};
pub use lines::{Chart, Line};
pub use panels::{Panel, Panels};

use plotters::prelude::RGBColor;

/// What nothing else than its own message is known of: the drawing library's.
pub type Error = Box<dyn std::error::Error>;

/// Blue, orange, green, purple, brown, grey, sky, black: to be told apart by people who see red and green
/// alike.
pub const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 80, 0),
    RGBColor(0, 140, 110),
    RGBColor(150, 60, 160),
    RGBColor(120, 85, 60),
    RGBColor(100, 100, 100),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
