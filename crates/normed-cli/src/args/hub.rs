//! The arguments of `fetch`.

use std::path::PathBuf;

use super::values::EventFormat;

#[derive(clap::Args)]
pub struct FetchArgs {
    /// Repository on the hub, e.g. Salesforce/blip-vqa-base
    #[arg(value_name = "ORG/NAME")]
    pub name: String,
    /// Fetch a data set instead of a model
    #[arg(long)]
    pub dataset: bool,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Fetch only matching files, e.g. "*.json", instead of the default selection (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Target folder [default: the Hugging Face cache, shared with Python]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace files in the target folder that differ from the hub's
    #[arg(long, requires = "output")]
    pub force: bool,
    #[command(flatten)]
    pub format: EventFormat,
}
