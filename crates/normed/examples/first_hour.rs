//! Writes the spreadsheet and the images of the manual's page "The first hour": computer-drawn images of another
//! hospital than that of `models/phantom`, two of each imaginary patient, with four questions each. The other hospital's
//! images are pale, with little contrast. The base model reads them badly, and training helps within a minute.
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

const IMAGES: usize = 300;
const QUESTIONS_PER_IMAGE: usize = 4;
const IMAGES_PER_PATIENT: usize = 2;
const QUALITY: u8 = 80;
/// The gray that black becomes, and the part that is left of the distance from black to white.
const BLACK: f32 = 130.0;
const CONTRAST: f32 = 0.15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder.join("scans"))?;
    let rows = IMAGES * QUESTIONS_PER_IMAGE;
    let phantom = Phantom::new(PhantomDomain::Source, [rows, 0, 0], 2024)?;
    let mut table = "Patient,File,Modality,Question,Answer\n".to_owned();
    for i in 0..rows {
        let example = phantom.get(i)?;
        let image = i / QUESTIONS_PER_IMAGE;
        let name = format!("scan_{:03}", image + 1);
        if i % QUESTIONS_PER_IMAGE == 0 {
            let drawn = example.images[0].load()?;
            let pale = |gray: u8| (BLACK + CONTRAST * f32::from(gray)).round() as u8;
            let gray: Vec<u8> = drawn.rgb.chunks(3).map(|pixel| pale(pixel[0])).collect();
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
            "P{patient:03},{name},{modality},\"{}\",{}\n",
            example.question,
            example.expect_answer()?.text
        );
    }
    fs::write(folder.join("qa.csv"), table)?;
    Ok(())
}
