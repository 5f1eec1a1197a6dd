//! The names of a LLaVA's tensors. There are three kinds: those of transformers 5, which parameters have here and
//! PEFT uses; those that all versions of transformers read and version 5 still writes; and those of LLaVA's own
//! code.

use std::collections::BTreeMap;

use super::stored::Checkpoint;
use crate::{Error, Result};

pub(super) const VISION: &str = "model.vision_tower.";
pub(super) const PROJECTOR: &str = "model.multi_modal_projector.";
const LANGUAGE: &str = "model.language_model.";
const HEAD: &str = "lm_head.weight";
const TABLE: &str = "model.language_model.embed_tokens.weight";

/// Older prefixes, and transformers 5's. Of two that match, the longer comes first.
const HUGGING_FACE: [(&str, &str); 7] = [
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", LANGUAGE),
    ("vision_tower.vision_model.", VISION),
    ("vision_tower.", VISION),
    ("multi_modal_projector.", PROJECTOR),
    ("model.vision_tower.vision_model.", VISION),
    ("model.language_model.model.", LANGUAGE),
];

/// The prefixes of LLaVA's own code, and transformers 5's.
const ORIGINAL: [(&str, &str); 7] = [
    ("model.vision_tower.vision_tower.vision_model.", VISION),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    ("model.mm_projector.", "model.multi_modal_projector.linear_1."),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
];

/// The names of a head and of the embedding table that it can be tied to.
pub(super) const TIED_HEAD: (&str, &str) = (HEAD, TABLE);

/// Whether a tensor in an old file is a buffer, which is computed and not trained.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".embeddings.position_ids")
}

fn renamed(name: &str, rows: &[(&str, &str)]) -> String {
    let row = rows.iter().find_map(|(from, to)| Some((name.strip_prefix(from)?, to)));
    row.map_or_else(|| name.to_owned(), |(rest, to)| format!("{to}{rest}"))
}

/// Transformers 5's name for `name`, which is one of an older version.
pub(super) fn from_older_transformers(name: &str) -> String {
    renamed(name, &HUGGING_FACE)
}

/// Transformers 5's name for `name`, which is one of LLaVA's own code.
pub(super) fn from_llava_original(name: &str) -> String {
    renamed(name, &ORIGINAL)
}

/// The name that transformers 4.52 to 4.57 have in memory.
pub(super) fn to_transformers_4_52(name: &str) -> String {
    renamed(name, &[(VISION, "model.vision_tower.vision_model.")])
}

/// The name in LLaVA's own code, for a projector with this number of layers.
pub fn to_llava_original(name: &str, projector_layers: usize) -> String {
    let fits = |(own, _): &&(&str, &str)| match *own {
        "model.mm_projector." => projector_layers == 1,
        "model.mm_projector.0." => projector_layers > 1,
        _ => true,
    };
    let rows: Vec<_> = ORIGINAL.iter().filter(fits).map(|&(own, ours)| (ours, own)).collect();
    renamed(name, &rows)
}

