"""Writes what the parity tests compare with: two tiny random LlavaForConditionalGeneration, their inputs,
and what transformers computes from them.

    python reference/make_llava_goldens.py crates/normed/tests/golden
    python reference/make_llava_goldens.py crates/normed/tests/golden --check target/tmp

The second checks what the tests left: models that normed saved, and adapters over them.

llava_{llama,mistral}/  config.json and model.safetensors (bf16) as a checkpoint has them: the former under
                        the names that transformers 5 writes, the latter under those it has in memory
  golden.safetensors    example.i.*  pixel_values; logits [A, V] of the positions that predict the answer
                        grad.*       the gradient of every norm, all norms trained, by the name in memory
  golden.json           each example's prompt, the picture's place in it as null, and answer; losses of
                        norm-only AdamW steps on all examples at once; and the generated tokens of each
                        example by several searches

Computed in float32 from the weights as they are in the file, without dropout. The two differ in all that
a config can say: biases, tied or untied head, heads that share keys, head_dim, sliding window, rotary
scaling, activation, feature layer, class token.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
)

BOS, EOS, PAD, IMAGE, VOCAB = 1, 2, 0, 60, 64
VISION = dict(
    hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
    image_size=20, patch_size=8, layer_norm_eps=1e-3,
)  # fmt: skip
TEXT = dict(
    hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCAB,
    rms_norm_eps=1e-2, max_position_embeddings=64, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
)  # fmt: skip
LLAMA3 = dict(
    rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=0.5, high_freq_factor=4.0,
    original_max_position_embeddings=16,
)  # fmt: skip
# Words before and after the picture, words of the answer.
SIZES = [(1, 3, 2), (2, 5, 4), (1, 2, 1), (4, 4, 3), (2, 7, 5), (3, 1, 2)]
NEW_TOKENS = 6
SEARCHES = [(1, 1.0), (3, 1.0), (5, 0.0), (2, 3.0)]  # beams, length penalty
STEPS, ADAMW = 5, dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def config_of(name):
    if name == "llama":
        text = LlamaConfig(
            **TEXT, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_parameters=LLAMA3
        )
        vision = CLIPVisionConfig(**VISION, hidden_act="quick_gelu")
        rest = dict(vision_feature_layer=-2, vision_feature_select_strategy="default")
    else:
        text = MistralConfig(**TEXT, num_key_value_heads=2, head_dim=12, sliding_window=7)
        vision = CLIPVisionConfig(**VISION, hidden_act="gelu")
        rest = dict(vision_feature_layer=-1, vision_feature_select_strategy="full")
        rest |= dict(multimodal_projector_bias=False)
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, **rest)


def build(name, seed):
    """The model, with no parameter at a value that could hide a mistake."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(config_of(name), attn_implementation="eager")
    for key, p in model.named_parameters():
        if "norm" in key:
            torch.nn.init.normal_(p, mean=float(key.endswith("weight")), std=0.3)
        elif key.endswith("bias"):
            torch.nn.init.normal_(p, std=0.3)
        else:
            torch.nn.init.normal_(p, std=1.2 / p.shape[-1] ** 0.5 if p.dim() == 2 else 0.2)
    return model.float().eval()


