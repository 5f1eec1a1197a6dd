//! The elements of a DICOM data set: tags, and the bytes of their values, in little endian (PS3.5 chapter 7 and
//! annex A).
//!
//! Nothing is allocated for a value before its bytes are known to be in the file: a length is only a claim.

use std::collections::BTreeMap;

/// Group and element.
pub(super) type Tag = (u16, u16);

const ITEM: Tag = (0xfffe, 0xe000);
const ITEM_END: Tag = (0xfffe, 0xe00d);
const SEQUENCE_END: Tag = (0xfffe, 0xe0dd);
pub(super) const PIXEL_DATA: Tag = (0x7fe0, 0x0010);

/// The length of a value that is not stated: an end marker follows the value instead.
const UNDEFINED: u32 = u32::MAX;

/// Maximum depth of nested sequences.
const DEEPEST: usize = 64;

/// The value under a tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub value: &'a [u8],
    /// Whether elements nested in it state their value representation.
    explicit: bool,
    /// Whether an end marker ends it, instead of a length.
    pub undefined: bool,
}

/// The elements of a data set, or of an item in a sequence.
#[derive(Debug, Default)]
pub(super) struct Elements<'a>(BTreeMap<Tag, Element<'a>>);

/// The header of an element: its tag, the length of its value, and whether nested elements are explicit.
struct Head {
    tag: Tag,
    length: u32,
    explicit: bool,
}

/// A position in the bytes of a file.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn broken(cause: &str) -> String {
    format!("is not a complete DICOM file: {cause}")
}

impl<'a> Cursor<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.first_chunk().ok_or_else(|| broken("it ends early"))?;
        self.at += N;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }

    fn slice(&mut self, length: u32, tag: Tag) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // If the length does not fit in memory, the file has fewer bytes in any case.
        let slice = rest.get(..usize::try_from(length).unwrap_or(usize::MAX)).ok_or_else(|| {
            let (group, element) = tag;
            let there = rest.len();
            format!(
                "is cut short: ({group:04x},{element:04x}) should have {length} bytes, and {there} are left"
            )
        })?;
        self.at += slice.len();
        Ok(slice)
    }

    fn tag(&mut self) -> Result<Tag, String> {
        Ok((self.u16()?, self.u16()?))
    }

    fn head(&mut self, explicit: bool) -> Result<Head, String> {
        let tag = self.tag()?;
        // Items and their end markers have no value representation in either syntax.
        if !explicit || tag.0 == ITEM.0 {
            return Ok(Head { tag, length: self.u32()?, explicit });
        }
        let kind = self.take::<2>()?;
        let length = match &kind {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN"
            | b"UR" | b"UT" | b"UV" => {
                self.u16()?;
                self.u32()?
            }
            _ if kind.iter().all(u8::is_ascii_uppercase) => self.u16()?.into(),
            _ => return Err(broken("an element has no valid header")),
        };
        // UN: sequences in it are encoded as in implicit data sets (PS3.5, 6.2.2, note 4).
        Ok(Head { tag, length, explicit: &kind != b"UN" })
    }

    /// Skips the content of a sequence or an item up to its end marker, and the marker.
    fn skip(&mut self, explicit: bool) -> Result<(), String> {
        let mut within = vec![explicit];
        while let Some(&explicit) = within.last() {
            let head = self.head(explicit)?;
            if head.tag == ITEM_END || head.tag == SEQUENCE_END {
                within.pop();
            } else if head.length == UNDEFINED {
                within.push(head.explicit);
                if within.len() > DEEPEST {
                    return Err(broken("its sequences are nested too deeply"));
                }
            } else {
                self.slice(head.length, head.tag)?;
            }
        }
        Ok(())
    }
}

impl<'a> Elements<'a> {
    /// Reads the elements of `bytes` up to the end, or up to the first tag that is not `wanted`. Returns
    /// them and the position where reading stopped. The pixels are the last element that is read.
    pub fn read(
        bytes: &'a [u8],
        explicit: bool,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(Self, usize), String> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut elements = Self::default();
        while !cursor.is_at_end() {
            // An element that is not wanted may have another syntax: only its tag is read.
            let mut ahead = cursor;
            if !wanted(ahead.tag()?) {
                break;
            }
            let head = cursor.head(explicit)?;
            let undefined = head.length == UNDEFINED;
            let value = if undefined {
                let begin = cursor.at;
                cursor.skip(head.explicit)?;
                &bytes[begin..cursor.at]
            } else {
                cursor.slice(head.length, head.tag)?
            };
            let element = Element { value, explicit: head.explicit, undefined };
            elements.0.entry(head.tag).or_insert(element);
            if head.tag == PIXEL_DATA {
                break;
            }
        }
        Ok((elements, cursor.at))
    }

    pub fn get(&self, tag: Tag) -> Option<Element<'a>> {
        self.0.get(&tag).copied()
    }

    /// The text under `tag`, without padding.
    pub fn text(&self, tag: Tag) -> Option<&'a str> {
        let text = str::from_utf8(self.get(tag)?.value).ok()?;
        Some(text.trim_matches([' ', '\0'])).filter(|text| !text.is_empty())
    }

    /// The first number under `tag`, where numbers are text separated by backslashes.
    pub fn number(&self, tag: Tag) -> Option<f64> {
        let first = self.text(tag)?.split('\\').next()?;
        first.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The 16-bit numbers under `tag`.
    pub fn words(&self, tag: Tag) -> Option<Vec<u16>> {
        let (words, _) = self.get(tag)?.value.as_chunks::<2>();
        Some(words.iter().map(|&word| u16::from_le_bytes(word)).collect())
    }

    /// Item `n` of the sequence under `tag`, if there is one.
    pub fn item(&self, tag: Tag, n: usize) -> Result<Option<Elements<'a>>, String> {
        let Some(sequence) = self.get(tag) else { return Ok(None) };
        let mut items = Items::of(&sequence);
        let Some(item) = items.nth(n) else { return Ok(None) };
        // End markers are not elements of the item.
        let (elements, _) = Self::read(item?, sequence.explicit, |tag| tag.0 != ITEM.0)?;
        Ok(Some(elements))
    }
}

/// Iterates over the contents of the items in a sequence, or of the fragments of compressed pixels.
pub(super) struct Items<'a> {
    cursor: Cursor<'a>,
    explicit: bool,
}

impl<'a> Items<'a> {
    pub fn of(sequence: &Element<'a>) -> Self {
        Self { cursor: Cursor { bytes: sequence.value, at: 0 }, explicit: sequence.explicit }
    }

    fn read(&mut self) -> Result<Option<&'a [u8]>, String> {
        if self.cursor.is_at_end() {
            return Ok(None);
        }
        let head = self.cursor.head(self.explicit)?;
        match head.tag {
            SEQUENCE_END => {
                self.cursor.at = self.cursor.bytes.len();
                Ok(None)
            }
            ITEM if head.length == UNDEFINED => {
                let begin = self.cursor.at;
                self.cursor.skip(self.explicit)?;
                Ok(Some(&self.cursor.bytes[begin..self.cursor.at]))
            }
            ITEM => self.cursor.slice(head.length, head.tag).map(Some),
            _ => Err(broken("a sequence lacks an item")),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<&'a [u8], String>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, Some(Err(_))) {
            self.cursor.at = self.cursor.bytes.len();
        }
        item
    }
}
