//! What the user says about a table.

use std::path::PathBuf;

use crate::data::SplitRule;

/// How a spreadsheet becomes the rows of a data set.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The table: CSV, TSV, XLSX, XLS or ODS, told from the content.
    pub file: PathBuf,
    /// Where the rows will be written. Paths of images are relative to its folder.
    pub out: PathBuf,
    /// The folder that images are looked for in and below. Default: the table's folder.
    pub image_root: Option<PathBuf>,
    /// The columns.
    pub columns: ImportColumns,
    /// The sheet of a workbook. Default: the first that holds a cell.
    pub sheet: Option<String>,
    /// The delimiter of a text file. Default: told from the content.
    pub delimiter: Option<u8>,
    /// The encoding of a text file, by a name of the web (WHATWG). Default: told from the content.
    pub encoding: Option<String>,
    /// Whether rows that cannot be used are left out, instead of being an error.
    pub skip_bad: bool,
    /// How rows are divided if the table has no column for the split.
    pub split: SplitRule,
}

/// The names of the columns. One that is not named is guessed by usual names; case, blanks, punctuation and accents do
/// not matter.
#[derive(Debug, Clone, Default)]
pub struct ImportColumns {
    /// Images: their files, with or without an ending; several columns for several views.
    pub image: Vec<String>,
    /// Questions.
    pub question: Option<String>,
    /// Answers.
    pub answer: Option<String>,
    /// `OPEN` or `CLOSED`.
    pub answer_type: Option<String>,
    /// Reports, in place of questions and answers.
    pub report: Option<String>,
    /// Patients or studies.
    pub group: Option<String>,
    /// `train`, `validate` or `test`.
    pub split: Option<String>,
    /// Unique ids.
    pub id: Option<String>,
    /// Columns whose name is a question and whose cells are the answers.
    pub wide: Vec<String>,
    /// Columns that are copied under their own names.
    pub keep: Vec<String>,
}
