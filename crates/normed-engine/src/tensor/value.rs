//! A value: a shape and its elements, row-major.
//!
//! The elements of a [`Tensor`] are of one of these kinds:
//!
//! - f32 or bf16, in memory or in a mapped file;
//! - f16 in a mapped file, or quantized to 8 or 4 bits: a frozen matrix as its checkpoint has it. Only
//!   matrix products read these, as a [`Factor`];
//! - codes for products in int8: a frozen matrix in a run that multiplies in int8;
//! - *planned*: there are none. A planned value claims the bytes of its elements on a [`Meter`].
//!
//! An operation makes its output with [`Tensor::empty_like`] on an input. The output of an operation on
//! a planned value is therefore planned too, and the operation computes nothing. A whole training step
//! over planned values makes, keeps and drops the values of the real step, so that the meter shows
//! exactly what the step takes. Where an operation forgets to check [`Tensor::is_planned`], it panics
//! when it reads the elements.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::codes::CodeMatrix;
use super::elements::Elements;
use super::factor::Factor;
use super::mapped::{Mapped, MappedFile};
use super::meter::{Claim, Meter, Operation};
use super::pool;
use super::precision::Precision;
use super::quantized::{Quantization, QuantizedMatrix};

/// The number of elements that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// A dense array, row-major. Cloning is cheap: clones share the elements until one of them is written.
///
/// ```
/// use normed_engine::tensor::{Precision, Tensor};
///
/// let x = Tensor::new(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// assert_eq!((x.shape(), x.rows(), x.width()), (&[2, 3][..], 2, 3));
/// assert_eq!(x.select(1).data(), [4.0, 5.0, 6.0]);
///
/// let narrow = x.to_precision(Precision::Bf16);
/// assert_eq!((narrow.precision(), narrow.bytes()), (Precision::Bf16, 12));
/// ```
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Storage,
    /// The claim to the elements' memory, shared by clones as the elements are.
    claim: Option<Arc<Claim>>,
}

/// The kinds of elements.
#[derive(Clone)]
enum Storage {
    F32(Buffer<f32>),
    Bf16(Buffer<bf16>),
    F16(Mapped<f16>),
    Quantized(Arc<QuantizedMatrix>),
    Codes(Arc<CodeMatrix>),
    Planned(Precision),
    PlannedCodes,
}

