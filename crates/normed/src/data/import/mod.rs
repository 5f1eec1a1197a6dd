//! From a spreadsheet and a folder of images to the rows of a data set.
//!
//! - [`sheet`]: the cells of a table; [`open`] tells its format, [`delimited`] and [`workbook`] read it, and
//!   [`encoding`] reads text;
//! - [`columns`]: which column holds what, by the names in [`column_words`] where the user does not say;
//! - [`image_folder`]: the file that a cell means;
//! - [`rows`]: the rows as JSON objects; [`run`]: checked, divided into splits and counted.

mod cell;
mod column_words;
mod columns;
mod delimited;
mod encoding;
mod image_folder;
mod ods_merged;
mod open;
mod options;
mod rows;
mod run;
mod sheet;
mod summary;
mod workbook;

pub use columns::ChosenColumn;
pub use options::{ImportColumns, ImportOptions};
pub use run::{Import, Imported};
pub use summary::{ImportSummary, ImportedSplit};
