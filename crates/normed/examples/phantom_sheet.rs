//! Draws phantoms of both domains side by side and prints their questions.
//!
//! `cargo run --release --example phantom_sheet -- FILE.png [COLUMNS [SEED]]`: one picture a column and
//! row, the source domain above the shifted one; then how many examples a second one core draws.

use std::time::Instant;

use normed::data::phantom::{IMAGE_SIZE, Phantom};
use normed::data::{Dataset, ImageSource, PhantomDomain};

/// How often each pixel is repeated in either direction.
const ZOOM: usize = 3;
/// Pictures of one domain are in this many rows.
const ROWS: usize = 4;
/// Examples that share a picture.
const STRIDE: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which PNG file to write?")?;
    let columns: usize = arguments.next().map_or(Ok(8), |n| n.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(0), |n| n.parse())?;

    let cell = IMAGE_SIZE + 2;
    let (width, height) = (columns * cell * ZOOM, 2 * ROWS * cell * ZOOM);
    let mut sheet =
        image::RgbImage::from_pixel(width as u32, height as u32, image::Rgb([90, 60, 0]));
    let counts = [columns * ROWS * STRIDE, 0, 0];
    for (band, domain) in [PhantomDomain::Source, PhantomDomain::Shifted].into_iter().enumerate() {
        let phantom = Phantom::new(domain, counts, seed)?;
        let reports = phantom.with_reports();
        for n in 0..columns * ROWS {
            let report = reports.get(n)?;
            let [ImageSource::Drawn(image)] = &report.images[..] else {
                return Err("a phantom is drawn".into());
            };
            let image = image.draw();
            let (left, top) = ((n % columns) * cell, (band * ROWS + n / columns) * cell);
            for y in 0..IMAGE_SIZE * ZOOM {
                for x in 0..IMAGE_SIZE * ZOOM {
                    let i = (y / ZOOM * IMAGE_SIZE + x / ZOOM) * 3;
                    let color = [image.rgb[i], image.rgb[i + 1], image.rgb[i + 2]];
                    let at = ((left * ZOOM + x) as u32, (top * ZOOM + y) as u32);
                    sheet.put_pixel(at.0, at.1, image::Rgb(color));
                }
            }
            if band == 0 {
                println!("{n}: {}", report.expect_answer()?.text);
                for i in n * STRIDE..(n + 1) * STRIDE {
                    let example = phantom.get(i)?;
                    println!("    {} {}", example.question, example.expect_answer()?.text);
                }
            }
        }
    }
    sheet.save(&file)?;

    let phantom = Phantom::new(PhantomDomain::Shifted, [8_000, 0, 0], seed)?;
    let start = Instant::now();
    for i in 0..phantom.len() {
        phantom.get(i)?;
    }
    let rate = phantom.len() as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} examples a second");
    Ok(())
}