/// The name that every version of transformers reads.
pub fn to_hugging_face_llava(name: &str) -> String {
    let rows = [
        (VISION, "vision_tower.vision_model."),
        (PROJECTOR, "multi_modal_projector."),
        (LANGUAGE, "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ];
    renamed(name, &rows)
}

impl Checkpoint {
    /// Whether the names are those of LLaVA's own code.
    pub fn has_llava_original_names(&self) -> bool {
        let own = |name: &String| {
            name.starts_with("model.mm_projector.") || name.starts_with("model.layers.")
        };
        self.tensors.keys().any(own)
    }

    /// Whether the names are Hugging Face's, of any version of transformers.
    pub fn has_llava_hugging_face_names(&self) -> bool {
        let known = ["language_model.", "multi_modal_projector.", LANGUAGE, PROJECTOR];
        self.tensors.keys().any(|name| known.iter().any(|start| name.starts_with(start)))
    }

    /// The same tensors of a LLaVA under transformers 5's names. If the head is `tied` to the embedding table, it is
    /// left out.
    ///
    /// # Errors
    /// If two names are the same parameter, or a tied head differs from the table.
    pub fn canonical_llava(self, tied: bool) -> Result<Self> {
        let rows: &[_] = if self.has_llava_original_names() { &ORIGINAL } else { &HUGGING_FACE };
        let mut tensors = BTreeMap::new();
        for (name, stored) in self.tensors {
            if is_buffer(&name) {
                continue;
            }
            let canonical = renamed(&name, rows);
            if tensors.insert(canonical.clone(), stored).is_some() {
                let cause = format!("`{name}` and another name are the same parameter {canonical}");
                return Err(Error::invalid(self.path.display(), cause));
            }
        }
        if tied && let Some(head) = tensors.get(HEAD) {
            let same = tensors.get(TABLE).is_some_and(|table| {
                table.shape() == head.shape()
                    && table.dtype() == head.dtype()
                    && table.bytes() == head.bytes()
            });
            if !same {
                let cause =
                    format!("`{HEAD}` differs from the embedding table, and the two are tied");
                return Err(Error::invalid(self.path.display(), cause)
                    .with_remedy("set tie_word_embeddings to false in config.json"));
            }
            tensors.remove(HEAD);
        }
        Ok(Self { tensors, ..self })
    }

    /// Whether a LLaVA's checkpoint, under transformers 5's names, contains its image encoder.
    pub fn has_vision_tower(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with(VISION))
    }

    /// Adds the image encoder of a CLIP's checkpoint; the rest of the CLIP is ignored.
    ///
    /// # Errors
    /// If `clip` has no image encoder.
    pub fn add_vision_tower(&mut self, clip: &Checkpoint) -> Result<()> {
        const PREFIX: &str = "vision_model.";
        let found = clip.tensors.iter().filter_map(|(name, stored)| {
            // Transformers 5 saves a vision tower alone under names without a prefix.
            let whole = name.starts_with("embeddings.")
                || name.starts_with("encoder.")
                || name.starts_with("pre_layrnorm.")
                || name.starts_with("post_layernorm.");
            let rest = name.strip_prefix(PREFIX).or(whole.then_some(name.as_str()))?;
            let name = format!("{VISION}{rest}");
            (!is_buffer(&name)).then(|| (name, stored.clone()))
        });
        let before = self.tensors.len();
        self.tensors.extend(found);
        if self.tensors.len() == before {
            let cause = format!("it has no tensors `{PREFIX}*`, so it is not a CLIP");
            return Err(Error::invalid(clip.path.display(), cause));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_translated() {
        for (canonical, saved, own) in [
            (
                "model.vision_tower.encoder.layers.0.mlp.fc1.weight",
                "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
                "model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
            ),
            (
                "model.multi_modal_projector.linear_2.bias",
                "multi_modal_projector.linear_2.bias",
                "model.mm_projector.2.bias",
            ),
            (
                "model.language_model.layers.3.mlp.up_proj.weight",
                "language_model.model.layers.3.mlp.up_proj.weight",
                "model.layers.3.mlp.up_proj.weight",
            ),
            (
                "model.language_model.norm.weight",
                "language_model.model.norm.weight",
                "model.norm.weight",
            ),
            ("lm_head.weight", "language_model.lm_head.weight", "lm_head.weight"),
        ] {
            assert_eq!(to_hugging_face_llava(canonical), saved);
            assert_eq!(to_llava_original(canonical, 2), own);
            assert_eq!(renamed(saved, &HUGGING_FACE), canonical);
            assert_eq!(renamed(canonical, &HUGGING_FACE), canonical);
            assert_eq!(renamed(own, &ORIGINAL), canonical);
        }
        let linear = "model.multi_modal_projector.linear_1.weight";
        assert_eq!(to_llava_original(linear, 1), "model.mm_projector.weight");
        assert_eq!(renamed("model.mm_projector.weight", &ORIGINAL), linear);
        // What version 5 writes, and version 4 had in memory.
        for name in [
            "vision_tower.post_layernorm.bias",
            "model.vision_tower.vision_model.post_layernorm.bias",
        ] {
            assert_eq!(renamed(name, &HUGGING_FACE), "model.vision_tower.post_layernorm.bias");
        }
    }
}
