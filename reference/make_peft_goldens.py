"""Writes adapters as Python's peft makes them, over the tiny models of make_weights_goldens.py and
make_llava_goldens.py.

    python make_peft_goldens.py GOLDEN                # tests/golden, of which peft/ is written
    python make_peft_goldens.py GOLDEN --check DIR... # does peft read what normed wrote?
    python make_peft_goldens.py GOLDEN --merged DIR.. # does transformers read what normed merged?
    python make_peft_goldens.py GOLDEN --again DIR... # what does peft save of what normed wrote?

peft/NAME is an adapter directory with golden.safetensors beside it: the logits, and the gradient of every
parameter that peft trains, under the name that the adapter's file has it by, of `sum(logits * sin(0, 1, 2,
...))`. Every trained parameter was moved, so that no factor is 0. DIR is a directory that normed wrote, with
logits.safetensors beside it: what normed computed.
"""

import argparse
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from make_llava_goldens import logits_of
from make_weights_goldens import inputs
from peft import (
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import BlipForQuestionAnswering, LlavaForConditionalGeneration

CLIP_NORMS = ["layer_norm1", "layer_norm2", "pre_layrnorm", "post_layernorm"]
CONFIGS = {
    # Every LayerNorm, by the ends of their paths.
    "layer_norm": LNTuningConfig(
        target_modules=["LayerNorm", "layer_norm1", "layer_norm2", "post_layernorm"],
    ),
    # A norm, linear layers, the patch convolution; the output matrix and, alike, the embedding table
    # to which it is tied; a module that is kept whole.
    "mixed": LNTuningConfig(
        target_modules=[
            "text_encoder.encoder.layer.1.output.LayerNorm",
            "text_decoder.bert.encoder.layer.0.crossattention.self.key",
            "vision_model.encoder.layers.1.mlp.fc2",
            "text_decoder.cls.predictions.decoder",
            "text_decoder.bert.embeddings.word_embeddings",
        ],
        modules_to_save=["vision_model.embeddings"],
    ),
    # Every linear layer of every block, the fused one and the convolution among them.
    "lora": LoraConfig(
        r=2,
        lora_alpha=5,
        lora_dropout=0.1,
        target_modules=[
            "query", "key", "value", "output.dense", "intermediate.dense",
            "qkv", "projection", "fc1", "fc2", "patch_embedding",
        ],
    ),
    # Other ranks and alphas here and there, norms beside.
    "rslora": LoraConfig(
        r=4,
        lora_alpha=3,
        use_rslora=True,
        rank_pattern={"text_encoder.encoder.layer.1.attention.self.query": 2},
        alpha_pattern={"key": 5.5},
        target_modules=["query", "key"],
        modules_to_save=["text_decoder.bert.encoder.layer.0.output.LayerNorm", "post_layernorm"],
    ),
    "dora": LoraConfig(
        r=2, lora_alpha=3, use_dora=True, target_modules=["query", "fc1", "qkv", "output.dense", "patch_embedding"]
    ),
    # MILE's.
    "ia3": IA3Config(
        target_modules=["key", "value", "output.dense", "qkv", "fc2"],
        feedforward_modules=["output.dense", "fc2"],
    ),
    # The only way in which peft trains biases alone.
    "biases": LoraConfig(r=1, bias="all", target_modules=["text_encoder.encoder.layer.0.attention.self.query"]),
    "llava_layer_norm": LNTuningConfig(
        target_modules=["input_layernorm", "post_attention_layernorm", "language_model.norm", *CLIP_NORMS],
    ),
    "llava_lora": LoraConfig(
        r=3,
        lora_alpha=4,
        target_modules=[
            "q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "out_proj", "linear_1", "fc2",
        ],
    ),
    "llava_ia3": IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj", "fc2"], feedforward_modules=["down_proj", "fc2"]
    ),
    # Blocks by number, and ranks and alphas by regular expressions.
    "blocks": LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["query", "fc1"],
        layers_to_transform=[1],
        layers_pattern=["layer", "layers"],
        rank_pattern={r"text_(en|de)coder.*crossattention\.self\.query": 3},
        alpha_pattern={r"^vision_model\.encoder\.layers\.\d+\.mlp\.fc1": 7},
    ),
    # A container that is saved whole, of which no part is adapted, with all biases.
    "container": LoraConfig(
        r=2,
        bias="all",
        target_modules=["query"],
        modules_to_save=["text_decoder.bert.encoder.layer.0.crossattention", "norm1"],
    ),
    "own_biases": LoraConfig(r=2, bias="lora_only", target_modules=["query"], modules_to_save=["post_layernorm"]),
    "bias_of_b": LoraConfig(
        r=2, lora_alpha=5, lora_bias=True, target_modules=["text_encoder.encoder.layer.0.attention.self.query", "fc1"]
    ),
    # Tables, and the layers of the head.
    "tables": LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=[
            "text_encoder.embeddings.word_embeddings", "text_encoder.embeddings.position_embeddings", "transform.dense",
        ],
    ),
    "dora_tables": LoraConfig(
        r=2, lora_alpha=3, use_dora=True, target_modules=["text_encoder.embeddings.word_embeddings", "fc1"]
    ),
    # Everything linear but the head, as Unsloth and many scripts choose it.
    "llava_all_linear": LoraConfig(r=1, target_modules="all-linear", modules_to_save=["multi_modal_projector"]),
    "llava_expression": LoraConfig(
        r=2,
        target_modules=r"^(?!.*vision)(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)",
        exclude_modules=r".*layers\.1\..*up_proj",
    ),
    "llava_tied": LoraConfig(r=2, target_modules=["embed_tokens", "lm_head"], ensure_weight_tying=True),
    "llava_tokens": LoraConfig(
        r=2, target_modules=r".*language_model.*q_proj", trainable_token_indices=[1, 5, 60], ensure_weight_tying=True
    ),
    "llava_prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "llava_prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}  # fmt: skip

