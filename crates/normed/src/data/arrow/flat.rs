//! A reader of FlatBuffers, in which Arrow writes its schemas and the layout of its batches.
//!
//! Every offset is checked. The `flatbuffers` crate reads safely only what is generated for a schema.

/// A table: fields by their numbers, each of which may be absent.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A list of values of one size, stored one after the other.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    bytes: &'a [u8],
    at: usize,
    length: usize,
}

impl<'a> Table<'a> {
    /// The outermost table.
    pub fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::referred(bytes, 0)
    }

    /// The table to which the offset at `at` refers.
    fn referred(bytes: &'a [u8], at: usize) -> Option<Self> {
        Some(Self { bytes, at: follow(bytes, at)? })
    }

    /// Where field `number` is, if it is there.
    fn field(&self, number: usize) -> Option<usize> {
        let back = i32::from_le_bytes(array(self.bytes, self.at)?);
        let fields = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(array(self.bytes, fields)?));
        let entry = 4 + 2 * number;
        if entry + 2 > size {
            return None;
        }
        let offset = u16::from_le_bytes(array(self.bytes, fields.checked_add(entry)?)?);
        if offset == 0 { None } else { self.at.checked_add(offset.into()) }
    }

    /// The bytes of a number, or zeros if the field is absent: FlatBuffers leave out numbers that are 0.
    fn number<const N: usize>(&self, number: usize) -> [u8; N] {
        self.field(number).and_then(|at| array(self.bytes, at)).unwrap_or([0; N])
    }

    pub fn u8(&self, number: usize) -> u8 {
        self.number::<1>(number)[0]
    }

    pub fn i16(&self, number: usize) -> i16 {
        i16::from_le_bytes(self.number(number))
    }

    pub fn i32(&self, number: usize) -> i32 {
        i32::from_le_bytes(self.number(number))
    }

    pub fn i64(&self, number: usize) -> i64 {
        i64::from_le_bytes(self.number(number))
    }

    pub fn table(&self, number: usize) -> Option<Self> {
        Self::referred(self.bytes, self.field(number)?)
    }

    pub fn text(&self, number: usize) -> Option<&'a str> {
        let at = follow(self.bytes, self.field(number)?)?;
        let length = u32::from_le_bytes(array(self.bytes, at)?) as usize;
        let text = self.bytes.get(at.checked_add(4)?..)?.get(..length)?;
        std::str::from_utf8(text).ok()
    }

    /// The list in field `number`, whose values have `size` bytes; an empty one if the field is absent.
    pub fn vector(&self, number: usize, size: usize) -> Option<Vector<'a>> {
        let bytes = self.bytes;
        let Some(field) = self.field(number) else {
            return Some(Vector { bytes, at: 0, length: 0 });
        };
        let at = follow(bytes, field)?;
        let length = u32::from_le_bytes(array(bytes, at)?) as usize;
        let at = at.checked_add(4)?;
        bytes.get(at..)?.get(..length.checked_mul(size)?)?;
        Some(Vector { bytes, at, length })
    }

    /// The tables in the list in field `number`.
    pub fn tables(&self, number: usize) -> Option<impl Iterator<Item = Option<Self>> + use<'a>> {
        let Vector { bytes, at, length } = self.vector(number, 4)?;
        Some((0..length).map(move |i| Self::referred(bytes, at + 4 * i)))
    }
}

impl Vector<'_> {
    /// The values as rows of `N` numbers of 64 bits.
    pub fn numbers<const N: usize>(&self) -> Option<Vec<[i64; N]>> {
        let number = |at: usize| Some(i64::from_le_bytes(array(self.bytes, at)?));
        let row = |i: usize| {
            let mut row = [0; N];
            for (j, value) in row.iter_mut().enumerate() {
                *value = number(self.at + 8 * (i * N + j))?;
            }
            Some(row)
        };
        (0..self.length).map(row).collect()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Where the offset at `at` refers to.
fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(u32::from_le_bytes(array(bytes, at)?) as usize)
}
