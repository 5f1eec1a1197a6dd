//! A reader of Thrift's compact protocol, in which parquet writes its footers and the headers of its pages.
//!
//! The `parquet` crate's own reader builds schemas of any depth, which overflows the stack, and passes over lists of
//! 2^31 booleans that take no byte each. Here what is passed over has a bounded depth, and every element takes a byte.
//!
//! Format: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// How deep values may be nested that are passed over.
const MAX_DEPTH: usize = 16;

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The bytes end before it does.
    Ends,
    /// It is not what the format says.
    Damaged,
}

/// The type of a value, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    const TRUE: u8 = 1;
    const FALSE: u8 = 2;
    const BYTE: u8 = 3;
    const I16: u8 = 4;
    const I32: u8 = 5;
    const I64: u8 = 6;
    const DOUBLE: u8 = 7;
    const BINARY: u8 = 8;
    const LIST: u8 = 9;
    const SET: u8 = 10;
    const MAP: u8 = 11;
    const STRUCT: u8 = 12;
    const UUID: u8 = 13;

    /// The type of a struct that is not inside of another value.
    pub const OUTERMOST: Self = Self(Self::STRUCT);

    fn expect(self, kinds: &[u8]) -> Result<(), Flaw> {
        if kinds.contains(&self.0) { Ok(()) } else { Err(Flaw::Damaged) }
    }
}

