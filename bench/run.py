#!/usr/bin/env python3
"""normed beside PyTorch: the same LayerNorm-only training step, the same weights and inputs.

    python3 bench/run.py [--precision f32|bf16] [--tokens 197] [--batch 4] [--threads 2] [--rounds 3]

Makes bench/.venv with PyTorch from PyPI unless $NORMED_BENCH_PYTHON names a Python that has torch
and safetensors, builds the library's side, and runs the two in turn, so that a busy machine slows
both. `cpu ms` is what all threads of a process computed in a step: on a busy machine it says more
than the clock. Fails if losses or gradients are farther from those of PyTorch's f32 than 1e-5, or 1e-2
in bf16.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARM_UP, TIMED = 2, 5
MODES = {
    "f32": {"PyTorch eager f32": "eager"},
    "bf16": {"PyTorch autocast bf16": "autocast", "PyTorch bf16 weights": "bf16_weights"},
}
TOLERANCE = {"f32": 1e-5, "bf16": 1e-2}


def run(*command, **environment):
    """The command's standard output."""
    command = [str(part) for part in command]
    environment = {**os.environ, **environment}
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        sys.exit(f"failed: {' '.join(command)}: {error}")
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def python_with_torch():
    given = os.environ.get("NORMED_BENCH_PYTHON")
    if given:
        return given
    directory = ROOT / "bench/.venv"
    python = directory / "bin/python"
    # The marker is written last: an installation that broke off is done again.
    if not (directory / "complete").exists():
        venv.create(directory, with_pip=True, clear=True)
        run(python, "-m", "pip", "install", "--quiet", "torch", "safetensors", "numpy")
        (directory / "complete").touch()
    return python


def build():
    where = ("--manifest-path", ROOT / "Cargo.toml")
    run("cargo", "build", "--release", "--package", "normed", "--example", "bench_step", *where)
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1", *where))
    return Path(metadata["target_directory"]) / "release/examples/bench_step"


def measure(args):
    """The runs of either side, and how far the first step's gradients are apart."""
    python, binary = python_with_torch(), build()
    script, steps = ROOT / "bench/pytorch_step.py", WARM_UP + TIMED
    with tempfile.TemporaryDirectory() as scratch:
        names = ("workload", "reference", "theirs", "ours")
        workload, reference, theirs, ours = (Path(scratch) / name for name in names)
        run(python, script, "make", workload, args.tokens, args.batch)
        torch_step = (python, script, "step", workload)
        exact = json.loads(run(*torch_step, steps, reference, args.threads, "eager"))
        sides = {
            name: (*torch_step, steps, theirs, args.threads, mode)
            for name, mode in MODES[args.precision].items()
        }
        sides[f"normed {args.precision}"] = (binary, workload, steps, ours, args.precision)
        results = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, command in sides.items():
                output = run(*command, RAYON_NUM_THREADS=str(args.threads))
                results[name].append(json.loads(output))
        return results, exact["losses"], json.loads(run(python, script, "compare", ours, reference))


def timed(runs, key):
    """Milliseconds of every step after the warm-up."""
    return [seconds * 1e3 for run in runs for seconds in run[key][WARM_UP:]]


def report(args, results, reference, gradients):
    print(f"ViT-B/16 encoder, {args.tokens} tokens, batch {args.batch}, LayerNorm-only step,")
    print(f"{args.threads} threads, {args.rounds} runs of {TIMED} timed steps")
    print(f"{'':22}{'median ms':>10}{'fastest':>9}{'slowest':>9}{'cpu ms':>9}{'peak MB':>9}")
    for name, runs in results.items():
        times = timed(runs, "seconds")
        columns = (
            statistics.median(times),
            min(times),
            max(times),
            statistics.median(timed(runs, "cpu_seconds")),
            max(run["peak_bytes"] for run in runs) / 1e6,
        )
        print(f"{name:22}{columns[0]:10.0f}" + "".join(f"{c:9.0f}" for c in columns[1:]))
    ours = results[f"normed {args.precision}"][0]["losses"]
    loss_error = max(abs(a - b) / abs(b) for a, b in zip(ours, reference))
    print(f"relative error of the losses of {len(ours)} steps: {loss_error:.1e}")
    print(f"relative error of the gradients: {gradients['error']:.1e} ({gradients['tensor']})")
    # Written so that NaN fails.
    tolerance = TOLERANCE[args.precision]
    if not max(loss_error, gradients["error"]) <= tolerance:
        sys.exit(f"the two sides do not compute the same: more than {tolerance} apart")


def main():
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--precision", choices=MODES, default="f32")
    parser.add_argument("--tokens", type=int, default=197, help="197 is 224 px, 577 is 384 px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    report(args, *measure(args))


if __name__ == "__main__":
    main()
