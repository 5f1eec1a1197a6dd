//! NIfTI volumes, of versions 1 and 2, gzipped or not: one slice as a picture.
//!
//! Fields and their places after nifti1.h and nifti2.h. Voxel axes are called by the axes of the body
//! that they are nearest to, as nibabel's `as_closest_canonical` does; voxels become pixels one to one,
//! whatever their size.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::levels::Curve;
use super::view::{Axis, ImageView, Window};
use super::{MAX_DECODED_BYTES, MAX_SIDE, Picture, grey};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The length of a header, by which its version and the order of its bytes are told.
const VERSION_1: i32 = 348;
const VERSION_2: i32 = 540;

/// Whether `bytes` begin as a NIfTI file does, or as what was compressed by gzip does: no other picture
/// is.
pub(super) fn is_nifti(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP) || Layout::of(bytes).is_some()
}

/// Whether a file's header is one that [`picture`] takes; voxels are not read.
pub(super) fn check(file: impl Read, view: &ImageView) -> Result<(), String> {
    let mut file = uncompressed(file)?;
    let header = Header::read(&mut file)?;
    Cut::new(&header, view).map(drop)
}

/// The slice that `view` names.
pub(super) fn picture(file: impl Read, view: &ImageView) -> Result<Picture, String> {
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
            Curve::LinearExact { center: center.into(), width: width.into() }.checked()?
        }
        Window::Header if header.cal_min < header.cal_max => {
            Curve::Between { low: header.cal_min, high: header.cal_max }
        }
        window => Curve::of(window, values.iter().copied()),
    };
    Ok(Picture { width, height, rgb: grey(values.iter().map(|&value| curve.level(value))) })
}

/// What is in a file, decompressed if its first bytes say that it needs to be.
fn uncompressed<'a>(mut file: impl Read + 'a) -> Result<Box<dyn Read + 'a>, String> {
    let mut first = [0; 2];
    file.read_exact(&mut first).map_err(|e| broken(&e))?;
    let file = io::Cursor::new(first).chain(file);
    Ok(if first == GZIP { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
}

fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".into(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Which version a header is of, and the order of its bytes.
#[derive(Debug, Clone, Copy)]
struct Layout {
    version: i32,
    big_endian: bool,
}

impl Layout {
    fn of(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first_chunk()?;
        let (version, big_endian) = match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
            (version @ (VERSION_1 | VERSION_2), _) => (version, false),
            (_, version @ (VERSION_1 | VERSION_2)) => (version, true),
            _ => return None,
        };
        let magic = if version == VERSION_1 { 344 } else { 4 };
        let magic = bytes.get(magic..magic + 4)?;
        let known: [&[u8]; 4] = [b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0"];
        known.contains(&magic).then_some(Self { version, big_endian })
    }
}

/// Numbers at places of a header.
struct Fields<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl Fields<'_> {
    /// The bytes at `at`, the lowest first. The header was read whole.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[at..at + N]);
        if self.layout.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, at: usize) -> i64 {
        i16::from_le_bytes(self.bytes(at)).into()
    }

    fn i32(&self, at: usize) -> i64 {
        i32::from_le_bytes(self.bytes(at)).into()
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.bytes(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f32::from_le_bytes(self.bytes(at)).into()
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.bytes(at))
    }
}

/// What a header says.
#[derive(Debug)]
struct Header {
    big_endian: bool,
    /// Of the three axes of the volume, then the number of volumes.
    shape: [usize; 4],
    kind: Kind,
    /// From the header's end to the first voxel, in bytes.
    gap: u64,
    slope: f64,
    inter: f64,
    cal_min: f64,
    cal_max: f64,
    /// By voxel axis, what it is of the body's.
    orientation: [Direction; 3],
}

/// Voxel types by their codes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    U8,
    I16,
    I32,
    F32,
    F64,
    I8,
    U16,
    U32,
    I64,
    U64,
}