# Of these, only the logits are compared.
WITHOUT_GRADIENTS = {
    "blocks", "container", "own_biases", "bias_of_b", "tables", "dora_tables", "llava_all_linear", "llava_expression",
    "llava_tied", "llava_tokens",
}  # fmt: skip


def is_llava(directory):
    return json.loads((directory / "config.json").read_text())["model_type"] == "llava"


def base_model(path):
    kind = LlavaForConditionalGeneration if is_llava(path) else BlipForQuestionAnswering
    return kind.from_pretrained(path, dtype=torch.float32).eval()


def blip_logits(model):
    """The decoder's logits `[1, 3, V]`, which BlipForQuestionAnswering does not give out."""
    seen = []
    decoder = next(m for n, m in model.named_modules() if n.endswith("text_decoder"))
    hook = decoder.register_forward_hook(lambda _module, _inputs, output: seen.append(output.logits))
    model(**inputs(), attention_mask=torch.ones(1, 5, dtype=torch.long), return_dict=True)
    hook.remove()
    return seen[0]


def llava_logits(model, golden):
    """Of the second example of make_llava_goldens.py."""
    example = json.loads((golden / "golden.json").read_text())["examples"][1]
    pixels = load_file(golden / "golden.safetensors")["example.1.pixel_values"]
    return logits_of(model, {**example, "pixel_values": pixels[None]})[None]


def base_of(golden, name):
    return golden / ("llava_llama" if name.startswith("llava") else "weights/hugging_face")


def logits(model, golden, llava):
    return llava_logits(model, golden / "llava_llama") if llava else blip_logits(model)


def key_of(name):
    """What the adapter's file calls the parameter `name`."""
    name = name.replace(".modules_to_save.default", "").replace(".default", "")
    return name.removesuffix(".weight") if "lora_magnitude_vector" in name else name


def write(golden):
    for name, config in CONFIGS.items():
        out, base = golden / "peft" / name, base_of(golden, name)
        torch.manual_seed(0)
        model = get_peft_model(base_model(base), config).eval()
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
        found = logits(model, golden, is_llava(base))
        weights = torch.sin(torch.arange(found.numel(), dtype=torch.float64)).float()
        (found * weights.reshape(found.shape)).sum().backward()
        gradients = {
            f"grad.{key_of(n)}": p.grad
            for n, p in model.named_parameters()
            if p.grad is not None and name not in WITHOUT_GRADIENTS
        }
        for p in model.peft_config.values():
            p.base_model_name_or_path = "base"
        model.save_pretrained(out)
        (out / "README.md").unlink()
        save_file({"logits": found.detach(), **gradients}, out / "golden.safetensors")
        print(f"{name}: {len(gradients)} gradients")


def write_old_files(golden):
    """adapter_model.bin, and a folder as LLaVA's own code saves it: names of its own, the projector in a second file."""
    blocks, out = golden / "peft/blocks", golden / "peft/old_file"
    out.mkdir(exist_ok=True)
    shutil.copy(blocks / "adapter_config.json", out)
    torch.save(load_file(blocks / "adapter_model.safetensors"), out / "adapter_model.bin")

    base, out = base_of(golden, "llava"), golden / "peft/llava_own_folder"
    config = LoraConfig(r=2, target_modules=r".*language_model.*(?:q_proj|v_proj)")
    torch.manual_seed(0)
    model = get_peft_model(base_model(base), config).eval()
    generator = torch.Generator().manual_seed(2)
    projector = model.base_model.model.model.multi_modal_projector
    with torch.no_grad():
        for parameter in [*projector.parameters(), *(p for p in model.parameters() if p.requires_grad)]:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = "base"
    model.save_pretrained(out)
    (out / "README.md").unlink()
    saved = load_file(out / "adapter_model.safetensors")
    (out / "adapter_model.safetensors").unlink()
    torch.save({k.replace("model.language_model.", "model."): v for k, v in saved.items()}, out / "adapter_model.bin")
    beside = {
        f"base_model.model.model.mm_projector.{layer}.{leaf}": getattr(getattr(projector, name), leaf).detach().half()
        for layer, name in ((0, "linear_1"), (2, "linear_2"))
        for leaf in ("weight", "bias")
    }
    torch.save(beside, out / "non_lora_trainables.bin")
    # LLaVA's list is of the ends of names; it adds LoRA before the image encoder is there.
    json_path = out / "adapter_config.json"
    written = json.loads(json_path.read_text())
    json_path.write_text(json.dumps({**written, "target_modules": ["q_proj", "v_proj"]}, indent=2))
    with torch.no_grad():
        for name, parameter in projector.named_parameters():
            parameter.copy_(parameter.half().float())
        found = logits(model, golden, True)
    save_file({"logits": found}, out / "golden.safetensors")