/// Making values.
impl Tensor {
    /// An f32 tensor of these elements.
    ///
    /// # Panics
    /// If the number of elements is not that of the shape. Check untrusted shapes before.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_fits(shape, data.len());
        Self { shape: shape.to_vec(), data: Storage::F32(Buffer::owned(data)), claim: None }
    }

    /// A bf16 tensor of these elements.
    ///
    /// # Panics
    /// As [`Tensor::new`].
    pub fn from_bf16(shape: &[usize], data: Vec<bf16>) -> Self {
        assert_fits(shape, data.len());
        Self { shape: shape.to_vec(), data: Storage::Bf16(Buffer::owned(data)), claim: None }
    }

    /// An f32 tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        let mut data = pool::take(shape.iter().product());
        data.fill(0.0);
        Self::new(shape, data)
    }

    /// A tensor whose elements lie little-endian in a mapped file, from the byte `offset` on; nothing is
    /// copied. `None` if they are not inside the file or not aligned, or if this machine is big-endian.
    pub fn mapped(
        shape: &[usize],
        precision: Precision,
        file: &Arc<MappedFile>,
        offset: usize,
    ) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))?;
        let data = match precision {
            Precision::F32 => Storage::F32(Buffer::Mapped(Mapped::new(file, offset, len)?)),
            Precision::Bf16 => Storage::Bf16(Buffer::Mapped(Mapped::new(file, offset, len)?)),
        };
        Some(Self { shape: shape.to_vec(), data, claim: None })
    }

    /// As [`Tensor::mapped`], of f16 elements, which only matrix products read.
    pub fn mapped_f16(shape: &[usize], file: &Arc<MappedFile>, offset: usize) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))?;
        let data = Storage::F16(Mapped::new(file, offset, len)?);
        Some(Self { shape: shape.to_vec(), data, claim: None })
    }

    /// A quantized matrix `[rows, cols]`, which only matrix products read.
    pub fn quantized(matrix: QuantizedMatrix) -> Self {
        let shape = matrix.shape().to_vec();
        Self { shape, data: Storage::Quantized(Arc::new(matrix)), claim: None }
    }

    /// A planned value.
    pub fn planned(shape: &[usize], precision: Precision, meter: &Meter) -> Self {
        let bytes = shape.iter().product::<usize>() * precision.size();
        let claim = Some(Arc::new(meter.claim(bytes)));
        Self { shape: shape.to_vec(), data: Storage::Planned(precision), claim }
    }

    /// A planned value that claims the bytes of a quantized matrix `[rows, cols]`.
    pub fn planned_quantized(shape: &[usize], to: Quantization, meter: &Meter) -> Self {
        let (rows, cols) = matrix_dims(shape);
        let claim = Some(Arc::new(meter.claim(to.bytes(rows, cols))));
        Self { shape: shape.to_vec(), data: Storage::Planned(Precision::F32), claim }
    }

    /// A planned value that claims the bytes of a matrix `[out, in]` as codes for products in int8.
    pub fn planned_codes(shape: &[usize], meter: &Meter) -> Self {
        let (out, inner) = matrix_dims(shape);
        let claim = Some(Arc::new(meter.claim(CodeMatrix::forward_bytes(out, inner))));
        Self { shape: shape.to_vec(), data: Storage::PlannedCodes, claim }
    }

    /// The same value with its bytes claimed on `meter`. The outputs of operations on it claim
    /// theirs there too.
    #[must_use]
    pub fn with_meter(mut self, meter: &Meter) -> Self {
        let bytes = self.bytes();
        self.claim = Some(Arc::new(meter.claim(bytes)));
        self
    }

    /// A new value with unspecified elements, for an operation on `self` to overwrite: planned if `self`
    /// is, and on the same meter.
    pub fn empty_like(&self, shape: &[usize], precision: Precision) -> Self {
        let len = shape.iter().product::<usize>();
        let data = match (&self.data, precision) {
            (Storage::Planned(_) | Storage::PlannedCodes, _) => Storage::Planned(precision),
            (_, Precision::F32) => Storage::F32(Buffer::owned(pool::take(len))),
            (_, Precision::Bf16) => Storage::Bf16(Buffer::owned(pool::take(len))),
        };
        let claim = self.claim_alike(len * precision.size());
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

    /// As [`Tensor::empty_like`], with these f32 elements. They are ignored if `self` is planned.
    ///
    /// # Panics
    /// If the number of elements is not that of the shape.
    pub fn from_vec_like(&self, shape: &[usize], data: Vec<f32>) -> Self {
        match &self.data {
            Storage::Planned(_) | Storage::PlannedCodes => self.empty_like(shape, Precision::F32),
            _ => {
                let claim = self.claim_alike(size_of::<f32>() * data.len());
                Self { claim, ..Self::new(shape, data) }
            }
        }
    }

    /// As [`Tensor::empty_like`], with a copy of the f32 elements from index `start` on.
    ///
    /// # Panics
    /// If there are fewer elements than the shape needs, or if they are not f32.
    pub fn copy_elements(&self, start: usize, shape: &[usize]) -> Self {
        let mut copy = self.empty_like(shape, Precision::F32);
        if !copy.is_planned() {
            let len = copy.len();
            copy.data_mut().copy_from_slice(&self.data()[start..][..len]);
        }
        copy
    }

    /// The same elements with another shape of the same size.
    ///
    /// # Panics
    /// If the new shape has another number of elements.
    #[must_use]
    pub fn reshape(mut self, shape: &[usize]) -> Self {
        let len = shape.iter().product::<usize>();
        assert_eq!(len, self.len(), "{self:?} cannot have the shape {shape:?}");
        self.shape = shape.to_vec();
        self
    }

    /// Index `i` of the first dimension, which goes away: `[B, T, C]` becomes `[T, C]`. A view of mapped
    /// elements, a copy of others.
    ///
    /// # Panics
    /// As [`Tensor::slice`].
    #[must_use]
    pub fn select(&self, i: usize) -> Self {
        self.slice(i..i + 1).reshape(&self.shape[1..])
    }

    /// The indices `range` of the first dimension: `[B, T, C]` becomes `[range.len(), T, C]`. A view of
    /// mapped elements, a copy of others.
    ///
    /// A copy claims its bytes on the meter. A view shares the claim of the whole, since it takes no
    /// memory of its own and keeps that of the whole.
    ///
    /// # Panics
    /// If the range is not inside the first dimension, or if only matrix products can read the value.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let Some((&first, rest)) = self.shape.split_first() else {
            panic!("{self:?} has no dimension to slice");
        };
        let inside = range.start <= range.end && range.end <= first;
        assert!(inside, "{range:?} is not inside the first dimension of {self:?}");
        let row = rest.iter().product::<usize>();
        let shape = [&[range.len()], rest].concat();
        let (start, len) = (range.start * row, range.len() * row);
        let (data, is_view) = match &self.data {
            Storage::F32(data) => (Storage::F32(data.slice(start, len)), data.is_mapped()),
            Storage::Bf16(data) => (Storage::Bf16(data.slice(start, len)), data.is_mapped()),
            Storage::F16(_) | Storage::Quantized(_) | Storage::Codes(_) | Storage::PlannedCodes => {
                panic!("only matrix products read {self:?}")
            }
            Storage::Planned(_) => return self.empty_like(&shape, self.precision()),
        };
        let claim = match is_view {
            true => self.claim.clone(),
            false => self.claim_alike(len * self.precision().size()),
        };
        Self { shape, data, claim }
    }

    /// Tensors of one shape and dtype, stacked along a new first dimension: `n` tensors `[T, C]` become
    /// `[n, T, C]`.
    ///
    /// # Panics
    /// If there are none, or if they differ in size or dtype.
    pub fn stack(tensors: &[&Tensor]) -> Self {
        let Some(&first) = tensors.first() else { panic!("there is no tensor to stack") };
        let shape = [&[tensors.len()], first.shape()].concat();
        let len = first.len().max(1);
        let mut stacked = first.empty_like(&shape, first.precision());
        match &mut stacked.data {
            Storage::F32(data) => {
                let rows = data.get_mut().chunks_mut(len).zip(tensors);
                rows.for_each(|(to, from)| to.copy_from_slice(from.data()));
            }
            Storage::Bf16(data) => {
                let rows = data.get_mut().chunks_mut(len).zip(tensors);
                rows.for_each(|(to, from)| match from.elements() {
                    Elements::Bf16(from) => to.copy_from_slice(from),
                    Elements::F32(_) => panic!("{from:?} is stacked on {first:?}"),
                });
            }
            Storage::F16(_)
            | Storage::Quantized(_)
            | Storage::Codes(_)
            | Storage::Planned(_)
            | Storage::PlannedCodes => {}
        }
        stacked
    }
}

