//! A parquet file of questions, answers and images.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::data::{ColumnNames, DataSpec, OnBadExample};
use normed_fuzz::{HERE, read_examples, write};

fuzz_target!(|input: &[u8]| {
    let root = HERE.path().join("train-00000-of-00001.parquet");
    write(&root, input);
    read_examples(&DataSpec::Parquet {
        root,
        image_root: None,
        columns: ColumnNames::default(),
        on_bad_example: OnBadExample::Skip,
    });
});
