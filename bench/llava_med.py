#!/usr/bin/env python3
"""Measures a model of LLaVA-Med's size: opening it, a training step, and an answer.

    python3 bench/llava_med.py NORMED MODEL [MODEL ...]

NORMED is the program. A MODEL is a directory written by bench/make_llava_med.py or `normed quantize`, with
Mistral's tokenizer. For each model, the script makes two training steps of the norms of both towers, on one
example of 640 tokens (576 of them from the image), and reports the second. It then answers one question:
600 tokens and 32 new ones. Peaks are the maximum resident memory of the processes (VmHWM), which includes
mapped weights.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

# Words of one token each. With the prompt template they make 640 and 600 tokens.
STEP_WORDS, ANSWER_WORDS = 52, 13


def write_image(path):
    """Writes a gray PNG of 336 by 336 pixels."""
    rows = b"".join(b"\0" + bytes((x * y) % 251 for x in range(336)) for y in range(336))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 336, 336, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def add_question(path, name, words, answer, split):
    row = {
        "id": name, "image": "image.png", "question": " ".join(["normal"] * words), "answer": answer,
        "answer_type": "OPEN", "split": split,
    }  # fmt: skip
    with path.open("a") as out:
        out.write(json.dumps(row) + "\n")


def measure(*command):
    """Runs a command. Returns its output, its peak memory in GiB, and its wall and processor seconds."""
    began = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    seconds = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return output, usage.ru_maxrss * 1024 / 2**30, [round(s, 1) for s in seconds]


def train(normed, model, root):
    recipe = root / "recipe.toml"
    recipe.write_text(f"""
        model = "{model.resolve()}"
        precision = "bf16"
        [data]
        name = "jsonl"
        file = "step.jsonl"
        [tuning]
        method = "layer_norm"
        [train]
        batch_size = 1
        epochs = 1
        holdout = 0.0
        metric = "last"
        dropout = 0.0
    """)
    output = root / f"run-{model.name}"
    text, peak, seconds = measure(normed, "train", recipe, "--output", output, "--no-test", "--json")
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    steps = [e for e in events if e.get("event") == "step_done"]
    tuned = next(e for e in events if e.get("event") == "tuned")
    return {
        "trained": tuned["trained"], "of": tuned["total"], "peak_gib": round(peak, 2),
        "step_seconds": round(1 / steps[-1]["examples_per_second"], 1), "losses": [e["loss"] for e in steps],
        "until_first_step_done": round(steps[0]["seconds"], 1), "all_seconds": seconds,
    }  # fmt: skip


def answer(normed, model, root):
    out = root / "answers.jsonl"
    command = [normed, "predict", "--model", model, "--data", root / "ask.jsonl", "--out", out]
    command += ["--batch-size", 1, "--precision", "bf16", "--quiet", "--max-new-tokens"]
    result = {}
    for tokens in (1, 32):
        _, peak, seconds = measure(*command, tokens)
        result |= {f"seconds_{tokens}_new": seconds, "peak_gib": round(peak, 2)}
    return result


def main():
    normed, *models = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_image(root / "image.png")
        for name in ("first", "second"):
            add_question(root / "step.jsonl", name, STEP_WORDS, "no", "train")
        add_question(root / "ask.jsonl", "asked", ANSWER_WORDS, "no", "test")
        for model in models:
            _, peak, seconds = measure(normed, "inspect", model)
            print(json.dumps({"model": model.name, "inspect_seconds": seconds}), flush=True)
            print(json.dumps({"model": model.name, "step": train(normed, model, root)}), flush=True)
            print(json.dumps({"model": model.name, "answer": answer(normed, model, root)}), flush=True)


if __name__ == "__main__":
    main()
