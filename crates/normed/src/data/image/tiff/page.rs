//! Checks and decodes one page.

use std::io::Cursor;

use super::directory::Directory;
use super::layout::{Layout, SampleKind};
use super::photometric::Colors;
use super::sample::Samples;
use super::{chunk, color};
use crate::data::image::header::{ImageHeader, Remark};
use crate::data::image::options::{ImageOptions, Window};
use crate::data::image::pixels::Image;
use crate::data::image::source::{Source, length};

/// The remark on pages whose samples have no range of their own.
const STRETCHED: Remark = Remark(
    "values that are signed or floating-point numbers, which are shown from the smallest to the largest of \
     each image (data.image.window)",
);

/// Reads the tags of a page, and checks that [`decode`] supports it and that no chunk is cut off.
pub(in crate::data::image) fn check(
    source: &mut dyn Source,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let file_bytes = length(source)?;
    let layout = Layout::read(&Directory::read(source, options.frame)?, file_bytes)?;
    let (bits, samples) = (layout.bits, layout.samples);
    let is_deep = layout.kind == SampleKind::Unsigned && (9..=16).contains(&bits);
    let is_stretched = layout.kind != SampleKind::Unsigned || bits > 16;
    // Real samples are copied once more for percentiles.
    let (sample_bytes, shown_bytes) = match (is_stretched, is_deep) {
        (true, _) => (2 * size_of::<f64>(), 1),
        (false, true) => (2, 2),
        (false, false) => (1, 1),
    };
    let pixels = layout.width * layout.height;
    // All samples, those that are shown with their opacity, and a chunk.
    let chunk = layout.chunk[0] * layout.chunk[1] * samples * bits.div_ceil(8) as usize;
    let turned = if layout.orientation.is_some() { 3 * pixels } else { 0 };
    let decoder_bytes = pixels * (samples * sample_bytes + 4 * shown_bytes) + 3 * chunk + turned;
    let size = [layout.width, layout.height];
    let size = layout.orientation.map_or(size, |orientation| orientation.upright_size(size));
    let mut header = ImageHeader::new("TIFF", size, bits, file_bytes, decoder_bytes as u64);
    if !is_stretched {
        return Ok(header.with_range(options));
    }
    if options.window == Window::Header {
        header.remarks.push(STRETCHED);
    }
    Ok(header)
}

/// Decodes a page. It is turned upright as its tag says, as Pillow turns it.
pub(in crate::data::image) fn decode(
    bytes: &[u8],
    options: &ImageOptions,
) -> Result<Image, String> {
    let tags = Directory::read(&mut Cursor::new(bytes), options.frame)?;
    let layout = Layout::read(&tags, bytes.len() as u64)?;
    let mut samples = Samples::new(&layout);
    let (_, per_plane) = layout.chunk_counts();
    for (n, &(offset, length)) in layout.chunks.iter().enumerate() {
        let (plane, i) = (n / per_plane, n % per_plane);
        let end = offset as usize + length as usize;
        // `Layout::read` has checked that chunks are within the file.
        let compressed = bytes.get(offset as usize..end).unwrap_or_default();
        let mut raw = chunk::decompress(&layout, i, compressed)?;
        if let Colors::YCbCr(shared) = layout.colors {
            raw = split_units(&raw, layout.chunk[0], layout.stored_rows(i), shared);
        }
        put_chunk(&layout, &mut samples, (plane, i), &raw);
    }
    let image = color::to_rgb(&layout, &samples, options)?;
    Ok(match layout.orientation {
        Some(orientation) => orientation.apply(&image),
        None => image,
    })
}

/// Puts the rows of chunk `i` of a plane in their place.
fn put_chunk(layout: &Layout, samples: &mut Samples, (plane, i): (usize, usize), raw: &[u8]) {
    let (across, _) = layout.chunk_counts();
    let [chunk_width, chunk_height] = layout.chunk;
    let (left, top) = (i % across * chunk_width, i / across * chunk_height);
    let width = chunk_width.min(layout.width - left);
    let height = chunk_height.min(layout.height - top);
    let row_bytes = layout.row_bytes(chunk_width);
    for (y, row) in raw.chunks_exact(row_bytes).take(height).enumerate() {
        let pixel = (top + y) * layout.width + left;
        let at = pixel * layout.samples + plane;
        let step = if layout.is_planar { layout.samples } else { 1 };
        samples.put(layout, row, (at, step, width * layout.chunk_samples()));
    }
}

/// YCbCr pixels of units that share Cb and Cr (TIFF 6.0, section 21).
fn split_units(units: &[u8], width: usize, height: usize, [across, down]: [usize; 2]) -> Vec<u8> {
    let unit_bytes = across * down + 2;
    let units_across = width.div_ceil(across);
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let unit = (y / down * units_across + x / across) * unit_bytes;
            let brightness = unit + y % down * across + x % across;
            let color = unit + across * down;
            pixels.extend([units[brightness], units[color], units[color + 1]]);
        }
    }
    pixels
}
