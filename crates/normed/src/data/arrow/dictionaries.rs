//! The dictionaries of a stream: values that columns refer to by number. Later messages add to one, or replace it.

use std::collections::HashMap;

use super::batch::Batch;

/// The dictionaries of a stream, by their numbers.
#[derive(Default)]
pub(super) struct Dictionaries(HashMap<i64, Vec<Part>>);

/// A message that holds a dictionary, or a part of one.
struct Part {
    values: Batch,
    /// The record batches before it, which do not know of it.
    batches_before: usize,
    /// The first part of the dictionary that it belongs to.
    first: usize,
}

impl Dictionaries {
    /// Adds the values of a message after `batches` record batches: more of dictionary `id`, or a new one.
    pub fn add(&mut self, id: i64, values: Batch, is_added_to: bool, batches: usize) {
        let parts = self.0.entry(id).or_default();
        let first = match parts.last() {
            Some(last) if is_added_to => last.first,
            _ => parts.len(),
        };
        parts.push(Part { values, batches_before: batches, first });
    }

    /// The parts of dictionary `id`, as record batch `batch` refers to it, counted from 0.
    pub fn parts(&self, id: i64, batch: usize) -> impl Iterator<Item = &Batch> {
        let parts = self.0.get(&id).map_or(&[][..], Vec::as_slice);
        let known = &parts[..parts.partition_point(|part| part.batches_before <= batch)];
        let first = known.last().map_or(0, |last| last.first);
        known[first..].iter().map(|part| &part.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_refers_to_what_came_before_it() {
        let batch = |rows| Batch { rows, ..Batch::default() };
        let mut dictionaries = Dictionaries::default();
        // The first batch knows one part, the second two, and the third what replaced them.
        for (rows, is_added_to, batches) in
            [(1, false, 0), (2, true, 1), (3, false, 2), (4, true, 2)]
        {
            dictionaries.add(7, batch(rows), is_added_to, batches);
        }
        for (number, want) in [(0, &[1][..]), (1, &[1, 2]), (2, &[3, 4]), (9, &[3, 4])] {
            let rows: Vec<_> = dictionaries.parts(7, number).map(|part| part.rows).collect();
            assert_eq!(rows, want, "batch {number}");
        }
        assert_eq!(dictionaries.parts(8, 0).count(), 0);
    }
}
