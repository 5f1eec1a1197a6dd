"""Writes crates/normed/tests/golden/report.json and report_llava.json: what transformers generates with the
models of make_blip_goldens.py and make_llava_goldens.py (LLaMA's) where texts are long, words are penalized
that were said, and an example has two images.

    python3 reference/make_report_goldens.py crates/normed/tests/golden

Several images are several views of one study: the vision transformer's states of all of them stand one
behind the other where the question attends to them. `BlipForQuestionAnswering.generate` takes one image, so
that here its steps are made one by one. A LLaVA has an image token for each. Examples are those of blip.json; the views of example i are its own
image and, where there are two, that of the next.
"""

import json
import sys
from pathlib import Path

import torch
import make_llava_goldens as llava
from make_blip_goldens import DEC, SEP, build
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

NEW_TOKENS = 16
# beams, length penalty, repetition penalty, views
SEARCHES = [
    (1, 1.0, 1.0, 1), (1, 1.0, 1.1, 1), (1, 1.0, 1.3, 1), (1, 1.0, 0.8, 1), (3, 3.0, 1.4, 1),
    (4, -1.0, 1.15, 1), (1, 1.0, 1.0, 2), (1, 1.0, 1.1, 2), (3, 3.0, 1.2, 2), (2, 5.0, 3.0, 2),
]  # fmt: skip


def model_of(folder):
    """The golden model: its weights are in the file, its shape is the script's."""
    _, model = build(0)
    tensors = load_file(folder / "blip.safetensors")
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all("position_ids" in k or "decoder" in k for k in missing), missing
    return model.eval(), tensors


def question_states(model, pixels, ids):
    """`pixels [V, 3, H, W]` are the views of one study."""
    states = model.vision_model(pixel_values=pixels)[0]
    states = states.reshape(1, -1, states.shape[-1])
    mask = torch.ones(states.shape[:2], dtype=torch.long)
    return model.text_encoder(
        input_ids=ids, attention_mask=torch.ones_like(ids),
        encoder_hidden_states=states, encoder_attention_mask=mask, return_dict=False,
    )[0]  # fmt: skip


@torch.no_grad()
def main(folder):
    torch.set_num_threads(1)
    model, tensors = model_of(folder)
    count = sum(k.endswith(".pixel_values") for k in tensors)
    pixels = torch.stack([tensors[f"example.{i}.pixel_values"] for i in range(count)])
    found, logits = [], []
    for beams, length_penalty, repetition_penalty, views in SEARCHES:
        rule = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams)
        rule |= dict(length_penalty=length_penalty) if beams > 1 else {}
        answers = []
        for i in range(count):
            own = torch.stack([pixels[(i + view) % count] for view in range(views)])
            states = question_states(model, own, tensors[f"example.{i}.input_ids"][None])
            out = model.text_decoder.generate(
                input_ids=torch.tensor([[DEC]]), bos_token_id=DEC, eos_token_id=SEP, pad_token_id=0,
                encoder_hidden_states=states,
                encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
                repetition_penalty=repetition_penalty, **rule,
            )  # fmt: skip
            tokens = out[0, 1:].tolist()
            answers.append(tokens[: tokens.index(SEP)] if SEP in tokens else tokens)
        found.append({
            "num_beams": beams, "length_penalty": length_penalty,
            "repetition_penalty": repetition_penalty, "views": views, "answers": answers,
        })  # fmt: skip
        print(beams, length_penalty, repetition_penalty, views, answers)
    for i in range(count):
        own = torch.stack([pixels[i], pixels[(i + 1) % count]])
        states = question_states(model, own, tensors[f"example.{i}.input_ids"][None])
        inputs = tensors[f"example.{i}.labels"][None, :-1]
        out = model.text_decoder(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
        )  # fmt: skip
        logits.append(out.logits[0, -1].tolist())
    record = {"max_new_tokens": NEW_TOKENS, "searches": found, "last_logits_of_two_views": logits}
    (folder / "report.json").write_text(json.dumps(record) + "\n")


LLAVA_SEARCHES = [
    (1, 1.0, 1.0, 1), (1, 1.0, 1.2, 1), (1, 1.0, 1.6, 1), (3, 1.0, 1.3, 1), (1, 1.0, 1.0, 2),
    (1, 1.0, 1.3, 2), (2, 2.0, 1.5, 2),
]  # fmt: skip


@torch.no_grad()
def of_llava(folder):
    model = LlavaForConditionalGeneration.from_pretrained(
        folder / "llava_llama", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    examples = json.loads((folder / "llava_llama/golden.json").read_text())["examples"]
    tensors = load_file(folder / "llava_llama/golden.safetensors")
    count, found = len(examples), []
    for beams, length_penalty, repetition_penalty, views in LLAVA_SEARCHES:
        rule = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams)
        rule |= dict(length_penalty=length_penalty) if beams > 1 else {}
        answers = []
        for i, example in enumerate(examples):
            own = [tensors[f"example.{(i + view) % count}.pixel_values"] for view in range(views)]
            prompt = [t for t in example["prompt"] for t in ([t] if t is not None else [None] * views)]
            prompt, _ = llava.inputs_of({"prompt": prompt, "answer": []}, model)
            ids = torch.tensor([prompt])
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.stack(own),
                repetition_penalty=repetition_penalty, **rule,
            )  # fmt: skip
            tokens = out[0, len(prompt) :].tolist()
            answers.append(tokens[: tokens.index(llava.EOS)] if llava.EOS in tokens else tokens)
        found.append({
            "num_beams": beams, "length_penalty": length_penalty,
            "repetition_penalty": repetition_penalty, "views": views, "answers": answers,
        })  # fmt: skip
        print(beams, length_penalty, repetition_penalty, views, answers)
    record = {"max_new_tokens": NEW_TOKENS, "searches": found}
    (folder / "report_llava.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    of_llava(Path(sys.argv[1]))
