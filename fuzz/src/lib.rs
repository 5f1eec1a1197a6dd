//! What the targets share: files written from an input, and an allocator in which a large allocation is a
//! crash.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Once};

use normed::data::{
    Axis, DataSpec, Image, ImageOptions, OrientationUse, SliceIndex, Tokenizer, Window,
};
use normed::metrics::{Caption, MeteorData, score_captions};
use normed::models::{self, LoadedModel};
use normed::weights::Checkpoint;

#[path = "../../crates/normed/tests/tiny_llava/mod.rs"]
pub mod tiny_llava;

/// Where `tiny_llava` looks for the golden files.
mod weights_common {
    pub use super::golden;
}

/// The largest allocation that reading a small file may make, in bytes.
const LARGEST: usize = 64 << 20;

/// The system's allocator, except that an allocation of more than [`LARGEST`] bytes ends the process.
struct Small;

// SAFETY: it hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Small {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            std::process::abort();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static MEMORY: Small = Small;

/// Where the tests' golden files are.
pub fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/normed/tests/golden")).join(name)
}

/// The models that adapters are loaded into: BLIP and LLaVA.
pub fn bases() -> [LoadedModel; 2] {
    let llava = directory();
    tiny_llava::with_words(llava.path());
    let load = |dir: &Path| models::load(dir, None).expect("the golden models are whole");
    [load(&golden("weights/hugging_face")), load(llava.path())]
}

/// A directory in memory, where the system has one.
pub fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory for the files")
}

/// This target's directory.
pub static HERE: LazyLock<tempfile::TempDir> = LazyLock::new(directory);

/// The two files of an input: the length of the first in two bytes, the first, the second.
pub fn parted(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)).min(rest.len()))
}

/// Writes `bytes` to a new file `path`: what maps the old one keeps it.
pub fn write(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("memory for the file");
}

/// Reads every element of a checkpoint, as a model does and as its hash does.
pub fn read_all(checkpoint: &Checkpoint) {
    normed::weights::content_hash(checkpoint);
    for stored in checkpoint.tensors.values() {
        if let Some(tensor) = stored.to_tensor() {
            assert_eq!(tensor.len(), stored.shape().iter().product::<usize>());
        }
    }
}

/// Decodes an image file. The first byte of `input` selects the image options. A file on which `is_of_kind` is
/// false is left to the other targets.
pub fn decode_image(input: &[u8], is_of_kind: impl Fn(&[u8]) -> bool) {
    abort_at_own_panics();
    let Some((how, file)) = input.split_first() else { return };
    // The tests of the guard use that ending.
    if !is_of_kind(file) || file.ends_with(b"panic on purpose") {
        return;
    }
    if let Ok(image) = Image::from_bytes(file, &image_options(*how)) {
        assert_eq!(image.rgb.len(), 3 * image.width * image.height);
    }
}

fn image_options(how: u8) -> ImageOptions {
    let slice_index = |bit: u8| if how & bit == 0 { SliceIndex::Middle } else { SliceIndex::At(1) };
    ImageOptions {
        window: match how & 3 {
            0 => Window::Header,
            1 => Window::Range,
            2 => Window::Percentiles,
            _ => Window::At { center: 40.0, width: 400.0 },
        },
        frame: slice_index(4),
        axis: match (how >> 3) & 3 {
            0 | 3 => Axis::Axial,
            1 => Axis::Coronal,
            _ => Axis::Sagittal,
        },
        slice: slice_index(32),
        orientation: match how & 64 {
            0 => OrientationUse::Apply,
            _ => OrientationUse::Ignore,
        },
    }
}

/// Opens a data set, and decodes the images of its first examples.
pub fn read_examples(spec: &DataSpec) {
    abort_at_own_panics();
    let Ok(opened) = normed::data::open(spec) else { return };
    for i in 0..opened.dataset.len().min(8) {
        for image in opened.dataset.get(i).into_iter().flat_map(|example| example.images) {
            let _ = image.load();
        }
    }
}

/// Makes a panic in normed's own code a crash. The library turns the panics of decoders into errors, and
/// libFuzzer's hook would end the process at them.
pub fn abort_at_own_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_some_and(|at| at.file().contains("crates/normed")) {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    });
}

/// Tokenizes a text, and makes a text of the tokens.
pub fn tokenize(tokenizer: &Tokenizer) {
    let ids =
        tokenizer.encode("Is there a pleural effusion? \u{4e2d}\u{6587} \u{1f600} <image></s>");
    let _ = tokenizer.decode(&ids);
    let _ = tokenizer.decode(&[0, 1, u32::MAX]);
}

/// Scores two captions with METEOR's tables.
pub fn score_by_meteor(tables: &MeteorData) {
    let caption = |prediction: &str, reference: &str| Caption {
        id: prediction.into(),
        prediction: prediction.into(),
        references: vec![reference.into()],
        cluster: prediction.into(),
    };
    let captions = [
        caption("the lungs are clear", "both lungs were cleared of a large effusion"),
        caption("no effusion is seen", "there is no evidence of an effusion"),
    ];
    let _ = score_captions(&captions, Some(tables));
}
