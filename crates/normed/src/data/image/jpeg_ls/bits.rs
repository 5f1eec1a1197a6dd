//! The bits of a scan.

/// Reads the bits of a scan, the highest of each byte first. A byte after 0xFF has seven bits (T.87, A.1).
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that are read ahead, in the lowest places.
    ahead: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, ahead: 0, count: 0 }
    }

    /// Reads ahead until there are at least 48 bits, or the scan ends.
    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            let after_ff = self.at > 0 && self.bytes[self.at - 1] == 0xff;
            let is_marker = |next: &u8| *next >= 0x80;
            if byte == 0xff && self.bytes.get(self.at + 1).is_none_or(is_marker) {
                return;
            }
            let width = if after_ff { 7 } else { 8 };
            self.ahead = (self.ahead << width) | u64::from(byte);
            self.count += width;
            self.at += 1;
        }
    }

    /// The next `count` bits, at most 16.
    pub fn bits(&mut self, count: u32) -> Result<i32, String> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count).ok_or("it is cut short")?;
        Ok(((self.ahead >> self.count) & ((1 << count) - 1)) as i32)
    }

    /// The number of zeros before the next one, at most `most`; the one is read, too.
    pub fn zeros(&mut self, most: i32) -> Result<i32, String> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
            if zeros > most {
                return Err("it has a code that is too long".into());
            }
        }
        Ok(zeros)
    }

    /// The position of the marker after the scan.
    pub fn end(&self) -> usize {
        let rest = &self.bytes[self.at..];
        let marker = rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] >= 0x80);
        self.at + marker.unwrap_or(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_after_ff_has_seven_bits() {
        let mut reader = BitReader::new(&[0xff, 0x7f, 0x01, 0xff, 0xd9], 0);
        assert_eq!(reader.bits(15).unwrap(), 0x7fff);
        assert_eq!(reader.zeros(20).unwrap(), 7);
        assert!(reader.bits(1).is_err());
        assert_eq!(reader.end(), 3);
        assert!(BitReader::new(&[0, 0, 0], 0).zeros(20).is_err());
    }
}
