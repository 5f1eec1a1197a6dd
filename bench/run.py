#!/usr/bin/env python3
"""normed beside PyTorch: the same LayerNorm-only training step, the same weights and inputs.

    python3 bench/run.py [--tokens 197] [--batch 4] [--threads 2] [--rounds 3]

Makes bench/.venv with PyTorch from PyPI unless $NORMED_BENCH_PYTHON names a Python that has torch
and safetensors, builds the library's side, and runs the two in turn, so that a busy machine slows
both. Fails if losses or gradients differ by more than 1e-3.
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
    command = [str(c) for c in command]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
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
    run("cargo", "build", "--release", "--package", "normed", "--example", "bench_step", "--manifest-path", ROOT / "Cargo.toml")
    target = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1", "--manifest-path", ROOT / "Cargo.toml"))
    return Path(target["target_directory"]) / "release/examples/bench_step"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=197, help="197 is 224 px, 577 is 384 px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help=f"runs of each side; {TIMED} timed steps a run")
    args = parser.parse_args()

    python, binary = python_with_torch(), build()
    script = ROOT / "bench/pytorch_step.py"
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        workload = scratch / "workload.safetensors"
        run(python, script, "make", workload, args.tokens, args.batch)
        sides = {
            "PyTorch eager f32": (python, script, "step", workload, WARM_UP + TIMED, scratch / "0", args.threads),
            "normed f32": (binary, workload, WARM_UP + TIMED, scratch / "1"),
        }
        results = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, command in sides.items():
                output = run(*command, RAYON_NUM_THREADS=str(args.threads))
                results[name].append(json.loads(output))
        gradients = json.loads(run(python, script, "compare", scratch / "1", scratch / "0"))
    report(args, results, gradients)


def report(args, results, gradients):
    print(f"ViT-B/16 encoder, {args.tokens} tokens, batch {args.batch}, LayerNorm-only step, {args.threads} threads")
    print(f"{'':20} {'median ms':>10} {'fastest':>8} {'slowest':>8} {'peak MB':>8}")
    for name, runs in results.items():
        times = [s * 1e3 for run in runs for s in run["seconds"][WARM_UP:]]
        peak = max(run["peak_bytes"] for run in runs) / 1e6
        print(f"{name:20} {statistics.median(times):10.0f} {min(times):8.0f} {max(times):8.0f} {peak:8.0f}")
    reference, ours = (runs[0]["losses"] for runs in results.values())
    loss_error = max(abs(a - b) / abs(b) for a, b in zip(ours, reference))
    print(f"relative error: losses of {len(ours)} steps {loss_error:.1e}, gradients {gradients['error']:.1e} ({gradients['tensor']})")
    if not max(loss_error, gradients["error"]) <= TOLERANCE:
        sys.exit(f"the two sides do not compute the same: more than {TOLERANCE}")


if __name__ == "__main__":
    main()
