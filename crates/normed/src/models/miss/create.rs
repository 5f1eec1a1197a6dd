//! A model that is made, not read: drawn from a seed, its towers filled from checkpoints where some
//! are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::config::MissConfig;
use crate::data::{ImageRule, Tokenizer};
use crate::files::read_json;
use crate::models::Layout;
use crate::models::init::initialize;
use crate::models::open::{LoadedModel, ModelConfig, UnloadedModel, load};
use crate::tensor::{Module, NormPosition, Parameter, Parameters, Tensor, Tower};
use crate::weights;
use crate::{Error, Result};

/// What a new model is made of.
pub struct NewMiss<'a> {
    /// Its sizes. What the tokenizer says is filled in: the size of the vocabulary and the special
    /// tokens' ids.
    pub config: MissConfig,
    /// Its word pieces; `[DEC]` and `[ENC]` are appended if they are not there.
    pub tokenizer: Tokenizer,
    /// A directory with a checkpoint of the BERT family, from which both text towers start.
    pub text_from: Option<&'a Path>,
    /// A directory with a model of ours, from whose vision tower this one's starts. Its position
    /// embeddings are interpolated if the image size differs.
    pub vision_from: Option<&'a Path>,
    /// What everything else is drawn from.
    pub seed: u64,
}

/// Makes a model in Hugging Face's layout. What no checkpoint fills is drawn as [`initialize`] says:
/// both cross-attentions (Rothe et al. 2020, arXiv 1907.12461, do the same with BERT), the
/// prediction head, and the rows of the word table that the checkpoint does not have.
pub fn create(new_miss: NewMiss<'_>) -> Result<LoadedModel> {
    let NewMiss { config, tokenizer, text_from, vision_from, seed } = new_miss;
    let words = tokenizer.len();
    let mut declared = declare_new(config.clone(), tokenizer)?;
    let (params, config) = (&mut declared.params, &config);
    initialize(params, seed);
    if let Some(dir) = text_from {
        fill_text(params, config, words, dir)?;
    }
    if let Some(dir) = vision_from {
        fill_vision(params, config.vision.image_size, dir)?;
    }
    let content_hash = content_hash(params).into();
    Ok(declared.loaded(PathBuf::new(), content_hash))
}

/// As [`create`], without weights.
pub fn declare_new(config: MissConfig, tokenizer: Tokenizer) -> Result<UnloadedModel> {
    let (config, tokenizer) = completed(config, tokenizer)?;
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    Ok(UnloadedModel {
        model,
        params,
        tokenizer: Arc::new(tokenizer),
        image_rule: ImageRule { size: config.vision.image_size, ..ImageRule::default() },
        text_rule: config.text_rule().into(),
        config: Box::new(config),
        layout: Layout::HuggingFace,
    })
}

/// What the tokenizer says of the model, and the tokenizer with all that the model needs.
fn completed(mut config: MissConfig, mut tokenizer: Tokenizer) -> Result<(MissConfig, Tokenizer)> {
    for token in ["[DEC]", "[ENC]"] {
        if tokenizer.id(token).is_none() {
            let next = u32::try_from(tokenizer.len()).map_err(|e| Error::invalid(token, e))?;
            tokenizer.add_special(token, next)?;
        }
    }
    let id = |token: &str| {
        let missing = || Error::invalid("init.vocab", format!("the vocabulary has no {token}"));
        tokenizer.id(token).ok_or_else(missing)
    };
    let text = &mut config.text;
    text.vocab_size = tokenizer.len();
    text.bos_token_id = id("[DEC]")?;
    text.sep_token_id = id("[SEP]")?;
    text.pad_token_id = id("[PAD]")?;
    text.question_token_id = id("[CLS]")?;
    text.max_question_tokens = text.max_position_embeddings;
    config.check("init")?;
    if config.vision.hidden_size != config.text.hidden_size {
        return Err(Error::invalid("init", "vision.hidden_size and text.hidden_size differ")
            .with_remedy(
                "the model is saved in Hugging Face's layout, which has one key for both",
            ));
    }
    Ok((config, tokenizer))
}

