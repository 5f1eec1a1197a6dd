//! The elements of a DICOM data set: tags, and the bytes of their values (PS3.5 chapter 7 and annex A).
//!
//! Nothing is allocated for a value before its bytes are known to be in the file: a length is only a claim.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Group and element.
pub(super) type Tag = (u16, u16);

const ITEM: Tag = (0xfffe, 0xe000);
const ITEM_END: Tag = (0xfffe, 0xe00d);
const SEQUENCE_END: Tag = (0xfffe, 0xe0dd);
pub(super) const PIXEL_DATA: Tag = (0x7fe0, 0x0010);
pub(super) const FLOAT_PIXEL_DATA: Tag = (0x7fe0, 0x0008);
pub(super) const DOUBLE_PIXEL_DATA: Tag = (0x7fe0, 0x0009);

/// The length of a value that is not stated: an end marker follows the value instead.
const UNDEFINED: u32 = u32::MAX;

/// Maximum depth of nested sequences.
const DEEPEST: usize = 64;

/// How the elements of a data set are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether elements state their value representation.
    pub explicit: bool,
    pub big_endian: bool,
}

impl Encoding {
    pub const IMPLICIT: Self = Self { explicit: false, big_endian: false };
    pub const EXPLICIT: Self = Self { explicit: true, big_endian: false };

    /// The encoding of the data set in `bytes`, by its first element: files claim the opposite at times. The
    /// groups of first elements are small numbers, so that one of their two bytes is 0.
    pub fn of_data_set(self, bytes: &[u8]) -> Self {
        let big_endian = match bytes {
            [0, 1..=255, ..] => true,
            [1..=255, 0, ..] => false,
            _ => self.big_endian,
        };
        let encoding = self.of_item(bytes);
        Self { big_endian: big_endian && encoding.explicit, ..encoding }
    }

    /// The encoding of the item of a sequence in `bytes`, whose first element shows whether value
    /// representations are stated. A length that looks like one would be at least 16,705.
    fn of_item(self, bytes: &[u8]) -> Self {
        let explicit = match bytes.get(4..6) {
            Some(kind) if !bytes.starts_with(&[0xfe, 0xff]) => is_value_representation(kind),
            _ => self.explicit,
        };
        Self { explicit, ..self }
    }
}

/// Whether two bytes may be a value representation.
pub(super) fn is_value_representation(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_uppercase)
}

/// The value under a tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub value: &'a [u8],
    /// The value representation; zeros if the file does not state it.
    pub kind: [u8; 2],
    /// The encoding of the value, and of elements nested in it.
    pub encoding: Encoding,
    /// Whether an end marker ends it, instead of a length.
    pub undefined: bool,
}

impl<'a> Element<'a> {
    /// The value as 16-bit numbers.
    pub fn words(&self) -> impl Iterator<Item = u16> + use<'a> {
        let big_endian = self.encoding.big_endian;
        let (words, _) = self.value.as_chunks::<2>();
        words.iter().map(move |&word| match big_endian {
            true => u16::from_be_bytes(word),
            false => u16::from_le_bytes(word),
        })
    }

    /// The value as bytes. In big endian, bytes in words (OW) have changed places.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        if !self.encoding.big_endian || &self.kind != b"OW" {
            return self.value.into();
        }
        let mut bytes = self.value.to_vec();
        bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse());
        bytes.into()
    }
}

/// The elements of a data set, or of an item in a sequence.
#[derive(Debug, Default)]
pub(super) struct Elements<'a>(BTreeMap<Tag, Element<'a>>);

/// The header of an element: its tag, the length and representation of its value, and how the value is
/// encoded.
struct Head {
    tag: Tag,
    length: u32,
    kind: [u8; 2],
    encoding: Encoding,
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

