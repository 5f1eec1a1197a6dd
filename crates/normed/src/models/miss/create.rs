//! A new MISS: weights drawn from a seed, towers filled from checkpoints where some are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::config::MissConfig;
use crate::data::Tokenizer;
use crate::files::read_json;
use crate::models::init::{hash_parameters, initialize};
use crate::models::load::{LoadedModel, UnloadedModel, load};
use crate::models::model::Layout;
use crate::models::model_config::ModelConfig;
use crate::models::square_processor::SquareProcessor;
use crate::models::towers::{BertConfig, VitConfig};
use crate::models::weight_files::open_weight_files;
use crate::ops::Activation;
use crate::tensor::{Module, NormPosition, Parameter, Parameters, Tensor, Tower};
use crate::{Error, Result};

/// What a new MISS is made of.
pub struct NewMiss<'a> {
    /// The vision tower's sizes.
    pub vision: VitConfig,
    /// The text towers' sizes.
    pub text: TextSizes,
    /// The tokenizer, of word pieces; `[DEC]` and `[ENC]` are appended if it lacks them. It says the size of
    /// the vocabulary and the ids of special tokens.
    pub tokenizer: Tokenizer,
    /// A directory with a checkpoint of the BERT family, which fills both text towers.
    pub text_from: Option<&'a Path>,
    /// A directory with a MISS or BLIP model, whose vision tower fills this one's. Position embeddings are
    /// interpolated if the image sizes differ.
    pub vision_from: Option<&'a Path>,
    /// The seed of all other weights.
    pub seed: u64,
}

/// The sizes of the text towers of a new MISS, under Hugging Face's names. Everything else is as in BERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSizes {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads of each block.
    pub num_attention_heads: usize,
    /// Tokens of the longest text.
    pub max_position_embeddings: usize,
}

impl NewMiss<'_> {
    /// Makes the model, in Hugging Face's layout. What no checkpoint fills is drawn as [`initialize`] does it:
    /// both cross-attentions (Rothe et al. 2020, arXiv 1907.12461, do the same with BERT), the prediction
    /// head, and the rows of the word table that the checkpoint lacks.
    ///
    /// # Errors
    /// If no model can have these sizes, if the tokenizer lacks a special token, or if a checkpoint cannot be
    /// read or has other sizes.
    pub fn create(self) -> Result<LoadedModel> {
        let Self { text_from, vision_from, seed, .. } = self;
        let words = self.tokenizer.len();
        let (image_size, heads) = (self.vision.image_size, self.text.num_attention_heads);
        let mut model = self.declare()?;
        initialize(&mut model.params, seed);
        if let Some(dir) = text_from {
            fill_text(&mut model.params, heads, words, dir)?;
        }
        if let Some(dir) = vision_from {
            fill_vision(&mut model.params, image_size, dir)?;
        }
        let hash = hash_parameters(&model.params);
        Ok(model.into_loaded(PathBuf::new(), hash.into()))
    }

    /// The model without weights; no checkpoint is read.
    ///
    /// # Errors
    /// If no model can have these sizes, or if the tokenizer lacks a special token.
    pub fn declare(self) -> Result<UnloadedModel> {
        let (config, tokenizer) = complete_config(self.vision, self.text, self.tokenizer)?;
        let mut params = Parameters::new();
        let model = config.declare(&mut params);
        Ok(UnloadedModel {
            model,
            params,
            tokenizer: Arc::new(tokenizer),
            image_processor: Arc::new(SquareProcessor {
                size: config.vision_config.image_size,
                ..SquareProcessor::blip()
            }),
            text_rule: config.text_rule().into(),
            config: Box::new(config),
            layout: Layout::HuggingFace,
        })
    }
}

