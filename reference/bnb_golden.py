"""Writes what bitsandbytes makes of small matrices on the CPU, for the tests of quantised weights.

    python reference/bnb_golden.py crates/normed/tests/golden/quantised.safetensors

Of every matrix, which is made by rule and not written: its NF4 form with double quantisation under the
names of a checkpoint, the `maxima` of blocks before they are quantised, the 8-bit form `CB` and `SCB`,
and of small ones what either form stands for.
"""

import sys

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

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


def main(path):
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
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
