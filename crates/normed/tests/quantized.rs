//! Quantized weights: equal to those of bitsandbytes (reference/bnb_golden.py), saved and loaded, and in a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::bf16;
use normed::models::{self, LoadedModel, QuantizedModel, quantize};
use normed::nn::Mode;
use normed::recipe::Recipe;
use normed::tensor::{
    Absmax, Factor, Gradients, Graph, Precision, Quantization, QuantizedMatrix, Tensor,
};
use normed::train::{Event, RunOptions, plan, run};
use normed::tuning::{Method, Tuning};
use normed::weights::{self, Checkpoint};
use serde_json::{Value, json};

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;
mod weights_common;
use weights_common::{assert_close, golden, kept, logits};

fn quantized(dir: &Path, to: Quantization, output: &Path) -> QuantizedModel {
    quantize(dir, to, output, &mut |_, _| {}).unwrap()
}

/// Loads a model as a run does.
fn load(dir: &Path, precision: Precision) -> LoadedModel {
    let mut loaded = models::load_as_stored(dir, None).unwrap();
    loaded.params.set_precision(precision);
    loaded
}

/// `matrix()` of the script.
fn matrix(rows: usize, cols: usize) -> Vec<f32> {
    let number = |i: usize| ((i * i + 7919 * i) % 2003) as f32 - 1001.0;
    let element = |i| number(i) * (1 + i / 64 % 13) as f32 / 262_144.0;
    let zero = |i| i / cols == 1;
    (0..rows * cols).map(|i| if zero(i) { 0.0 } else { element(i) }).collect()
}

#[test]
fn codes_and_statistics_are_those_of_bitsandbytes() {
    let golden = weights::read_safetensors(&golden("quantized.safetensors")).unwrap().tensors;
    let mut shared_statistics = false;
    for (name, shape) in
        [("even", [6, 64]), ("uneven", [10, 50]), ("odd", [7, 13]), ("large", [266, 65])]
    {
        let [rows, cols] = shape;
        let wide = matrix(rows, cols);
        let narrow: Vec<_> = wide.iter().map(|&x| bf16::from_f32(x)).collect();
        for (dtype, factor) in
            [("float32", Factor::F32(&wide)), ("bfloat16", Factor::Bf16(&narrow))]
        {
            let bytes = |part: &str| golden[&format!("{name}.{dtype}.{part}")].bytes().into_owned();
            let floats = |part: &str| {
                golden[&format!("{name}.{dtype}.{part}")].to_tensor().unwrap().into_data()
            };
            if !golden.contains_key(&format!("{name}.{dtype}.weight")) {
                continue;
            }
            let four = QuantizedMatrix::quantize(factor, rows, cols, Quantization::Nf4).unwrap();
            let Factor::Nf4(view) = four.factor() else { panic!("not 4 bits") };
            assert_eq!(view.codes(), bytes("weight"), "{name} {dtype}");
            let Absmax::Nested { codes, absmax, offset, values } = view.absmax() else {
                panic!("not nested")
            };
            assert_eq!(codes, bytes("weight.absmax"), "{name} {dtype}");
            assert_eq!(values[..], floats("weight.nested_quant_map"), "bit for bit");
            close(absmax, &floats("weight.nested_absmax"), 1e-6);
            let state = bytes("weight.quant_state.bitsandbytes__nf4");
            let state: Value = serde_json::from_slice(&state).unwrap();
            close(&[offset], &[state["nested_offset"].as_f64().unwrap() as f32], 1e-6);
            shared_statistics |= absmax.len() > 1;

            let eight = QuantizedMatrix::quantize(factor, rows, cols, Quantization::Int8).unwrap();
            let Factor::Int8(view) = eight.factor() else { panic!("not 8 bits") };
            assert_eq!(view.codes(), bytes("CB"), "{name} {dtype}");
            assert_eq!(view.absmax(), floats("SCB"), "{name} {dtype}");

            if name != "large" {
                for (matrix, part) in [(&four, "nf4"), (&eight, "int8")] {
                    let mut elements = vec![0.0; rows * cols];
                    matrix.factor().copy_to_f32(0, &mut elements);
                    close(&elements, &floats(part), 1e-6);
                }
            }
        }
    }
    assert!(shared_statistics, "no matrix has more blocks than share a statistic");
}

#[track_caller]
fn close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    let fits = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance * b.abs().max(1e-2);
    assert!(got.iter().zip(want).all(fits), "{got:?} {want:?}");
}

