//! A model for images of another size: its vision tower's position embeddings are interpolated.

use super::model::Model;
use super::model_config::ModelConfig;
use crate::tensor::{EmbeddingKind, Module, Parameter, Parameters, Precision, Tensor, Tower};
use crate::weights;
use crate::{Error, Result};

/// The model that `config` declares, with the values in `old`: the parameters of the same model for images of
/// another size. Position tables of the vision tower are interpolated; all others stay.
///
/// # Errors
/// If another parameter's shape depends on the image size, or if a table is not a square grid of positions
/// after a class token's.
pub(super) fn resize_positions(
    config: &dyn ModelConfig,
    old: &Parameters,
) -> Result<(Box<dyn Model>, Parameters)> {
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    for ((_, new), (_, old)) in params.iter_mut().zip(old.iter()) {
        let value = match (new.shape() == old.shape(), is_position_table(new)) {
            (true, _) => old.value().clone(),
            (false, true) => interpolate(new, old)?,
            (false, false) => {
                let cause = format!("is {:?}, and would have to be {:?}", old.shape(), new.shape());
                return Err(Error::invalid(old.name(), cause)
                    .with_remedy("keep the checkpoint's own image_size"));
            }
        };
        new.set(value);
    }
    Ok((model, params))
}

fn is_position_table(parameter: &Parameter) -> bool {
    parameter.role().tower == Tower::Vision
        && parameter.role().module == Module::Embedding(EmbeddingKind::Position)
}

fn interpolate(new: &Parameter, old: &Parameter) -> Result<Tensor> {
    let positions = old.value().to_precision(Precision::F32);
    let (rows, width) = (positions.rows(), positions.width());
    let side = (new.len() / width - 1).isqrt();
    let positions = positions.reshape(&[1, rows, width]);
    let positions = weights::interpolate_positions(&positions, side).ok_or_else(|| {
        Error::invalid(old.name(), format!("{:?} is not a square grid of positions", old.shape()))
    })?;
    Ok(positions.reshape(new.shape()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::families::ConfigFile;
    use super::super::init::initialize;
    use super::*;

    #[test]
    fn a_tower_reads_images_of_another_size() {
        let json = json!({
            "architectures": ["LlavaForConditionalGeneration"],
            "vision_config": { "hidden_size": 4, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
                "num_hidden_layers": 2, "intermediate_size": 4 },
            "text_config": { "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 4,
                "num_hidden_layers": 1, "vocab_size": 4 },
        });
        let mut config = ConfigFile::parse("test", json, Path::new("")).unwrap().config;
        let mut params = Parameters::new();
        config.declare(&mut params);
        initialize(&mut params, 1);
        config.set_image_size(40).unwrap();
        let (_, resized) = resize_positions(&*config, &params).unwrap();
        let of = |params: &Parameters| {
            let name = "model.vision_tower.embeddings.position_embedding.weight";
            params.get(params.find(name).unwrap()).value().clone()
        };
        let (old, new) = (of(&params), of(&resized));
        assert_eq!((old.shape(), new.shape()), (&[5, 4][..], &[26, 4][..]));
        assert_eq!(old.data()[..4], new.data()[..4], "the class token's");
        assert!(config.set_image_size(4).unwrap_err().to_string().contains("patch_size 8"));
        let wanted = weights::interpolate_positions(&old.reshape(&[1, 5, 4]), 5).unwrap();
        assert_eq!(wanted.data(), new.data());
    }

    /// Only a vision tower's position tables are interpolated, whatever else changes its shape.
    #[test]
    fn another_parameter_of_another_shape_is_an_error() {
        let json = |image_size: usize, vocab_size: usize| {
            json!({
                "model_type": "blip",
                "vision_config": { "hidden_size": 4, "num_attention_heads": 2, "patch_size": 8,
                    "image_size": image_size, "num_hidden_layers": 1, "intermediate_size": 4 },
                "text_config": { "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 4,
                    "num_hidden_layers": 1, "vocab_size": vocab_size, "bos_token_id": 1,
                    "sep_token_id": 2, "question_token_id": 3 },
            })
        };
        let config = |size, words| {
            ConfigFile::parse("test", json(size, words), Path::new("")).unwrap().config
        };
        let mut params = Parameters::new();
        config(16, 8).declare(&mut params);
        initialize(&mut params, 1);
        assert!(resize_positions(&*config(24, 8), &params).is_ok());
        let error = resize_positions(&*config(24, 9), &params).err().unwrap().to_string();
        assert!(error.contains("word_embeddings"), "{error}");
    }
}
