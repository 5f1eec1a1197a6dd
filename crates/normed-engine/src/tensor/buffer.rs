//! Where the elements of a tensor lie: in memory, shared until someone writes, or in a mapped file.

use std::sync::Arc;

use super::mapped::{AnyBits, Mapped};
use super::pool::{self, Pooled};

/// The elements of a tensor. Cloning is cheap.
#[derive(Clone)]
pub(super) enum Buffer<T: Pooled> {
    Owned(Arc<Owned<T>>),
    Mapped(Mapped<T>),
}

/// Elements in memory, which go to the pool when they are dropped.
#[derive(Clone)]
pub(super) struct Owned<T: Pooled>(Vec<T>);

impl<T: Pooled> Drop for Owned<T> {
    fn drop(&mut self) {
        pool::give_back(std::mem::take(&mut self.0));
    }
}

impl<T: Pooled + AnyBits> Buffer<T> {
    pub fn owned(data: Vec<T>) -> Self {
        Self::Owned(Arc::new(Owned(data)))
    }

    pub fn get(&self) -> &[T] {
        match self {
            Self::Owned(data) => &data.0,
            Self::Mapped(data) => data.get(),
        }
    }

    /// The elements for writing. They are copied first if they are mapped or shared.
    pub fn get_mut(&mut self) -> &mut [T] {
        if let Self::Mapped(mapped) = self {
            let copy = Self::owned(mapped.get().to_vec());
            mapped.release_pages();
            *self = copy;
        }
        match self {
            Self::Owned(data) => &mut Arc::make_mut(data).0,
            Self::Mapped(_) => unreachable!("mapped elements were copied above"),
        }
    }

    /// The elements as a vector, without a copy if they are in memory and not shared.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::Owned(data) => match Arc::try_unwrap(data) {
                Ok(mut data) => std::mem::take(&mut data.0),
                Err(data) => data.0.clone(),
            },
            Self::Mapped(data) => data.get().to_vec(),
        }
    }

    /// The elements `[start, start + len)`: a view of mapped elements, a copy of others.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        match self {
            Self::Owned(data) => Self::owned(data.0[start..][..len].to_vec()),
            Self::Mapped(data) => Self::Mapped(data.slice(start, len)),
        }
    }

    pub fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// See [`Mapped::release_pages`].
    pub fn release_pages(&self) {
        if let Self::Mapped(data) = self {
            data.release_pages();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_copies_what_is_shared() {
        let mut a = Buffer::owned(vec![1.0f32, 2.0]);
        let address = a.get().as_ptr();
        a.get_mut()[0] = 3.0;
        assert_eq!(a.get().as_ptr(), address, "nobody shares it");
        let b = a.clone();
        a.get_mut()[1] = 4.0;
        assert_eq!((a.get(), b.get()), (&[3.0, 4.0][..], &[3.0, 2.0][..]));
        assert_eq!(b.clone().into_vec(), [3.0, 2.0]);
        let taken = b.into_vec();
        assert_eq!(taken.as_ptr(), address, "the last owner takes it without a copy");
    }
}
