//! A spreadsheet: delimited text, or a workbook.

#![no_main]

use std::fs;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use normed::data::{Import, ImportColumns, ImportOptions, SplitRule};
use normed_fuzz::{HERE, golden, write};

static IMAGE: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    IMAGE.call_once(|| {
        fs::copy(golden("image_files/gray.png"), HERE.path().join("a.png"))
            .expect("the golden image is there");
    });
    let file = HERE.path().join("table");
    write(&file, input);
    let split =
        SplitRule { by_group: true, validate: 0.1, test: 0.2, seed: 0, compares_pixels: false };
    let options = ImportOptions {
        file,
        out: HERE.path().join("rows.jsonl"),
        image_root: None,
        columns: ImportColumns::default(),
        sheet: None,
        delimiter: None,
        encoding: None,
        skip_bad: true,
        split,
    };
    if let Ok(import) = Import::open(options) {
        let _ = import.finish(&|| ());
    }
});
