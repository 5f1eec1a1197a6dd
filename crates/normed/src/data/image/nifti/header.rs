//! The header of a NIfTI file, version 1 or 2, or of an ANALYZE 7.5 pair.

use std::io::Read;

use super::errors::broken;
use super::orientation::{Affine, Direction, orientation, with_flat_axis};
use crate::data::image::limits::MAX_SIDE;

/// The length of the header in bytes, which identifies the version and the byte order.
const VERSION_1: i32 = 348;
const VERSION_2: i32 = 540;

/// The version and the byte order of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    version: i32,
    big_endian: bool,
    /// Where the voxels are.
    pub place: VoxelPlace,
}

/// Where the voxels of a volume are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VoxelPlace {
    /// After the header.
    SameFile,
    /// In an `.img` file.
    ImageFile,
    /// In an `.img` file beside a header of ANALYZE 7.5, which has no magic number.
    Analyze,
}

impl Layout {
    /// The layout of a header, by its length and its magic number.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first_chunk()?;
        let (version, big_endian) = match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
            (version @ (VERSION_1 | VERSION_2), _) => (version, false),
            (_, version @ (VERSION_1 | VERSION_2)) => (version, true),
            _ => return None,
        };
        let magic = if version == VERSION_1 { 344 } else { 4 };
        let place = match bytes.get(magic..magic + 4)? {
            b"n+1\0" | b"n+2\0" => VoxelPlace::SameFile,
            b"ni1\0" | b"ni2\0" => VoxelPlace::ImageFile,
            _ if version == VERSION_1 => VoxelPlace::Analyze,
            _ => return None,
        };
        Some(Self { version, big_endian, place })
    }

    fn is_version_1(self) -> bool {
        self.version == VERSION_1
    }
}

/// The numbers of a header by their offsets.
struct Fields<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl Fields<'_> {
    /// The bytes at the offset `at`, in little-endian order. The whole header was read.
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

/// The fields of a header.
#[derive(Debug)]
pub(super) struct Header {
    pub big_endian: bool,
    /// The bytes of the header.
    pub length: u64,
    /// The lengths of the three voxel axes, then the number of volumes.
    pub shape: [usize; 4],
    pub kind: VoxelType,
    /// Where the voxels are, and the number of bytes before them: after the header, or in their own file.
    pub place: VoxelPlace,
    pub before_voxels: u64,
    pub slope: f64,
    pub inter: f64,
    pub cal_min: f64,
    pub cal_max: f64,
    /// The direction of each voxel axis in the body.
    pub orientation: [Direction; 3],
}

/// The number type of the voxels.
#[derive(Debug, Clone, Copy)]
pub(super) enum VoxelType {
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
    /// Colors of 8 bits; the opacity of four samples is ignored.
    Rgb,
    Rgba,
}

impl VoxelType {
    fn of(code: i64) -> Result<Self, String> {
        Ok(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            128 => Self::Rgb,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            2304 => Self::Rgba,
            _ => {
                let kind = match code {
                    32 | 1792 | 2048 => "complex numbers",
                    1536 => "floating-point numbers of 128 bits",
                    _ => "of an unknown type",
                };
                return Err(format!(
                    "its voxels are {kind} (datatype {code}), which is not supported; save them as float32"
                ));
            }
        })
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::Rgb => 3,
            Self::I32 | Self::F32 | Self::U32 | Self::Rgba => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    pub fn is_color(self) -> bool {
        matches!(self, Self::Rgb | Self::Rgba)
    }

