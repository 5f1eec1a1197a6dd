//! The colors of plots.

use plotters::prelude::RGBColor;

/// Blue, orange, green, purple, brown, gray, sky blue, black: distinguishable with red-green color
/// blindness.
pub const COLORS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 80, 0),
    RGBColor(0, 140, 110),
    RGBColor(150, 60, 160),
    RGBColor(120, 85, 60),
    RGBColor(100, 100, 100),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
