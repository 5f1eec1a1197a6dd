"""Quantizes small matrices with bitsandbytes on the CPU, for the tests of quantized weights.

    python reference/bnb_golden.py crates/normed/tests/golden
    python reference/bnb_golden.py --check MODEL_nf4

Into quantized.safetensors, of every matrix, which is made by rule and not written: its NF4 form with
double quantization under the names of a checkpoint, the `maxima` of blocks before they are quantized, the
8-bit form `CB` and `SCB`, and of small ones what either form stands for. Into four_bits.safetensors, of one
matrix, both types of 4 bits in every storage, with and without double quantization, and what they stand for, under
`values`. Into weights/bnb_nf4 the model
weights/hugging_face as transformers saves it in NF4, with its logits; into weights/torch_shards the same
as two files of torch.save and an index. `--check` loads with transformers what normed quantized, and
compares logits.
"""

import argparse
import json
import shutil
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt
from make_weights_goldens import logits
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig, BlipForQuestionAnswering

# Blocks over the ends of rows, a last block that is not whole, an odd number; more blocks than share a
# statistic.
SHAPES = {"even": (6, 64), "uneven": (10, 50), "odd": (7, 13), "large": (266, 65)}


def matrix(shape):
    """Exact in f32; blocks of different size, a row of zeros."""
    i = torch.arange(shape[0] * shape[1])
    numbers = ((i * i + 7919 * i) % 2003 - 1001) * (1 + i // 64 % 13)
    numbers = (numbers.float() / 2**18).reshape(shape)
    numbers[1] = 0
    return numbers


def matrices():
    tensors = {}
    for label, shape in SHAPES.items():
        for dtype in ("float32", "bfloat16"):
            if (label, dtype) == ("large", "bfloat16"):
                continue
            numbers = matrix(shape).to(getattr(torch, dtype))
            name = f"{label}.{dtype}"
            codes, state = bnb.quantize_4bit(numbers, compress_statistics=True, quant_type="nf4")
            tensors[f"{name}.weight"] = codes
            for key, value in state.as_dict(packed=True).items():
                tensors[f"{name}.weight.{key}"] = value
            _, plain = bnb.quantize_4bit(numbers, quant_type="nf4")
            tensors[f"{name}.maxima"] = plain.absmax
            eight, scales, _ = bnb.int8_vectorwise_quant(numbers.clone())
            tensors[f"{name}.CB"], tensors[f"{name}.SCB"] = eight, scales
            if label != "large":
                state.dtype = torch.float32
                tensors[f"{name}.nf4"] = bnb.dequantize_4bit(codes, state)
                tensors[f"{name}.int8"] = bnb.int8_vectorwise_dequant(eight, scales)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def four_bits():
    tensors = {}
    for kind in ("nf4", "fp4"):
        for storage in ("uint8", "bfloat16", "float16", "float32"):
            for nested in (True, False):
                codes, state = bnb.quantize_4bit(
                    matrix(SHAPES["even"]), compress_statistics=nested, quant_type=kind, quant_storage=getattr(torch, storage)
                )
                name = f"{kind}.{storage}.{'nested' if nested else 'plain'}"
                tensors[f"{name}.weight"] = codes
                for key, value in state.as_dict(packed=True).items():
                    tensors[f"{name}.weight.{key}"] = value
                maxima = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset if nested else state.absmax
                data = codes.view(torch.uint8).flatten()
                halves = torch.stack([data >> 4, data & 15], dim=-1).flatten().long()
                values = (state.code[halves] * maxima.repeat_interleave(state.blocksize)).reshape(state.shape)
                assert torch.equal(values, bnb.dequantize_4bit(codes, state)), name
                tensors[f"{name}.values"] = values
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def copy_of(base, name):
    """A directory beside `base`, with its files but for the weights."""
    out = base.parent / name
    out.mkdir(exist_ok=True)
    for file in ("config.json", "preprocessor_config.json", "vocab.txt"):
        shutil.copy(base / file, out)
    return out


def stands_for(weight):
    """By definition: bitsandbytes 0.50's own kernel takes other blocks' maxima where a matrix has a
    multiple of 16 columns, but none of 64, and its products round to bf16."""
    if isinstance(weight, Int8Params):
        return bnb.int8_vectorwise_dequant(weight.CB, weight.SCB)
    state = weight.quant_state
    maxima = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
    codes = torch.stack([weight.data >> 4, weight.data & 15], dim=-1).flatten()[: state.shape.numel()]
    blocks = maxima.repeat_interleave(state.blocksize)[: len(codes)]
    return (state.code[codes.long()] * blocks).reshape(state.shape)


def exact_logits(model):
    """The logits with dequantized matrices."""
    for name, module in list(model.named_modules()):
        if isinstance(module, (Linear4bit, Linear8bitLt)):
            plain = torch.nn.Linear(module.in_features, module.out_features)
            plain.weight = torch.nn.Parameter(stands_for(module.weight))
            plain.bias = module.bias
            model.set_submodule(name, plain)
    return logits(model.eval())


def write(golden):
    save_file(matrices(), golden / "quantized.safetensors")
    save_file(four_bits(), golden / "four_bits.safetensors")
    base = golden / "weights" / "hugging_face"

    out = copy_of(base, "bnb_nf4")
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    model = BlipForQuestionAnswering.from_pretrained(
        base, quantization_config=config, dtype=torch.float32
    )
    model.save_pretrained(out)
    (out / "generation_config.json").unlink()
    save_file({"logits": exact_logits(model)}, golden / "weights" / "bnb_nf4_logits.safetensors")

    out = copy_of(base, "torch_shards")
    state = load_file(base / "model.safetensors")
    weight_map = {}
    for i in range(2):
        file = f"pytorch_model-{i + 1:05}-of-00002.bin"
        shard = {name: state[name] for name in sorted(state)[i::2]}
        torch.save(shard, out / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def check(directory):
    model, info = BlipForQuestionAnswering.from_pretrained(directory, output_loading_info=True)
    assert not any(info.values()), info
    expected = load_file(directory / "logits.safetensors")["logits"]
    difference = (exact_logits(model) - expected).abs().max().item()
    print(f"{directory}: loads; logits differ by at most {difference:.1e}")
    assert difference < 1e-4


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    (check if arguments.check else write)(arguments.directory)