impl Kind {
    fn of(code: i64) -> Result<Self, String> {
        Ok(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            _ => {
                let kind = match code {
                    32 | 1792 | 2048 => "complex numbers",
                    128 | 2304 => "colours",
                    1536 => "floating-point numbers of 128 bits",
                    _ => "of a kind not known",
                };
                return Err(format!(
                    "its voxels are {kind} (datatype {code}), which are not read here; save them as float32"
                ));
            }
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::F32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The number in the first bytes of `voxel`, the lowest first.
    fn number(self, voxel: [u8; 8]) -> f64 {
        let [a, b, c, d, ..] = voxel;
        match self {
            Self::U8 => a.into(),
            Self::I8 => (a as i8).into(),
            Self::I16 => i16::from_le_bytes([a, b]).into(),
            Self::U16 => u16::from_le_bytes([a, b]).into(),
            Self::I32 => i32::from_le_bytes([a, b, c, d]).into(),
            Self::U32 => u32::from_le_bytes([a, b, c, d]).into(),
            Self::F32 => f32::from_le_bytes([a, b, c, d]).into(),
            Self::F64 => f64::from_le_bytes(voxel),
            Self::I64 => i64::from_le_bytes(voxel) as f64,
            Self::U64 => u64::from_le_bytes(voxel) as f64,
        }
    }
}

impl Header {
    fn read(file: &mut impl Read) -> Result<Self, String> {
        let mut bytes = vec![0; VERSION_1 as usize];
        file.read_exact(&mut bytes).map_err(|e| broken(&e))?;
        let layout = Layout::of(&bytes)
            .ok_or("is compressed by gzip, and what is in it is no NIfTI volume")?;
        if layout.version == VERSION_2 {
            bytes.resize(VERSION_2 as usize, 0);
            file.read_exact(&mut bytes[VERSION_1 as usize..]).map_err(|e| broken(&e))?;
        }
        Self::parse(&Fields { layout, bytes: &bytes })
    }

    fn parse(f: &Fields<'_>) -> Result<Self, String> {
        let first = f.layout.version == VERSION_1;
        let magic = if first { 344 } else { 4 };
        if f.bytes[magic..].starts_with(b"ni") {
            return Err("is half of a pair of .hdr and .img; save it as one .nii file".into());
        }
        let dim = |i: usize| if first { f.i16(40 + 2 * i) } else { f.i64(16 + 8 * i) };
        let pixdim = |i: usize| if first { f.f32(76 + 4 * i) } else { f.f64(104 + 8 * i) };
        let axes = dim(0);
        if !(2..=7).contains(&axes) {
            return Err(format!("has {axes} dimensions, and not 2 to 7"));
        }
        let length = |i: usize| if i as i64 <= axes { dim(i) } else { 1 };
        let said: Vec<_> = (1..=axes as usize).map(|i| dim(i).to_string()).collect();
        if (5..=7).any(|i| length(i) != 1) {
            return Err(format!("has {} values, in more than four dimensions", said.join(" x ")));
        }
        let shape = [1, 2, 3, 4].map(|i| usize::try_from(length(i)).unwrap_or(0));
        let side = shape[..3].iter().copied().max().unwrap_or(0);
        if shape.contains(&0) || side > MAX_SIDE as usize {
            return Err(format!(
                "has {} voxels; each side must be from 1 to {MAX_SIDE}",
                said.join(" x ")
            ));
        }
        let kind = Kind::of(if first { f.i16(70) } else { f.i16(12) })?;
        let offset = if first { f.f32(108) } else { f.i64(168) as f64 };
        let gap = offset - f64::from(f.layout.version);
        if !(0.0..9e15).contains(&gap) {
            return Err(format!("its voxels begin at byte {offset}, which is within its header"));
        }
        let (slope, inter, cal_max, cal_min) = match first {
            true => (f.f32(112), f.f32(116), f.f32(124), f.f32(128)),
            false => (f.f64(176), f.f64(184), f.f64(192), f.f64(200)),
        };
        // A slope of 0 says that there is none (nifti1.h, "data scaling"); nibabel takes others that
        // are no numbers for the same.
        let is_scaled = slope != 0.0 && slope.is_finite();
        let (slope, inter) = if is_scaled { (slope, inter) } else { (1.0, 0.0) };
        if !inter.is_finite() {
            return Err("its scl_inter is no number".into());
        }
        Ok(Self {
            big_endian: f.layout.big_endian,
            shape,
            kind,
            gap: gap as u64,
            slope,
            inter,
            cal_min,
            cal_max,
            orientation: orientation(&affine(f, first, [1, 2, 3].map(pixdim), pixdim(0))?)?,
        })
    }
}

/// Three columns: where a step along each voxel axis leads, to the right, to the front, to the head.
type Affine = [[f64; 3]; 3];

/// The header's best, as nibabel picks it: sform, else qform, else voxels that go from right to left,
/// from back to front, from feet to head.
fn affine(
    f: &Fields<'_>,
    first: bool,
    pixdim: [f64; 3],
    handedness: f64,
) -> Result<Affine, String> {
    let (qform, sform) = match first {
        true => (f.i16(252), f.i16(254)),
        false => (f.i32(344), f.i32(348)),
    };
    if sform > 0 {
        let at = |row: usize, column: usize| match first {
            true => f.f32(280 + 16 * row + 4 * column),
            false => f.f64(400 + 32 * row + 8 * column),
        };
        return Ok([0, 1, 2].map(|column| [0, 1, 2].map(|row| at(row, column))));
    }
    let [x, y, z] = pixdim.map(f64::abs);
    if qform <= 0 {
        return Ok([[-x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]]);
    }
    let [b, c, d] = match first {
        true => [256, 260, 264].map(|at| f.f32(at)),
        false => [352, 360, 368].map(|at| f.f64(at)),
    };
    let rest = 1.0 - (b * b + c * c + d * d);
    // What rounding leaves below 0 is 0; more is no rotation.
    if rest.is_nan() || rest <= -1e-5 {
        return Err("its quaternion is no rotation".into());
    }
    let a = rest.max(0.0).sqrt();
    let z = if handedness == -1.0 { -z } else { z };
    let columns = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ];
    let mut lengths = [x, y, z].into_iter();
    Ok(columns.map(|column| {
        let length = lengths.next().unwrap_or(1.0);
        column.map(|x| x * length)
    }))
}

/// What a voxel axis is of the body's: which (0 from left to right, 1 from back to front, 2 from feet to
/// head), and whether it goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direction {
    body: usize,
    reversed: bool,
}

