//! The names of a BLIP's tensors: the original ones and Hugging Face's.

use std::collections::BTreeMap;

use super::stored::Checkpoint;
use crate::{Error, Result};

/// Prefixes of names, original and Hugging Face's; `{}` is the number of a block. The text towers' names are the
/// same in both.
const ROWS: [(&str, &str); 10] = [
    ("visual_encoder.cls_token", "vision_model.embeddings.class_embedding"),
    ("visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"),
    ("visual_encoder.patch_embed.proj", "vision_model.embeddings.patch_embedding"),
    ("visual_encoder.blocks.{}.norm1", "vision_model.encoder.layers.{}.layer_norm1"),
    ("visual_encoder.blocks.{}.attn.qkv", "vision_model.encoder.layers.{}.self_attn.qkv"),
    ("visual_encoder.blocks.{}.attn.proj", "vision_model.encoder.layers.{}.self_attn.projection"),
    ("visual_encoder.blocks.{}.norm2", "vision_model.encoder.layers.{}.layer_norm2"),
    ("visual_encoder.blocks.{}.mlp.fc1", "vision_model.encoder.layers.{}.mlp.fc1"),
    ("visual_encoder.blocks.{}.mlp.fc2", "vision_model.encoder.layers.{}.mlp.fc2"),
    ("visual_encoder.norm", "vision_model.post_layernorm"),
];

/// Second and first names of tied tensors: the decoder's output matrix is its embedding table.
pub(super) const TIED: [(&str, &str); 2] = [
    (
        "text_decoder.cls.predictions.decoder.weight",
        "text_decoder.bert.embeddings.word_embeddings.weight",
    ),
    ("text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"),
];

/// Ends of the names of buffers that hold the numbers 0, 1, 2, ...
const POSITION_IDS: &str = ".embeddings.position_ids";

/// Hugging Face's name for the tensor with the original name `name`.
pub fn to_hugging_face(name: &str) -> String {
    translate(name, |(original, hugging_face)| (original, hugging_face))
}

/// The original name for the tensor with Hugging Face's name `name`.
pub fn to_original(name: &str) -> String {
    translate(name, |(original, hugging_face)| (hugging_face, original))
}

/// A name or prefix, and the one to replace it by.
type Row = (&'static str, &'static str);

fn translate(name: &str, direction: impl Fn(Row) -> Row) -> String {
    let renamed = ROWS.iter().find_map(|&row| rename(name, direction(row)));
    renamed.unwrap_or_else(|| name.to_owned())
}

/// `name` with the prefix `from` replaced by `to`, if it has that prefix.
fn rename(name: &str, (from, to): Row) -> Option<String> {
    let (block, rest) = match from.split_once("{}") {
        None => ("", name.strip_prefix(from)?),
        Some((head, tail)) => {
            let (block, rest) = name.strip_prefix(head)?.split_once('.')?;
            (block, rest.strip_prefix(&tail[1..])?)
        }
    };
    let whole = rest.is_empty() || rest.starts_with('.');
    whole.then(|| format!("{}{rest}", to.replace("{}", block)))
}

impl Checkpoint {
    /// The same tensors under Hugging Face's names, each once: second names of `tied` tensors and buffers of position
    /// numbers are left out.
    ///
    /// # Errors
    /// If two names are the same parameter, or two tied tensors differ.
    pub fn canonical(self, tied: bool) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, stored) in self.tensors {
            let renamed = to_hugging_face(&name);
            if tensors.insert(renamed.clone(), stored).is_some() {
                let cause = format!("`{name}` and `{renamed}` are the same parameter");
                return Err(Error::invalid(self.path.display(), cause));
            }
        }
        tensors.retain(|name, _| !name.ends_with(POSITION_IDS));
        for (second, first) in TIED.into_iter().filter(|_| tied) {
            let Some(copy) = tensors.remove(second) else { continue };
            let Some(original) = tensors.get(first) else {
                tensors.insert(first.to_owned(), copy);
                continue;
            };
            let same = copy.shape() == original.shape()
                && copy.dtype() == original.dtype()
                && copy.bytes() == original.bytes();
            if !same {
                let cause = format!("`{second}` differs from `{first}`, and the two are tied");
                return Err(Error::invalid(self.path.display(), cause)
                    .with_remedy(
                        "set tie_word_embeddings to false in config.json and in its text_config, if the \
                         decoder has an output matrix of its own",
                    ));
            }
        }
        Ok(Self { tensors, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_both_ways() {
        for (original, hugging_face) in [
            (
                "visual_encoder.blocks.11.attn.qkv.weight",
                "vision_model.encoder.layers.11.self_attn.qkv.weight",
            ),
            ("visual_encoder.cls_token", "vision_model.embeddings.class_embedding"),
            ("visual_encoder.norm.bias", "vision_model.post_layernorm.bias"),
            (
                "visual_encoder.blocks.1.norm1.weight",
                "vision_model.encoder.layers.1.layer_norm1.weight",
            ),
            (
                "text_encoder.encoder.layer.0.output.dense.bias",
                "text_encoder.encoder.layer.0.output.dense.bias",
            ),
        ] {
            assert_eq!(to_hugging_face(original), hugging_face);
            assert_eq!(to_original(hugging_face), original);
        }
    }
}
