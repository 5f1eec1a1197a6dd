//! Files that lie: each is an error that says what is wrong, without a panic and without an allocation
//! that the file does not warrant.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use normed::models::{self, LoadedModel};
use normed::tensor::{Precision, Tensor};
use normed::weights::{self, BaseCheck, load_adapter, read_safetensors};
use serde_json::{Value, json};

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod weights_common;
use weights_common::{golden, logits};

/// The system's memory, and the most that was asked of it at once.
struct Watched(AtomicUsize);

// SAFETY: it hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static MEMORY: Watched = Watched(AtomicUsize::new(0));

/// What reading files of a few kilobytes may ask for at once.
const LARGEST: usize = 64 << 20;

const CLAIMED: u64 = 10_000_000_000;

fn base() -> LoadedModel {
    models::load(&golden("weights/hugging_face"), None).unwrap()
}

const NORM: &str = "base_model.model.text_encoder.embeddings.LayerNorm.ln_tuning_layers";

/// An adapter's directory with PEFT's config and these weights.
fn adapter(weights: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = golden("peft/layer_norm/adapter_config.json");
    fs::copy(from, dir.path().join("adapter_config.json")).unwrap();
    fs::write(dir.path().join("adapter_model.safetensors"), weights).unwrap();
    dir
}

fn whole() -> Vec<u8> {
    fs::read(golden("peft/layer_norm/adapter_model.safetensors")).unwrap()
}

/// The header of PEFT's file, changed, over its data.
fn with_header(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = whole();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat()
}

/// Why the adapter in `dir` is turned down. The base stays as it was, and no memory was taken for it.
#[track_caller]
fn refused(dir: &Path, check: BaseCheck<'_>) -> String {
    let mut loaded = base();
    let before = logits(&loaded);
    let error = load_adapter(dir, &mut loaded.params, check).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert_eq!(logits(&loaded).data(), before.data(), "the base was changed: {error}");
    let most = MEMORY.0.load(Ordering::Relaxed);
    assert!(most < LARGEST, "{most} bytes at once: {error}");
    error.to_string()
}

#[track_caller]
fn says(weights: &[u8], cause: &str) {
    let text = refused(adapter(weights).path(), BaseCheck::Skip);
    assert!(text.contains(cause), "{text}");
}

#[test]
fn another_base_and_another_shape() {
    let text = refused(adapter(&named("another base")).path(), BaseCheck::Is("this base"));
    assert!(
        text.contains("trained on the base another base, and this base is this base"),
        "{text}"
    );
    let other = with_header(|header| {
        header[format!("{NORM}.weight")]["shape"] = json!([2, 4]);
    });
    says(&other, &format!("{NORM}.weight is [2, 4] instead of [8]"));
}

/// PEFT's weights, and the hash of the base that they are of.
fn named(hash: &str) -> Vec<u8> {
    with_header(|header| header["__metadata__"] = json!({ "base_content_sha256": hash }))
}

#[test]
fn a_file_that_ends_too_early() {
    let bytes = whole();
    for end in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        says(&bytes[..end], "not a valid safetensors file");
    }
}

#[test]
fn a_header_that_lies_about_its_length() {
    let mut bytes = whole();
    for claimed in [0, 1, bytes.len() as u64, CLAIMED, u64::MAX] {
        bytes[..8].copy_from_slice(&claimed.to_le_bytes());
        says(&bytes, "not a valid safetensors file");
    }
}

#[test]
fn offsets_that_overlap_or_leave_holes() {
    let at = |offsets: Value| {
        with_header(|header| header[format!("{NORM}.weight")]["data_offsets"] = offsets)
    };
    for offsets in [json!([0, 32]), json!([32, 0]), json!([1, 33]), json!([0, u64::MAX])] {
        let text = refused(adapter(&at(offsets.clone())).path(), BaseCheck::Skip);
        assert!(text.contains("not a valid safetensors file"), "{offsets}: {text}");
    }
}

