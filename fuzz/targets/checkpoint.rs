//! A model's directory: config.json and weights, quantized by bitsandbytes where the config says so.

#![no_main]

use std::fs;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use normed::models;
use normed_fuzz::{HERE, golden, parted, write};

static OTHERS: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    OTHERS.call_once(|| {
        for name in ["vocab.txt", "preprocessor_config.json"] {
            let from = golden("weights/hugging_face").join(name);
            fs::copy(from, HERE.path().join(name)).expect("the golden model is whole");
        }
    });
    let Some((config, weights)) = parted(input) else { return };
    write(&HERE.path().join("config.json"), config);
    write(&HERE.path().join("model.safetensors"), weights);
    let _ = models::declare_model(HERE.path(), None);
    if let Ok(loaded) = models::load(HERE.path(), None) {
        let _ = loaded.content_hash.len();
    }
});
