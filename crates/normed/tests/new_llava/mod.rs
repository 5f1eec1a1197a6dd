//! A directory for runs that create a LLaVA of a few thousand parameters, and tune it.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::tiny;

const LANGUAGE: &str = "{ hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 4, \
     num_key_value_heads = 2, intermediate_size = 24, max_position_embeddings = 320 }";

/// Writes what [`tiny::make`] writes, a tokenizer, and recipes that create, train and tune a LLaVA.
pub fn make_llava(root: &Path) {
    tiny::make(root, "method = \"layer_norm\"", "epochs = 1\nmetric = \"last\"");
    let tokenizer = root.join("tokenizer");
    fs::create_dir(&tokenizer).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal/sp");
    fs::copy(golden.join("tokenizer.model"), tokenizer.join("tokenizer.model")).unwrap();
    let named = json!({ "bos_token": "<s>", "eos_token": "</s>" });
    fs::write(tokenizer.join("tokenizer_config.json"), named.to_string()).unwrap();
    let text = fs::read_to_string(root.join("recipe.toml")).unwrap();
    let data = &text[text.find("[data]").unwrap()..text.find("[tuning]").unwrap()];
    let train = &text[text.find("[train]").unwrap()..];
    let init = format!(
        "seed = 3\n[init]\narchitecture = \"llava\"\ntokenizer = \"tokenizer\"\nsave_bf16 = false\n\
         vision = {{ hidden_size = 16, num_hidden_layers = 3, num_attention_heads = 2, \
         intermediate_size = 24, image_size = 16, patch_size = 8 }}\nlanguage = {LANGUAGE}\n\n"
    );
    fs::write(root.join("make.toml"), format!("{init}{data}{train}")).unwrap();
    let further = "seed = 3\n[init]\nfrom = \"made/model\"\nsave_bf16 = false\n\n";
    fs::write(root.join("further.toml"), format!("{further}{data}{train}")).unwrap();
    let tune = "seed = 3\nprecision = \"f32\"\nmodel = \"made/model\"\n\n[tuning]\nmethod = \
                \"layer_norm\"\n\n";
    fs::write(root.join("tune.toml"), format!("{tune}{data}{train}")).unwrap();
}