    /// Whether voxels may be NaN or infinite.
    pub fn is_floating(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The number in the first bytes of `voxel`, in little-endian order; of colors the first one.
    pub fn number(self, voxel: [u8; 8]) -> f64 {
        let [a, b, c, d, ..] = voxel;
        match self {
            Self::U8 | Self::Rgb | Self::Rgba => a.into(),
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
    /// Reads the header of a file. Headers of ANALYZE 7.5 are read only where `may_be_analyze`.
    pub fn read(file: &mut impl Read, may_be_analyze: bool) -> Result<Self, String> {
        let mut bytes = vec![0; VERSION_1 as usize];
        file.read_exact(&mut bytes).map_err(|e| broken(&e))?;
        let layout = Layout::of(&bytes)
            .filter(|layout| may_be_analyze || layout.place != VoxelPlace::Analyze)
            .ok_or("is compressed by gzip, and is not a NIfTI volume when decompressed")?;
        if !layout.is_version_1() {
            bytes.resize(VERSION_2 as usize, 0);
            file.read_exact(&mut bytes[VERSION_1 as usize..]).map_err(|e| broken(&e))?;
        }
        Self::parse(&Fields { layout, bytes: &bytes })
    }

    fn parse(f: &Fields<'_>) -> Result<Self, String> {
        let first = f.layout.is_version_1();
        let pixdim = |i: usize| if first { f.f32(76 + 4 * i) } else { f.f64(104 + 8 * i) };
        let shape = shape(f)?;
        let kind = VoxelType::of(if first { f.i16(70) } else { f.i16(12) })?;
        let (slope, inter, cal_max, cal_min) = match first {
            true => (f.f32(112), f.f32(116), f.f32(124), f.f32(128)),
            false => (f.f64(176), f.f64(184), f.f64(192), f.f64(200)),
        };
        // ANALYZE has no intercept.
        let inter = if f.layout.place == VoxelPlace::Analyze { 0.0 } else { inter };
        // A slope of 0 means no scaling (nifti1.h, "data scaling"); so does one that is not finite, as in
        // nibabel.
        let is_scaled = slope != 0.0 && slope.is_finite();
        let (slope, inter) = if is_scaled { (slope, inter) } else { (1.0, 0.0) };
        if !inter.is_finite() {
            return Err("its scl_inter is not a finite number".into());
        }
        let affine = affine(f, [1, 2, 3].map(pixdim), pixdim(0), shape)?;
        Ok(Self {
            big_endian: f.layout.big_endian,
            length: f.bytes.len() as u64,
            shape,
            kind,
            place: f.layout.place,
            before_voxels: before_voxels(f)?,
            slope,
            inter,
            cal_min,
            cal_max,
            orientation: orientation(&affine)?,
        })
    }
}

impl Header {
    /// Where the last voxel ends, counted as `before_voxels` is.
    pub fn voxels_end(&self) -> u64 {
        let voxels = self.shape.iter().map(|&length| length as u64).fold(1, u64::saturating_mul);
        voxels.saturating_mul(self.kind.bytes() as u64).saturating_add(self.before_voxels)
    }

    /// The value of a voxel in little endian.
    pub fn value(&self, voxel: [u8; 8]) -> f64 {
        self.slope * self.kind.number(voxel) + self.inter
    }
}

/// The lengths of the three voxel axes, and the number of volumes: the product of all other lengths.
fn shape(f: &Fields<'_>) -> Result<[usize; 4], String> {
    let dim = |i: usize| match f.layout.is_version_1() {
        true => f.i16(40 + 2 * i),
        false => f.i64(16 + 8 * i),
    };
    let axes = dim(0);
    if !(2..=7).contains(&axes) {
        return Err(format!("has {axes} dimensions; 2 to 7 are allowed"));
    }
    let length = |i: usize| {
        let length = if i as i64 <= axes { dim(i) } else { 1 };
        usize::try_from(length).unwrap_or(0)
    };
    let volumes = (4..=7).map(length).fold(1, usize::saturating_mul);
    let shape = [length(1), length(2), length(3), volumes];
    let side = shape[..3].iter().copied().max().unwrap_or(0);
    if shape.contains(&0) || side > MAX_SIDE as usize {
        let lengths: Vec<_> = (1..=axes as usize).map(|i| dim(i).to_string()).collect();
        let lengths = lengths.join(" x ");
        return Err(format!("has {lengths} voxels; each side must be from 1 to {MAX_SIDE}"));
    }
    Ok(shape)
}

/// The number of bytes between the header, or the start of the file of voxels, and the first voxel.
fn before_voxels(f: &Fields<'_>) -> Result<u64, String> {
    let first = f.layout.is_version_1();
    let offset = if first { f.f32(108) } else { f.i64(168) as f64 };
    if offset.is_nan() || offset >= 9e15 {
        return Err(format!("its voxels start at byte {offset}"));
    }
    // Voxels that would start within the header, or the four bytes after it, start there, as in niftilib.
    let (header, least) = match f.layout.place {
        VoxelPlace::SameFile => (f64::from(f.layout.version), f64::from(f.layout.version) + 4.0),
        VoxelPlace::ImageFile | VoxelPlace::Analyze => (0.0, 0.0),
    };
    Ok((offset.max(least) - header) as u64)
}

/// The affine that nibabel would use: sform, else qform, else voxel axes that run from right to left, from back
/// to front, from feet to head. `shape` are the lengths of the axes.
fn affine(
    f: &Fields<'_>,
    pixdim: [f64; 3],
    handedness: f64,
    shape: [usize; 4],
) -> Result<Affine, String> {
    let first = f.layout.is_version_1();
    let (qform, sform) = match (f.layout.place, first) {
        (VoxelPlace::Analyze, _) => (0, 0),
        (_, true) => (f.i16(252), f.i16(254)),
        (_, false) => (f.i32(344), f.i32(348)),
    };
    if sform > 0 {
        let at = |row: usize, column: usize| match first {
            true => f.f32(280 + 16 * row + 4 * column),
            false => f.f64(400 + 32 * row + 8 * column),
        };
        let affine = [0, 1, 2].map(|column| [0, 1, 2].map(|row| at(row, column)));
        return Ok(with_flat_axis(affine, shape));
    }
    // A length of 0 stands for 1, as in nibabel.
    let [x, y, z] = pixdim.map(|length| if length == 0.0 { 1.0 } else { length.abs() });
    if qform <= 0 {
        return Ok([[-x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]]);
    }
    let [b, c, d] = match first {
        true => [256, 260, 264].map(|at| f.f32(at)),
        false => [352, 360, 368].map(|at| f.f64(at)),
    };
    let rest = 1.0 - (b * b + c * c + d * d);
    // Slightly below 0 is rounding; further below it is not a rotation.
    if rest.is_nan() || rest < -1e-5 {
        return Err("its quaternion is not a rotation".into());
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
