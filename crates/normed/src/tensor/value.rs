//! A value: a shape and its elements, f32, row-major, owned or memory-mapped.

use std::fmt;
use std::sync::Arc;

use memmap2::Mmap;

/// A dense f32 array. Cloning is cheap: the elements are shared until one side writes.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Storage,
}

#[derive(Clone)]
enum Storage {
    Owned(Arc<Vec<f32>>),
    /// `[offset, offset + 4 * len)` of a file, aligned to 4 bytes.
    Mapped {
        map: Arc<Mmap>,
        offset: usize,
        len: usize,
    },
}

impl Tensor {
    /// A tensor over `data`. Panics if the shape does not fit it: callers check foreign input first.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?}");
        Self { shape: shape.to_vec(), data: Storage::Owned(Arc::new(data)) }
    }

    /// All zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::new(shape, vec![0.0; shape.iter().product()])
    }

    /// Little-endian f32 elements inside a mapped file, without a copy. `None` if the range is
    /// outside the file, misaligned, or the machine is big-endian.
    pub fn mapped(shape: &[usize], map: &Arc<Mmap>, offset: usize) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))?;
        let end = offset.checked_add(len.checked_mul(4)?)?;
        let aligned = (map.as_ptr() as usize).wrapping_add(offset).is_multiple_of(4);
        if end > map.len() || !aligned || cfg!(target_endian = "big") {
            return None;
        }
        let data = Storage::Mapped { map: Arc::clone(map), offset, len };
        Some(Self { shape: shape.to_vec(), data })
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
        self.data().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[f32] {
        match &self.data {
            Storage::Owned(data) => data,
            Storage::Mapped { map, offset, len } => {
                let bytes = &map[*offset..*offset + 4 * *len];
                // SAFETY: `mapped` checked range and alignment, every bit pattern is an f32, and
                // the map lives as long as `self`. A file that another process changes underneath
                // is outside what any program that maps files can promise.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), *len) }
            }
        }
    }

    /// The elements for writing; copied first if they are mapped or shared.
    pub fn data_mut(&mut self) -> &mut Vec<f32> {
        if let Storage::Mapped { .. } = self.data {
            self.data = Storage::Owned(Arc::new(self.data().to_vec()));
        }
        match &mut self.data {
            Storage::Owned(data) => Arc::make_mut(data),
            Storage::Mapped { .. } => unreachable!("copied above"),
        }
    }

    /// The elements as a vector, without a copy where nobody shares them.
    pub fn into_data(self) -> Vec<f32> {
        match self.data {
            Storage::Owned(data) => Arc::try_unwrap(data).unwrap_or_else(|data| data.to_vec()),
            Storage::Mapped { .. } => self.data().to_vec(),
        }
    }

    /// The same elements in another shape of the same size.
    #[must_use]
    pub fn reshaped(mut self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.len(), "reshape to {shape:?}");
        self.shape = shape.to_vec();
        self
    }

    /// Adds `other`, element by element.
    pub fn add_assign(&mut self, other: &Tensor) {
        assert_eq!(self.len(), other.len());
        for (a, b) in self.data_mut().iter_mut().zip(other.data()) {
            *a += b;
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}
