"""Writes adapters as Python's peft makes them, for the tiny model of make_weights_goldens.py.

    python make_peft_goldens.py BASE OUT         # tests/golden/weights/hugging_face, tests/golden/peft
    python make_peft_goldens.py --check BASE DIR # does peft read what `save_adapter` wrote?

OUT gets layer_norm/ and mixed/, each an adapter directory with logits.safetensors beside it. DIR is
an adapter directory that normed wrote, with logits.safetensors beside it: what normed computed.
"""

import argparse
import warnings
from pathlib import Path

import torch
from make_weights_goldens import logits
from peft import LNTuningConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BlipForQuestionAnswering

CONFIGS = {
    # Every LayerNorm, by the ends of their paths.
    "layer_norm": {
        "target_modules": ["LayerNorm", "layer_norm1", "layer_norm2", "post_layernorm"],
    },
    # A norm, linear layers, the patch convolution; the output matrix and, alike, the embedding table
    # to which it is tied; a module that is kept whole.
    "mixed": {
        "target_modules": [
            "text_encoder.encoder.layer.1.output.LayerNorm",
            "text_decoder.bert.encoder.layer.0.crossattention.self.key",
            "vision_model.encoder.layers.1.mlp.fc2",
            "text_decoder.cls.predictions.decoder",
            "text_decoder.bert.embeddings.word_embeddings",
        ],
        "modules_to_save": ["vision_model.embeddings"],
    },
}


def base_model(path):
    return BlipForQuestionAnswering.from_pretrained(path).eval()


def write(base, out):
    for name, config in CONFIGS.items():
        model = get_peft_model(base_model(base), LNTuningConfig(**config)).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            for n, parameter in model.named_parameters():
                if "cls.predictions.decoder.ln_tuning_layers" in n and n.endswith("weight"):
                    table = model.get_submodule(
                        "base_model.model.text_decoder.bert.embeddings.word_embeddings"
                    )
                    parameter.copy_(table.ln_tuning_layers["default"].weight)
        model.save_pretrained(out / name)
        (out / name / "README.md").unlink()
        save_file({"logits": logits(model)}, out / name / "logits.safetensors")


def check(base, directory):
    model = base_model(base)
    before = logits(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(model, directory).eval()
    missing = [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
    expected = load_file(directory / "logits.safetensors")["logits"]
    found = logits(model)
    merged = logits(model.merge_and_unload())
    moved = (found - before).abs().max().item()
    difference = max((x - expected).abs().max().item() for x in [found, merged])
    print(f"{directory}: loads and merges; it moves logits by {moved:.2f}, and they differ by {difference:.1e}")
    print("\n".join(missing) or "  no key is missing")
    assert moved > 1e-2 and difference < 1e-4


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    (check if arguments.check else write)(arguments.base, arguments.directory)
