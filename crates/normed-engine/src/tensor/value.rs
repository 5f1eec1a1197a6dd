//! A value: a shape and its elements, f32 or bf16, row-major, owned, memory-mapped or only planned.
//!
//! A frozen matrix may also be kept as its file has it, in half precision or quantized: products read
//! it as a [`Factor`], and nothing else does.
//!
//! A planned value has no elements. It claims their bytes on a [`Meter`], and what operations make
//! beside it is planned as well: the pass over planned inputs makes, keeps and drops the values that
//! the pass itself would, and computes none.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::factor::Factor;
use super::meter::{Claim, Meter, Operation};
use super::pool::{self, Pooled};
use super::quantized::{Quantization, QuantizedMatrix};

/// The type of numbers, in memory or in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Its upper half: as wide a range, 8 bits of precision.
    Bf16,
}

impl Precision {
    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// That in which this machine multiplies matrices faster.
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") {
            return Self::Bf16;
        }
        Self::F32
    }
}

/// Elements that a thread adds at a time.
const PIECE: usize = 1 << 14;

/// A dense array. Cloning is cheap: the elements are shared until one side writes.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Storage,
    /// Shared as the elements are.
    claim: Option<Arc<Claim>>,
}

#[derive(Clone)]
enum Storage {
    F32(Buffer<f32>),
    Bf16(Buffer<bf16>),
    F16(Mapped<f16>),
    Quantized(Arc<QuantizedMatrix>),
    Planned(Precision),
}

impl Precision {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
        }
    }
}

/// The elements of a tensor.
#[derive(Clone, Copy)]
pub enum Elements<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// bf16.
    Bf16(&'a [bf16]),
}

#[derive(Clone)]
enum Buffer<T: Pooled> {
    Owned(Arc<Owned<T>>),
    Mapped(Mapped<T>),
}

/// Elements in memory, which go back to the pool.
#[derive(Clone)]
struct Owned<T: Pooled>(Vec<T>);

impl<T: Pooled> Drop for Owned<T> {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.0));
    }
}

/// `[offset, offset + size_of::<T>() * len)` of a file, aligned for `T`.
#[derive(Clone)]
struct Mapped<T> {
    map: Arc<Mmap>,
    offset: usize,
    len: usize,
    element: PhantomData<T>,
}

