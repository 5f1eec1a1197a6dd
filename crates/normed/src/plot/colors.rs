//! The colors of plots.

use plotters::prelude::RGBColor;

/// The palette of Okabe and Ito (2008), which people with any color vision tell apart. Its yellow, too pale for
/// lines on white, is replaced by a gray.
pub const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),   // blue
    RGBColor(213, 94, 0),    // vermilion
    RGBColor(0, 158, 115),   // bluish green
    RGBColor(204, 121, 167), // reddish purple
    RGBColor(230, 159, 0),   // orange
    RGBColor(86, 180, 233),  // sky blue
    RGBColor(0, 0, 0),       // black
    RGBColor(110, 110, 110), // gray
];
