#!/usr/bin/env python3
"""normed beside PyTorch: the same LayerNorm-only training step, the same weights and inputs.

    python3 bench/run.py [--tokens 197] [--batch 4] [--threads 2] [--rounds 3]

Makes bench/.venv with PyTorch from PyPI unless $NORMED_BENCH_PYTHON names a Python that has torch
and safetensors, builds the library's side, and runs the two in turn, so that a busy machine slows
both. `cpu ms` is what all threads of a process computed in a step: on a busy machine it says more
than the clock. Fails if losses or gradients differ by more than 1e-3.
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
TOLERANCE = 1e-3


def run(*command, **environment):
    """The command's standard output."""
    command = [str(part) for part in command]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
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
        workload, theirs, ours = (Path(scratch) / name for name in ("workload", "theirs", "ours"))
        run(python, script, "make", workload, args.tokens, args.batch)
        sides = {
            "PyTorch eager f32": (python, script, "step", workload, steps, theirs, args.threads),
            "normed f32": (binary, workload, steps, ours),
        }
        results = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, command in sides.items():
                output = run(*command, RAYON_NUM_THREADS=str(args.threads))
                results[name].append(json.loads(output))
        return results, json.loads(run(python, script, "compare", ours, theirs))


def timed(runs, key):
    """Milliseconds of every step after the warm-up."""
    return [seconds * 1e3 for run in runs for seconds in run[key][WARM_UP:]]


def report(args, results, gradients):
    print(f"ViT-B/16 encoder, {args.tokens} tokens, batch {args.batch}, LayerNorm-only step,")
    print(f"{args.threads} threads, {args.rounds} runs of {TIMED} timed steps")
    print(f"{'':18}{'median ms':>10}{'fastest':>9}{'slowest':>9}{'cpu ms':>9}{'peak MB':>9}")
    for name, runs in results.items():
        times = timed(runs, "seconds")
        columns = (
            statistics.median(times),
            min(times),
            max(times),
            statistics.median(timed(runs, "cpu_seconds")),
            max(run["peak_bytes"] for run in runs) / 1e6,
        )
        print(f"{name:18}{columns[0]:10.0f}" + "".join(f"{c:9.0f}" for c in columns[1:]))
    reference, ours = (runs[0]["losses"] for runs in results.values())
    loss_error = max(abs(a - b) / abs(b) for a, b in zip(ours, reference))
    print(f"relative error of the losses of {len(ours)} steps: {loss_error:.1e}")
    print(f"relative error of the gradients: {gradients['error']:.1e} ({gradients['tensor']})")
    # Written so that NaN fails.
    if not max(loss_error, gradients["error"]) <= TOLERANCE:
        sys.exit(f"the two sides do not compute the same: more than {TOLERANCE} apart")


def main():
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--tokens", type=int, default=197, help="197 is 224 px, 577 is 384 px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    report(args, *measure(args))


if __name__ == "__main__":
    main()
