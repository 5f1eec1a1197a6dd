//! Look-up tables (C.7.6.3.1.5, C.11.1.1 and C.11.2.1.1).

use super::elements::{Element, Elements, Tag};
use super::samples::narrow;

/// The descriptor of a look-up table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// The number of entries, 1 to 65,536.
    pub length: usize,
    /// The stored value of the first entry.
    pub first: i32,
    /// Bits of an entry, as the file states them.
    pub bits: u16,
}

impl Descriptor {
    /// Reads the descriptor under `tag`. `signed` says whether stored values have a sign.
    pub fn read(elements: &Elements<'_>, tag: Tag, signed: bool) -> Option<Self> {
        let element = elements.get(tag)?;
        let words: Vec<_> = element.words().collect();
        let &[length, first, bits] = words.as_slice() else { return None };
        let signed = signed || &element.kind == b"SS";
        Some(Self {
            // 0 stands for 65,536.
            length: if length == 0 { 1 << 16 } else { length.into() },
            first: if signed { i32::from(first as i16) } else { first.into() },
            bits,
        })
    }

    /// The place of `stored` in the table: values outside of it have its first or last entry.
    pub fn index(&self, stored: i32) -> usize {
        usize::try_from(i64::from(stored) - i64::from(self.first)).unwrap_or(0).min(self.length - 1)
    }
}

/// The `length` entries in `data`, and whether they are words. They are bytes where there are not enough words.
pub(super) fn entries(data: &Element<'_>, length: usize) -> Result<(Vec<u16>, bool), String> {
    let are_words = data.value.len() >= 2 * length;
    let mut entries: Vec<u16> = match are_words {
        true => data.words().collect(),
        false => narrow(&data.bytes(), 8).into_iter().map(|entry| entry as u16).collect(),
    };
    if entries.len() < length {
        return Err(format!("its look-up table has {} of {length} entries", entries.len()));
    }
    entries.truncate(length);
    Ok((entries, are_words))
}

#[cfg(test)]
mod tests {
    use super::super::elements::Encoding;
    use super::*;

    #[test]
    fn tables_are_of_words_or_of_bytes() {
        let entries = |value, length| {
            let encoding = Encoding::EXPLICIT;
            entries(&Element { value, kind: *b"OW", encoding, undefined: false }, length)
        };
        assert_eq!(entries(&[1, 2, 3, 4], 2).unwrap(), (vec![0x0201, 0x0403], true));
        assert_eq!(entries(&[1, 2, 3, 4], 4).unwrap(), (vec![1, 2, 3, 4], false));
        assert!(entries(&[1, 2, 3], 4).is_err());
        assert!(entries(&[1, 2, 3], 1 << 16).unwrap_err().contains("of 65536"));
    }

    #[test]
    fn values_outside_of_a_table_have_its_ends() {
        let table = Descriptor { length: 4, first: -2, bits: 8 };
        assert_eq!([-9, -2, 0, 1, 9].map(|stored| table.index(stored)), [0, 0, 2, 3, 3]);
    }
}
