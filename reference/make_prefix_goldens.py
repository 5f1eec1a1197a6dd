"""Golden files for prefixes and prompts on a LLaVA's language model, by Python's peft.

    python3 reference/make_prefix_goldens.py crates/normed/tests/golden

Reads llava_llama and llava_mistral, which make_llava_goldens.py wrote, and writes beside them, for a prefix
with a projection (`projected`), one without (`flat`, which P-tuning v2 is) and a prompt (`prompt`):

  prefix.safetensors    KIND.value.*  the prompt encoder's parameters, by peft's names
                        KIND.grad.*   their gradients of the loss, summed over the answers of all examples
                        KIND.loss     that loss

With --check, reads PEFT directories that the test `prefixes_and_prompts_are_pefts` left (DIR is CARGO_TARGET_TMPDIR) and
computes their losses on the whole model, which must be the golden ones:

    python3 reference/make_prefix_goldens.py crates/normed/tests/golden --check DIR

The language model gets what the whole model's gets: words and the picture's states. peft 0.21, transformers 5.23.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlavaForConditionalGeneration

IMAGE, LENGTH, IGNORE = 60, 3, -100
COMMON = dict(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)
CONFIGS = {
    "projected": PrefixTuningConfig(prefix_projection=True, **COMMON),
    "flat": PrefixTuningConfig(**COMMON),
    "prompt": PromptTuningConfig(prompt_tuning_init="SAMPLE_VOCAB", **COMMON),
}


def row(model, example):
    """An example's ids, and the answer's labels, each at the place it is for."""
    states = model.config.vision_config.image_size // model.config.vision_config.patch_size
    states = states**2 + (model.config.vision_feature_select_strategy == "full")
    prompt = [i for t in example["prompt"] for i in ([IMAGE] * states if t is None else [t])]
    ids = prompt + example["answer"]
    labels = [IGNORE] * (len(prompt) - 1) + example["answer"] + [2]
    return torch.tensor([ids]), torch.tensor([labels])


def embedded(model, example, pixel_values):
    """What the language model reads of an example, and its labels."""
    ids, labels = row(model, example)
    seen = {}
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        model(input_ids=ids, pixel_values=pixel_values[None])
    hook.remove()
    return seen["inputs_embeds"].detach(), labels


def write(golden):
    rule = dict(dtype=torch.float32, attn_implementation="eager")
    model = LlavaForConditionalGeneration.from_pretrained(golden, **rule).eval()
    record, tensors = json.loads((golden / "golden.json").read_text()), load_file(golden / "golden.safetensors")
    examples = [
        embedded(model, example, tensors[f"example.{i}.pixel_values"])
        for i, example in enumerate(record["examples"])
    ]
    out = {}
    for kind, config in CONFIGS.items():
        language = AutoModelForCausalLM.from_config(model.config.text_config, attn_implementation="eager").eval()
        language.model.load_state_dict(model.model.language_model.state_dict())
        language.lm_head.load_state_dict(model.lm_head.state_dict())
        torch.manual_seed(7)
        tuned = get_peft_model(language, copy.deepcopy(config))
        parameters = {
            name.split("prompt_encoder.default.")[1]: p
            for name, p in tuned.named_parameters()
            if p.requires_grad
        }
        total = 0.0
        for embeds, labels in examples:
            mask = torch.ones(embeds.shape[:2], dtype=torch.long)
            logits = tuned(inputs_embeds=embeds, attention_mask=mask).logits[:, -labels.shape[1] :]
            total = total + torch.nn.functional.cross_entropy(
                logits[0], labels[0], ignore_index=IGNORE, reduction="sum"
            )
        total.backward()
        out[f"{kind}.loss"] = total.detach().reshape(1)
        for name, p in parameters.items():
            out[f"{kind}.value.{name}"] = p.detach().clone().contiguous()
            out[f"{kind}.grad.{name}"] = p.grad.clone().contiguous()
            print(golden.name, kind, name, tuple(p.shape), float(p.grad.norm()))
        print(golden.name, kind, float(total))
    save_file(out, golden / "prefix.safetensors")


def check(golden, saved):
    rule = dict(dtype=torch.float32, attn_implementation="eager")
    record, tensors = json.loads((golden / "golden.json").read_text()), load_file(golden / "golden.safetensors")
    wanted = load_file(golden / "prefix.safetensors")
    for kind in CONFIGS:
        model = LlavaForConditionalGeneration.from_pretrained(golden, **rule).eval()
        tuned, total = PeftModel.from_pretrained(model, saved / kind), 0.0
        for i, example in enumerate(record["examples"]):
            pixel_values = tensors[f"example.{i}.pixel_values"][None]
            ids, labels = row(model, example)
            with torch.no_grad():
                mask = torch.ones_like(ids)
                logits = tuned(input_ids=ids, attention_mask=mask, pixel_values=pixel_values).logits
            logits = logits[:, -labels.shape[1] :]
            total += torch.nn.functional.cross_entropy(
                logits[0], labels[0], ignore_index=IGNORE, reduction="sum"
            )
        torch.testing.assert_close(total.reshape(1), wanted[f"{kind}.loss"])
        print(f"{saved / kind}: as it should be")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("llava_llama", "llava_mistral"):
        golden = Path(sys.argv[1]) / name
        if "--check" in sys.argv:
            check(golden, Path(sys.argv[3]) / name)
        else:
            write(golden)
