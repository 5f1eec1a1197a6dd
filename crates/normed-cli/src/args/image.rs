//! The arguments of `show`.

use std::path::PathBuf;

use super::model_choice::ImageArgs;
use super::values::Overwrite;

#[derive(clap::Args)]
pub struct ShowArgs {
    /// Image file: JPEG, PNG, DICOM, NIfTI or another
    #[arg(value_name = "IMAGE")]
    pub file: PathBuf,
    /// Resize and crop as for this model: its folder, a run folder, or the ORG/NAME of a fetched model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Resize and crop as for this recipe's model, and read the image as its [data.image] says
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Override a recipe key, e.g. image_size=224 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    pub settings: Vec<String>,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Output file
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
