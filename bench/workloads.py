"""The workloads of the benchmark on the PyTorch side: creates and loads their weights and inputs.

A task is a dictionary that bench/run.py makes. Its `directory` holds model.safetensors,
bf16_weights.safetensors (the same with frozen matrices in bf16), inputs.safetensors, and
added.safetensors with the parameters that the method adds to the model.
"""

import math
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def workload(name):
    """The class of the model. Imports transformers only if it is measured."""
    if name == "miss":
        from blip import Miss

        return Miss
    import parts

    return {"vit": parts.Vit, "decoder": parts.Decoder, "llama": parts.Llama}[name]


def on_meta(task):
    """The model without weights, on the meta device."""
    with torch.device("meta"):
        return workload(task["workload"])(task["layers"], task["tokens"])


def make(task):
    """Writes random weights and inputs."""
    directory = Path(task["directory"])
    torch.manual_seed(0)
    model = on_meta(task)
    weights = {name: random_weight(name, p.shape) for name, p in model.named_parameters()}
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    frozen = lambda name: not is_trained(task["method"], name)
    in_bf16 = {n: t.bfloat16() if t.dim() == 2 and frozen(n) else t for n, t in weights.items()}
    save_file(in_bf16, directory / "bf16_weights.safetensors")
    save_file(model.inputs(task["batch"], task["tokens"]), directory / "inputs.safetensors")
    if task["workload"] == "miss":
        model.describe(directory)
    if task["method"] == "lora":
        # Neither factor is 0, so that both have a gradient to compare.
        paths = {plain(n): torch.randn(p.shape) * 0.05 for n, p in trained(add_lora(model)).items()}
        save_file(paths, directory / "added.safetensors")


def random_weight(name, shape):
    noise = torch.randn(shape)
    if is_norm(name):
        return 0.2 * noise + (1 if name.endswith("weight") else 0)
    if name.endswith("bias") or "embedding" in name:
        return 0.02 * noise
    return noise * (0.5 / math.sqrt(shape[1]))


def is_norm(name):
    return "norm" in name.lower()


def is_trained(method, name):
    """Whether `method` trains the parameter `name`. Methods other than layer_norm are for `vit`."""
    if method == "layer_norm":
        return is_norm(name)
    if method == "lora":
        return "lora_" in name
    return {"attention": ".self_attn.", "ffn": ".mlp.", "full": ""}[method] in name


def add_lora(model):
    """Adds LoRA of rank 8 to the linear layer that computes queries, keys and values."""
    from peft import LoraConfig, inject_adapter_in_model

    return inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=["qkv"]), model)


def load(task):
    """The model with its weights mapped from a file and all but the trained parameters frozen, and its inputs."""
    directory, variant = Path(task["directory"]), task["variant"]
    model = on_meta(task)
    file = "bf16_weights.safetensors" if task["mode"] == "bf16_weights" else "model.safetensors"
    model.load_state_dict(load_file(directory / file), strict=False, assign=True)
    if task["workload"] == "miss":
        import blip

        model.complete()
        blip.fuse_attention()
        model = blip.tune_layer_norms(model, ["vision_model"] if variant == "frozen_vision" else [])
        if variant == "checkpoint":
            blip.recompute_blocks(model)
    else:
        if task["method"] == "lora":
            paths = load_file(directory / "added.safetensors")
            names = {plain(name): name for name, _ in add_lora(model).named_parameters()}
            paths = {names[name]: path for name, path in paths.items()}
            model.load_state_dict(paths, strict=False, assign=True)
        for name, p in model.named_parameters():
            p.requires_grad_(is_trained(task["method"], name))
        model.recomputed = variant == "checkpoint"
    missing = [n for n, t in chain(model.named_parameters(), model.named_buffers()) if t.is_meta]
    assert not missing, missing
    inputs = load_file(directory / "inputs.safetensors")
    return model.train(), {name: t[: task["batch"]] for name, t in inputs.items()}


def trained(model):
    """The trained parameters, by their names in the file."""
    return {plain(name): p for name, p in model.named_parameters() if p.requires_grad}


def plain(name):
    """The name in the file of the parameter that peft calls `name`."""
    name = name.removeprefix("base_model.model.").replace(".ln_tuning_layers.default", "")
    return name.replace(".default.weight", ".weight").replace(".base_layer.", ".")
