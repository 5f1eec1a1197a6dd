//! TensorBoard event files with scalars. They are written here, since the crates that write them need a
//! protobuf compiler.
//!
//! A file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h): length `u64`, its masked
//! CRC-32C, the bytes, their masked CRC-32C, all little-endian. The bytes are an `Event` message
//! (tensorflow/core/util/event.proto): `double wall_time = 1; int64 step = 2; string
//! file_version = 3; Summary summary = 5`, with `Summary { repeated Value value = 1 }` and
//! `Value { string tag = 1; float simple_value = 2 }`.

use super::append_file::AppendFile;
use crate::Result;

/// Writes the first record of a file.
pub(super) fn write_version(file: &mut AppendFile, wall_time: f64) -> Result<()> {
    let mut event = double(1, wall_time);
    event.extend(bytes(3, b"brain.Event:2"));
    file.write(&record(&event))
}

/// Writes one point of each curve in `scalars`.
pub(super) fn write_scalars(
    file: &mut AppendFile,
    wall_time: f64,
    step: usize,
    scalars: &[(&str, f64)],
) -> Result<()> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut point = bytes(1, tag.as_bytes());
        point.push(2 << 3 | 5);
        point.extend((*value as f32).to_le_bytes());
        summary.extend(bytes(1, &point));
    }
    let mut event = double(1, wall_time);
    event.push(2 << 3);
    event.extend(varint(step as u64));
    event.extend(bytes(5, &summary));
    file.write(&record(&event))
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(event);
    record.extend(masked_crc(event).to_le_bytes());
    record
}

/// Encodes field `number` with a value of eight bytes.
fn double(number: u8, value: f64) -> Vec<u8> {
    let mut field = vec![number << 3 | 1];
    field.extend(value.to_le_bytes());
    field
}

/// Encodes field `number` with a value that is preceded by its length.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(value.len() as u64));
    field.extend(value);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), reflected, bit by bit, since records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_point_is_encoded_as_tensorboard_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.out.tfevents");
        let mut file = AppendFile::open(&path, 0).unwrap();
        write_scalars(&mut file, 1.5, 300, &[("loss", 0.25)]).unwrap();
        let written = std::fs::read(&path).unwrap();
        let event: &[u8] = &[
            0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, // wall_time = 1.5
            0x10, 0xAC, 0x02, // step = 300
            0x2A, 13, 0x0A, 11, // summary, one value
            0x0A, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0x80, 0x3E, // tag, simple_value
        ];
        assert_eq!(written[..8], (event.len() as u64).to_le_bytes());
        assert_eq!(written[12..12 + event.len()], *event);
        assert_eq!(written.len(), 8 + 4 + event.len() + 4);
    }
}
