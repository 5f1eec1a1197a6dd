//! Writes the spreadsheet and the images of the manual's page "The first hour": computer-drawn images of another
//! hospital than that of `models/phantom`, two of each imaginary patient, with four questions each.
//!
//! ```sh
//! cargo run --release -p normed --example first_hour -- docs/first-hour
//! ```

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use normed::data::phantom::Phantom;
use normed::data::{Dataset, PhantomDomain};

const IMAGES: usize = 50;
const QUESTIONS_PER_IMAGE: usize = 4;
const IMAGES_PER_PATIENT: usize = 2;
const QUALITY: u8 = 90;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder.join("scans"))?;
    let rows = IMAGES * QUESTIONS_PER_IMAGE;
    let phantom = Phantom::new(PhantomDomain::Shifted, [rows, 0, 0], 2024)?;
    let mut table = "Patient,File,Modality,Question,Answer\n".to_owned();
    for i in 0..rows {
        let example = phantom.get(i)?;
        let image = i / QUESTIONS_PER_IMAGE;
        let name = format!("scan_{:03}", image + 1);
        if i % QUESTIONS_PER_IMAGE == 0 {
            let drawn = example.images[0].load()?;
            let gray: Vec<u8> = drawn.rgb.chunks(3).map(|pixel| pixel[0]).collect();
            let file = fs::File::create(folder.join("scans").join(format!("{name}.jpg")))?;
            let (width, height) = (drawn.width as u32, drawn.height as u32);
            JpegEncoder::new_with_quality(file, QUALITY).write_image(
                &gray,
                width,
                height,
                ExtendedColorType::L8,
            )?;
        }
        let patient = image / IMAGES_PER_PATIENT + 1;
        let modality = &example.attributes["modality"];
        table += &format!(
            "P{patient:02},{name},{modality},\"{}\",{}\n",
            example.question,
            example.expect_answer()?.text
        );
    }
    fs::write(folder.join("qa.csv"), table)?;
    Ok(())
}