/// Asking about values.
impl Tensor {
    /// The size of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The size of the last dimension; 1 for a scalar.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of rows, each of [`Tensor::width`] elements.
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

    /// The bytes that the elements take, or would take if the value is planned.
    pub fn bytes(&self) -> usize {
        match (&self.data, &self.claim) {
            (Storage::F16(data), _) => size_of::<f16>() * data.len(),
            (Storage::Quantized(matrix), _) => matrix.bytes(),
            (Storage::Codes(_), _) => {
                let (out, inner) = matrix_dims(&self.shape);
                CodeMatrix::forward_bytes(out, inner)
            }
            (Storage::Planned(_) | Storage::PlannedCodes, Some(claim)) => claim.bytes(),
            _ => self.len() * self.precision().size(),
        }
    }

    /// The dtype of the elements. f32 for values that only matrix products read, which widen them to
    /// f32.
    pub fn precision(&self) -> Precision {
        match self.data {
            Storage::F32(_) | Storage::F16(_) | Storage::Quantized(_) => Precision::F32,
            Storage::Codes(_) | Storage::PlannedCodes => Precision::F32,
            Storage::Bf16(_) => Precision::Bf16,
            Storage::Planned(precision) => precision,
        }
    }

    /// How the value is quantized, if it is.
    pub fn quantization(&self) -> Option<Quantization> {
        match &self.data {
            Storage::Quantized(matrix) => Some(matrix.quantization()),
            _ => None,
        }
    }

