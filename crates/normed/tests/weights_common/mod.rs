//! What the tests of weights share.

use std::path::{Path, PathBuf};

use normed::data::{Batch, IGNORE_INDEX, Images, TokenRows};
use normed::models::LoadedModel;
use normed::nn::Mode;
use normed::tensor::{Graph, Tensor};

/// A file that Python wrote.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Where tests leave what Python may check.
pub fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// `inputs()` of reference/make_weights_goldens.py.
pub fn batch(loaded: &LoadedModel) -> Batch {
    let size = loaded.image_processor.largest_size().width;
    let pixels = (0..3 * size * size).map(|i| (i as f64 * 0.1).sin() as f32).collect();
    let rows =
        |ids: &[u32]| TokenRows { ids: ids.to_vec(), lengths: vec![ids.len()], width: ids.len() };
    Batch {
        images: Images::from_pixels(Tensor::new(&[1, 3, size, size], pixels)),
        views: vec![1],
        input_ids: rows(&[2, 7, 9, 40, 3]),
        decoder_input_ids: rows(&[104, 11, 12]),
        labels: vec![IGNORE_INDEX; 3],
        target_count: 0,
        keys: vec![0],
    }
}

/// The logits `[1, 3, V]` of them.
#[allow(dead_code, reason = "not every test asks for them")]
pub fn logits(loaded: &LoadedModel) -> Tensor {
    let mut graph = Graph::inference(&loaded.params);
    loaded.model.forward(&mut graph, &batch(loaded), Mode::Evaluate).unwrap().value
}

#[track_caller]
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in a.data().iter().zip(b.data()) {
        assert!((x - y).abs() <= tolerance, "{x} {y}");
    }
}
