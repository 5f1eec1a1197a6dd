"""Writes a tiny LLaVA as LLaVA-Med 1.0's own code has it: one linear layer between the towers, shards of
`torch.save`, the image encoder in a directory of its own.

    python reference/make_llava_own_golden.py crates/normed/tests/golden/llava_own

config.json, pytorch_model-*.bin with their index; clip-tiny/ with the image encoder. golden.json has each
example's prompt, the picture's place in it as null, and answer; golden.safetensors their pixel_values and
the logits [A, V] that transformers computes of the positions that predict the answer.
"""

import json
import sys
from pathlib import Path

import torch
from make_llava_goldens import EOS, TEXT, VISION, examples, logits_of
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration


class Linear(nn.Module):
    """The projector of LLaVA 1.0."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(VISION["hidden_size"], TEXT["hidden_size"])

    def forward(self, x):
        return self.layer(x)


def build():
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, hidden_act="quick_gelu"), text_config=LlamaConfig(**TEXT),
        image_token_index=60, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    torch.manual_seed(3)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager")
    model.model.multi_modal_projector = Linear()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(mean=float("norm" in name and name.endswith("weight")), std=0.3)
            p.copy_(p.half().float())
    return model.float().eval()


def own_names(model):
    """The language model's and the projector's tensors, and the image encoder's."""
    own, tower = {}, {}
    for name, value in model.state_dict().items():
        value = value.half().contiguous()
        if rest := name.partition("model.vision_tower.")[2]:
            tower[f"vision_model.{rest}"] = value
        else:
            name = name.replace("model.language_model.", "model.")
            own[name.replace("model.multi_modal_projector.layer.", "model.mm_projector.")] = value
    # Buffers, as files of that time hold them.
    own["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tower["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    return own, tower


def main(out):
    model, batch = build(), examples(3)
    own, tower = own_names(model)
    (out / "clip-tiny").mkdir(parents=True, exist_ok=True)
    names = sorted(own)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for i, half in enumerate(halves):
        file = f"pytorch_model-{i + 1:05}-of-00002.bin"
        torch.save({name: own[name] for name in half}, out / file)
        weight_map |= dict.fromkeys(half, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")
    torch.save(tower, out / "clip-tiny/pytorch_model.bin")
    clip = {"model_type": "clip", "vision_config": VISION | {"hidden_act": "quick_gelu"}}
    (out / "clip-tiny/config.json").write_text(json.dumps(clip, indent=1) + "\n")
    config = TEXT | {
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "hidden_act": "silu",
        "mm_vision_tower": "someone/clip-tiny", "mm_hidden_size": 32, "mm_vision_select_layer": -2,
        "mm_use_im_start_end": False, "tie_word_embeddings": False, "eos_token_id": EOS,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    with torch.no_grad():
        tensors = {f"example.{i}.logits": logits_of(model, e).contiguous() for i, e in enumerate(batch)}
    tensors |= {f"example.{i}.pixel_values": e["pixel_values"][0] for i, e in enumerate(batch)}
    save_file(tensors, out / "golden.safetensors")
    record = {"examples": [{k: e[k] for k in ("prompt", "answer")} for e in batch]}
    (out / "golden.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