    /// Whether the elements are f16.
    pub fn is_f16(&self) -> bool {
        matches!(self.data, Storage::F16(_))
    }

    /// Whether the value is planned: it has no elements, only a claim to their memory.
    pub fn is_planned(&self) -> bool {
        matches!(self.data, Storage::Planned(_) | Storage::PlannedCodes)
    }

    /// Whether the elements are codes for products in int8, or will be if the value is planned.
    pub fn has_codes(&self) -> bool {
        matches!(self.data, Storage::Codes(_) | Storage::PlannedCodes)
    }

    /// The elements as codes for products in int8, if they are.
    pub fn codes(&self) -> Option<&CodeMatrix> {
        match &self.data {
            Storage::Codes(matrix) => Some(matrix),
            _ => None,
        }
    }

    /// The bytes that the value claims on its [`Meter`], codes for the backward product included; 0 without a
    /// meter.
    pub fn claimed_bytes(&self) -> usize {
        self.claim.as_ref().map_or(0, |claim| claim.total_bytes())
    }

    /// Claims the memory of the codes for the backward product, which are kept from the first one on.
    pub fn claim_backward_codes(&self) {
        if let Some(claim) = self.claim.as_ref().filter(|_| self.has_codes()) {
            let (out, inner) = matrix_dims(&self.shape);
            claim.extend_once(CodeMatrix::backward_bytes(out, inner));
        }
    }

    /// Counts an operation whose output is this value on the value's [`Meter`], if it has one. If the
    /// value [is planned](Tensor::is_planned), that is all the operation has to do.
    pub fn count(&self, operation: Operation) {
        if let Some(claim) = &self.claim {
            claim.count(operation);
        }
    }

    /// As [`Tensor::count`], for an operation that overwrites this value. If clones share the elements,
    /// this claims the memory of the copy that the write makes.
    pub fn count_in_place(&mut self, operation: Operation) {
        self.unshare_claim();
        self.count(operation);
    }

    /// A claim of `bytes` on the meter of `self`, if it has one.
    fn claim_alike(&self, bytes: usize) -> Option<Arc<Claim>> {
        self.claim.as_ref().map(|claim| Arc::new(claim.claim(bytes)))
    }

    /// To be called before a write, which copies the elements if they are shared.
    fn unshare_claim(&mut self) {
        let bytes = self.bytes();
        if let Some(claim) = &mut self.claim
            && (claim.bytes() != bytes || Arc::get_mut(claim).is_none())
        {
            *claim = Arc::new(claim.claim(bytes));
        }
    }
}