#[test]
fn what_transformers_saved_is_loaded_and_answers_alike() {
    let loaded = load(&golden("weights/bnb_nf4"), Precision::F32);
    let count = loaded.params.iter().filter(|(_, p)| p.quantization().is_some()).count();
    // Blocks of 4, 10 and 10 matrices, two of each, and the head's transform.
    assert_eq!(count, 2 * (4 + 10 + 10) + 1);
    let path = golden("weights/bnb_nf4_logits.safetensors");
    let want = weights::read_safetensors(&path).unwrap().tensors["logits"].to_tensor().unwrap();
    assert_close(&logits(&loaded), &want, 1e-4);
}

/// Leaves its directories where `bnb_golden.py --check` can read them.
#[test]
fn a_quantized_model_computes_as_its_dequantized_matrices() {
    for to in Quantization::ALL {
        for name in ["hugging_face", "original_pth"] {
            let base = golden("weights").join(name);
            let dir = kept(&format!("quantized_{name}_{to}"));
            let _ = fs::remove_dir_all(&dir);
            let made = quantized(&base, to, &dir);
            assert_eq!(made.matrices, 48);
            for precision in [Precision::F32, Precision::Bf16] {
                let loaded = load(&dir, precision);
                let mut wide = load(&dir, precision);
                let mut bytes = 0;
                for (_, p) in wide.params.iter_mut() {
                    bytes += p.value().bytes();
                    if p.quantization().is_some() {
                        let matrix = p.value().to_precision(Precision::F32);
                        p.set(matrix.to_precision(precision));
                    }
                }
                // Tables and states stand in the file alone, and other matrices may be f32 there.
                let in_file = match to {
                    Quantization::Int8 => 1,
                    Quantization::Nf4 | Quantization::Fp4 => 4 * (16 + 256) + 256,
                };
                if precision == Precision::F32 {
                    assert_eq!(bytes + made.matrices * in_file, made.after);
                }
                let got = logits(&loaded);
                assert_close(&got, &logits(&wide), 1e-6);
                if precision == Precision::F32 {
                    let path = dir.join("logits.safetensors");
                    let list = [("logits", &got)];
                    weights::write_safetensors(&path, &list, precision, &BTreeMap::new()).unwrap();
                }
            }
            check_distance(&load(&dir, Precision::F32), &load(&base, Precision::F32), to);
            let config = fs::read_to_string(dir.join("config.json")).unwrap();
            let config: Value = serde_json::from_str(&config).unwrap();
            let bits = if to == Quantization::Nf4 { "load_in_4bit" } else { "load_in_8bit" };
            assert_eq!(config["quantization_config"][bits], true);
            assert_eq!(config["quantization_config"]["quant_method"], "bitsandbytes");
        }
    }
}

/// No element is farther from what it was than half the widest gap between two codes.
fn check_distance(quantized: &LoadedModel, base: &LoadedModel, to: Quantization) {
    let gap = match to {
        Quantization::Int8 => 1.0 / 127.0,
        Quantization::Nf4 | Quantization::Fp4 => 1.0 - 0.696,
    };
    for ((_, q), (_, b)) in quantized.params.iter().zip(base.params.iter()) {
        let (got, want) = (q.value().to_precision(Precision::F32), b.value());
        assert_eq!(q.quantization(), q.role().is_quantizable().then_some(to), "{}", q.name());
        let largest = want.data().iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let farthest = if q.quantization().is_some() { 0.51 * gap * largest } else { 0.0 };
        assert_close(&got, want, farthest);
    }
}

#[test]
fn a_directory_is_quantized_once_and_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let (base, once) = (golden("weights/hugging_face"), root.path().join("once"));
    let fails = |dir: &Path, output: &Path, cause: &str| {
        let error = quantize(dir, Quantization::Nf4, output, &mut |_, _| {}).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    };
    quantized(&base, Quantization::Int8, &once);
    fails(&base, &once, "exists already");
    fails(&once, &root.path().join("twice"), "is quantized already, to int8");
    fails(&root.path().join("nowhere"), &root.path().join("x"), "config.json");
    fails(&base, &root.path().join("no/such/place"), "no such file or directory");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "something is left behind");
}

#[test]
fn progress_reaches_its_end() {
    let root = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let output = root.path().join("q");
    let base = golden("weights/hugging_face");
    quantize(&base, Quantization::Nf4, &output, &mut |done, of| seen.push((done, of))).unwrap();
    let count = load(&base, Precision::F32).params.len();
    assert_eq!(seen, (1..=count).map(|done| (done, count)).collect::<Vec<_>>());
}

/// A tensor as a file holds it.
type Raw = (String, Vec<usize>, Vec<u8>);

