//! An adapter's directory: its config and its weights, over a small model.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use normed::tensor::Parameters;
use normed::weights::{BaseCheck, load_adapter};
use normed_fuzz::{HERE, base, parted, write};

static BASE: LazyLock<Parameters> = LazyLock::new(|| base().params);

fuzz_target!(|input: &[u8]| {
    let Some((config, weights)) = parted(input) else { return };
    write(&HERE.path().join("adapter_config.json"), config);
    write(&HERE.path().join("adapter_model.safetensors"), weights);
    let _ = load_adapter(HERE.path(), &mut BASE.clone(), BaseCheck::Is("a hash"));
});
