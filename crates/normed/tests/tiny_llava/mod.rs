//! The tiny LLaVA of the parity tests as a directory, and an example for it.

use std::collections::BTreeMap;
use std::path::Path;

use normed::data::{Batch, IGNORE_INDEX, IMAGE_TOKEN, Images, TokenRows};
use normed::files::write_atomically;
use normed::tensor::Tensor;
use normed::weights::read_safetensors;

use crate::weights_common::golden;

/// The tiny LLaVA of the parity tests with a tokenizer and an image processor config.
pub fn with_words(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for file in ["config.json", "model.safetensors"] {
        write_atomically(&dir.join(file), |out| {
            out.write_all(&std::fs::read(golden("llava_llama").join(file)).unwrap())
        })
        .unwrap();
    }
    let words: BTreeMap<String, u32> = (0..64)
        .map(|id| (if id == 60 { "<image>".into() } else { char::from(33 + id as u8).into() }, id))
        .collect();
    let picture = serde_json::json!({
        "id": 60, "content": "<image>", "special": true, "normalized": false,
        "single_word": false, "lstrip": false, "rstrip": false,
    });
    let bytes = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let tokenizer = serde_json::json!({
        "version": "1.0", "added_tokens": [picture], "normalizer": null, "post_processor": null,
        "pre_tokenizer": bytes, "decoder": bytes,
        "model": { "type": "BPE", "vocab": words, "merges": [] },
    });
    write_atomically(&dir.join("tokenizer.json"), |out| writeln!(out, "{tokenizer}")).unwrap();
}

/// The second example of make_llava_goldens.py.
pub fn llava_batch() -> Batch {
    llava_example(1)
}

/// Example `index` of make_llava_goldens.py.
pub fn llava_example(index: usize) -> Batch {
    let text = std::fs::read(golden("llava_llama/golden.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let example = &record["examples"][index];
    let ids = |key: &str| -> Vec<u32> {
        let list = example[key].as_array().unwrap();
        list.iter().map(|id| id.as_u64().map_or(IMAGE_TOKEN, |id| id as u32)).collect()
    };
    let (mut prompt, answer) = (ids("prompt"), ids("answer"));
    let last = prompt.pop().unwrap();
    let decoder: Vec<_> = std::iter::once(last).chain(answer).collect();
    let row = |ids: Vec<u32>| TokenRows { lengths: vec![ids.len()], width: ids.len(), ids };
    let pixels = &read_safetensors(&golden("llava_llama/golden.safetensors")).unwrap().tensors
        [&format!("example.{index}.pixel_values")]
        .to_tensor()
        .unwrap();
    Batch {
        images: Images::from_pixels(Tensor::stack(&[pixels])),
        views: vec![1],
        input_ids: row(prompt),
        labels: vec![IGNORE_INDEX; decoder.len()],
        decoder_input_ids: row(decoder),
        target_count: 0,
        keys: vec![0],
    }
}