/// Changes the tensors of `dir`.
fn rewrite(dir: &Path, change: impl FnOnce(&mut BTreeMap<String, Raw>)) {
    let path = dir.join("model.safetensors");
    let Checkpoint { tensors, .. } = weights::read_safetensors(&path).unwrap();
    let raw = |(name, stored): (&String, &weights::Stored)| {
        let (dtype, shape) = (format!("{:?}", stored.dtype()), stored.shape().to_vec());
        (name.clone(), (dtype, shape, stored.bytes().into_owned()))
    };
    let mut tensors: BTreeMap<_, _> = tensors.iter().map(raw).collect();
    change(&mut tensors);
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    // Wide ones first, as Python does, so that they lie aligned.
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by_key(|(_, (dtype, ..))| dtype.as_str() != "F32");
    for (name, (dtype, shape, bytes)) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        data.extend(bytes);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::remove_file(&path).unwrap();
    fs::write(&path, file).unwrap();
}

const MATRIX: &str = "text_encoder.encoder.layer.1.output.dense.weight";
const STATE: &str = "quant_state.bitsandbytes__nf4";

/// Loading a model, quantized to `to` and then changed, fails with this cause, which names the tensor.
#[track_caller]
fn spoilt(to: Quantization, cause: &str, change: impl FnOnce(&mut BTreeMap<String, Raw>)) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    quantized(&golden("weights/hugging_face"), to, &dir);
    rewrite(&dir, change);
    let Err(error) = models::load_as_stored(&dir, None) else { panic!("it loads") };
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.contains(cause), "{text}");
    assert!(text.contains("model.safetensors") && text.contains("layer.1.output.dense"), "{text}");
}

fn part(name: &str) -> String {
    format!("{MATRIX}.{name}")
}

/// Changes a key of the matrix's state.
fn state(tensors: &mut BTreeMap<String, Raw>, key: &str, value: Value) {
    let (_, shape, bytes) = tensors.get_mut(&part(STATE)).unwrap();
    let mut state: Value = serde_json::from_slice(bytes).unwrap();
    state[key] = value;
    *bytes = state.to_string().into_bytes();
    *shape = vec![bytes.len()];
}

#[test]
fn an_error_names_what_is_wrong_with_a_quantized_matrix() {
    let nf4 = Quantization::Nf4;
    for missing in ["absmax", "nested_absmax", "quant_map", "nested_quant_map", STATE] {
        let cause = format!("{}` is missing", part(missing));
        spoilt(nf4, &cause, |t| drop(t.remove(&part(missing))));
    }
    spoilt(nf4, "is quantized to af4", |t| {
        let state = t.remove(&part(STATE)).unwrap();
        t.insert(part("quant_state.bitsandbytes__af4"), state);
    });
    spoilt(nf4, "quant_type is nf4; only fp4", |t| {
        let state = t.remove(&part(STATE)).unwrap();
        t.insert(part("quant_state.bitsandbytes__fp4"), state);
    });
    spoilt(nf4, "blocksize is 128; only 64 is supported", |t| state(t, "blocksize", json!(128)));
    spoilt(nf4, "nested_blocksize is Some(64)", |t| state(t, "nested_blocksize", json!(64)));
    spoilt(nf4, "the shape is [16, 8]", |t| state(t, "shape", json!([16, 8])));
    spoilt(nf4, "quant_type is fp4", |t| state(t, "quant_type", json!("fp4")));
    spoilt(nf4, "expected", |t| t.get_mut(&part(STATE)).unwrap().2.fill(b'x'));
    spoilt(nf4, "is not bitsandbytes' table", |t| {
        t.get_mut(&part("quant_map")).unwrap().2[1] ^= 0x40
    });
    spoilt(nf4, "has 63 bytes instead of 64", |t| {
        let (_, shape, bytes) = t.get_mut(MATRIX).unwrap();
        bytes.pop();
        *shape = vec![bytes.len(), 1];
    });
    spoilt(nf4, "is U8[1] instead of U8[2]", |t| {
        let (_, shape, bytes) = t.get_mut(&part("absmax")).unwrap();
        bytes.pop();
        *shape = vec![1];
    });
    spoilt(nf4, "has a value that is not finite", |t| {
        t.get_mut(&part("nested_absmax")).unwrap().2.fill(0xff);
    });
    let scales = "text_encoder.encoder.layer.1.output.dense.SCB";
    let format = "text_encoder.encoder.layer.1.output.dense.weight_format";
    let int8 = Quantization::Int8;
    spoilt(int8, "dense.SCB` is missing", |t| drop(t.remove(scales)));
    spoilt(int8, "weight_format` must be 0", |t| t.get_mut(format).unwrap().2[0] = 1);
    spoilt(int8, "is [16, 8] instead of [8, 16]", |t| t.get_mut(MATRIX).unwrap().1.reverse());
    spoilt(int8, "is F32[4] instead of F32[8]", |t| {
        let (_, shape, bytes) = t.get_mut(scales).unwrap();
        bytes.truncate(16);
        *shape = vec![4];
    });
    spoilt(int8, "only matrices of linear layers can be", |t| {
        let name = "text_encoder.embeddings.word_embeddings.weight";
        let rows = t[name].1[0];
        let elements = t[name].1.iter().product();
        t.insert(name.replace("weight", "SCB"), ("F32".into(), vec![rows], vec![0; 4 * rows]));
        let (dtype, _, bytes) = t.get_mut(name).unwrap();
        (*dtype, *bytes) = ("I8".into(), vec![0; elements]);
        // The message must name a layer for the function above.
        drop(t.remove(scales));
    });
}

