"""Writes what the parity tests compare with: a tiny random BlipForQuestionAnswering, its inputs, and
what transformers computes from them.

    python reference/make_blip_goldens.py crates/normed/tests/golden

blip.safetensors  model.*      the weights, under their names in the model
                  example.i.*  pixel_values, input_ids, labels; logits [A, V] of the decoder's positions
                  grad.*       the gradient of every LayerNorm, all LayerNorms trained
blip.json         config.json; losses of LayerNorm-only AdamW steps on all examples at once; and the
                  generated tokens of each example by several searches

The text towers are narrower than the vision tower, which BlipForQuestionAnswering's own config cannot
say of a decoder: its decoder is built apart. Everything is float32, without dropout.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BlipConfig, BlipForQuestionAnswering
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

PAD, SEP, DEC, CLS, VOCAB = 0, 3, 118, 2, 120
VISION = dict(
    hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
    image_size=32, patch_size=8, layer_norm_eps=1e-3, hidden_act="gelu",
)
TEXT = dict(
    hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=5,
    vocab_size=VOCAB, max_position_embeddings=20, layer_norm_eps=1e-2, hidden_act="gelu",
    bos_token_id=DEC, sep_token_id=SEP, pad_token_id=PAD, eos_token_id=SEP, label_smoothing=0.1,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
QUESTIONS, ANSWERS = [5, 9, 7, 3, 8, 6], [2, 4, 1, 3, 5, 2]
NEW_TOKENS = 6
SEARCHES = [(1, 1.0), (3, 1.0), (5, 0.0), (4, -2.0), (2, 3.0)]  # beams, length penalty
STEPS, ADAMW = 10, dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def build(seed):
    """The model, with no parameter at a value that could hide a mistake."""
    torch.manual_seed(seed)
    config = BlipConfig(vision_config=VISION, text_config=TEXT)
    model = BlipForQuestionAnswering(config)
    decoder = copy.deepcopy(config.text_config)
    decoder.encoder_hidden_size = decoder.hidden_size
    model.text_decoder = BlipTextLMHeadModel(decoder)
    for name, p in model.named_parameters():
        if "norm" in name.lower():
            torch.nn.init.normal_(p, mean=float(name.endswith("weight")), std=0.3)
        elif name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.3)
        else:
            torch.nn.init.normal_(p, std=1.2 / p.shape[-1] ** 0.5 if p.dim() == 2 else 0.2)
    return config, model.float().eval()


def half_train(model, examples):
    """Until it half knows the answers: a random model repeats one word, and its answers never end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    while (loss := mean_loss(model, examples)) > 1.9:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def mean_loss(model, examples):
    """Over all targets of all examples; transformers' is the mean over one example's."""
    targets = [example["labels"].shape[1] - 1 for example in examples]
    return sum(model(**e).loss * n for e, n in zip(examples, targets)) / sum(targets)


def examples(seed):
    """Questions and answers of different lengths, each a batch of its own.

    Padded batches would not do: transformers 5.23 loses the mask of the question on its way to the
    decoder's cross-attention (`BlipTextAttention` does not pass `encoder_attention_mask` on), and
    `generate` attends to all of a padded question by design.
    """
    g = torch.Generator().manual_seed(seed)
    words = lambda n: torch.randint(5, 115, (n,), generator=g).tolist()
    return [
        {
            "pixel_values": torch.randn(1, 3, 32, 32, generator=g),
            "input_ids": torch.tensor([[CLS, *words(question - 2), SEP]]),
            "labels": torch.tensor([[DEC, *words(answer), SEP]]),
        }
        for question, answer in zip(QUESTIONS, ANSWERS)
    ]


def generate(model, examples, beams, length_penalty):
    """The tokens between start and end."""
    rule = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams)
    rule |= dict(length_penalty=length_penalty) if beams > 1 else {}
    answers = []
    for example in examples:
        inputs = {k: v for k, v in example.items() if k != "labels"}
        out = model.generate(**inputs, **rule)
        tokens = out[0, 1:].tolist()
        answers.append(tokens[: tokens.index(SEP)] if SEP in tokens else tokens)
    return answers


def telling(answers):
    """Whether these answers, one list a search, would show most mistakes of a search."""
    lengths = [set(map(len, found)) for found in answers[:2]]
    differ = [sum(a != b for a, b in zip(answers[0], found)) for found in answers[1:]]
    return all(len(n) >= 4 and max(n) == NEW_TOKENS for n in lengths) and min(differ) >= 2


def main(out):
    torch.set_num_threads(1)
    for seed in range(100):
        config, model = build(seed)
        batch = examples(seed)
        half_train(model, batch)
        answers = [generate(model, batch, *search) for search in SEARCHES]
        if telling(answers):
            break
    else:
        sys.exit("no seed gives generations of different lengths")
    print(f"seed {seed}", *answers, sep="\n")

    weights = {f"model.{k}": v.clone() for k, v in model.named_parameters()}
    norms = {
        f"{name}.{part}": getattr(module, part)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for part in ("weight", "bias")
    }
    model.requires_grad_(False)
    for p in norms.values():
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(norms.values(), **ADAMW)
    logits = []
    model.text_decoder.register_forward_hook(lambda _, __, output: logits.append(output.logits[0]))
    losses, gradients = [], {}
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, batch)
        loss.backward()
        losses.append(loss.item())
        gradients = gradients or {f"grad.{k}": p.grad.clone() for k, p in norms.items()}
        optimizer.step()

    tensors = weights | gradients
    for i, example in enumerate(batch):
        tensors |= {f"example.{i}.{k}": v[0] for k, v in example.items()}
        tensors[f"example.{i}.logits"] = logits[i]
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, out / "blip.safetensors")
    record = {
        "config": json.loads(config.to_json_string()),
        "losses": losses, "adamw": ADAMW, "label_smoothing": TEXT["label_smoothing"],
        "max_new_tokens": NEW_TOKENS,
        "searches": [
            {"num_beams": n, "length_penalty": penalty, "answers": found}
            for (n, penalty), found in zip(SEARCHES, answers)
        ],
    }  # fmt: skip
    (out / "blip.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