impl Tensor {
    /// A tensor over `data`. Panics if the shape does not fit it: callers check foreign input first.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?}");
        Self { shape: shape.to_vec(), data: Storage::F32(Buffer::owned(data)), claim: None }
    }

    /// As [`Tensor::new`], of bf16.
    pub fn from_bf16(shape: &[usize], data: Vec<bf16>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?}");
        Self { shape: shape.to_vec(), data: Storage::Bf16(Buffer::owned(data)), claim: None }
    }

    /// All zeros, f32.
    pub fn zeros(shape: &[usize]) -> Self {
        let mut data = pool::take(shape.iter().product());
        data.fill(0.0);
        Self::new(shape, data)
    }

    /// A planned value.
    pub fn planned(shape: &[usize], precision: Precision, meter: &Meter) -> Self {
        let bytes = shape.iter().product::<usize>() * precision.size();
        let claim = Some(Arc::new(meter.claim(bytes)));
        Self { shape: shape.to_vec(), data: Storage::Planned(precision), claim }
    }

    /// A planned value of the bytes that a quantized matrix takes.
    pub fn planned_quantized(shape: &[usize], to: Quantization, meter: &Meter) -> Self {
        let rows = shape.first().copied().unwrap_or(1);
        let cols = shape.iter().skip(1).product();
        let claim = Some(Arc::new(meter.claim(to.bytes(rows, cols))));
        Self { shape: shape.to_vec(), data: Storage::Planned(Precision::F32), claim }
    }

    /// The same value, its bytes claimed on `meter`, and those of what is made beside it.
    #[must_use]
    pub fn with_meter(mut self, meter: &Meter) -> Self {
        let bytes = self.bytes();
        self.claim = Some(Arc::new(meter.claim(bytes)));
        self
    }

    /// A value for an operation on `self` to overwrite, planned if `self` is: what its elements are
    /// is left open.
    pub fn empty_like(&self, shape: &[usize], precision: Precision) -> Self {
        let len = shape.iter().product::<usize>();
        let data = match (&self.data, precision) {
            (Storage::Planned(_), _) => Storage::Planned(precision),
            (_, Precision::F32) => Storage::F32(Buffer::owned(pool::take(len))),
            (_, Precision::Bf16) => Storage::Bf16(Buffer::owned(pool::take(len))),
        };
        let claim = self.claim.as_ref().map(|c| Arc::new(c.beside(len * precision.size())));
        Self { shape: shape.to_vec(), data, claim }
    }

    /// As [`Tensor::empty_like`], f32 zeros.
    pub fn zeros_like(&self, shape: &[usize]) -> Self {
        let mut zeros = self.empty_like(shape, Precision::F32);
        if !zeros.is_planned() {
            zeros.data_mut().fill(0.0);
        }
        zeros
    }

    /// As [`Tensor::empty_like`], these f32 elements; nobody looks at them if `self` is planned.
    pub fn from_vec_like(&self, shape: &[usize], data: Vec<f32>) -> Self {
        match &self.data {
            Storage::Planned(_) => self.empty_like(shape, Precision::F32),
            _ => {
                let bytes = size_of::<f32>() * data.len();
                let claim = self.claim.as_ref().map(|c| Arc::new(c.beside(bytes)));
                Self { claim, ..Self::new(shape, data) }
            }
        }
    }

    /// As [`Tensor::empty_like`], a copy of the f32 elements from `start` on.
    pub fn copied(&self, start: usize, shape: &[usize]) -> Self {
        let mut part = self.empty_like(shape, Precision::F32);
        if !part.is_planned() {
            let len = part.len();
            part.data_mut().copy_from_slice(&self.data()[start..][..len]);
        }
        part
    }

    /// Whether there are no elements, only a claim to their memory.
    pub fn is_planned(&self) -> bool {
        matches!(self.data, Storage::Planned(_))
    }

    /// Counts an operation whose output is this value on the value's [`Meter`], if it has one.
    /// Afterwards the operation computes nothing if the value [is planned](Tensor::is_planned).
    pub fn count(&self, operation: Operation) {
        if let Some(claim) = &self.claim {
            claim.count(operation);
        }
    }

    /// As [`Tensor::count`], for an operation that overwrites this value. Claims the memory of the
    /// copy that the write makes if clones share the elements.
    pub fn count_in_place(&mut self, operation: Operation) {
        self.unshare_claim();
        self.count(operation);
    }

    /// Before elements are written to, which copies them if they are shared.
    fn unshare_claim(&mut self) {
        if let Some(claim) = &mut self.claim
            && Arc::get_mut(claim).is_none()
        {
            *claim = Arc::new(claim.again());
        }
    }

    /// Little-endian elements inside a mapped file, without a copy. `None` if the range is not
    /// inside it or not aligned, or if this machine is big-endian.
    pub fn mapped(
        shape: &[usize],
        precision: Precision,
        map: &Arc<Mmap>,
        offset: usize,
    ) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))?;
        let data = match precision {
            Precision::F32 => Storage::F32(Buffer::Mapped(Mapped::new(map, offset, len)?)),
            Precision::Bf16 => Storage::Bf16(Buffer::Mapped(Mapped::new(map, offset, len)?)),
        };
        Some(Self { shape: shape.to_vec(), data, claim: None })
    }

    /// As [`Tensor::mapped`], elements in half precision, which products alone read.
    pub fn mapped_f16(shape: &[usize], map: &Arc<Mmap>, offset: usize) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))?;
        let data = Storage::F16(Mapped::new(map, offset, len)?);
        Some(Self { shape: shape.to_vec(), data, claim: None })
    }

    /// A quantized matrix `[rows, cols]`, which products alone read.
    pub fn quantized(matrix: QuantizedMatrix) -> Self {
        let shape = matrix.shape().to_vec();
        Self { shape, data: Storage::Quantized(Arc::new(matrix)), claim: None }
    }

    /// How the value is quantized, if it is.
    pub fn quantization(&self) -> Option<Quantization> {
        match &self.data {
            Storage::Quantized(matrix) => Some(matrix.quantization()),
            _ => None,
        }
    }

    /// Whether the elements are in half precision.
    pub fn is_f16(&self) -> bool {
        matches!(self.data, Storage::F16(_))
    }

    /// The extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The extent of the last dimension; 1 for a scalar.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of rows of length [`Tensor::width`].
    pub fn rows(&self) -> usize {
        self.len() / self.width().max(1)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the elements take.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Storage::F16(data) => size_of::<f16>() * data.len,
            Storage::Quantized(matrix) => matrix.bytes(),
            _ => self.len() * self.precision().size(),
        }
    }

    /// The type of the elements: f32 for those that products alone read, which become that first.
    pub fn precision(&self) -> Precision {
        match self.data {
            Storage::F32(_) | Storage::F16(_) | Storage::Quantized(_) => Precision::F32,
            Storage::Bf16(_) => Precision::Bf16,
            Storage::Planned(precision) => precision,
        }
    }

    /// The elements, row-major. Panics on a planned value, and on what products alone read.
    pub fn elements(&self) -> Elements<'_> {
        match &self.data {
            Storage::F32(data) => Elements::F32(data.get()),
            Storage::Bf16(data) => Elements::Bf16(data.get()),
            Storage::F16(_) | Storage::Quantized(_) => panic!("products alone read {self:?}"),
            Storage::Planned(_) => panic!("{self:?} is only planned"),
        }
    }

    /// The elements as products read them, row-major. Panics on a planned value.
    pub fn factor(&self) -> Factor<'_> {
        match &self.data {
            Storage::F16(data) => Factor::F16(data.get()),
            Storage::Quantized(matrix) => matrix.factor(),
            _ => self.elements().into(),
        }
    }

    /// The elements of an f32 tensor, row-major. Panics on bf16, which only frozen matrices have.
    pub fn data(&self) -> &[f32] {
        match self.elements() {
            Elements::F32(data) => data,
            Elements::Bf16(_) => panic!("{self:?} is not f32"),
        }
    }

    /// The elements of an f32 tensor for writing; copied first if they are mapped or shared.
    pub fn data_mut(&mut self) -> &mut Vec<f32> {
        self.unshare_claim();
        match &mut self.data {
            Storage::F32(data) => data.get_mut(),
            _ => panic!("{:?} is not f32", self.shape),
        }
    }

    /// As [`Tensor::data_mut`], of a bf16 tensor.
    pub fn bf16_data_mut(&mut self) -> &mut Vec<bf16> {
        self.unshare_claim();
        match &mut self.data {
            Storage::Bf16(data) => data.get_mut(),
            _ => panic!("{:?} is not bf16", self.shape),
        }
    }

    /// The elements of an f32 tensor as a vector, without a copy where nobody shares them.
    pub fn into_data(self) -> Vec<f32> {
        match self.data {
            Storage::F32(Buffer::Owned(data)) => match Arc::try_unwrap(data) {
                Ok(mut data) => std::mem::take(&mut data.0),
                Err(data) => data.0.clone(),
            },
            _ => self.data().to_vec(),
        }
    }

    /// The same numbers in another precision: rounded to the nearest, ties to even.
    #[must_use]
    pub fn to_precision(&self, precision: Precision) -> Self {
        if self.is_in(precision) {
            return self.clone();
        }
        let mut converted = self.empty_like(&self.shape, precision);
        if converted.is_planned() {
            return converted;
        }
        let factor = self.factor();
        match precision {
            Precision::F32 => {
                let pieces = converted.data_mut().par_chunks_mut(PIECE).enumerate();
                pieces.for_each(|(i, to)| factor.widen(i * PIECE, to));
            }
            Precision::Bf16 => {
                let pieces = converted.bf16_data_mut().par_chunks_mut(PIECE).enumerate();
                pieces.for_each_init(
                    || vec![0.0; PIECE],
                    |wide, (i, to)| {
                        let wide = &mut wide[..to.len()];
                        factor.widen(i * PIECE, wide);
                        to.iter_mut().zip(wide).for_each(|(to, x)| *to = bf16::from_f32(*x));
                    },
                );
            }
        }
        converted
    }

    /// Whether this is what [`Tensor::to_precision`] would make of it.
    fn is_in(&self, precision: Precision) -> bool {
        match &self.data {
            Storage::F16(_) | Storage::Quantized(_) => false,
            _ => self.precision() == precision,
        }
    }

    /// As [`Tensor::to_precision`]; where that makes a copy of mapped elements, the memory that the
    /// file took is let go.
    #[must_use]
    pub fn into_precision(self, precision: Precision) -> Self {
        if self.is_in(precision) {
            return self;
        }
        let converted = self.to_precision(precision);
        self.let_go();
        converted
    }

    /// Lets the memory go that mapped elements take: they are read again if they are needed again.
    pub fn let_go(&self) {
        match &self.data {
            Storage::F32(data) => data.let_go(),
            Storage::Bf16(data) => data.let_go(),
            Storage::F16(data) => data.let_go(),
            Storage::Quantized(matrix) => matrix.let_go(),
            Storage::Planned(_) => {}
        }
    }

    /// The same elements in another shape of the same size.
    #[must_use]
    pub fn reshape(mut self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.len(), "reshape to {shape:?}");
        self.shape = shape.to_vec();
        self
    }

    /// Part `i` of the first dimension: of a mapped tensor a view.
    #[must_use]
    pub fn part(&self, i: usize) -> Self {
        let part = self.range(i..i + 1);
        part.reshape(&self.shape[1..])
    }

    /// The parts `range` of the leading dimension, as [`Tensor::part`].
    pub fn range(&self, range: Range<usize>) -> Self {
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        let len = self.shape[1..].iter().product::<usize>();
        assert!(range.end <= self.shape[0], "parts {range:?} of {:?}", self.shape);
        let (start, len) = (range.start * len, range.len() * len);
        let data = match &self.data {
            Storage::F32(data) => Storage::F32(data.part(start, len)),
            Storage::Bf16(data) => Storage::Bf16(data.part(start, len)),
            Storage::F16(_) | Storage::Quantized(_) => panic!("products alone read {self:?}"),
            Storage::Planned(_) => return self.empty_like(&shape, self.precision()),
        };
        Self { shape, data, claim: None }
    }

    /// Tensors of one shape and precision as the parts of one. There must be one at least.
    pub fn stack(parts: &[&Tensor]) -> Self {
        let shape = [&[parts.len()], parts[0].shape()].concat();
        let len = parts[0].len().max(1);
        match parts[0].precision() {
            Precision::F32 => {
                let mut stacked = parts[0].empty_like(&shape, Precision::F32);
                let places = stacked.data_mut().chunks_mut(len);
                places.zip(parts).for_each(|(place, part)| place.copy_from_slice(part.data()));
                stacked
            }
            Precision::Bf16 => {
                let mut stacked = parts[0].empty_like(&shape, Precision::Bf16);
                let places = stacked.bf16_data_mut().chunks_mut(len);
                places.zip(parts).for_each(|(place, part)| match part.elements() {
                    Elements::Bf16(part) => place.copy_from_slice(part),
                    Elements::F32(_) => panic!("{part:?} is not bf16"),
                });
                stacked
            }
        }
    }

    /// Adds `other`, of the same precision, element by element.
    pub fn add_assign(&mut self, other: &Tensor) {
        assert_eq!(self.len(), other.len());
        self.count_in_place(Operation::Pass(other.len()));
        if self.is_planned() {
            return;
        }
        match (&mut self.data, other.elements()) {
            (Storage::F32(sum), Elements::F32(x)) => add(sum.get_mut(), x, |a, b| a + b),
            (Storage::Bf16(sum), Elements::Bf16(x)) => add(sum.get_mut(), x, |a, b| a + b),
            _ => panic!("{other:?} is of another precision than what it is added to"),
        }
    }
}

