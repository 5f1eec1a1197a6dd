#!/usr/bin/env python3
"""Compares the estimates of `normed plan` with `normed train`: peak memory and seconds per step.

    python3 bench/plan.py MODEL [--batches 20,8,2] [--levels none,ffn,blocks] [--methods layer_norm,full]
                          [--image-size 480] [--precision bf16]

MODEL is a model directory; random weights are sufficient. Each row is a run of two epochs of five steps on
phantom images. With two epochs, memory includes the best parameters so far. The measured peak is that of
metrics.json; the measured seconds are the median over steps.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NORMED = os.environ.get("NORMED", ROOT / "target/release/normed")
METHODS = "layer_norm,attention,ffn,full"


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return done.stdout


def recipe(directory, arguments, batch, level, method):
    size = f"image_size = {arguments.image_size}\n" if arguments.image_size else ""
    path = Path(directory) / "recipe.toml"
    path.write_text(
        f'model = "{Path(arguments.model).resolve()}"\n{size}precision = "{arguments.precision}"\n'
        f'[data]\nname = "phantom"\ndomain = "source"\n'
        f"train = {5 * batch}\nvalidate = {batch}\ntest = 0\n"
        f'[tuning]\nmethod = "{method}"\n'
        f'[train]\nepochs = 2\nbatch_size = {batch}\nrecompute = "{level}"\nlr = 1e-3\n'
    )
    return path


def row(arguments, batch, level, method):
    with tempfile.TemporaryDirectory() as directory:
        path = recipe(directory, arguments, batch, level, method)
        plan = json.loads(run(NORMED, "plan", path, "--json"))
        way = plan["ways"][plan["chosen"]]
        output = Path(directory) / "run"
        run(NORMED, "train", path, "--output", output, "--no-test", "--quiet")
        peak = json.loads((output / "metrics.json").read_text())["peak_memory_bytes"]
        events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
        steps = [e for e in events if e["event"] == "step_done"]
        seconds = statistics.median(batch / step["examples_per_second"] for step in steps)
    return way["needs"]["peak"], peak, way["step_seconds"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--batches", default="20,8,2")
    parser.add_argument("--levels", default="none,ffn,blocks")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    print(f"{'method':<12} {'level':<10} {'batch':>5} {'planned MiB':>12} {'measured':>9} {'':>7}"
          f" {'planned s':>10} {'measured':>9} {'':>7}")
    choices = [arguments.methods, arguments.levels, arguments.batches]
    for method, level, batch in itertools.product(*(text.split(",") for text in choices)):
        planned, peak, guess, seconds = row(arguments, int(batch), level, method)
        print(f"{method:<12} {level:<10} {batch:>5} {planned / 2**20:12.0f} {peak / 2**20:9.0f}"
              f" {100 * (planned / peak - 1):+6.1f}% {guess:10.2f} {seconds:9.2f}"
              f" {100 * (guess / seconds - 1):+6.1f}%", flush=True)


if __name__ == "__main__":
    main()