/// Reading and writing elements.
impl Tensor {
    /// The elements, row-major.
    ///
    /// # Panics
    /// If the value is planned, or if only matrix products can read it.
    pub fn elements(&self) -> Elements<'_> {
        match &self.data {
            Storage::F32(data) => Elements::F32(data.get()),
            Storage::Bf16(data) => Elements::Bf16(data.get()),
            Storage::F16(_) | Storage::Quantized(_) | Storage::Codes(_) => {
                panic!("only matrix products read {self:?}")
            }
            Storage::Planned(_) | Storage::PlannedCodes => panic!("{self:?} has no elements"),
        }
    }

    /// The elements as matrix products read them, row-major.
    ///
    /// # Panics
    /// If the value is planned.
    pub fn factor(&self) -> Factor<'_> {
        match &self.data {
            Storage::F16(data) => Factor::F16(data.get()),
            Storage::Quantized(matrix) => matrix.factor(),
            Storage::Codes(matrix) => Factor::Codes(matrix),
            _ => self.elements().into(),
        }
    }

    /// The elements of an f32 tensor, row-major.
    ///
    /// # Panics
    /// If the tensor is not f32, or planned.
    pub fn data(&self) -> &[f32] {
        match self.elements() {
            Elements::F32(data) => data,
            Elements::Bf16(_) => panic!("{self:?} is not f32"),
        }
    }

    /// The elements of an f32 tensor for writing. They are copied first if they are mapped or shared.
    ///
    /// # Panics
    /// If the tensor is not f32, or planned.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.unshare_claim();
        match &mut self.data {
            Storage::F32(data) => data.get_mut(),
            other => panic!("{} tensor {:?} is not f32", other.name(), self.shape),
        }
    }

    /// The elements of a bf16 tensor for writing. They are copied first if they are mapped or shared.
    ///
    /// # Panics
    /// If the tensor is not bf16, or planned.
    pub fn bf16_data_mut(&mut self) -> &mut [bf16] {
        self.unshare_claim();
        match &mut self.data {
            Storage::Bf16(data) => data.get_mut(),
            other => panic!("{} tensor {:?} is not bf16", other.name(), self.shape),
        }
    }

    /// The elements of an f32 tensor as a vector, without a copy if they are in memory and not shared.
    ///
    /// # Panics
    /// If the tensor is not f32, or planned.
    pub fn into_data(self) -> Vec<f32> {
        match self.data {
            Storage::F32(data) => data.into_vec(),
            _ => panic!("{self:?} is not f32"),
        }
    }

    /// The same numbers in this dtype, rounded to the nearest, ties to even. A value that only matrix
    /// products read is widened.
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
                let chunks = converted.data_mut().par_chunks_mut(CHUNK).enumerate();
                chunks.for_each(|(i, to)| factor.copy_to_f32(i * CHUNK, to));
            }
            Precision::Bf16 => {
                let chunks = converted.bf16_data_mut().par_chunks_mut(CHUNK).enumerate();
                chunks.for_each_init(
                    || vec![0.0; CHUNK],
                    |wide, (i, to)| {
                        let wide = &mut wide[..to.len()];
                        factor.copy_to_f32(i * CHUNK, wide);
                        to.iter_mut().zip(wide).for_each(|(to, x)| *to = bf16::from_f32(*x));
                    },
                );
            }
        }
        converted
    }

    /// As [`Tensor::to_precision`]. If that copies mapped elements, their pages are released.
    #[must_use]
    pub fn into_precision(self, precision: Precision) -> Self {
        if self.is_in(precision) {
            return self;
        }
        let converted = self.to_precision(precision);
        self.release_pages();
        converted
    }

    /// A matrix `[out, in]` as codes for products in int8; trailing dimensions count as one. If that copies
    /// mapped elements, their pages are released.
    #[must_use]
    pub fn into_codes(self) -> Self {
        if self.has_codes() {
            return self;
        }
        let (out, inner) = matrix_dims(&self.shape);
        let factor = self.factor();
        let matrix =
            CodeMatrix::quantize(out, inner, |start, values| factor.copy_to_f32(start, values));
        self.release_pages();
        let claim = self.claim_alike(CodeMatrix::forward_bytes(out, inner));
        Self { shape: self.shape, data: Storage::Codes(Arc::new(matrix)), claim }
    }

    /// Whether [`Tensor::to_precision`] has nothing to convert.
    fn is_in(&self, precision: Precision) -> bool {
        match &self.data {
            Storage::F16(_) | Storage::Quantized(_) | Storage::Codes(_) => false,
            _ => self.precision() == precision,
        }
    }

    /// Releases the memory of mapped elements. They are read from their file again when needed.
    pub fn release_pages(&self) {
        match &self.data {
            Storage::F32(data) => data.release_pages(),
            Storage::Bf16(data) => data.release_pages(),
            Storage::F16(data) => data.release_pages(),
            Storage::Quantized(matrix) => matrix.release_pages(),
            Storage::Codes(_) | Storage::Planned(_) | Storage::PlannedCodes => {}
        }
    }

    /// Adds `other`, of the same dtype and number of elements, element by element.
    ///
    /// # Panics
    /// If the two differ in size or dtype.
    pub fn add_assign(&mut self, other: &Tensor) {
        assert_eq!(self.len(), other.len(), "{other:?} is added to {self:?}");
        self.count_in_place(Operation::Elementwise(other.len()));
        if self.is_planned() {
            return;
        }
        match (&mut self.data, other.elements()) {
            (Storage::F32(sum), Elements::F32(x)) => add(sum.get_mut(), x, |a, b| a + b),
            (Storage::Bf16(sum), Elements::Bf16(x)) => add(sum.get_mut(), x, |a, b| a + b),
            _ => panic!("{other:?} is added to {self:?}"),
        }
    }
}

