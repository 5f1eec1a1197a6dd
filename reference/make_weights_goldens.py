"""Writes a tiny model in the three forms that normed reads, and resized position embeddings.

    python make_weights_goldens.py OUT            # crates/normed/tests/golden/weights
    python make_weights_goldens.py --check DIR    # does transformers read what `models::save` wrote?

OUT gets hugging_face/ (config.json, model.safetensors, vocab.txt, preprocessor_config.json),
original_pth/ and original_safetensors/ (BLIP's names and its small config), and
positions.safetensors. DIR holds such a directory and logits.safetensors beside the model: what
normed computed for `inputs()`.
"""

import argparse
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = SPECIAL + list(LETTERS) + [f"##{c}" for c in LETTERS]
VOCAB = WORDS + [f"[unused{i}]" for i in range(104 - len(WORDS))]
DEC, ENC = len(VOCAB), len(VOCAB) + 1
TEXT = {
    "vocab_size": len(VOCAB) + 2, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 12, "pad_token_id": 0, "sep_token_id": 3,
}
VISION = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "patch_size": 4,
}
IMAGE_SIZE = 16

# Original names by transformers' own conversion script, read backwards.
TO_ORIGINAL = [
    (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
    (r"^vision_model\.post_layernorm", "visual_encoder.norm"),
    (r"^vision_model\.encoder\.layers", "visual_encoder.blocks"),
    (r"self_attn\.projection", "attn.proj"),
    (r"self_attn\.qkv", "attn.qkv"),
    (r"layer_norm(\d)", r"norm\1"),
]


def tiny_model():
    text = dict(TEXT, encoder_hidden_size=VISION["hidden_size"], bos_token_id=DEC)
    config = BlipConfig(text_config=text, vision_config=dict(VISION, image_size=IMAGE_SIZE))
    model = BlipForQuestionAnswering(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            is_gain = p.ndim == 1 and name.endswith("weight")
            p.copy_(1 + 0.2 * noise if is_gain else 0.3 * noise)
    return model


def inputs():
    """One picture, one question, one answer: formulas that a test in any language can repeat."""
    n = 3 * IMAGE_SIZE * IMAGE_SIZE
    pixels = torch.sin(torch.arange(n, dtype=torch.float64) * 0.1).float()
    return {
        "pixel_values": pixels.reshape(1, 3, IMAGE_SIZE, IMAGE_SIZE),
        "input_ids": torch.tensor([[2, 7, 9, 40, 3]]),
        "decoder_input_ids": torch.tensor([[DEC, 11, 12]]),
    }


@torch.no_grad()
def logits(model):
    """The decoder's logits `[1, 3, V]`, which BlipForQuestionAnswering does not give out."""
    seen = []
    decoder = next(m for n, m in model.named_modules() if n.endswith("text_decoder"))
    hook = decoder.register_forward_hook(lambda _module, _inputs, output: seen.append(output.logits))
    model(**inputs(), attention_mask=torch.ones(1, 5, dtype=torch.long), return_dict=True)
    hook.remove()
    return seen[0]


def original_state(model):
    """The state dict as BLIP's code has it: tied tensors twice, position numbers as buffers."""
    state = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in TO_ORIGINAL if name.startswith("vision_model") else []:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    positions = torch.arange(TEXT["max_position_embeddings"]).expand(1, -1)
    for tower in ["text_encoder", "text_decoder.bert"]:
        state[f"{tower}.embeddings.position_ids"] = positions
    return state


def write(out):
    model = tiny_model()
    hugging_face = out / "hugging_face"
    model.save_pretrained(hugging_face)
    (hugging_face / "generation_config.json").unlink()
    (hugging_face / "vocab.txt").write_text("\n".join(VOCAB + ["[DEC]", "[ENC]"]) + "\n")
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    BlipImageProcessor(size=size).save_pretrained(hugging_face)
    save_file({"logits": logits(model)}, out / "logits.safetensors")

    state = original_state(model)
    config = dict(TEXT, vit="base", image_size=IMAGE_SIZE, vision=VISION)
    for name in ["original_pth", "original_safetensors"]:
        (out / name).mkdir(exist_ok=True)
        (out / name / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (out / name / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    copies = {name: tensor.clone() for name, tensor in state.items()}
    save_file(copies, out / "original_safetensors" / "model.safetensors")

    # As a training script leaves it: an optimizer beside the model; one tensor lies transposed, one
    # inside a larger storage, one is a Parameter.
    fc1 = "visual_encoder.blocks.0.mlp.fc1.weight"
    state[fc1] = state[fc1].t().contiguous().t()
    norm = "visual_encoder.norm.weight"
    state[norm] = torch.cat([torch.zeros(3), state[norm], torch.zeros(2)])[3:-2]
    state["visual_encoder.norm.bias"] = torch.nn.Parameter(state["visual_encoder.norm.bias"])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=1e-3)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    saved = {"model": state, "optimizer": optimizer.state_dict(), "config": {"lr": 1e-3}, "epoch": 9}
    torch.save(saved, out / "original_pth" / "checkpoint.pth")

    embeddings = model.vision_model.embeddings
    resized = {}
    for size in [8, 12, 20, 28]:
        patches = torch.zeros(1, 1 + (size // VISION["patch_size"]) ** 2, VISION["hidden_size"])
        resized[str(size)] = embeddings.interpolate_pos_encoding(patches, size, size).contiguous()
    save_file({k: v.detach() for k, v in resized.items()}, out / "positions.safetensors")


def check(directory):
    model, info = BlipForQuestionAnswering.from_pretrained(directory, output_loading_info=True)
    assert not any(info.values()), info
    processor = BlipImageProcessor.from_pretrained(directory)
    expected = load_file(directory / "logits.safetensors")["logits"]
    difference = (logits(model.float().eval()) - expected).abs().max().item()
    print(f"{directory}: loads; size {processor.size}; logits differ by at most {difference:.1e}")
    assert difference < 1e-4


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    (check if arguments.check else write)(arguments.directory)