fn add<T: Pooled + Sync>(sum: &mut [T], x: &[T], plus: impl Fn(T, T) -> T + Sync) {
    let pieces = sum.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE));
    pieces.for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, b)| *a = plus(*a, *b)));
}

impl Elements<'_> {
    /// Those from `start` on.
    #[must_use]
    pub fn after(self, start: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(&data[start..]),
            Self::Bf16(data) => Self::Bf16(&data[start..]),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Pooled> Buffer<T> {
    fn owned(data: Vec<T>) -> Self {
        Self::Owned(Arc::new(Owned(data)))
    }

    /// `[start, start + len)`: a view of mapped elements, a copy of others.
    fn part(&self, start: usize, len: usize) -> Self {
        match self {
            Self::Owned(data) => Self::owned(data.0[start..][..len].to_vec()),
            Self::Mapped(all) => {
                assert!(start + len <= all.len);
                let offset = all.offset + start * size_of::<T>();
                Self::Mapped(Mapped { offset, len, ..all.clone() })
            }
        }
    }

    fn get(&self) -> &[T] {
        match self {
            Self::Owned(data) => &data.0,
            Self::Mapped(data) => data.get(),
        }
    }

    /// [`Tensor::let_go`].
    fn let_go(&self) {
        if let Self::Mapped(data) = self {
            data.let_go();
        }
    }

    fn get_mut(&mut self) -> &mut Vec<T> {
        if let Self::Mapped(_) = self {
            let copy = Self::owned(self.get().to_vec());
            self.let_go();
            *self = copy;
        }
        match self {
            Self::Owned(data) => &mut Arc::make_mut(data).0,
            Self::Mapped(_) => unreachable!("copied above"),
        }
    }
}

impl<T> Mapped<T> {
    /// `T` is a number of which every bit pattern is one.
    fn new(map: &Arc<Mmap>, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len.checked_mul(size_of::<T>())?)?;
        let aligned = (map.as_ptr() as usize).wrapping_add(offset).is_multiple_of(align_of::<T>());
        let there = end <= map.len() && aligned && cfg!(target_endian = "little");
        there.then(|| Self { map: Arc::clone(map), offset, len, element: PhantomData })
    }

    fn get(&self) -> &[T] {
        let bytes = &self.map[self.offset..self.offset + size_of::<T>() * self.len];
        // SAFETY: `new` checked range and alignment, every bit pattern is an f32, a bf16 and an f16,
        // and the map lives as long as `self`. A file that another process changes underneath is
        // outside what any program that maps files can promise.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), self.len) }
    }

    /// [`Tensor::let_go`].
    fn let_go(&self) {
        // SAFETY: the map is of a file and read-only, so that nothing is lost. It is a hint: what
        // becomes of it changes no value.
        #[cfg(unix)]
        let _ = unsafe {
            self.map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                self.offset,
                size_of::<T>() * self.len,
            )
        };
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_stacked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let values: Vec<f32> = (0..12).map(|i| i as f32 - 3.5).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(file.path(), bytes).unwrap();
        // SAFETY: nobody else has the file.
        let map = Arc::new(unsafe { Mmap::map(file.as_file()) }.unwrap());
        let owned = Tensor::new(&[3, 2, 2], values.clone());
        let mapped = Tensor::mapped(&[3, 2, 2], Precision::F32, &map, 0).unwrap();
        for whole in [owned.clone(), mapped, owned.to_precision(Precision::Bf16)] {
            let parts: Vec<_> = (0..3).map(|i| whole.part(i)).collect();
            assert_eq!(parts[1].shape(), [2, 2]);
            assert_eq!(parts[1].to_precision(Precision::F32).data(), &values[4..8]);
            let again = Tensor::stack(&[&parts[2], &parts[0], &parts[1]]);
            assert_eq!((again.shape(), again.precision()), (&[3, 2, 2][..], whole.precision()));
            let wanted = [&values[8..], &values[..8]].concat();
            assert_eq!(again.to_precision(Precision::F32).data(), wanted);
        }
    }
}
