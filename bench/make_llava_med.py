#!/usr/bin/env python3
"""Writes a model of LLaVA-Med v1.5's size with random weights, to measure a 7B model without downloading it.

    python3 bench/make_llava_med.py TOKENIZER OUT [--layers 32] [--vision-layers 24]

TOKENIZER is a directory with Mistral's tokenizer.json or tokenizer.model. OUT gets the config.json, the
tensor names and the shards of microsoft/llava-med-v1.5-mistral-7b, in bf16 (15 GB), including the image
encoder. Needs only numpy. All tensors are cut from one block of random numbers, because new numbers for each
would take longer than writing the files.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

CONFIG = {
    "architectures": ["LlavaMistralForCausalLM"],
    "model_type": "llava_mistral",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "image_aspect_ratio": "pad",
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_mm_proj": True,
    "vocab_size": 32000,
}
PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": 336,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 336,
}
SHARD = 5 << 30
NOISE = np.random.default_rng(0).standard_normal(1 << 24, dtype=np.float32)


def bf16(values):
    """Converts f32 to bf16, rounding to nearest with ties away from zero."""
    return ((values.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)


def vision(layers):
    """The names and the shapes of the image encoder's tensors."""
    width, inner = 1024, 4096
    at = "model.vision_tower.vision_tower.vision_model."
    yield at + "embeddings.class_embedding", [width]
    yield at + "embeddings.patch_embedding.weight", [width, 3, 14, 14]
    yield at + "embeddings.position_embedding.weight", [24 * 24 + 1, width]
    norm = lambda name: [(at + name + ".weight", [width]), (at + name + ".bias", [width])]
    yield from norm("pre_layrnorm")
    for i in range(layers):
        layer = f"encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield at + layer + f"self_attn.{name}.weight", [width, width]
            yield at + layer + f"self_attn.{name}.bias", [width]
        yield at + layer + "mlp.fc1.weight", [inner, width]
        yield at + layer + "mlp.fc1.bias", [inner]
        yield at + layer + "mlp.fc2.weight", [width, inner]
        yield at + layer + "mlp.fc2.bias", [width]
        yield from norm(layer + "layer_norm1")
        yield from norm(layer + "layer_norm2")
    yield from norm("post_layernorm")


def language(config):
    """The names and the shapes of the language model's and the projector's tensors."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    kv_width = width // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [config["vocab_size"], width]
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        yield at + "self_attn.q_proj.weight", [width, width]
        yield at + "self_attn.k_proj.weight", [kv_width, width]
        yield at + "self_attn.v_proj.weight", [kv_width, width]
        yield at + "self_attn.o_proj.weight", [width, width]
        yield at + "mlp.gate_proj.weight", [inner, width]
        yield at + "mlp.up_proj.weight", [inner, width]
        yield at + "mlp.down_proj.weight", [width, inner]
        yield at + "input_layernorm.weight", [width]
        yield at + "post_attention_layernorm.weight", [width]
    yield "model.norm.weight", [width]
    yield "lm_head.weight", [config["vocab_size"], width]
    for i, shape in ((0, [width, config["mm_hidden_size"]]), (2, [width, width])):
        yield f"model.mm_projector.{i}.weight", shape
        yield f"model.mm_projector.{i}.bias", [width]


def pieces(name, shape):
    """The bytes of a tensor, in pieces."""
    left = int(np.prod(shape))
    norm = "norm" in name.lower() or "layrnorm" in name
    scale = 0.1 if norm else 0.02 if len(shape) < 2 or "embed" in name else 0.5 / np.sqrt(np.prod(shape[1:]))
    shift = 1.0 if norm and name.endswith("weight") else 0.0
    values = bf16((NOISE * np.float32(scale) + np.float32(shift)).astype(np.float32)[: min(left, NOISE.size)])
    start = sum(name.encode()) * 997 % values.size
    values = np.roll(values, start)
    while left > 0:
        part = values[:left]
        yield part.tobytes()
        left -= part.size


def write_shard(path, tensors):
    """Writes a safetensors file of random tensors."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            out.writelines(pieces(name, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--vision-layers", type=int, default=24)
    arguments = parser.parse_args()
    config = CONFIG | {"num_hidden_layers": arguments.layers}
    arguments.out.mkdir(parents=True)
    shards, size = [[]], 0
    for name, shape in [*vision(arguments.vision_layers), *language(config)]:
        bytes = 2 * int(np.prod(shape))
        if size + bytes > SHARD:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += bytes
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for name, tensors in zip(names, shards):
        write_shard(arguments.out / name, tensors)
    weight_map = {tensor: name for name, tensors in zip(names, shards) for tensor, _ in tensors}
    total = sum(2 * int(np.prod(shape)) for tensors in shards for _, shape in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    for name, content in [
        ("model.safetensors.index.json", index), ("preprocessor_config.json", PREPROCESSOR), ("config.json", config)
    ]:
        (arguments.out / name).write_text(json.dumps(content, indent=2))
    for file in ("tokenizer.json", "tokenizer.model"):
        if (arguments.tokenizer / file).is_file():
            shutil.copyfile(arguments.tokenizer / file, arguments.out / file)


if __name__ == "__main__":
    main()
