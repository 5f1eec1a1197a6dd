//! Model directories, against what Python wrote (reference/make_weights_goldens.py).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use normed::data::ImageSize;
use normed::models::{self, Layout, LoadedModel};
use normed::tensor::{Precision, Tensor};
use normed::weights;

mod weights_common;
use weights_common::{assert_close, golden, kept, logits};

fn load(name: &str) -> LoadedModel {
    models::load(&golden("weights").join(name), None).unwrap()
}

/// A copy of a golden directory that a test may spoil.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden("weights").join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

#[track_caller]
fn load_fails(dir: &Path, cause: &str) {
    let Err(error) = models::load(dir, None) else { panic!("it loads") };
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains(cause), "{error}");
}

#[test]
fn all_three_forms_hold_the_same_weights() {
    let hugging_face = load("hugging_face");
    assert_eq!(hugging_face.layout, Layout::HuggingFace);
    for name in ["original_pth", "original_safetensors"] {
        let original = load(name);
        assert_eq!(original.layout, Layout::Original);
        assert_eq!(original.content_hash, hugging_face.content_hash);
        assert_eq!(original.params.len(), hugging_face.params.len());
        for ((_, a), (_, b)) in original.params.iter().zip(hugging_face.params.iter()) {
            assert_eq!((&a.name(), a.value().data()), (&b.name(), b.value().data()));
        }
    }
}