/// The config of a model of these sizes for this tokenizer, to which the tokens that it lacks are added.
fn complete_config(
    vision_config: VitConfig,
    sizes: TextSizes,
    mut tokenizer: Tokenizer,
) -> Result<(MissConfig, Tokenizer)> {
    // A vocabulary that has them has them as words, which `skip_special_tokens` would leave in answers.
    for token in ["[DEC]", "[ENC]"] {
        let next = u32::try_from(tokenizer.len()).map_err(|e| Error::invalid(token, e))?;
        tokenizer.add_special(token, tokenizer.id(token).unwrap_or(next))?;
    }
    let id = |token: &str| {
        let missing = || Error::invalid("init.vocab", format!("the vocabulary has no {token}"));
        tokenizer.id(token).ok_or_else(missing)
    };
    let text_config = BertConfig {
        vocab_size: tokenizer.len(),
        hidden_size: sizes.hidden_size,
        intermediate_size: sizes.intermediate_size,
        num_hidden_layers: sizes.num_hidden_layers,
        num_attention_heads: sizes.num_attention_heads,
        max_position_embeddings: sizes.max_position_embeddings,
        layer_norm_eps: 1e-12,
        hidden_act: Activation::Gelu,
        tie_word_embeddings: true,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        bos_token_id: id("[DEC]")?,
        sep_token_id: id("[SEP]")?,
        pad_token_id: id("[PAD]")?,
        question_token_id: id("[CLS]")?,
        max_question_tokens: sizes.max_position_embeddings,
    };
    let config = MissConfig { vision_config, text_config };
    config.check("init")?;
    if config.vision_config.hidden_size != config.text_config.hidden_size {
        return Err(Error::invalid("init", "vision.hidden_size and text.hidden_size differ")
            .with_remedy("make them equal: Hugging Face's layout has one key for both"));
    }
    Ok((config, tokenizer))
}