#[test]
fn absmax_in_f32_is_read() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    quantized(&golden("weights/hugging_face"), Quantization::Nf4, &dir);
    let before = logits(&load(&dir, Precision::F32));
    let matrix = {
        let loaded = load(&dir, Precision::F32);
        let id = loaded.params.find(MATRIX).unwrap();
        let Factor::Nf4(matrix) = loaded.params.get(id).value().factor() else { panic!("not nf4") };
        [matrix.block_absmax(0), matrix.block_absmax(1)]
    };
    rewrite(&dir, |tensors| {
        drop(tensors.remove(&part("nested_absmax")));
        drop(tensors.remove(&part("nested_quant_map")));
        let bytes = matrix.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.insert(part("absmax"), ("F32".into(), vec![2], bytes));
        let (_, shape, bytes) = tensors.get_mut(&part(STATE)).unwrap();
        let mut state: serde_json::Map<_, _> = serde_json::from_slice(bytes).unwrap();
        state.retain(|key, _| !key.starts_with("nested"));
        *bytes = Value::Object(state).to_string().into_bytes();
        *shape = vec![bytes.len()];
    });
    assert_close(&logits(&load(&dir, Precision::F32)), &before, 0.0);
}

#[test]
fn half_precision_stays_in_its_file_where_bf16_is_wanted() {
    let root = tempfile::tempdir().unwrap();
    let base = golden("weights/hugging_face");
    for entry in fs::read_dir(&base).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, root.path().join(path.file_name().unwrap())).unwrap();
    }
    rewrite(root.path(), |tensors| {
        for (dtype, _, bytes) in tensors.values_mut() {
            let floats = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            *bytes = floats.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect();
            *dtype = "F16".into();
        }
    });
    let (wide, narrow) = (load(root.path(), Precision::F32), load(root.path(), Precision::Bf16));
    let mut half = 0;
    for (_, p) in narrow.params.iter() {
        half += usize::from(p.value().is_f16());
        assert_eq!(p.value().is_f16(), p.role().is_linear_weight(), "{}", p.name());
    }
    assert!(half > 48);
    assert!(wide.params.iter().all(|(_, p)| !p.value().is_f16()));
    assert_close(&logits(&wide), &logits(&load(&base, Precision::F32)), 1e-2);
    // As if it had been rounded to bf16 first.
    let mut rounded = load(root.path(), Precision::Bf16);
    for (_, p) in rounded.params.iter_mut() {
        if p.value().is_f16() {
            let value: Tensor = p.value().to_precision(Precision::Bf16);
            p.set(value);
        }
    }
    assert_close(&logits(&narrow), &logits(&rounded), 0.0);
    quantized(root.path(), Quantization::Nf4, &root.path().join("nf4"));
}

fn recipe(root: &Path, settings: &[&str]) -> Recipe {
    let mut settings: Vec<_> = settings.iter().map(|s| (*s).to_owned()).collect();
    settings.push(format!("model=\"{}\"", root.join("quantized").display()));
    let mut recipe = Recipe::open(&root.join("recipe.toml"), &settings).unwrap();
    recipe.output = root.join("run");
    recipe
}

