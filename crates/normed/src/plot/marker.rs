//! Markers: shapes of points that can be distinguished without color.

use plotters::prelude::*;

/// The shapes, in the order in which series get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Disk,
    Square,
    Triangle,
    Diamond,
    Cross,
    Ring,
    PointDown,
}

impl Marker {
    const ALL: [Self; 7] = [
        Self::Disk,
        Self::Square,
        Self::Triangle,
        Self::Diamond,
        Self::Cross,
        Self::Ring,
        Self::PointDown,
    ];

    /// The shape of the series with this index. With seven shapes and eight colors, no two of 56 series look alike.
    pub fn of(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }

    /// Draws the shape around `at`, in pixels, `size` being half its width.
    pub fn draw<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        (x, y): (i32, i32),
        size: i32,
        color: RGBColor,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let (fill, line) = (color.filled(), color.stroke_width((size / 2).max(2) as u32));
        let polygon = |points: &[(i32, i32)]| {
            let points: Vec<_> = points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            area.draw(&Polygon::new(points, fill))
        };
        let s = size;
        match self {
            Self::Disk => area.draw(&Circle::new((x, y), s, fill)),
            Self::Square => area.draw(&Rectangle::new([(x - s, y - s), (x + s, y + s)], fill)),
            Self::Triangle => polygon(&[(-s, s), (s, s), (0, -s)]),
            Self::PointDown => polygon(&[(-s, -s), (s, -s), (0, s)]),
            Self::Diamond => polygon(&[(-s, 0), (0, -s), (s, 0), (0, s)]),
            Self::Ring => area.draw(&Circle::new((x, y), s - 1, line)),
            Self::Cross => {
                area.draw(&PathElement::new([(x - s, y - s), (x + s, y + s)], line))?;
                area.draw(&PathElement::new([(x - s, y + s), (x + s, y - s)], line))
            }
        }
    }
}