/// The direction of each voxel axis, as nibabel's `io_orientation`: of the rotation nearest to the
/// affine, the axes with the largest component first.
fn orientation(affine: &Affine) -> Result<[Direction; 3], String> {
    let mut rotation =
        rotation(affine).ok_or("its affine is singular: axes of it have no direction")?;
    let steepest = |column: &[f64; 3]| column.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| steepest(&rotation[j]).total_cmp(&steepest(&rotation[i])));
    let mut directions = [Direction { body: 0, reversed: false }; 3];
    let mut free = vec![0, 1, 2];
    for axis in order {
        let column = rotation[axis];
        // The first of equals.
        let body =
            free.iter().copied().rev().max_by(|&i, &j| column[i].abs().total_cmp(&column[j].abs()));
        let body = body.unwrap_or(0); // three axes, three places
        free.retain(|&other| other != body);
        directions[axis] = Direction { body, reversed: column[body] < 0.0 };
        rotation.iter_mut().for_each(|column| column[body] = 0.0);
    }
    Ok(directions)
}

/// The rotation (or reflection) nearest to a matrix of columns of length 1: the orthogonal factor of its
/// polar decomposition, by Newton's iteration (Higham 1986). None if the matrix is singular.
fn rotation(affine: &Affine) -> Option<Affine> {
    let mut x = affine.map(|column| {
        let length = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        column.map(|x| x / length)
    });
    for _ in 0..100 {
        let [a, b, c] = x;
        let cofactors = [cross(b, c), cross(c, a), cross(a, b)];
        let determinant: f64 = a.iter().zip(cofactors[0]).map(|(x, y)| x * y).sum();
        // Also not a number.
        if determinant.is_nan() || determinant.abs() <= 1e-9 {
            return None;
        }
        let mut change = 0.0_f64;
        for (column, cofactor) in x.iter_mut().zip(cofactors) {
            for (x, c) in column.iter_mut().zip(cofactor) {
                let next = 0.5 * (*x + c / determinant);
                change = change.max((next - *x).abs());
                *x = next;
            }
        }
        if change < 1e-12 {
            break;
        }
    }
    Some(x)
}

fn cross([a, b, c]: [f64; 3], [d, e, f]: [f64; 3]) -> [f64; 3] {
    [b * f - c * e, c * d - a * f, a * e - b * d]
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
    fn new(header: &Header, view: &ImageView) -> Result<Self, String> {
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
        for at in planes {
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
                _ => {
                    debug_assert_eq!(at, self.at);
                    values.extend((0..x * y).map(|i| voxel(i % x, i / x)));
                }
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

fn cut_short() -> String {
    "is cut short: it has fewer voxels than its header says".into()
}

/// Reads over `length` bytes.
fn pass(file: &mut impl Read, length: u64) -> Result<(), String> {
    let passed = io::copy(&mut file.take(length), &mut io::sink()).map_err(|e| broken(&e))?;
    if passed < length { Err(cut_short()) } else { Ok(()) }
}