def half_train(model, examples):
    """Until it half knows the answers: a random model's never end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    while (loss := mean_loss(model, examples)) > 1.6:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16().float())


def inputs_of(example, model):
    """The prompt with as many image tokens as the picture has states, and the answer with its end."""
    vision = model.config.vision_config
    states = (vision.image_size // vision.patch_size) ** 2
    states += model.config.vision_feature_select_strategy == "full"
    prompt = [t for token in example["prompt"] for t in ([IMAGE] * states if token is None else [token])]
    return prompt, [*example["answer"], EOS]


def logits_of(model, example):
    prompt, answer = inputs_of(example, model)
    ids = torch.tensor([prompt + answer[:-1]])
    return model(input_ids=ids, pixel_values=example["pixel_values"]).logits[0, -len(answer) :]


def mean_loss(model, examples):
    """Over all targets of all examples."""
    losses = [
        torch.nn.functional.cross_entropy(
            logits_of(model, e), torch.tensor(inputs_of(e, model)[1]), reduction="sum"
        )
        for e in examples
    ]
    return sum(losses) / sum(len(inputs_of(e, model)[1]) for e in examples)


def examples(seed):
    g = torch.Generator().manual_seed(seed)
    words = lambda n: torch.randint(3, 58, (n,), generator=g).tolist()
    return [
        {
            "pixel_values": torch.randn(1, 3, 20, 20, generator=g),
            "prompt": [BOS, *words(before), None, *words(after)],
            "answer": words(answer),
        }
        for before, after, answer in SIZES
    ]


def generate(model, examples, beams, length_penalty):
    """The tokens before the end."""
    rule = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams)
    rule |= dict(length_penalty=length_penalty) if beams > 1 else {}
    answers = []
    for example in examples:
        prompt, _ = inputs_of(example, model)
        ids = torch.tensor([prompt])
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=example["pixel_values"], **rule
        )
        tokens = out[0, len(prompt) :].tolist()
        answers.append(tokens[: tokens.index(EOS)] if EOS in tokens else tokens)
    return answers


def telling(answers):
    """Whether these answers, one list a search, would show most mistakes of a search."""
    lengths = [set(map(len, found)) for found in answers[:2]]
    differ = [sum(a != b for a, b in zip(answers[0], found)) for found in answers[1:]]
    return all(len(n) >= 3 for n in lengths) and min(differ) >= 1


def write(name, out):
    for seed in range(100):
        model, batch = build(name, seed), examples(seed)
        half_train(model, batch)
        with torch.no_grad():
            answers = [generate(model, batch, *search) for search in SEARCHES]
        if telling(answers):
            break
    else:
        sys.exit(f"no seed gives {name} generations of different lengths")
    print(name, f"seed {seed}", *answers, sep="\n")

    out.mkdir(exist_ok=True)
    if name == "llama":
        # A copy, since this rounds the rotary frequencies too.
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
        (out / "generation_config.json").unlink()
    else:
        weights = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}
        save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        model.config.save_pretrained(out)

    norms = {k: p for k, p in model.named_parameters() if "norm" in k.split(".")[-2]}
    model.requires_grad_(False)
    for p in norms.values():
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(norms.values(), **ADAMW)
    with torch.no_grad():
        tensors = {f"example.{i}.logits": logits_of(model, e) for i, e in enumerate(batch)}
    tensors |= {f"example.{i}.pixel_values": e["pixel_values"][0] for i, e in enumerate(batch)}
    losses, gradients = [], {}
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, batch)
        loss.backward()
        losses.append(loss.item())
        found = {f"grad.{k}": p.grad.clone() for k, p in norms.items() if p.grad is not None}
        gradients = gradients or found
        optimizer.step()
    tensors |= gradients
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, out / "golden.safetensors")
    record = {
        "examples": [{k: e[k] for k in ("prompt", "answer")} for e in batch],
        "losses": losses, "adamw": ADAMW, "max_new_tokens": NEW_TOKENS,
        "searches": [
            {"num_beams": n, "length_penalty": penalty, "answers": found}
            for (n, penalty), found in zip(SEARCHES, answers)
        ],
    }  # fmt: skip
    (out / "golden.json").write_text(json.dumps(record) + "\n")


def check(golden, saved):
    """The saved model is the golden one, and its adapter makes every norm 1.25 times as large."""
    from peft import PeftModel
    from safetensors.torch import load_file

    record, tensors = json.loads((golden / "golden.json").read_text()), load_file(golden / "golden.safetensors")
    rule = dict(dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model, found = LlavaForConditionalGeneration.from_pretrained(saved, **rule)
    assert not any(found[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
    norms = {k: p.detach().clone() for k, p in model.named_parameters() if "norm" in k.split(".")[-2]}
    for i, example in enumerate(record["examples"]):
        example["pixel_values"] = tensors[f"example.{i}.pixel_values"][None]
        with torch.no_grad():
            torch.testing.assert_close(logits_of(model, example), tensors[f"example.{i}.logits"])
    merged = PeftModel.from_pretrained(model, saved / "adapter").merge_and_unload()
    reached = {k.removeprefix("grad.") for k in tensors if k.startswith("grad.")}
    for key, p in merged.named_parameters():
        if key in norms:
            assert torch.equal(p, norms[key] * (1.25 if key in reached else 1.0)), key
    print(f"{saved}: as it should be")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("llama", "mistral"):
        golden = Path(sys.argv[1]) / f"llava_{name}"
        if "--check" in sys.argv:
            check(golden, Path(sys.argv[3]) / f"llava_{name}")
        else:
            write(name, golden)
