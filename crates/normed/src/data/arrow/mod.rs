//! Arrow files: the streams that `save_to_disk` of the datasets library writes, and files with a table of contents at
//! the end, as Feather and polars write them.
//!
//! Only what a data set needs is read: the schema, record batches that are not compressed, and dictionaries. Values
//! stay in the file and are read one at a time, so that no image is in memory before it is needed. Arrow's own crates
//! would triple the time in which this program is built, and read whole batches.
//!
//! Format: <https://arrow.apache.org/docs/format/Columnar.html>.

mod array;
mod batch;
mod dictionaries;
mod file;
mod flat;
mod schema;
mod stream;

pub(super) use file::ArrowFile;