#[test]
fn ten_gigabytes_claimed_and_not_there() {
    let claimed = with_header(|header| {
        let name = format!("{NORM}.weight");
        header[&name]["shape"] = json!([CLAIMED / 4]);
        header[&name]["data_offsets"] = json!([0, CLAIMED]);
    });
    says(&claimed, "ends after the end of the file");
    for shape in [json!([CLAIMED, CLAIMED]), json!([u64::MAX]), json!([0, CLAIMED])] {
        let bytes = with_header(|header| header[format!("{NORM}.weight")]["shape"] = shape);
        says(&bytes, "not a valid safetensors file");
    }
}

/// Sparse files: they have the length, and take no room.
#[test]
fn ten_gigabytes_there() {
    let long = |path: &Path| File::create(path).unwrap().set_len(CLAIMED).unwrap();
    let dir = adapter(&whole());
    long(&dir.path().join("adapter_config.json"));
    assert!(refused(dir.path(), BaseCheck::Skip).contains("larger than 32 MiB"));

    let dir = adapter(&[]);
    let weights = dir.path().join("adapter_model.safetensors");
    long(&weights);
    assert!(refused(dir.path(), BaseCheck::Skip).contains("not a valid safetensors file"));
    fs::write(&weights, (CLAIMED - 8).to_le_bytes()).unwrap();
    File::options().write(true).open(&weights).unwrap().set_len(CLAIMED).unwrap();
    assert!(refused(dir.path(), BaseCheck::Skip).contains("more than the largest allowed header"));

    let dir = tempfile::tempdir().unwrap();
    long(&dir.path().join("config.json"));
    let error = models::declare_model(dir.path(), None).err().unwrap();
    assert!(error.to_string().contains("larger than 32 MiB"), "{error}");
}

#[test]
fn values_that_are_not_finite() {
    let file = read_safetensors(&golden("peft/layer_norm/adapter_model.safetensors")).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut tensors: BTreeMap<_, _> =
            file.tensors.iter().map(|(name, t)| (name.clone(), t.to_tensor().unwrap())).collect();
        tensors.get_mut(&format!("{NORM}.bias")).unwrap().data_mut()[3] = bad;
        let list: Vec<_> =
            tensors.iter().map(|(name, t): (_, &Tensor)| (name.as_str(), t)).collect();
        let dir = adapter(&[]);
        let path = dir.path().join("adapter_model.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        let text = refused(dir.path(), BaseCheck::Skip);
        assert!(text.contains(&format!("{NORM}.bias has a value that is not finite")), "{text}");
        assert!(text.contains("problems (1)"), "{text}");
    }
}

#[test]
fn a_config_that_is_no_config() {
    let config = |text: &str| {
        let dir = adapter(&whole());
        fs::write(dir.path().join("adapter_config.json"), text).unwrap();
        refused(dir.path(), BaseCheck::Skip)
    };
    for text in ["", "[]", "{", "null", "{\"peft_type\": 1}", "\u{0}", &"[".repeat(100_000)] {
        assert!(config(text).contains("adapter_config.json"), "{text:.20}");
    }
    assert!(
        config(r#"{"peft_type": "LN_TUNING", "target_modules": [1]}"#).contains("adapter_config")
    );
}

/// A model's config that asks for more layers than a checkpoint of its size can have.
#[test]
fn sizes_that_no_model_has() {
    let file = fs::read(golden("weights/hugging_face/config.json")).unwrap();
    let good: Value = serde_json::from_slice(&file).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for part in ["text_config", "vision_config"] {
        for key in ["num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"]
        {
            for size in [CLAIMED, u64::MAX, 1 << 40] {
                let mut config = good.clone();
                config[part][key] = json!(size);
                fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
                let error = models::declare_model(dir.path(), None).err();
                let error = error.unwrap_or_else(|| panic!("{part}.{key} = {size} passed"));
                assert_eq!(error.exit_code(), 2, "{error}");
            }
        }
    }
    let most = MEMORY.0.load(Ordering::Relaxed);
    assert!(most < LARGEST, "{most} bytes at once");
}