def check(golden, directory):
    with_llava = "llava" in directory.name
    base = base_of(golden, "llava" if with_llava else "")
    model = base_model(base)
    with torch.no_grad():
        before = logits(model, golden, with_llava)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(model, directory).eval()
        told = [str(w.message) for w in caught if "adapter keys" in str(w.message)]
        expected = load_file(directory / "logits.safetensors")["logits"]
        computed = [logits(model, golden, with_llava)]
        # What stands before tokens is in no matrix.
        merges = not model.active_peft_config.is_prompt_learning
        if merges:
            computed.append(logits(model.merge_and_unload(), golden, with_llava))
    moved = (computed[0] - before).abs().max().item()
    difference = max((x - expected).abs().max().item() for x in computed)
    print(f"{directory}: loads{' and merges' if merges else ''}; it moves logits by {moved:.2f}, and they differ by {difference:.1e}")
    print("\n".join(told) or "  no key is missing or unexpected")
    assert moved > 1e-2 and difference < 1e-4


def check_merged(golden, directory):
    kind = LlavaForConditionalGeneration if is_llava(directory) else BlipForQuestionAnswering
    model, info = kind.from_pretrained(directory, output_loading_info=True, dtype=torch.float32)
    assert not any(info.values()), info
    with torch.no_grad():
        found = logits(model.eval(), golden, is_llava(directory))
    expected = load_file(directory / "logits.safetensors")["logits"]
    difference = (found - expected).abs().max().item()
    print(f"{directory}: loads; logits differ by {difference:.1e}")
    assert difference < 1e-4


def again(golden, directories):
    """What peft saves of the adapters in `directories`, once it has loaded them."""
    record = {}
    for directory in directories:
        llava = "llava" in directory.name
        base = base_of(golden, "llava" if llava else "")
        model = PeftModel.from_pretrained(base_model(base), directory).eval()
        with torch.no_grad():
            found = logits(model, golden, llava)
        expected = load_file(directory / "logits.safetensors")["logits"]
        # Virtual tokens of a prefix are positions of their own in some versions.
        assert (found - expected).abs().max() < 1e-3, directory
        with tempfile.TemporaryDirectory() as out:
            model.save_pretrained(out)
            saved = load_file(f"{out}/adapter_model.safetensors")
            config = json.loads(Path(f"{out}/adapter_config.json").read_text())
        ours = load_file(directory / "adapter_model.safetensors")
        theirs = base_model(base).state_dict()
        before = json.loads((directory / "adapter_config.json").read_text())
        sources = {key: source_of(key, tensor, ours, theirs) for key, tensor in saved.items()}
        record[directory.name] = {
            "config": {key: value for key, value in config.items() if unordered(value) != unordered(before.get(key))},
            "tensors": {key: source for key, source in sources.items() if source != {"adapter": key}},
            "left_out": sorted(ours.keys() - saved.keys()),
        }
        print(f"{directory}: {len(saved)} tensors, {len(ours)} here")
    text = json.dumps(record, indent=1, sort_keys=True)
    (golden / "peft/saved_again.json").write_text(text + "\n")


def unordered(value):
    return sorted(value) if isinstance(value, list) else value


def source_of(key, tensor, ours, theirs):
    """Where a tensor that peft saved comes from."""
    equal = [k for k, t in ours.items() if t.shape == tensor.shape and torch.equal(t, tensor)]
    if equal:
        return {"adapter": key if key in equal else equal[0]}
    return {"base": next(k for k, t in theirs.items() if t.shape == tensor.shape and torch.equal(t, tensor))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=Path)
    parser.add_argument("--check", type=Path, nargs="+", default=[])
    parser.add_argument("--merged", type=Path, nargs="+", default=[])
    parser.add_argument("--again", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    for directory in arguments.check:
        check(arguments.golden, directory)
    for directory in arguments.merged:
        check_merged(arguments.golden, directory)
    if arguments.again:
        again(arguments.golden, arguments.again)
    if not arguments.check and not arguments.merged and not arguments.again:
        write(arguments.golden)
        write_old_files(arguments.golden)
