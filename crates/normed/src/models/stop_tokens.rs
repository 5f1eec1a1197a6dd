//! The tokens that end an answer, by generation_config.json.

use std::path::Path;

use serde_json::Value;

use super::config_keys::ConfigKeys;
use crate::Result;
use crate::files::read_json;

/// The file in which transformers keeps the settings of generation.
pub(super) const GENERATION_CONFIG: &str = "generation_config.json";

/// The tokens at which answers of the model in `dir` end: those of generation_config.json, as in transformers, or
/// `of_config`, config.json's, if that file names none. The first one ends training answers as well: it is config.json's
/// if that ends answers.
///
/// # Errors
/// If the file cannot be read, or its `eos_token_id` is neither a token nor a list of tokens.
pub(super) fn stop_tokens(
    dir: &Path,
    of_config: &[u32],
    vocabulary_size: usize,
) -> Result<Vec<u32>> {
    let path = dir.join(GENERATION_CONFIG);
    if !path.is_file() {
        return Ok(of_config.to_vec());
    }
    let json: Value = read_json(&path)?;
    let keys = ConfigKeys::new(&path.display().to_string(), &json)?;
    // A token outside of the vocabulary is never generated.
    let mut tokens = keys.token_ids("eos_token_id")?.unwrap_or_default();
    tokens.retain(|&id| (id as usize) < vocabulary_size);
    if tokens.is_empty() {
        return Ok(of_config.to_vec());
    }
    let first = of_config.first().and_then(|end| tokens.iter().position(|token| token == end));
    tokens[..=first.unwrap_or(0)].rotate_right(1);
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(text: &str) -> Result<Vec<u32>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(GENERATION_CONFIG), text).unwrap();
        stop_tokens(dir.path(), &[7, 2], 64).map_err(|e| e.to_string())
    }

    #[test]
    fn the_file_decides_and_the_training_end_stays_first() {
        for (text, expected) in [
            (r#"{"eos_token_id": [5, 6, 7]}"#, &[7, 5, 6][..]),
            (r#"{"eos_token_id": [5, 6]}"#, &[5, 6]),
            (r#"{"eos_token_id": 9}"#, &[9]),
            (r#"{"eos_token_id": [9, 64, -1]}"#, &[9]),
            (r#"{"eos_token_id": null}"#, &[7, 2]),
            (r#"{"eos_token_id": []}"#, &[7, 2]),
            ("{}", &[7, 2]),
        ] {
            assert_eq!(tokens_of(text).unwrap(), expected, "{text}");
        }
        assert_eq!(stop_tokens(Path::new("nowhere"), &[7, 2], 64).unwrap(), [7, 2]);
        for text in [r#"{"eos_token_id": "</s>"}"#, r#"{"eos_token_id": [1.5]}"#, "[]"] {
            let error = tokens_of(text).unwrap_err();
            assert!(error.contains(GENERATION_CONFIG), "{error}");
        }
    }
}
