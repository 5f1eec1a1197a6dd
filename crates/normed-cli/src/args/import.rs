//! The arguments of `import`.

use std::path::PathBuf;

use super::values::Overwrite;

#[derive(clap::Args)]
pub struct ImportArgs {
    /// Table: CSV, TSV, XLSX, XLS or ODS, with one row per question or report
    pub file: PathBuf,
    /// Column of image files [default: guessed by its name] (repeatable, for several views)
    ///
    /// A cell holds a path, a name with or without its ending, or several of them between ; or |.
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub image: Vec<String>,
    /// Column of questions [default: guessed by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub question: Option<String>,
    /// Column of answers [default: guessed by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub answer: Option<String>,
    /// Column of OPEN or CLOSED [default: yes and no are CLOSED, all else is OPEN]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub answer_type: Option<String>,
    /// Column of reports, instead of questions and answers
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    #[arg(conflicts_with_all = ["question", "answer", "answer_type", "wide"])]
    pub report: Option<String>,
    /// Column of patients or studies, which stay in one split [default: guessed by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub group: Option<String>,
    /// Column of train, validate or test [default: guessed by its name; splits are made if there is none]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub split: Option<String>,
    /// Column of unique ids [default: guessed by its name, else the row's number]
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub id: Option<String>,
    /// Column whose name is a question and whose cells are the answers (repeatable)
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    #[arg(conflicts_with_all = ["question", "answer", "answer_type"])]
    pub wide: Vec<String>,
    /// Column to copy under its own name, e.g. modality (repeatable); others are left out
    #[arg(long, value_name = "COLUMN", help_heading = "Columns")]
    pub keep: Vec<String>,
    /// Folder that images are in or below [default: the table's folder]
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// Leave out rows that cannot be used, and list them
    #[arg(long)]
    pub skip_bad: bool,
    /// Output file
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Sheet of a workbook [default: the first that holds a cell]
    #[arg(long, value_name = "NAME", help_heading = "Format")]
    pub sheet: Option<String>,
    /// Delimiter of a text file: one character, or tab [default: told from the content]
    #[arg(long, value_name = "CHAR", value_parser = delimiter, help_heading = "Format")]
    pub delimiter: Option<u8>,
    /// Encoding of a text file, e.g. windows-1252 or gb18030 [default: told from the content]
    #[arg(long, value_name = "NAME", help_heading = "Format")]
    pub encoding: Option<String>,
    /// Fraction of groups for the validation split, if splits are made
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1, help_heading = "Splits")]
    pub validate: f64,
    /// Fraction of groups for the test split, if splits are made
    #[arg(long, value_name = "FRACTION", default_value_t = 0.2, help_heading = "Splits")]
    pub test: f64,
    /// Random seed of the splits
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Splits")]
    pub seed: u64,
    /// Make splits by the paths of images alone, without decoding them to find copies
    #[arg(long, help_heading = "Splits")]
    pub no_pixels: bool,
}

/// Parses a delimiter.
fn delimiter(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [one]) if one.is_ascii() && !one.is_ascii_alphanumeric() => Ok(*one),
        _ => Err("must be one character such as ; or the word tab".to_owned()),
    }
}
