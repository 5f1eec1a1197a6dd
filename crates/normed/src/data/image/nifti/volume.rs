//! One slice of a NIfTI volume as an image.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::errors::{broken, cut_short};
use super::header::{Header, Layout};
use crate::data::image::gray_mapping::GrayMapping;
use crate::data::image::header::ImageHeader;
use crate::data::image::limits::MAX_DECODED_BYTES;
use crate::data::image::options::{Axis, ImageOptions, Window};
use crate::data::image::pixels::{Image, gray};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whether `bytes` start as a NIfTI file or a gzip file does: no other supported image is compressed by gzip.
pub(in crate::data::image) fn is_nifti(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP) || Layout::of(bytes).is_some()
}

/// Checks that [`read`] supports a file; voxels are not read.
pub(in crate::data::image) fn check(
    file: impl Read,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let mut file = uncompressed(file)?;
    let header = Header::read(&mut file)?;
    let slice = SlicePosition::new(&header, options)?;
    let size = [slice.columns.length, slice.rows.length];
    let bits = 8 * header.kind.bytes();
    // A plane as it is stored, the values of the slice, and a copy of them for percentiles.
    let [x, y, ..] = header.shape;
    let decoder_bytes = x * y * header.kind.bytes() + 2 * size_of::<f64>() * size[0] * size[1];
    Ok(ImageHeader::new("NIfTI", size, bits as u32, 0, decoder_bytes as u64))
}

/// Reads the slice that `options` choose.
pub(in crate::data::image) fn read(
    file: impl Read,
    options: &ImageOptions,
) -> Result<Image, String> {
    let mut file = uncompressed(file)?;
    let header = Header::read(&mut file)?;
    let slice = SlicePosition::new(&header, options)?;
    let (width, height) = (slice.columns.length, slice.rows.length);
    let values = slice.read(&header, file)?;
    let not_finite = values.iter().filter(|value| !value.is_finite()).count();
    if not_finite > 0 {
        return Err(format!(
            "{not_finite} of the slice's {} values are NaN or infinite; replace them by numbers: \
             numpy.nan_to_num, or fslmaths IN -nan OUT",
            values.len()
        ));
    }
    let mapping = match options.window {
        Window::At { center, width } => {
            GrayMapping::LinearExact { center: center.into(), width: width.into() }
        }
        Window::Header if header.cal_min < header.cal_max => {
            GrayMapping::Between { low: header.cal_min, high: header.cal_max }
        }
        window => GrayMapping::for_window(window, values.iter().copied()),
    };
    Ok(Image { width, height, rgb: gray(values.iter().map(|&value| mapping.to_gray(value))) })
}

/// The content of a file, decompressed if it is a gzip file.
fn uncompressed<'a>(mut file: impl Read + 'a) -> Result<Box<dyn Read + 'a>, String> {
    let mut first = [0; 2];
    file.read_exact(&mut first).map_err(|e| broken(&e))?;
    let file = io::Cursor::new(first).chain(file);
    Ok(if first == GZIP { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
}

/// A side of the image: the voxel axis along it.
struct Side {
    axis: usize,
    length: usize,
    /// Whether the image starts at the end of the voxel axis.
    reversed: bool,
}

/// The position of a slice in the volume.
struct SlicePosition {
    columns: Side,
    rows: Side,
    /// The voxel axis across the slice, and the number of the slice along it.
    across: usize,
    at: usize,
    volume: usize,
}

impl SlicePosition {
    fn new(header: &Header, options: &ImageOptions) -> Result<Self, String> {
        // The body axes of the image's columns and rows, and the one across. Images start at the right, the
        // front and the head, where the body axes end.
        let (columns, rows, across) = match options.axis {
            Axis::Axial => (0, 1, 2),
            Axis::Coronal => (0, 2, 1),
            Axis::Sagittal => (1, 2, 0),
        };
        let axis_of = |body: usize| {
            // Each body axis belongs to exactly one voxel axis: see `orientation`.
            header.orientation.iter().position(|direction| direction.body == body).unwrap_or(0)
        };
        let side = |body: usize| {
            let axis = axis_of(body);
            let reversed = !header.orientation[axis].reversed;
            Side { axis, length: header.shape[axis], reversed }
        };
        let (columns, rows, across) = (side(columns), side(rows), axis_of(across));
        if (columns.length * rows.length * size_of::<f64>()) as u64 > MAX_DECODED_BYTES {
            return Err(format!(
                "has slices of {} x {} pixels, which are too large",
                columns.length, rows.length
            ));
        }
        // One stored plane is in memory at a time, whatever the plane of the slice.
        let [x, y, ..] = header.shape;
        if (x * y * header.kind.bytes()) as u64 > MAX_DECODED_BYTES {
            return Err(format!("has planes of {x} x {y} voxels, which are too large"));
        }
        let slices = header.shape[across];
        let at = options.slice.resolve(slices, "slice")?;
        let at = if header.orientation[across].reversed { slices - 1 - at } else { at };
        let volume = options.frame.resolve(header.shape[3], "frame")?;
        Ok(Self { columns, rows, across, at, volume })
    }

    /// Reads the values of the slice, row by row. Voxels before it are skipped.
    fn read(&self, header: &Header, mut file: impl Read) -> Result<Vec<f64>, String> {
        let [x, y, z, _] = header.shape;
        let size = header.kind.bytes();
        let plane = (x * y * size) as u64;
        let before = plane.saturating_mul(z as u64).saturating_mul(self.volume as u64);
        skip(&mut file, header.gap)?;
        skip(&mut file, before)?;
        let mut values: Vec<f64> = Vec::new();
        let mut bytes = Vec::new();
        // Planes are read in stored order: a slice is one of them, or has one row of each.
        let planes = if self.across == 2 { self.at..self.at + 1 } else { 0..z };
        skip(&mut file, plane.saturating_mul(planes.start as u64))?;
        for _ in planes {
            bytes.clear();
            // Memory grows with what is read, not with what the header claims.
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
        Ok(self.to_pixel_order(&values))
    }

    /// Reorders values from the order of the voxels to that of the pixels.
    fn to_pixel_order(&self, values: &[f64]) -> Vec<f64> {
        let (columns, rows) = (&self.columns, &self.rows);
        // Of the two voxel axes in the slice, the first varies fastest in the file.
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

/// Skips `length` bytes.
fn skip(file: &mut impl Read, length: u64) -> Result<(), String> {
    let skipped = io::copy(&mut file.take(length), &mut io::sink()).map_err(|e| broken(&e))?;
    if skipped < length { Err(cut_short()) } else { Ok(()) }
}