    fn u16(&mut self, big_endian: bool) -> Result<u16, String> {
        let bytes = self.take()?;
        Ok(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&mut self, big_endian: bool) -> Result<u32, String> {
        let bytes = self.take()?;
        Ok(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
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

    fn tag(&mut self, big_endian: bool) -> Result<Tag, String> {
        Ok((self.u16(big_endian)?, self.u16(big_endian)?))
    }

    fn head(&mut self, encoding: Encoding) -> Result<Head, String> {
        let Encoding { explicit, big_endian } = encoding;
        let tag = self.tag(big_endian)?;
        let after_tag = self.at;
        // Items and their end markers have no value representation in either syntax.
        if !explicit || tag.0 == ITEM.0 {
            return Ok(Head { tag, length: self.u32(big_endian)?, kind: [0; 2], encoding });
        }
        let kind = self.take::<2>()?;
        match &kind {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UR"
            | b"UT" | b"UV" => {
                self.take::<2>()?;
                Ok(Head { tag, length: self.u32(big_endian)?, kind, encoding })
            }
            // Sequences in it are encoded as in implicit data sets (PS3.5, 6.2.2, note 4).
            b"UN" => {
                self.take::<2>()?;
                let length = self.u32(big_endian)?;
                Ok(Head { tag, length, kind, encoding: Encoding::IMPLICIT })
            }
            _ if is_value_representation(&kind) => {
                Ok(Head { tag, length: self.u16(big_endian)?.into(), kind, encoding })
            }
            // Some programs write implicit elements into explicit data sets.
            _ => {
                self.at = after_tag;
                let encoding = Encoding { explicit: false, big_endian };
                Ok(Head { tag, length: self.u32(big_endian)?, kind: [0; 2], encoding })
            }
        }
    }

    /// Skips the content of a sequence or an item up to its end marker, and the marker.
    fn skip(&mut self, encoding: Encoding) -> Result<(), String> {
        let mut within = vec![encoding];
        while let Some(&encoding) = within.last() {
            let head = self.head(encoding)?;
            if head.tag == ITEM_END || head.tag == SEQUENCE_END {
                within.pop();
            } else if head.length == UNDEFINED {
                within.push(head.encoding);
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
        encoding: Encoding,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(Self, usize), String> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut elements = Self::default();
        while !cursor.is_at_end() {
            // An element that is not wanted may have another syntax: only its tag is read.
            let mut ahead = cursor;
            if !wanted(ahead.tag(encoding.big_endian)?) {
                break;
            }
            let Head { tag, length, kind, encoding } = cursor.head(encoding)?;
            let undefined = length == UNDEFINED;
            let value = if undefined {
                let begin = cursor.at;
                cursor.skip(encoding)?;
                &bytes[begin..cursor.at]
            } else {
                cursor.slice(length, tag)?
            };
            elements.0.entry(tag).or_insert(Element { value, kind, encoding, undefined });
            if [PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA].contains(&tag) {
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

    /// The first number under `tag`, called `name`, where numbers are text separated by backslashes.
    /// `None` if there is none.
    pub fn number(&self, tag: Tag, name: &str) -> Result<Option<f64>, String> {
        let Some(element) = self.get(tag) else { return Ok(None) };
        let first = element.value.split(|&byte| byte == b'\\').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        let first = first.trim_matches([' ', '\0']);
        if first.is_empty() {
            return Ok(None);
        }
        match first.parse() {
            Ok(number) if f64::is_finite(number) => Ok(Some(number)),
            _ => Err(format!("its {name} is `{first}`, not a number")),
        }
    }

    /// The first of the 16-bit numbers under `tag`.
    pub fn word(&self, tag: Tag) -> Option<u16> {
        self.get(tag)?.words().next()
    }

    /// Item `n` of the sequence under `tag`, if there is one.
    pub fn item(&self, tag: Tag, n: usize) -> Result<Option<Elements<'a>>, String> {
        let Some(sequence) = self.get(tag) else { return Ok(None) };
        let mut items = Items::of(&sequence);
        let Some(item) = items.nth(n) else { return Ok(None) };
        let item = item?;
        // Implicit sequences have no explicit items.
        let encoding = match sequence.encoding.explicit {
            true => sequence.encoding.of_item(item),
            false => sequence.encoding,
        };
        // End markers are not elements of the item.
        let (elements, _) = Self::read(item, encoding, |tag| tag.0 != ITEM.0)?;
        Ok(Some(elements))
    }
}

/// Iterates over the contents of the items in a sequence, or of the fragments of compressed pixels.
pub(super) struct Items<'a> {
    cursor: Cursor<'a>,
    encoding: Encoding,
}

impl<'a> Items<'a> {
    pub fn of(sequence: &Element<'a>) -> Self {
        Self { cursor: Cursor { bytes: sequence.value, at: 0 }, encoding: sequence.encoding }
    }

    fn read(&mut self) -> Result<Option<&'a [u8]>, String> {
        if self.cursor.is_at_end() {
            return Ok(None);
        }
        let head = self.cursor.head(self.encoding)?;
        match head.tag {
            SEQUENCE_END => {
                self.cursor.at = self.cursor.bytes.len();
                Ok(None)
            }
            ITEM if head.length == UNDEFINED => {
                let begin = self.cursor.at;
                self.cursor.skip(self.encoding)?;
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
