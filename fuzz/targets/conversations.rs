//! A file of rows: JSON lines or a JSON list, with questions, conversations or messages.

#![no_main]

use std::fs;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use normed::data::{DataSpec, OnBadExample};
use normed_fuzz::{HERE, golden, read_examples, write};

static IMAGE: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    IMAGE.call_once(|| {
        fs::copy(golden("image_files/gray.png"), HERE.path().join("a.png"))
            .expect("the golden image is there");
    });
    let file = HERE.path().join("rows.jsonl");
    write(&file, input);
    read_examples(&DataSpec::Jsonl { file, image_root: None, on_bad_example: OnBadExample::Skip });
});
