//! The header of a NIfTI file, version 1 or 2.

use std::io::Read;

use super::errors::broken;
use super::orientation::{Affine, Direction, orientation};
use crate::data::image::limits::MAX_SIDE;

/// The length of the header in bytes, which identifies the version and the byte order.
const VERSION_1: i32 = 348;
const VERSION_2: i32 = 540;

/// The version and the byte order of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    version: i32,
    big_endian: bool,
}

impl Layout {
    pub fn of(bytes: &[u8]) -> Option<Self> {
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
    /// The lengths of the three voxel axes, then the number of volumes.
    pub shape: [usize; 4],
    pub kind: VoxelType,
    /// The number of bytes between the header and the first voxel.
    pub gap: u64,
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
}

impl VoxelType {
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
                    128 | 2304 => "colors",
                    1536 => "floating-point numbers of 128 bits",
                    _ => "of an unknown type",
                };
                return Err(format!(
                    "its voxels are {kind} (datatype {code}), which are not supported; save them as float32"
                ));
            }
        })
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::F32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The number in the first bytes of `voxel`, in little-endian order.
    pub fn number(self, voxel: [u8; 8]) -> f64 {
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
    pub fn read(file: &mut impl Read) -> Result<Self, String> {
        let mut bytes = vec![0; VERSION_1 as usize];
        file.read_exact(&mut bytes).map_err(|e| broken(&e))?;
        let layout = Layout::of(&bytes)
            .ok_or("is compressed by gzip, and is not a NIfTI volume when decompressed")?;
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
            return Err(
                "is one of a pair of .hdr and .img files; save the volume as one .nii file".into(),
            );
        }
        let dim = |i: usize| if first { f.i16(40 + 2 * i) } else { f.i64(16 + 8 * i) };
        let pixdim = |i: usize| if first { f.f32(76 + 4 * i) } else { f.f64(104 + 8 * i) };
        let axes = dim(0);
        if !(2..=7).contains(&axes) {
            return Err(format!("has {axes} dimensions; 2 to 7 are allowed"));
        }
        let length = |i: usize| if i as i64 <= axes { dim(i) } else { 1 };
        let lengths: Vec<_> = (1..=axes as usize).map(|i| dim(i).to_string()).collect();
        if (5..=7).any(|i| length(i) != 1) {
            return Err(format!("has {} values in more than four dimensions", lengths.join(" x ")));
        }
        let shape = [1, 2, 3, 4].map(|i| usize::try_from(length(i)).unwrap_or(0));
        let side = shape[..3].iter().copied().max().unwrap_or(0);
        if shape.contains(&0) || side > MAX_SIDE as usize {
            return Err(format!(
                "has {} voxels; each side must be from 1 to {MAX_SIDE}",
                lengths.join(" x ")
            ));
        }
        let kind = VoxelType::of(if first { f.i16(70) } else { f.i16(12) })?;
        let offset = if first { f.f32(108) } else { f.i64(168) as f64 };
        let gap = offset - f64::from(f.layout.version);
        if !(0.0..9e15).contains(&gap) {
            return Err(format!("its voxels start at byte {offset}, which is within its header"));
        }
        let (slope, inter, cal_max, cal_min) = match first {
            true => (f.f32(112), f.f32(116), f.f32(124), f.f32(128)),
            false => (f.f64(176), f.f64(184), f.f64(192), f.f64(200)),
        };
        // A slope of 0 means no scaling (nifti1.h, "data scaling"); so does one that is not finite, as in
        // nibabel.
        let is_scaled = slope != 0.0 && slope.is_finite();
        let (slope, inter) = if is_scaled { (slope, inter) } else { (1.0, 0.0) };
        if !inter.is_finite() {
            return Err("its scl_inter is not a finite number".into());
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

/// The affine that nibabel would use: sform, else qform, else voxel axes that run from right to left, from back
/// to front, from feet to head.
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
