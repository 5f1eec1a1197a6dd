//! What the targets share: files written from an input, and an allocator in which a large allocation is a
//! crash.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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
