//! One slice of a NIfTI volume as an image.

use std::io::{self, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::errors::{broken, cut_short};
use super::header::{Header, Layout, VoxelPlace};
use crate::data::image::gray_mapping::{GrayMapping, window_name};
use crate::data::image::header::{ImageHeader, Remark, of};
use crate::data::image::limits::MAX_DECODED_BYTES;
use crate::data::image::options::{Axis, ImageOptions, Window};
use crate::data::image::pixels::{Image, gray};

const GZIP: [u8; 2] = [0x1f, 0x8b];

const NOT_FINITE: Remark =
    Remark("voxels that are NaN or infinite in the slice that is shown; they are black");

/// Whether `bytes` start as a NIfTI file or a gzip file does: no other supported image is compressed by gzip.
pub(in crate::data::image) fn is_nifti(bytes: &[u8]) -> bool {
    let is_nifti = |layout: Layout| layout.place != VoxelPlace::Analyze;
    bytes.starts_with(&GZIP) || Layout::of(bytes).is_some_and(is_nifti)
}

/// The content of a volume: its header is read, and the slice that becomes the image is chosen.
pub(super) struct Volume<'a> {
    header: Header,
    slice: SlicePosition,
    /// What follows the header, or the file of voxels.
    voxels: Box<dyn Read + 'a>,
    /// The number of bytes in `voxels`.
    length: Length,
}

/// The number of bytes in a file, decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    /// What the last four bytes of a gzip file state: the length modulo 2^32, unless the file is cut short, has
    /// several members or other bytes at its end.
    Stated(u32),
}

impl Length {
    /// The number of bytes after the first `count`.
    fn after(self, count: u64) -> Self {
        match self {
            Self::Known(length) => Self::Known(length.saturating_sub(count)),
            Self::Stated(length) => Self::Stated(length.wrapping_sub(count as u32)),
        }
    }
}

impl<'a> Volume<'a> {
    /// Opens a volume in one file.
    pub fn open(file: impl Read + Seek + 'a, options: &ImageOptions) -> Result<Self, String> {
        let (mut file, length) = uncompressed(file)?;
        let header = Header::read(&mut file, false)?;
        if header.place != VoxelPlace::SameFile {
            return Err(
                "is the header of a pair of files, and its .img file is not beside it".into()
            );
        }
        let slice = SlicePosition::new(&header, options)?;
        let length = length.after(header.length);
        Ok(Self { header, slice, voxels: file, length })
    }

    /// Opens a volume whose header and voxels are in two files.
    pub fn open_pair(
        header: impl Read + Seek + 'a,
        voxels: impl Read + Seek + 'a,
        options: &ImageOptions,
    ) -> Result<Self, String> {
        let (mut file, length) = uncompressed(header)?;
        let header = Header::read(&mut file, true)?;
        let (voxels, length) = match header.place {
            VoxelPlace::SameFile => (file, length.after(header.length)),
            VoxelPlace::ImageFile | VoxelPlace::Analyze => uncompressed(voxels)?,
        };
        let slice = SlicePosition::new(&header, options)?;
        Ok(Self { header, slice, voxels, length })
    }

    /// The facts of the image that its header tells.
    pub fn facts(&self) -> ImageHeader {
        let Self { header, slice, .. } = self;
        let size = [slice.columns.length, slice.rows.length];
        let bits = 8 * header.kind.bytes();
        // A plane as it is stored, the voxels of the slice in two orders, and a copy of them for percentiles.
        let [x, y, ..] = header.shape;
        let decoder_bytes = x * y * header.kind.bytes() + 3 * size_of::<f64>() * size[0] * size[1];
        ImageHeader::new("NIfTI", size, bits as u32, 0, decoder_bytes as u64)
    }

    /// The facts of the image. The slice is read only where its voxels may be NaN or infinite, or where the length of
    /// the file does not tell whether all are there.
    pub fn check(self, window: Window) -> Result<ImageHeader, String> {
        let mut facts = self.facts();
        let Self { header, slice, voxels, length } = self;
        facts.view = slice.view.clone();
        if !header.kind.is_color() {
            let mapping = fixed_mapping(&header, window);
            facts.view.push(("window", window_name(mapping.as_ref(), window)));
        }
        let is_whole = match length {
            Length::Known(length) if length < slice.end(&header) => return Err(cut_short()),
            Length::Known(_) => true,
            Length::Stated(length) => length == header.voxels_end() as u32,
        };
        if header.kind.is_floating() || !is_whole {
            let voxels = slice.read(&header, voxels)?;
            let is_finite = |&voxel: &[u8; 8]| header.value(voxel).is_finite();
            facts.remarks.extend((!voxels.iter().all(is_finite)).then_some(NOT_FINITE));
        }
        Ok(facts)
    }

    /// Reads the slice.
    pub fn read(self, options: &ImageOptions) -> Result<Image, String> {
        let Self { header, slice, voxels, .. } = self;
        let (width, height) = (slice.columns.length, slice.rows.length);
        let voxels = slice.read(&header, voxels)?;
        if header.kind.is_color() {
            let rgb = voxels.iter().flat_map(|&[r, g, b, ..]| [r, g, b]).collect();
            return Ok(Image { width, height, rgb });
        }
        let values = || voxels.iter().map(|&voxel| header.value(voxel));
        let mapping = fixed_mapping(&header, options.window)
            .unwrap_or_else(|| GrayMapping::for_window(options.window, values()));
        if !mapping.is_valid() {
            return Err(
                "cannot be shown in the window of data.image.window: its width must be more than 0"
                    .into(),
            );
        }
        Ok(Image { width, height, rgb: gray(values().map(|value| mapping.to_gray(value))) })
    }
}

