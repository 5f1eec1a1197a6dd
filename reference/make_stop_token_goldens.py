"""Writes answers of the tiny LLaVA of make_llava_goldens.py that end at any of several tokens, as transformers'
generation_config.json says.

    python reference/make_stop_token_goldens.py crates/normed/tests/golden

stop_tokens.json has generation_config.json's text, the number of new tokens, and the generated tokens of each example
by several searches, without the tokens that end them.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from make_llava_goldens import NEW_TOKENS, inputs_of
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

SEARCHES = [(1, 1.0), (3, 1.0)]  # beams, length penalty


def answers(model, examples, ends, beams, length_penalty):
    rule = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams)
    rule |= dict(length_penalty=length_penalty) if beams > 1 else {}
    found = []
    for example in examples:
        prompt, _ = inputs_of(example, model)
        ids = torch.tensor([prompt])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=example["pixel_values"], **rule
            )
        tokens = out[0, len(prompt) :].tolist()
        end = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        found.append(tokens[:end])
    return found


def main(golden):
    dir = golden / "llava_llama"
    record, tensors = json.loads((dir / "golden.json").read_text()), load_file(dir / "golden.safetensors")
    examples = record["examples"]
    for i, example in enumerate(examples):
        example["pixel_values"] = tensors[f"example.{i}.pixel_values"][None]
    # The second token ends an answer in its middle, and config.json's own token is in the list's midst.
    middle = next(answer[1] for answer in record["searches"][0]["answers"] if len(answer) > 2)
    config = {"bos_token_id": 1, "eos_token_id": [63, 2, middle], "pad_token_id": 0}
    with tempfile.TemporaryDirectory() as folder:
        for file in ["config.json", "model.safetensors"]:
            shutil.copy(dir / file, folder)
        (Path(folder) / "generation_config.json").write_text(json.dumps(config))
        model = LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
    assert model.generation_config.eos_token_id == config["eos_token_id"]
    searches = [
        {"num_beams": n, "length_penalty": p, "answers": answers(model, examples, config["eos_token_id"], n, p)}
        for n, p in SEARCHES
    ]
    assert searches[0]["answers"] != record["searches"][0]["answers"]
    written = {"generation_config": config, "max_new_tokens": NEW_TOKENS, "searches": searches}
    (golden / "stop_tokens.json").write_text(json.dumps(written) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