fn add<T: Copy + Send + Sync>(sum: &mut [T], x: &[T], plus: impl Fn(T, T) -> T + Sync) {
    let chunks = sum.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, b)| *a = plus(*a, *b)));
}

/// `out` and `in` of a matrix `[out, in]`; trailing dimensions count as one.
fn matrix_dims(shape: &[usize]) -> (usize, usize) {
    (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
}

fn assert_fits(shape: &[usize], len: usize) {
    assert_eq!(shape.iter().product::<usize>(), len, "the number of elements of shape {shape:?}");
}

impl Storage {
    /// The dtype, for messages.
    fn name(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::Bf16(_) => "bf16",
            Self::F16(_) => "f16",
            Self::Quantized(matrix) => matrix.quantization().name(),
            Self::Codes(_) => "int8",
            Self::PlannedCodes => "planned int8",
            Self::Planned(Precision::F32) => "planned f32",
            Self::Planned(Precision::Bf16) => "planned bf16",
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensor {:?}", self.data.name(), self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tensor whose elements lie in a file.
    fn mapped(shape: &[usize], values: &[f32]) -> Tensor {
        let file = map(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        Tensor::mapped(shape, Precision::F32, &file, 0).unwrap()
    }

    fn map(bytes: &[u8]) -> Arc<MappedFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        // SAFETY: nobody else has the file.
        Arc::new(unsafe { MappedFile::map(file.as_file()) }.unwrap())
    }

    fn ramp(len: usize) -> Vec<f32> {
        (0..len).map(|i| i as f32 - 3.5).collect()
    }

    fn matrix(rows: usize, cols: usize) -> Tensor {
        let values = ramp(rows * cols);
        let factor = Factor::F32(&values);
        Tensor::quantized(
            QuantizedMatrix::quantize(factor, rows, cols, Quantization::Int8).unwrap(),
        )
    }

    #[test]
    fn slices_are_what_was_stacked() {
        let values = ramp(12);
        let owned = Tensor::new(&[3, 2, 2], values.clone());
        let in_bf16 = owned.to_precision(Precision::Bf16);
        for whole in [owned, mapped(&[3, 2, 2], &values), in_bf16] {
            let parts: Vec<_> = (0..3).map(|i| whole.select(i)).collect();
            assert_eq!(parts[1].shape(), [2, 2]);
            assert_eq!(parts[1].to_precision(Precision::F32).data(), &values[4..8]);
            assert_eq!(whole.slice(1..3).shape(), [2, 2, 2]);
            let again = Tensor::stack(&[&parts[2], &parts[0], &parts[1]]);
            assert_eq!((again.shape(), again.precision()), (&[3, 2, 2][..], whole.precision()));
            let wanted = [&values[8..], &values[..8]].concat();
            assert_eq!(again.to_precision(Precision::F32).data(), wanted);
        }
    }

    #[test]
    fn a_slice_claims_its_memory_as_the_plan_says() {
        for precision in [Precision::F32, Precision::Bf16] {
            let meter = Meter::new();
            let plan = Meter::new();
            let whole = Tensor::zeros(&[4, 3]).to_precision(precision).with_meter(&meter);
            let planned = Tensor::planned(&[4, 3], precision, &plan);
            let (slice, planned_slice) = (whole.slice(1..3), planned.slice(1..3));
            assert_eq!(meter.live_bytes(), (4 + 2) * 3 * precision.size());
            assert_eq!(meter.live_bytes(), plan.live_bytes());
            // The outputs of operations on the slice are metered, too.
            let made = slice.empty_like(&[5], Precision::F32);
            assert_eq!(meter.live_bytes(), (4 + 2) * 3 * precision.size() + 20);
            drop((whole, planned, made));
            assert_eq!((meter.live_bytes(), slice.bytes()), (slice.bytes(), planned_slice.bytes()));
            drop(slice);
            assert_eq!(meter.live_bytes(), 0);
        }
    }

    #[test]
    fn a_view_of_a_file_keeps_the_claim_of_the_whole() {
        let meter = Meter::new();
        let whole = mapped(&[4, 3], &ramp(12)).with_meter(&meter);
        let view = whole.slice(0..1);
        assert_eq!(meter.live_bytes(), 48, "a view takes no memory of its own");
        drop(whole);
        assert_eq!(meter.live_bytes(), 48);
        // Writing copies the view's elements, and then these alone are claimed.
        let mut written = view.clone();
        written.data_mut()[0] = 9.0;
        assert_eq!((view.data()[0], meter.live_bytes()), (-3.5, 48 + 12));
        drop(view);
        assert_eq!(meter.live_bytes(), 12);
    }

    #[test]
    fn clones_share_memory_until_one_is_written() {
        let meter = Meter::new();
        let a = Tensor::new(&[4], ramp(4)).with_meter(&meter);
        let mut b = a.clone().reshape(&[2, 2]);
        assert_eq!(meter.live_bytes(), 16);
        b.data_mut()[0] = 1.0;
        assert_eq!((a.data()[0], b.data()[0], meter.live_bytes()), (-3.5, 1.0, 32));
        b.data_mut()[1] = 1.0;
        assert_eq!(meter.live_bytes(), 32, "no longer shared");
    }

    #[test]
    fn outputs_of_planned_values_are_planned() {
        let meter = Meter::new();
        let x = Tensor::planned(&[2, 3], Precision::Bf16, &meter);
        assert_eq!((x.bytes(), x.precision(), meter.live_bytes()), (12, Precision::Bf16, 12));
        let made = [
            x.empty_like(&[4], Precision::F32),
            x.zeros_like(&[4]),
            x.from_vec_like(&[4], vec![0.0; 4]),
            x.copy_elements(2, &[4]),
            x.to_precision(Precision::F32).slice(0..1).reshape(&[3]),
            Tensor::stack(&[&x, &x]),
        ];
        assert!(made.iter().all(Tensor::is_planned));
        assert_eq!(meter.live_bytes(), 12 + 4 * 16 + 12 + 24);
        let mut sum = x.clone();
        sum.add_assign(&x);
        assert_eq!(meter.operation_counts().elementwise, 6);
        drop((made, x));
        assert_eq!(meter.live_bytes(), 12, "the sum has memory of its own");
    }

    #[test]
    fn reading_what_has_no_elements_panics() {
        let planned = Tensor::planned(&[2], Precision::F32, &Meter::new());
        let reads: [fn(&mut Tensor) -> usize; 5] = [
            |x| x.elements().len(),
            |x| x.factor().len(),
            |x| x.data().len(),
            |x| x.data_mut().len(),
            |x| x.clone().into_data().len(),
        ];
        for read in reads {
            let mut x = planned.clone();
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&mut x)));
            assert!(panicked.is_err());
        }
    }

    #[test]
    #[should_panic(expected = "only matrix products read int8 tensor [2, 3]")]
    fn quantized_elements_are_not_read_one_by_one() {
        matrix(2, 3).elements();
    }

    #[test]
    #[should_panic(expected = "bf16 tensor [2] is not f32")]
    fn bf16_elements_are_not_taken_for_f32() {
        Tensor::from_bf16(&[2], vec![bf16::ONE; 2]).data();
    }

    #[test]
    #[should_panic(expected = "1..4 is not inside the first dimension of f32 tensor [3, 2]")]
    fn a_slice_outside_is_refused() {
        drop(Tensor::zeros(&[3, 2]).slice(1..4));
    }

    #[test]
    fn bf16_rounds_to_the_nearest_and_ties_to_even() {
        // A bf16 has 8 bits: steps of 1/128 between 1 and 2.
        let step = 1.0 / 128.0;
        let wide = [1.0 + 0.5 * step, 1.0 + 1.5 * step, 1.0 + 0.6 * step, -3.0, f32::INFINITY];
        let narrow = Tensor::new(&[5], wide.to_vec()).to_precision(Precision::Bf16);
        let back = narrow.to_precision(Precision::F32);
        assert_eq!(back.data(), [1.0, 1.0 + 2.0 * step, 1.0 + step, -3.0, f32::INFINITY]);
        // More than a chunk, and not a whole number of chunks.
        let wide = ramp(CHUNK + 3);
        let narrow = Tensor::new(&[CHUNK + 3], wide.clone()).to_precision(Precision::Bf16);
        let Elements::Bf16(narrow) = narrow.elements() else { panic!("not bf16") };
        assert!(narrow.iter().zip(&wide).all(|(n, &w)| *n == bf16::from_f32(w)));
    }

    #[test]
    fn what_products_read_is_widened() {
        let halves: Vec<u8> = [1.0f32, -0.5, 3.0, 0.25]
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        let half = Tensor::mapped_f16(&[2, 2], &map(&halves), 0).unwrap();
        assert_eq!((half.is_f16(), half.bytes(), half.precision()), (true, 8, Precision::F32));
        let widened = half.into_precision(Precision::F32);
        assert_eq!((widened.data(), widened.is_f16()), (&[1.0, -0.5, 3.0, 0.25][..], false));

        let quantized = matrix(2, 3);
        assert_eq!(quantized.quantization(), Some(Quantization::Int8));
        assert_eq!((quantized.bytes(), quantized.len()), (6 + 8, 6));
        let widened = quantized.to_precision(Precision::F32);
        assert!(widened.data().iter().zip(ramp(6)).all(|(a, b)| (a - b).abs() < 0.02));
    }

    #[test]
    fn mapped_elements_are_copied_before_a_write() {
        let file = map(&ramp(4).iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        let original = Tensor::mapped(&[4], Precision::F32, &file, 0).unwrap();
        let mut changed = original.clone();
        changed.data_mut().fill(0.0);
        changed.release_pages();
        original.release_pages();
        assert_eq!((original.data(), changed.data()), (&ramp(4)[..], &[0.0; 4][..]));
        assert!(Tensor::mapped(&[5], Precision::F32, &file, 0).is_none(), "past the end");
        assert!(Tensor::mapped(&[usize::MAX, 2], Precision::F32, &file, 0).is_none());
    }

    #[test]
    fn sums_are_elementwise_in_either_dtype() {
        for precision in [Precision::F32, Precision::Bf16] {
            let x = Tensor::new(&[3], vec![1.0, 2.0, -4.0]).to_precision(precision);
            let mut sum = x.clone();
            sum.add_assign(&x);
            assert_eq!(sum.to_precision(Precision::F32).data(), [2.0, 4.0, -8.0]);
            assert_eq!(x.to_precision(Precision::F32).data(), [1.0, 2.0, -4.0]);
        }
    }

    #[test]
    #[should_panic(expected = "bf16 tensor [2] is added to f32 tensor [2]")]
    fn a_sum_of_two_dtypes_is_refused() {
        Tensor::zeros(&[2]).add_assign(&Tensor::from_bf16(&[2], vec![bf16::ONE; 2]));
    }
}