/// The keys of a BERT's config.json that the shapes of its tensors do not say.
#[derive(Deserialize)]
struct DonorConfig {
    num_attention_heads: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

/// Fills both text towers, of `heads` attention heads, from the first blocks of the BERT in `dir`, whose
/// vocabulary has `words` entries.
fn fill_text(params: &mut Parameters, heads: usize, words: usize, dir: &Path) -> Result<()> {
    let path = dir.join("config.json");
    let bert: DonorConfig = read_json(&path)?;
    let place = dir.display();
    if bert.num_attention_heads != heads {
        let theirs = bert.num_attention_heads;
        let cause =
            format!("has {theirs} attention heads, init.text.num_attention_heads is {heads}");
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
            "embeddings.word_embeddings.weight" => {
                extend_words(p.value(), &checkpoint, name, words)
            }
            "embeddings.position_embeddings.weight" => position_rows(p.len(), &checkpoint, name),
            _ => checkpoint.get(name).cloned(),
        };
        match value {
            Some(value) if value.len() == p.len() => p.set(value.reshape(p.shape())),
            _ => {
                let theirs = checkpoint.get(name).map(Tensor::shape);
                wrong.push(format!("{name} is {theirs:?}, not {:?}", p.shape()));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(place, wrong.join("; "))
            .with_remedy("use its sizes in init.text, and its vocabulary as init.vocab")),
    }
}

/// The name that a BERT has for a parameter of a text tower. None for what a BERT cannot fill: it has no
/// cross-attention, and its prediction head is not one for answers.
fn bert_name(p: &Parameter) -> Option<&str> {
    let tower = match p.role().tower {
        Tower::Vision | Tower::Projector => return None,
        Tower::Text => "text_encoder.",
        Tower::Decoder => "text_decoder.bert.",
    };
    match p.role().module {
        Module::Head | Module::CrossAttention(_) => None,
        Module::Norm(NormPosition::Head | NormPosition::CrossAttention) => None,
        _ => p.name().strip_prefix(tower),
    }
}

/// The tensors of the BERT in `dir`, without `bert.` in their names.
fn read_bert(dir: &Path) -> Result<BTreeMap<String, Tensor>> {
    let checkpoint = open_weight_files(dir)?;
    let tensors = checkpoint.tensors.iter().filter_map(|(name, stored)| {
        let name = name.strip_prefix("bert.").unwrap_or(name);
        Some((name.to_owned(), stored.to_tensor()?))
    });
    Ok(tensors.collect())
}

/// The word table `name` of the checkpoint, which must have `words` rows, and after them the other rows of
/// `drawn`: those of `[DEC]` and `[ENC]`.
fn extend_words(
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

/// The first `len` elements of the position table `name`. MISS has no token types: every token has type 0, whose
/// embedding is added to every position.
fn position_rows(len: usize, checkpoint: &BTreeMap<String, Tensor>, name: &str) -> Option<Tensor> {
    let table = checkpoint.get(name)?;
    let types = checkpoint.get("embeddings.token_type_embeddings.weight")?;
    let first_type = types.data().get(..table.width())?;
    let mut rows = table.data().get(..len)?.to_vec();
    for row in rows.chunks_mut(first_type.len()) {
        row.iter_mut().zip(first_type).for_each(|(x, t)| *x += t);
    }
    Some(Tensor::new(&[len], rows))
}

/// Fills the vision tower from that of the model in `dir`, resized for this image size.
fn fill_vision(params: &mut Parameters, image_size: usize, dir: &Path) -> Result<()> {
    let donor = load(dir, Some(image_size))?.params;
    let mut wrong = Vec::new();
    for (_, p) in params.iter_mut().filter(|(_, p)| p.role().tower == Tower::Vision) {
        match donor.find(p.name()).map(|id| donor.get(id).value()) {
            Some(value) if value.shape() == p.shape() => p.set(value.clone()),
            other => {
                let theirs = other.map(Tensor::shape);
                wrong.push(format!("{} is {theirs:?}, not {:?}", p.name(), p.shape()));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(dir.display(), wrong.join("; "))
            .with_remedy("use its sizes in init.vision; only the image size may differ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::tensor::Precision;
    use crate::weights::write_safetensors;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlung\n";

    fn new_miss(image_size: usize) -> NewMiss<'static> {
        NewMiss {
            vision: VitConfig {
                hidden_size: 4,
                intermediate_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                image_size,
                patch_size: 8,
                layer_norm_eps: 1e-6,
                hidden_act: Activation::Gelu,
                attention_dropout: 0.0,
            },
            text: TextSizes {
                hidden_size: 4,
                intermediate_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                max_position_embeddings: 3,
            },
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
        let (a, b) = (new_miss(16).create().unwrap(), new_miss(16).create().unwrap());
        assert_eq!(a.content_hash, b.content_hash);
        let c = NewMiss { seed: 4, ..new_miss(16) }.create().unwrap();
        assert_ne!(a.content_hash, c.content_hash);
        // Six words, then [DEC] and [ENC].
        let rule = a.text_rule.as_question().unwrap();
        assert_eq!((a.tokenizer.len(), rule.decoder_start), (8, 6));
        assert_eq!((rule.question_start, rule.end, rule.pad), (2, 3, 0));
    }

    #[test]
    fn a_vocabulary_with_the_word_dec_gets_it_as_a_special_token() {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[DEC]\n[ENC]\nno\n";
        let tokenizer = Tokenizer::from_words(Path::new("vocab.txt"), words).unwrap();
        let made = NewMiss { tokenizer, ..new_miss(16) }.create().unwrap();
        assert_eq!(made.tokenizer.len(), 7);
        assert_eq!(made.tokenizer.decode(&[4, 6, 3]), "no");
        let dir = tempfile::tempdir().unwrap();
        made.tokenizer.save(dir.path()).unwrap();
        let file = std::fs::read_to_string(dir.path().join("tokenizer.json")).unwrap();
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let special = |token: &serde_json::Value| token["special"].as_bool().unwrap();
        let added = file["added_tokens"].as_array().unwrap();
        let dec = added.iter().find(|token| token["content"] == "[DEC]");
        assert!(special(dec.unwrap()), "transformers reads it there");
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
            let drawn = new_miss(16).create().unwrap();
            let made = NewMiss { text_from: Some(dir.path()), ..new_miss(16) }.create().unwrap();
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
        let error = from().create().err().unwrap().to_string();
        assert!(error.contains("encoder.layer.0.attention.self.key.bias is None"), "{error}");
        fs::write(dir.path().join("config.json"), r#"{"num_attention_heads":4}"#).unwrap();
        let error = from().create().err().unwrap().to_string();
        assert!(error.contains("4 attention heads"), "{error}");
        fs::write(dir.path().join("config.json"), r#"{"num_attention_heads":2}"#).unwrap();
        bert(dir.path(), "", "");
        let other = Tokenizer::from_words(Path::new("words"), &(WORDS.to_owned() + "no\n"));
        let error = NewMiss { tokenizer: other.unwrap(), ..from() }.create().err().unwrap();
        assert!(error.to_string().contains("embeddings.word_embeddings.weight"), "{error}");
    }

    #[test]
    fn a_vision_tower_is_taken_and_its_positions_fitted() {
        let dir = tempfile::tempdir().unwrap();
        let donor = new_miss(16).create().unwrap();
        crate::models::save(&donor, dir.path(), false).unwrap();
        let from = NewMiss { vision_from: Some(dir.path()), seed: 9, ..new_miss(24) };
        let made = from.create().unwrap();
        let patch = "vision_model.embeddings.patch_embedding.weight";
        assert_eq!(value(&made, patch), value(&donor, patch));
        let positions = "vision_model.embeddings.position_embedding";
        assert_eq!(value(&made, positions).len(), 10 * 4);
        assert_eq!(value(&made, positions)[..4], value(&donor, positions)[..4]);
        assert_eq!(made.config.image_size(), Some(24));
    }
}