/// The safetensors file at `path` with this before every name.
fn put_before_names(path: &Path, prefix: &str) {
    let old = weights::read_safetensors(path).unwrap();
    let values: Vec<_> = old
        .tensors
        .iter()
        // Buffers of whole numbers stay behind.
        .filter_map(|(name, stored)| Some((format!("{prefix}{name}"), stored.to_tensor()?)))
        .collect();
    let list: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let new = path.with_extension("new");
    weights::write_safetensors(&new, &list, Precision::F32, &BTreeMap::new()).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn prefixes_of_wrappers_are_taken_off_in_both_layouts() {
    for name in ["hugging_face", "original_safetensors"] {
        let plain = load(name);
        for prefix in ["module.", "model.", "_orig_mod.", "module._orig_mod.", "state_dict."] {
            let dir = copy_of(name);
            put_before_names(&dir.path().join("model.safetensors"), prefix);
            let loaded = models::load(dir.path(), None).unwrap();
            for ((_, a), (_, b)) in loaded.params.iter().zip(plain.params.iter()) {
                assert_eq!((a.name(), a.value().data()), (b.name(), b.value().data()), "{prefix}");
            }
        }
    }
    // The message about the other layout stays true under a prefix.
    let dir = copy_of("original_safetensors");
    put_before_names(&dir.path().join("model.safetensors"), "module.");
    fs::copy(golden("weights/hugging_face/config.json"), dir.path().join("config.json")).unwrap();
    load_fails(dir.path(), "the original layout's names, but config.json is Hugging Face's");
}

#[test]
fn the_logits_are_those_of_transformers() {
    let path = golden("weights/logits.safetensors");
    let expected = weights::read_safetensors(&path).unwrap().tensors["logits"].to_tensor().unwrap();
    assert_close(&logits(&load("hugging_face")), &expected, 1e-4);
}

#[test]
fn each_layout_has_its_text_rule() {
    let (hugging_face, original) = (load("hugging_face"), load("original_pth"));
    assert_eq!(
        hugging_face.text_rule.as_question().unwrap().question_start,
        2,
        "[CLS] of this vocabulary"
    );
    assert_eq!(hugging_face.text_rule.as_question().unwrap().max_question_tokens, 12);
    assert_eq!(
        original.text_rule.as_question().unwrap().question_start,
        105,
        "[ENC], the last token"
    );
    for loaded in [hugging_face, original] {
        assert_eq!(loaded.text_rule.as_question().unwrap().decoder_start, 104, "[DEC]");
        assert_eq!(loaded.image_processor.largest_size(), ImageSize::square(16));
        assert_eq!(loaded.tokenizer.id("[DEC]"), Some(104));
    }
}

#[test]
fn every_name_translates_both_ways() {
    let params = load("hugging_face").params;
    let original =
        weights::read_safetensors(&golden("weights/original_safetensors/model.safetensors"));
    let original = original.unwrap().tensors;
    for (_, parameter) in params.iter() {
        let name = weights::to_original(parameter.name());
        assert!(original.contains_key(&name), "{name}");
        assert_eq!(weights::to_hugging_face(&name), parameter.name());
    }
}

#[test]
fn a_directory_can_be_described_without_weights() {
    for name in ["hugging_face", "original_pth"] {
        let dir = tempfile::tempdir().unwrap();
        let config = golden("weights").join(name).join("config.json");
        fs::copy(config, dir.path().join("config.json")).unwrap();
        let description = models::declare_model(dir.path(), None).unwrap();
        assert_eq!(description.params.element_count(), load(name).params.element_count());
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(models::declare_model(dir.path(), None).err().unwrap().exit_code(), 2);
}

#[test]
fn positions_are_resized_as_torch_resizes_them() {
    let dir = golden("weights/original_pth");
    let expected = weights::read_safetensors(&golden("weights/positions.safetensors")).unwrap();
    for (size, positions) in &expected.tensors {
        let loaded = models::load(&dir, Some(size.parse().unwrap())).unwrap();
        let id = loaded.params.find("vision_model.embeddings.position_embedding").unwrap();
        assert_close(loaded.params.get(id).value(), &positions.to_tensor().unwrap(), 1e-6);
        assert_eq!(loaded.image_processor.largest_size().width.to_string(), *size);
    }
    assert!(models::load(&dir, Some(15)).is_err(), "no whole number of patches");
    assert!(models::load(&dir, Some(0)).is_err());
}

#[test]
fn names_and_shapes_that_do_not_fit_are_one_error() {
    let dir = copy_of("original_safetensors");
    let path = dir.path().join("model.safetensors");
    let mut tensors: BTreeMap<_, _> = weights::read_safetensors(&path)
        .unwrap()
        .tensors
        .into_iter()
        .filter_map(|(name, stored)| Some((name, stored.to_tensor()?)))
        .collect();
    tensors.remove("visual_encoder.norm.bias");
    tensors.insert("vision_proj.weight".into(), Tensor::zeros(&[2, 2]));
    tensors.insert("visual_encoder.cls_token".into(), Tensor::zeros(&[1, 8]));
    let list: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    load_fails(dir.path(), "1 missing: visual_encoder.norm.bias");
    load_fails(dir.path(), "1 unexpected: vision_proj.weight");
    load_fails(dir.path(), "type: visual_encoder.cls_token [1, 8] instead of [1, 1, 8]");
}

#[test]
fn an_untied_output_matrix_is_an_error() {
    let dir = copy_of("hugging_face");
    let path = dir.path().join("model.safetensors");
    let loaded = load("hugging_face");
    let table = "text_decoder.bert.embeddings.word_embeddings.weight";
    let mut other = loaded.params.get(loaded.params.find(table).unwrap()).value().clone();
    let second = "text_decoder.cls.predictions.decoder.weight";
    let write = |other: &Tensor| {
        let mut list: Vec<_> = loaded.params.iter().map(|(_, p)| (p.name(), p.value())).collect();
        list.push((second, other));
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    };
    write(&other);
    assert!(models::load(dir.path(), None).is_ok(), "the same under both names");
    other.data_mut()[5] += 1.0;
    write(&other);
    load_fails(dir.path(), second);
}

#[test]
fn shards_are_one_model() {
    let dir = copy_of("hugging_face");
    let whole = load("hugging_face");
    let mut weight_map = serde_json::Map::new();
    for shard in 0..3 {
        let file = format!("model-{shard}.safetensors");
        let list: Vec<_> = whole
            .params
            .iter()
            .filter(|(id, _)| id.index() % 3 == shard)
            .map(|(_, p)| (p.name(), p.value()))
            .collect();
        let path = dir.path().join(&file);
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        weight_map.extend(list.iter().map(|(name, _)| ((*name).into(), file.as_str().into())));
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(models::load(dir.path(), None).unwrap().content_hash, whole.content_hash);
}

#[test]
fn shards_of_torch_are_one_model() {
    let (shards, whole) = (load("torch_shards"), load("hugging_face"));
    assert_eq!(shards.content_hash, whole.content_hash);
    for ((_, a), (_, b)) in shards.params.iter().zip(whole.params.iter()) {
        assert_eq!((&a.name(), a.value().data()), (&b.name(), b.value().data()));
    }

    let dir = copy_of("torch_shards");
    let second = dir.path().join("pytorch_model-00002-of-00002.bin");
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() / 2]).unwrap();
    load_fails(dir.path(), "pytorch_model-00002-of-00002.bin: not a PyTorch file");
    fs::remove_file(&second).unwrap();
    load_fails(dir.path(), "pytorch_model-00002-of-00002.bin: no such file");
    let first = dir.path().join("pytorch_model-00001-of-00002.bin");
    fs::copy(&first, &second).unwrap();
    load_fails(dir.path(), "which the index places in pytorch_model-00001-of-00002.bin");
}

#[test]
fn numbers_of_another_type_are_named() {
    let dir = copy_of("hugging_face");
    let path = dir.path().join("model.safetensors");
    // Integers are read as such, and are no weights.
    let text = fs::read(&path).unwrap();
    let length = 8 + u64::from_le_bytes(*text.first_chunk().unwrap()) as usize;
    let header = String::from_utf8(text[8..length].to_vec()).unwrap();
    let header = header.replacen("\"F32\"", "\"I32\"", 1);
    let file = [&text[..8], header.as_bytes(), &text[length..]].concat();
    fs::write(&path, file).unwrap();
    load_fails(dir.path(), "of type I32");
}

/// Leaves its directories where `make_weights_goldens.py --check` can read them.
#[test]
fn what_is_saved_is_loaded_again() {
    for name in ["hugging_face", "original_pth"] {
        for bf16 in [false, true] {
            let loaded = load(name);
            let dir = kept(&format!("saved_{name}_{bf16}"));
            models::save(&loaded, &dir, bf16).unwrap();
            let again = models::load(&dir, None).unwrap();
            assert_eq!(again.layout, Layout::HuggingFace);
            assert_eq!(
                again.text_rule.as_question().unwrap().question_start,
                loaded.text_rule.as_question().unwrap().question_start
            );
            assert_eq!(again.text_rule, loaded.text_rule);
            let processors = [&again, &loaded].map(|m| format!("{:?}", m.image_processor));
            assert_eq!(processors[0], processors[1]);
            assert_eq!(
                again.config.to_hugging_face().unwrap(),
                loaded.config.to_hugging_face().unwrap()
            );
            for ((_, a), (_, b)) in again.params.iter().zip(loaded.params.iter()) {
                assert_close(a.value(), b.value(), if bf16 { 1e-2 } else { 0.0 });
            }
            assert_eq!(again.content_hash == loaded.content_hash, !bf16);
            let logits = logits(&again);
            let path = dir.join("logits.safetensors");
            let list = [("logits", &logits)];
            weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        }
    }
}

#[test]
fn a_config_of_the_other_layout_is_an_error() {
    let dir = copy_of("original_safetensors");
    let config = golden("weights/hugging_face/config.json");
    fs::copy(config, dir.path().join("config.json")).unwrap();
    load_fails(
        dir.path(),
        "the tensors have the original layout's names, but config.json is Hugging Face's",
    );
}

#[test]
fn the_format_before_pytorch_1_6_is_named() {
    let dir = copy_of("original_pth");
    let legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    fs::write(dir.path().join("checkpoint.pth"), legacy).unwrap();
    load_fails(dir.path(), "before PyTorch 1.6");
}

/// Files that are cut or changed anywhere are read or turned down: nothing panics.
#[test]
fn damaged_files_never_panic() {
    for file in [
        "hugging_face/model.safetensors",
        "original_pth/checkpoint.pth",
        "hugging_face/config.json",
    ] {
        let path = golden("weights").join(file);
        let whole = fs::read(&path).unwrap();
        let dir = copy_of(path.parent().unwrap().file_name().unwrap().to_str().unwrap());
        let target = dir.path().join(path.file_name().unwrap());
        let positions = interesting(&whole);
        for &at in &positions {
            fs::write(&target, &whole[..at]).unwrap();
            let cut = models::load(dir.path(), None);
            assert!(cut.is_err() || file.ends_with("json"), "{file} cut at {at} loads");
        }
        for (i, &at) in positions.iter().enumerate() {
            let mut bytes = whole.clone();
            bytes[at] ^= [0x01, 0x80, 0xff, 0x20][i % 4];
            fs::write(&target, &bytes).unwrap();
            drop(models::load(dir.path(), None));
        }
    }
}

/// Positions where formats have their structure: the start, the end, and a spread between.
fn interesting(bytes: &[u8]) -> Vec<usize> {
    let n = bytes.len();
    let spread = (0..n).step_by(n / 100 + 1);
    let ends = (0..n.min(80)).chain(n.saturating_sub(80)..n);
    spread.chain(ends).collect()
}
