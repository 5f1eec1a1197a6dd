//! An adapter's directory: its config and its weights, over small models.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use normed::tensor::Parameters;
use normed::weights::{BaseCheck, load_adapter};
use normed_fuzz::{HERE, bases, parted, write};

static BASES: LazyLock<[Parameters; 2]> = LazyLock::new(|| bases().map(|base| base.params));

fuzz_target!(|input: &[u8]| {
    let Some((config, weights)) = parted(input) else { return };
    write(&HERE.path().join("adapter_config.json"), config);
    write(&HERE.path().join("adapter_model.safetensors"), weights);
    for base in &*BASES {
        let _ = load_adapter(HERE.path(), &mut base.clone(), BaseCheck::Is("a hash"));
    }
});