/// The part of a BERT's config.json that its shapes do not say.
#[derive(Deserialize)]
struct BertConfig {
    num_attention_heads: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

/// Fills both text towers from the BERT in `dir`, its first blocks if it has more of them, whose
/// vocabulary has `words` entries.
fn fill_text(params: &mut Parameters, config: &MissConfig, words: usize, dir: &Path) -> Result<()> {
    let path = dir.join("config.json");
    let bert: BertConfig = read_json(&path)?;
    let place = dir.display();
    if bert.num_attention_heads != config.text.num_attention_heads {
        let (theirs, ours) = (bert.num_attention_heads, config.text.num_attention_heads);
        let cause =
            format!("has {theirs} attention heads, init.text.num_attention_heads is {ours}");
        return Err(Error::invalid(place, cause));
    }
    if bert.hidden_act != "gelu" || bert.position_embedding_type.is_some_and(|t| t != "absolute") {
        return Err(Error::invalid(
            path.display(),
            "only GELU and absolute positions are supported",
        ));
    }
    let checkpoint = read_bert(dir)?;
    let mut wrong = Vec::new();
    for (_, p) in params.iter_mut() {
        let Some(name) = bert_name(p) else { continue };
        let value = match name {
            "embeddings.word_embeddings.weight" => words_with(p.value(), &checkpoint, name, words),
            "embeddings.position_embeddings.weight" => positions(p.len(), &checkpoint, name),
            _ => checkpoint.get(name).cloned(),
        };
        match value {
            Some(value) if value.len() == p.len() => p.set(value.reshape(&p.shape.clone())),
            _ => {
                let theirs = checkpoint.get(name).map(Tensor::shape);
                wrong.push(format!("{name} is {theirs:?}, not {:?}", p.shape));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(place, wrong.join("; "))
            .with_remedy("init.text must have its sizes, and init.vocab must be its vocabulary")),
    }
}

/// What a BERT calls a parameter of a text tower; none for what a BERT does not have: it has no
/// cross-attention, and its prediction head is not one for answers.
fn bert_name(p: &Parameter) -> Option<&str> {
    let tower = match p.role.tower {
        Tower::Vision | Tower::Projector => return None,
        Tower::Text => "text_encoder.",
        Tower::Decoder => "text_decoder.bert.",
    };
    match p.role.module {
        Module::Head | Module::CrossAttention(_) => None,
        Module::Norm(NormPosition::Head | NormPosition::CrossAttention) => None,
        _ => p.name.strip_prefix(tower),
    }
}

/// The tensors of the BERT in `dir`, `bert.` taken off their names.
fn read_bert(dir: &Path) -> Result<BTreeMap<String, Tensor>> {
    let (safetensors, torch) = (dir.join("model.safetensors"), dir.join("pytorch_model.bin"));
    let checkpoint = if safetensors.is_file() {
        weights::read_safetensors(&safetensors)?
    } else if torch.is_file() {
        weights::read_torch(&torch)?
    } else {
        return Err(Error::invalid(dir.display(), "holds no weights")
            .with_remedy("it must hold model.safetensors or pytorch_model.bin"));
    };
    let tensors = checkpoint.tensors.iter().filter_map(|(name, stored)| {
        let name = name.strip_prefix("bert.").unwrap_or(name);
        Some((name.to_owned(), stored.to_tensor()?))
    });
    Ok(tensors.collect())
}

/// The word table `name`, which must have `words` rows; the rows that `drawn` has behind them,
/// those of `[DEC]` and `[ENC]`, stay as they were drawn.
fn words_with(
    drawn: &Tensor,
    checkpoint: &BTreeMap<String, Tensor>,
    name: &str,
    words: usize,
) -> Option<Tensor> {
    let table = checkpoint.get(name).filter(|t| t.rows() == words && t.width() == drawn.width())?;
    let mut rows = table.data().to_vec();
    rows.extend_from_slice(drawn.data().get(rows.len()..)?);
    Some(Tensor::new(drawn.shape(), rows))
}

/// The first `len` elements of the position table `name`. Every token is of type 0 here, so that
/// type's embedding becomes a part of every position.
fn positions(len: usize, checkpoint: &BTreeMap<String, Tensor>, name: &str) -> Option<Tensor> {
    let table = checkpoint.get(name)?;
    let types = checkpoint.get("embeddings.token_type_embeddings.weight")?;
    let first_type = types.data().get(..table.width())?;
    let mut rows = table.data().get(..len)?.to_vec();
    for row in rows.chunks_mut(first_type.len()) {
        row.iter_mut().zip(first_type).for_each(|(x, t)| *x += t);
    }
    Some(Tensor::new(&[len], rows))
}

/// Fills the vision tower from that of the model in `dir`, made ready for this image size.
fn fill_vision(params: &mut Parameters, image_size: usize, dir: &Path) -> Result<()> {
    let donor = load(dir, Some(image_size))?.params;
    let mut wrong = Vec::new();
    for (_, p) in params.iter_mut().filter(|(_, p)| p.role.tower == Tower::Vision) {
        match donor.find(&p.name).map(|id| donor.get(id).value()) {
            Some(value) if value.shape() == p.shape => p.set(value.clone()),
            other => {
                let theirs = other.map(Tensor::shape);
                wrong.push(format!("{} is {theirs:?}, not {:?}", p.name, p.shape));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(dir.display(), wrong.join("; "))
            .with_remedy("init.vision must have its sizes, but for the image's")),
    }
}

/// SHA-256, hexadecimal, over the names and values that it starts from.
pub(in crate::models) fn content_hash(params: &Parameters) -> String {
    let mut hash = Sha256::new();
    for (_, p) in params.iter() {
        hash.update((p.name.len() as u64).to_le_bytes());
        hash.update(&p.name);
        hash.update((p.len() as u64).to_le_bytes());
        for block in p.value().data().chunks(1 << 12) {
            hash.update(block.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::models::{TextConfig, VisionConfig};
    use crate::tensor::Precision;
    use crate::weights::write_safetensors;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlung\n";

    fn config(image_size: usize) -> MissConfig {
        MissConfig {
            vision: VisionConfig {
                hidden_size: 4,
                intermediate_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                image_size,
                patch_size: 8,
                layer_norm_eps: 1e-6,
                attention_dropout: 0.0,
            },
            text: TextConfig {
                vocab_size: 0,
                hidden_size: 4,
                intermediate_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                max_position_embeddings: 3,
                layer_norm_eps: 1e-12,
                hidden_dropout_prob: 0.1,
                attention_probs_dropout_prob: 0.1,
                bos_token_id: 0,
                sep_token_id: 0,
                pad_token_id: 0,
                question_token_id: 0,
                max_question_tokens: 0,
            },
        }
    }

    fn new_miss(image_size: usize) -> NewMiss<'static> {
        NewMiss {
            config: config(image_size),
            tokenizer: Tokenizer::from_words(Path::new("words"), WORDS).unwrap(),
            text_from: None,
            vision_from: None,
            seed: 3,
        }
    }

    fn value<'a>(loaded: &'a LoadedModel, name: &str) -> &'a [f32] {
        let id = loaded.params.find(name).unwrap_or_else(|| panic!("{name}"));
        loaded.params.get(id).value().data()
    }

    #[test]
    fn what_is_drawn_depends_on_the_seed() {
        let (a, b) = (create(new_miss(16)).unwrap(), create(new_miss(16)).unwrap());
        assert_eq!(a.content_hash, b.content_hash);
        let c = create(NewMiss { seed: 4, ..new_miss(16) }).unwrap();
        assert_ne!(a.content_hash, c.content_hash);
        // Six words, and [DEC] and [ENC] behind them.
        let rule = a.text_rule.as_question().unwrap();
        assert_eq!((a.tokenizer.len(), rule.decoder_start), (8, 6));
        assert_eq!((rule.question_start, rule.end, rule.pad), (2, 3, 0));
    }

    /// A BERT of two blocks and four positions, every element of every tensor its own number.
    fn bert(dir: &Path, prefix: &str, skip: &str) {
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("embeddings.word_embeddings.weight".into(), vec![6, 4]),
            ("embeddings.position_embeddings.weight".into(), vec![4, 4]),
            ("embeddings.token_type_embeddings.weight".into(), vec![2, 4]),
            ("embeddings.LayerNorm.weight".into(), vec![4]),
            ("embeddings.LayerNorm.bias".into(), vec![4]),
            ("pooler.dense.weight".into(), vec![4, 4]),
        ];
        for layer in 0..2 {
            for (name, shape) in [
                ("attention.self.query", vec![4, 4]),
                ("attention.self.key", vec![4, 4]),
                ("attention.self.value", vec![4, 4]),
                ("attention.output.dense", vec![4, 4]),
                ("attention.output.LayerNorm", vec![4]),
                ("intermediate.dense", vec![8, 4]),
                ("output.dense", vec![4, 8]),
                ("output.LayerNorm", vec![4]),
            ] {
                let name = format!("encoder.layer.{layer}.{name}");
                shapes.push((format!("{name}.bias"), vec![shape[0]]));
                shapes.push((format!("{name}.weight"), shape));
            }
        }
        shapes.retain(|(name, _)| name != skip);
        let mut next = 0.0;
        let tensors: Vec<_> = shapes
            .iter()
            .map(|(name, shape)| {
                let data = (0..shape.iter().product()).map(|_| {
                    next += 1.0;
                    next
                });
                (format!("{prefix}{name}"), Tensor::new(shape, data.collect()))
            })
            .collect();
        let list: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let file = dir.join("model.safetensors");
        write_safetensors(&file, &list, Precision::F32, &BTreeMap::new()).unwrap();
        fs::write(dir.join("config.json"), r#"{"num_attention_heads":2}"#).unwrap();
    }

    #[test]
    fn both_text_towers_start_from_a_bert() {
        for prefix in ["", "bert."] {
            let dir = tempfile::tempdir().unwrap();
            bert(dir.path(), prefix, "");
            let drawn = create(new_miss(16)).unwrap();
            let made = create(NewMiss { text_from: Some(dir.path()), ..new_miss(16) }).unwrap();
            for tower in ["text_encoder", "text_decoder.bert"] {
                let of = |name: &str| value(&made, &format!("{tower}.{name}"));
                // 24 numbers of the words, 16 of the positions, then those of type 0: 41 to 44.
                let words = of("embeddings.word_embeddings.weight");
                assert_eq!(words[..24], (1..=24).map(|x| x as f32).collect::<Vec<_>>());
                let name = format!("{tower}.embeddings.word_embeddings.weight");
                assert_eq!(words[24..], value(&drawn, &name)[24..]);
                let positions = of("embeddings.position_embeddings.weight");
                assert_eq!(positions[..6], [66.0, 68.0, 70.0, 72.0, 70.0, 72.0]);
                assert_eq!(positions.len(), 12);
                assert_eq!(of("embeddings.LayerNorm.weight")[0], 49.0);
                let name = format!("{tower}.encoder.layer.0.crossattention.self.query.weight");
                assert_eq!(value(&made, &name), value(&drawn, &name));
            }
            let head = "text_decoder.cls.predictions.transform.dense.weight";
            assert_eq!(value(&made, head), value(&drawn, head));
        }
    }

    #[test]
    fn what_a_bert_lacks_is_named() {
        let dir = tempfile::tempdir().unwrap();
        bert(dir.path(), "", "encoder.layer.0.attention.self.key.bias");
        let from = || NewMiss { text_from: Some(dir.path()), ..new_miss(16) };
        let error = create(from()).err().unwrap().to_string();
        assert!(error.contains("encoder.layer.0.attention.self.key.bias is None"), "{error}");
        fs::write(dir.path().join("config.json"), r#"{"num_attention_heads":4}"#).unwrap();
        let error = create(from()).err().unwrap().to_string();
        assert!(error.contains("4 attention heads"), "{error}");
        fs::write(dir.path().join("config.json"), r#"{"num_attention_heads":2}"#).unwrap();
        bert(dir.path(), "", "");
        let other = Tokenizer::from_words(Path::new("words"), &(WORDS.to_owned() + "no\n"));
        let error = create(NewMiss { tokenizer: other.unwrap(), ..from() }).err().unwrap();
        assert!(error.to_string().contains("embeddings.word_embeddings.weight"), "{error}");
    }

    #[test]
    fn a_vision_tower_is_taken_and_its_positions_fitted() {
        let dir = tempfile::tempdir().unwrap();
        let donor = create(new_miss(16)).unwrap();
        crate::models::save(&donor, dir.path(), false).unwrap();
        let from = NewMiss { vision_from: Some(dir.path()), seed: 9, ..new_miss(24) };
        let made = create(from).unwrap();
        let patch = "vision_model.embeddings.patch_embedding.weight";
        assert_eq!(value(&made, patch), value(&donor, patch));
        let positions = "vision_model.embeddings.position_embedding";
        assert_eq!(value(&made, positions).len(), 10 * 4);
        assert_eq!(value(&made, positions)[..4], value(&donor, positions)[..4]);
        assert_eq!(made.image_rule.size, 24);
    }
}
