//! Where matrix products write: a matrix that several tasks fill at once.

use std::marker::PhantomData;

/// A row-major matrix inside a borrowed slice whose elements several tasks write at once, each task
/// its own elements. Copies refer to the same matrix.
pub(in crate::ops) struct Rows<'a, T> {
    start: *mut T,
    len: usize,
    /// Elements from one row to the next.
    stride: usize,
    /// The slice stays borrowed as long as a copy of `self` lives.
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Rows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rows<'_, T> {}

// SAFETY: `Rows` stands for a `&mut [T]`, which is `Send` where `T` is. Elements are reached only
// through `at`, whose caller promises that no other thread touches them meanwhile.
unsafe impl<T: Send> Send for Rows<'_, T> {}
// SAFETY: As for `Send`: a shared `Rows` hands out elements through `at` alone.
unsafe impl<T: Send> Sync for Rows<'_, T> {}

impl<'a, T> Rows<'a, T> {
    /// The matrix whose rows start every `stride` elements of `data`.
    pub fn new(data: &'a mut [T], stride: usize) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), stride, borrow: PhantomData }
    }

    /// The part that starts `offset` elements later, with the same stride: `[row, col]` of the part
    /// is the element `row * stride + col + offset` of the slice.
    ///
    /// # Panics
    /// If the offset is beyond the end of the slice.
    pub fn offset_by(self, offset: usize) -> Self {
        assert!(offset <= self.len, "offset {offset} in a slice of {} elements", self.len);
        // SAFETY: The result is inside the slice or at its end, by the assertion.
        let start = unsafe { self.start.add(offset) };
        Self { start, len: self.len - offset, ..self }
    }

    /// The elements `[row, col..col + width]`.
    ///
    /// # Safety
    /// - While the result is in use, nothing else may read or write these elements: no other task,
    ///   and no other result of `at` from any copy of `self`.
    /// - `row * stride + col + width` must not overflow.
    ///
    /// # Panics
    /// If the elements are beyond the end of the slice.
    #[inline(always)]
    pub unsafe fn at(self, row: usize, col: usize, width: usize) -> &'a mut [T] {
        let start = row * self.stride + col;
        assert!(start + width <= self.len);
        // SAFETY: The elements are inside the slice, by the assertion on numbers that did not
        // overflow. The slice is borrowed for `'a`, and by the caller's promise nobody else uses
        // these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_rows_are_where_their_offsets_say() {
        let mut data: Vec<usize> = (0..12).collect();
        let rows = Rows::new(&mut data, 4);
        // SAFETY: One result of `at` is in use at a time, and the indices are small.
        let at =
            |rows: Rows<'_, usize>, row, col, width| unsafe { rows.at(row, col, width).to_vec() };
        assert_eq!(at(rows, 2, 1, 3), [9, 10, 11]);
        assert_eq!(at(rows.offset_by(5), 1, 1, 2), [10, 11]);
        let beyond = std::panic::catch_unwind(|| {
            let mut data = [0; 12];
            at(Rows::new(&mut data, 4), 2, 2, 3)
        });
        assert!(beyond.is_err());
    }
}