/// The mapping of voxels to gray levels, if it does not depend on the voxels.
fn fixed_mapping(header: &Header, window: Window) -> Option<GrayMapping> {
    let (low, high) = (header.cal_min, header.cal_max);
    match window {
        Window::At { center, width } => {
            Some(GrayMapping::LinearExact { center: center.into(), width: width.into() })
        }
        Window::Header if low < high && low.is_finite() && high.is_finite() => {
            Some(GrayMapping::Between { low, high })
        }
        _ => None,
    }
}

/// Checks that [`read`] supports a file.
pub(in crate::data::image) fn check(
    file: impl Read + Seek,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    Volume::open(file, options)?.check(options.window)
}

/// Bytes that [`read`] allocates at the same time, at most. No voxel is read.
pub(in crate::data::image) fn decoding_bytes(
    file: impl Read + Seek,
    options: &ImageOptions,
) -> Result<u64, String> {
    Ok(Volume::open(file, options)?.facts().decoding_bytes)
}

/// Reads the slice that `options` choose.
pub(in crate::data::image) fn read(
    file: impl Read + Seek,
    options: &ImageOptions,
) -> Result<Image, String> {
    Volume::open(file, options)?.read(options)
}

/// The content of a file, decompressed if it is a gzip file, of one member or several; and its length.
pub(super) fn uncompressed<'a>(
    mut file: impl Read + Seek + 'a,
) -> Result<(Box<dyn Read + 'a>, Length), String> {
    let length = file.seek(io::SeekFrom::End(0)).map_err(|e| broken(&e))?;
    let mut last = [0; 4];
    if length > 4 {
        file.seek(io::SeekFrom::End(-4)).map_err(|e| broken(&e))?;
        file.read_exact(&mut last).map_err(|e| broken(&e))?;
    }
    file.rewind().map_err(|e| broken(&e))?;
    let mut first = [0; 2];
    file.read_exact(&mut first).map_err(|e| broken(&e))?;
    let file = io::Cursor::new(first).chain(file);
    Ok(match first == GZIP {
        true => (Box::new(MultiGzDecoder::new(file)), Length::Stated(u32::from_le_bytes(last))),
        false => (Box::new(file), Length::Known(length)),
    })
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
    /// What is shown, for [`ImageHeader::view`].
    view: Vec<(&'static str, String)>,
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
        let volumes = header.shape[3];
        let volume = options.frame.resolve(volumes, "frame")?;
        let mut view = vec![("plane", options.axis.name().to_owned()), ("slice", of(at, slices))];
        if volumes > 1 {
            view.push(("volume", of(volume, volumes)));
        }
        let at = if header.orientation[across].reversed { slices - 1 - at } else { at };
        Ok(Self { columns, rows, across, at, volume, view })
    }

    /// Where the last plane that is read ends, counted as [`Header::before_voxels`] is.
    fn end(&self, header: &Header) -> u64 {
        let [x, y, z, _] = header.shape;
        let plane = (x * y * header.kind.bytes()) as u64;
        let last = if self.across == 2 { self.at } else { z - 1 };
        let planes = (z as u64).saturating_mul(self.volume as u64).saturating_add(last as u64 + 1);
        planes.saturating_mul(plane).saturating_add(header.before_voxels)
    }

    /// Reads the voxels of the slice, row by row, each in little endian. Voxels before it are skipped.
    fn read(&self, header: &Header, mut file: impl Read) -> Result<Vec<[u8; 8]>, String> {
        let [x, y, z, _] = header.shape;
        let size = header.kind.bytes();
        let plane = (x * y * size) as u64;
        let before = plane.saturating_mul(z as u64).saturating_mul(self.volume as u64);
        skip(&mut file, header.before_voxels)?;
        skip(&mut file, before)?;
        let mut voxels = Vec::new();
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
                if header.big_endian && !header.kind.is_color() {
                    place.reverse();
                }
                voxel
            };
            match self.across {
                0 => voxels.extend((0..y).map(|j| voxel(self.at, j))),
                1 => voxels.extend((0..x).map(|i| voxel(i, self.at))),
                _ => voxels.extend((0..x * y).map(|i| voxel(i % x, i / x))),
            }
        }
        Ok(self.to_pixel_order(&voxels))
    }

    /// Reorders voxels from the order of the file to that of the pixels.
    fn to_pixel_order(&self, voxels: &[[u8; 8]]) -> Vec<[u8; 8]> {
        let (columns, rows) = (&self.columns, &self.rows);
        // Of the two voxel axes in the slice, the first varies fastest in the file.
        let (column_step, row_step) =
            if columns.axis < rows.axis { (1, columns.length) } else { (rows.length, 1) };
        let place = |side: &Side, i: usize| if side.reversed { side.length - 1 - i } else { i };
        let row = |j: usize| {
            let from = place(rows, j) * row_step;
            (0..columns.length).map(move |i| voxels[from + place(columns, i) * column_step])
        };
        (0..rows.length).flat_map(row).collect()
    }
}

/// Skips `length` bytes.
fn skip(file: &mut impl Read, length: u64) -> Result<(), String> {
    let skipped = io::copy(&mut file.take(length), &mut io::sink()).map_err(|e| broken(&e))?;
    if skipped < length { Err(cut_short()) } else { Ok(()) }
}
