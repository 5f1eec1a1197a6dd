//! One slice of a NIfTI volume as an image.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::errors::{broken, cut_short};
use super::header::{Header, Layout};
use crate::data::image::gray_mapping::GrayMapping;
use crate::data::image::limits::MAX_DECODED_BYTES;
use crate::data::image::options::{Axis, ImageOptions, Window};
use crate::data::image::pixels::{Image, gray};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whether `bytes` begin as a NIfTI file does, or as what was compressed by gzip does: no other picture
/// is.
pub(in crate::data::image) fn is_nifti(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP) || Layout::of(bytes).is_some()
}

/// Whether a file's header is one that [`read`] takes; voxels are not read.
pub(in crate::data::image) fn check(file: impl Read, view: &ImageOptions) -> Result<(), String> {
    let mut file = uncompressed(file)?;
    let header = Header::read(&mut file)?;
    Cut::new(&header, view).map(drop)
}

/// The slice that `view` names.
pub(in crate::data::image) fn read(file: impl Read, view: &ImageOptions) -> Result<Image, String> {
    let mut file = uncompressed(file)?;
    let header = Header::read(&mut file)?;
    let cut = Cut::new(&header, view)?;
    let (width, height) = (cut.columns.length, cut.rows.length);
    let values = cut.read(&header, file)?;
    let strange = values.iter().filter(|value| !value.is_finite()).count();
    if strange > 0 {
        return Err(format!(
            "{strange} of the slice's {} values are no numbers, or infinite; put numbers in their place: \
             numpy.nan_to_num, or fslmaths IN -nan OUT",
            values.len()
        ));
    }
    let curve = match view.window {
        Window::At { center, width } => {
            GrayMapping::LinearExact { center: center.into(), width: width.into() }.validated()?
        }
        Window::Header if header.cal_min < header.cal_max => {
            GrayMapping::Between { low: header.cal_min, high: header.cal_max }
        }
        window => GrayMapping::for_window(window, values.iter().copied()),
    };
    Ok(Image { width, height, rgb: gray(values.iter().map(|&value| curve.to_gray(value))) })
}

/// What is in a file, decompressed if its first bytes say that it needs to be.
fn uncompressed<'a>(mut file: impl Read + 'a) -> Result<Box<dyn Read + 'a>, String> {
    let mut first = [0; 2];
    file.read_exact(&mut first).map_err(|e| broken(&e))?;
    let file = io::Cursor::new(first).chain(file);
    Ok(if first == GZIP { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
}

/// A side of a slice: the voxel axis that lies along it.
struct Side {
    axis: usize,
    length: usize,
    /// Whether the picture begins where the voxels end.
    reversed: bool,
}

/// Where a slice lies among the voxels.
struct Cut {
    columns: Side,
    rows: Side,
    /// The third voxel axis, and the number along it.
    across: usize,
    at: usize,
    volume: usize,
}

impl Cut {
    fn new(header: &Header, view: &ImageOptions) -> Result<Self, String> {
        // The body's axes of a picture's columns and rows, and the one across. Pictures begin at the
        // right, the front and the head, where the body's axes end.
        let (columns, rows, across) = match view.axis {
            Axis::Axial => (0, 1, 2),
            Axis::Coronal => (0, 2, 1),
            Axis::Sagittal => (1, 2, 0),
        };
        let axis_of = |body: usize| {
            // Each axis of the body is that of one voxel axis: see `orientation`.
            header.orientation.iter().position(|direction| direction.body == body).unwrap_or(0)
        };
        let side = |body: usize| {
            let axis = axis_of(body);
            let reversed = !header.orientation[axis].reversed;
            Side { axis, length: header.shape[axis], reversed }
        };
        let (columns, rows, across) = (side(columns), side(rows), axis_of(across));
        if (columns.length * rows.length * size_of::<f64>()) as u64 > MAX_DECODED_BYTES {
            return Err(format!("has a slice of {} x {} pixels", columns.length, rows.length));
        }
        // Whatever the slice, a stored plane is in memory at a time.
        let [x, y, ..] = header.shape;
        if (x * y * header.kind.bytes()) as u64 > MAX_DECODED_BYTES {
            return Err(format!("has planes of {x} x {y} voxels"));
        }
        let slices = header.shape[across];
        let at = view.slice.of(slices, "slice")?;
        let at = if header.orientation[across].reversed { slices - 1 - at } else { at };
        let volume = view.frame.of(header.shape[3], "frame")?;
        Ok(Self { columns, rows, across, at, volume })
    }

    /// The slice's values, row by row. Of the voxels before it nothing is kept.
    fn read(&self, header: &Header, mut file: impl Read) -> Result<Vec<f64>, String> {
        let [x, y, z, _] = header.shape;
        let size = header.kind.bytes();
        let plane = (x * y * size) as u64;
        let before = plane.saturating_mul(z as u64).saturating_mul(self.volume as u64);
        pass(&mut file, header.gap)?;
        pass(&mut file, before)?;
        let mut values: Vec<f64> = Vec::new();
        let mut bytes = Vec::new();
        // Plane by plane as they are stored, of which a slice is one, or has a row of each.
        let planes = if self.across == 2 { self.at..self.at + 1 } else { 0..z };
        pass(&mut file, plane.saturating_mul(planes.start as u64))?;
        for _ in planes {
            bytes.clear();
            // No more is made than there is to read.
            let read = (&mut file).take(plane).read_to_end(&mut bytes).map_err(|e| broken(&e))?;
            if (read as u64) < plane {
                return Err(cut_short());
            }
            let voxel = |i: usize, j: usize| {
                let mut voxel = [0; 8];
                let place = &mut voxel[..size];
                place.copy_from_slice(&bytes[(j * x + i) * size..][..size]);
                if header.big_endian {
                    place.reverse();
                }
                header.slope * header.kind.number(voxel) + header.inter
            };
            match self.across {
                0 => values.extend((0..y).map(|j| voxel(self.at, j))),
                1 => values.extend((0..x).map(|i| voxel(i, self.at))),
                _ => values.extend((0..x * y).map(|i| voxel(i % x, i / x))),
            }
        }
        Ok(self.turned(&values))
    }

    /// From the order of the voxels to that of pixels.
    fn turned(&self, values: &[f64]) -> Vec<f64> {
        let (columns, rows) = (&self.columns, &self.rows);
        // Of the two voxel axes that are left, the one that comes first is stored closest together.
        let (column_step, row_step) =
            if columns.axis < rows.axis { (1, columns.length) } else { (rows.length, 1) };
        let place = |side: &Side, i: usize| if side.reversed { side.length - 1 - i } else { i };
        let row = |j: usize| {
            let from = place(rows, j) * row_step;
            (0..columns.length).map(move |i| values[from + place(columns, i) * column_step])
        };
        (0..rows.length).flat_map(row).collect()
    }
}

/// Reads over `length` bytes.
fn pass(file: &mut impl Read, length: u64) -> Result<(), String> {
    let passed = io::copy(&mut file.take(length), &mut io::sink()).map_err(|e| broken(&e))?;
    if passed < length { Err(cut_short()) } else { Ok(()) }
}