/// A position in bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads a struct. `field` gets the number and the type of each of its fields, and reads the value or passes
    /// over it.
    pub fn fields(
        &mut self,
        kind: Kind,
        mut field: impl FnMut(&mut Self, i16, Kind) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        kind.expect(&[Kind::STRUCT])?;
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head & 15 == 0 {
                return Ok(());
            }
            number = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).ok(),
                step => number.checked_add(step.into()),
            }
            .ok_or(Flaw::Damaged)?;
            field(self, number, Kind(head & 15))?;
        }
    }

    /// Reads a list. `element` gets the type of its elements, and reads one.
    pub fn elements(
        &mut self,
        kind: Kind,
        mut element: impl FnMut(&mut Self, Kind) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        kind.expect(&[Kind::LIST])?;
        let (count, kind) = self.list_head()?;
        (0..count).try_for_each(|_| element(self, kind))
    }

    /// How many elements a list has, not more than bytes are left, and their type.
    fn list_head(&mut self) -> Result<(usize, Kind), Flaw> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Ok((self.count(count)?, Kind(head & 15)))
    }

    /// A number of elements, each of which takes a byte at least.
    fn count(&self, count: u64) -> Result<usize, Flaw> {
        usize::try_from(count).ok().filter(|count| *count <= self.left()).ok_or(Flaw::Ends)
    }

    /// Reads a whole number.
    pub fn integer<N: TryFrom<i64>>(&mut self, kind: Kind) -> Result<N, Flaw> {
        let number = match kind.0 {
            Kind::BYTE => self.byte()?.cast_signed().into(),
            Kind::I16 | Kind::I32 | Kind::I64 => self.zigzag()?,
            _ => return Err(Flaw::Damaged),
        };
        N::try_from(number).map_err(|_| Flaw::Damaged)
    }

    /// Reads true or false, a field of a struct: it is in the type itself.
    pub fn truth(&mut self, kind: Kind) -> Result<bool, Flaw> {
        kind.expect(&[Kind::TRUE, Kind::FALSE])?;
        Ok(kind.0 == Kind::TRUE)
    }

    /// Reads bytes.
    pub fn bytes(&mut self, kind: Kind) -> Result<&'a [u8], Flaw> {
        kind.expect(&[Kind::BINARY])?;
        let length = self.varint()?;
        self.take(length)
    }

    /// Reads a text.
    pub fn text(&mut self, kind: Kind) -> Result<String, Flaw> {
        String::from_utf8(self.bytes(kind)?.to_vec()).map_err(|_| Flaw::Damaged)
    }

    /// Passes over the value of a field.
    pub fn pass(&mut self, kind: Kind) -> Result<(), Flaw> {
        match kind.0 {
            Kind::TRUE | Kind::FALSE => Ok(()),
            _ => self.pass_element(kind, MAX_DEPTH),
        }
    }

    /// Passes over a value outside of a struct's fields, where true and false take a byte.
    fn pass_element(&mut self, kind: Kind, depth: usize) -> Result<(), Flaw> {
        let deeper = depth.checked_sub(1).ok_or(Flaw::Damaged)?;
        match kind.0 {
            Kind::TRUE | Kind::FALSE | Kind::BYTE => self.take(1).map(drop),
            Kind::I16 | Kind::I32 | Kind::I64 => self.varint().map(drop),
            Kind::DOUBLE => self.take(8).map(drop),
            Kind::UUID => self.take(16).map(drop),
            Kind::BINARY => self.bytes(kind).map(drop),
            Kind::LIST | Kind::SET => {
                let (count, kind) = self.list_head()?;
                (0..count).try_for_each(|_| self.pass_element(kind, deeper))
            }
            Kind::MAP => {
                let count = self.varint()?;
                let count = self.count(count)?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.pass_element(Kind(kinds >> 4), deeper)?;
                    self.pass_element(Kind(kinds & 15), deeper)
                })
            }
            Kind::STRUCT => self.fields(kind, |reader, _, kind| match kind.0 {
                Kind::TRUE | Kind::FALSE => Ok(()),
                _ => reader.pass_element(kind, deeper),
            }),
            _ => Err(Flaw::Damaged),
        }
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        let (byte, rest) = self.rest.split_first().ok_or(Flaw::Ends)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Flaw> {
        let length = usize::try_from(length).map_err(|_| Flaw::Ends)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Flaw::Ends)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Flaw> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Flaw::Damaged)
    }

    fn zigzag(&mut self) -> Result<i64, Flaw> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number in field 1 after everything else was passed over.
    fn first_number(bytes: &[u8]) -> Result<Option<i32>, Flaw> {
        let mut found = None;
        let mut reader = Reader::new(bytes);
        reader.fields(Kind::OUTERMOST, |reader, number, kind| {
            if number != 1 {
                return reader.pass(kind);
            }
            found = Some(reader.integer(kind)?);
            Ok(())
        })?;
        assert_eq!(reader.left(), 0);
        Ok(found)
    }

    #[test]
    fn fields_of_every_type_are_passed_over() {
        let others: [&[u8]; 11] = [
            &[0x21],                                  // true
            &[0x22],                                  // false
            &[0x23, 0xff],                            // a byte
            &[0x26, 0x80, 0x01],                      // a number of two bytes
            &[0x27, 0, 0, 0, 0, 0, 0, 0, 0],          // a double
            &[0x28, 0x02, b'a', b'b'],                // a text
            &[0x29, 0x31, 1, 2, 1],                   // a list of three booleans
            &[0x2a, 0x28, 0x01, b'a', 0x00],          // a set of two texts
            &[0x2b, 0x01, 0x85, 0x01, b'k', 0x02],    // a map of a text and a number
            &[0x2b, 0x00],                            // a map of nothing
            &[0x2c, 0x11, 0x1c, 0x15, 0x02, 0, 0x00], // structs
        ];
        for other in others {
            let whole = [other, &[0x05, 0x02, 0x0d, 0x00]].concat();
            assert_eq!(first_number(&whole), Ok(Some(-7)), "{other:?}");
            for length in 0..whole.len() {
                assert_eq!(first_number(&whole[..length]), Err(Flaw::Ends), "{other:?}");
            }
        }
        assert_eq!(first_number(&[0x18, 0x00, 0x00]), Err(Flaw::Damaged));
        assert_eq!(first_number(&[0x2e, 0x00]), Err(Flaw::Damaged));
    }

    #[test]
    fn what_takes_few_bytes_is_passed_in_few_steps() {
        let most = [0xff, 0xff, 0xff, 0xff, 0x07];
        // 2^31 - 1 booleans, and as many lists of them.
        let booleans = [&[0x29, 0xf1][..], &most, &[0; 64]].concat();
        let lists = [&[0x29, 0xf9][..], &most, &[0xf1], &most, &[0; 64]].concat();
        let map = [&[0x2b][..], &most, &[0x11], &[0; 64]].concat();
        for bytes in [booleans, lists, map] {
            assert_eq!(first_number(&bytes), Err(Flaw::Ends));
        }
        // Lists in lists, and structs in structs, a million deep.
        for nested in [0x19, 0x1c] {
            let mut bytes = vec![0x20 | nested & 15];
            bytes.resize(1_000_001, nested);
            assert_eq!(first_number(&bytes), Err(Flaw::Damaged));
        }
    }
}