#[test]
fn a_run_trains_norms_of_a_quantized_model() {
    for (to, precision) in [(Quantization::Nf4, "bf16"), (Quantization::Int8, "f32")] {
        let root = tempfile::tempdir().unwrap();
        tiny::make(root.path(), "method = \"layer_norm\"", "epochs = 2");
        let made = quantized(&root.path().join("base"), to, &root.path().join("quantized"));
        let recipe = recipe(root.path(), &[&format!("precision=\"{precision}\"")]);
        let weights = plan(&recipe).unwrap().estimates[0].needs.weights;
        let mut loaded = recipe.open_base().unwrap();
        recipe.tuning.apply(&mut loaded.params).unwrap();
        loaded.params.set_precision(recipe.precision);
        let bytes: usize = loaded.params.iter().map(|(_, p)| p.value().bytes()).sum();
        assert_eq!(weights, bytes);
        assert!(bytes <= made.after);
        let outcome =
            run(&recipe, &RunOptions { test: true, ..RunOptions::default() }, &mut |_| {});
        let outcome = outcome.unwrap().finished().unwrap();
        assert!(outcome.trained > 0 && outcome.test.is_some());
        assert!(root.path().join("run/adapter/adapter_model.safetensors").is_file());
    }
}

/// What is plugged into quantized matrices gets the same gradients as with the matrices that
/// they approximate, and a run trains it.
#[test]
fn added_parameters_train_in_a_quantized_model() {
    for to in [Quantization::Nf4, Quantization::Int8] {
        let root = tempfile::tempdir().unwrap();
        tiny::make(root.path(), "method = \"layer_norm\"", "epochs = 2");
        quantized(&root.path().join("base"), to, &root.path().join("quantized"));
        let dir = root.path().join("wider");
        quantized(&golden("weights/hugging_face"), to, &dir);
        for method in [Method::PREFIX, Method::P_TUNING_V2, Method::PROMPT, Method::ADAPTER] {
            let mut found = Vec::new();
            for dequantized in [false, true] {
                let mut loaded = models::load_as_stored(&dir, None).unwrap();
                let mut matrices = 0;
                for (_, p) in loaded.params.iter_mut().filter(|(_, p)| p.quantization().is_some()) {
                    matrices += 1;
                    if dequantized {
                        p.set(p.value().to_precision(Precision::F32));
                    }
                }
                assert!(matrices > 12, "{matrices}");
                let tuning = Tuning::new(method);
                tuning.apply(&mut loaded.params).unwrap();
                tuning.initialize(&mut loaded.params, 1);
                loaded.params.set_precision(Precision::F32);
                for (id, p) in loaded.params.iter_mut().filter(|(_, p)| p.is_added()) {
                    let values = p.value_mut().data_mut().iter_mut().enumerate();
                    values.for_each(|(i, x)| *x += 0.2 * ((id.index() * 17 + i) as f32).cos());
                }
                let batch = weights_common::batch(&loaded);
                let mut g = Graph::training(&loaded.params);
                let y = loaded.model.forward(&mut g, &batch, Mode::Evaluate).unwrap();
                let seed = (0..y.value.len()).map(|i| (i as f32).sin()).collect();
                let mut gradients = Gradients::new();
                g.backward(y.gradient_slot(), Tensor::new(y.shape(), seed), &mut gradients);
                let of = |id| gradients.param(id).unwrap().clone();
                found.push(loaded.params.trained().map(|(id, _)| of(id)).collect::<Vec<_>>());
            }
            let [ours, plain] = &found[..] else { panic!() };
            assert!(!ours.is_empty());
            let all = || plain.iter().flat_map(|gradient| gradient.data());
            let largest = all().fold(0.0f32, |most, x| most.max(x.abs()));
            assert!(largest > 1e-2, "{method} {to:?}: {largest}");
            for (ours, plain) in ours.iter().zip(plain) {
                assert_close(ours, plain, 1e-4 * largest);
            }

            let setting = format!("tuning={{ method = \"{method}\" }}");
            let mut recipe = recipe(root.path(), &[&setting]);
            recipe.output = root.path().join(method.name());
            let mut losses = Vec::new();
            run(&recipe, &RunOptions::default(), &mut |event| {
                if let Event::StepDone { loss, .. } = event {
                    losses.push(*loss);
                }
            })
            .unwrap();
            let (first, last) = losses.split_at(losses.len() / 2);
            assert!(last.iter().sum::<f64>() < first.iter().sum::<f64>(), "{method}: {losses:?}");
        }
    }
}

#[test]
fn to_train_a_quantized_matrix_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    tiny::make(root.path(), "method = \"ffn\"", "epochs = 1");
    quantized(&root.path().join("base"), Quantization::Nf4, &root.path().join("quantized"));
    let recipe = recipe(root.path(), &[]);
    let options = RunOptions::default();
    for error in [plan(&recipe).err(), run(&recipe, &options, &mut |_| {}).err()] {
        let error = error.unwrap();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("is quantized to nf4") && text.contains("fc1.weight"), "{text}");
        assert!(text.contains("train LayerNorms"), "{text}");
    }
}
