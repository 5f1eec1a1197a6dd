#!/usr/bin/env python3
"""Compares training steps of normed and PyTorch, with the same weights and inputs.

    python3 bench/run.py [--workload vit|decoder|llama|miss] [--precision f32|bf16|int8] [--method METHOD]
                         [--variant plain|checkpoint|frozen_vision] [--against MODE ...] [...]

vit      the encoder of a ViT-B/16, 197 tokens (224 px) by default, batch 4
decoder  a BERT-base decoder, 32 tokens with cross-attention to 577 tokens of an image, batch 8
llama    two blocks of Mistral-7B, 640 tokens, batch 1
miss     the complete MISS-base: transformers' BlipForQuestionAnswering, fine-tuned with peft, 901
         tokens (480 px), batch 20, all three towers; takes minutes, and more than 16 GB in f32

PyTorch's modes are eager (f32), autocast (bf16) and bf16_weights (autocast with frozen matrices stored in
bf16). normed in int8 runs beside the two in bf16. The variant checkpoint recomputes whole blocks in backward, on both sides. The variant frozen_vision
trains only the text towers.

The script installs PyTorch from PyPI into bench/.venv, unless $NORMED_BENCH_PYTHON names a Python that has
the packages in PACKAGES. It builds normed's side and runs the sides in turn, so that other load on the
machine slows all of them. `cpu ms` is the processor time of all threads in a step, which depends less on
other load than wall time. `peak` is the maximum resident memory of a process, `growth` the part of it that
came after the weights were loaded. The last three columns are normed's time, peak and growth divided by
those of the row.

The script fails if the losses or the gradients of the first two examples differ from PyTorch's in f32 by
more than 1e-5 (1e-2 in bf16, 1e-1 in int8), relative. --check does only this. The losses of the timed runs must agree as
closely.
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
SCRIPT = ROOT / "bench/pytorch_step.py"
PACKAGES = ["torch>=2.13", "safetensors>=0.8", "numpy", "transformers>=5.23", "peft>=0.21"]
MODES = {
    "f32": ["eager"],
    "bf16": ["autocast", "bf16_weights"],
    "int8": ["autocast", "bf16_weights"],
}
TOLERANCE = {"f32": 1e-5, "bf16": 1e-2, "int8": 1e-1}
DEFAULTS = {
    "vit": dict(tokens=197, batch=4, rounds=3, warm_up=2, steps=5),
    "decoder": dict(tokens=577, batch=8, rounds=3, warm_up=2, steps=5),
    "llama": dict(tokens=640, batch=1, layers=2, rounds=2, warm_up=2, steps=5),
    "miss": dict(tokens=901, batch=20, rounds=1, warm_up=1, steps=2),
}
CHECKED_EXAMPLES, CHECKED_STEPS = 2, 3


def run(*command, **environment):
    """Runs a command and returns its standard output."""
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
    # The marker is written last, so that an incomplete installation, or one of other packages, is
    # done again.
    marker, wanted = directory / "complete", "\n".join(PACKAGES)
    if not marker.exists() or marker.read_text() != wanted:
        venv.create(directory, with_pip=True, clear=True)
        run(python, "-m", "pip", "install", "--quiet", *PACKAGES)
        marker.write_text(wanted)
    return python


def build():
    where = ("--manifest-path", ROOT / "Cargo.toml")
    run("cargo", "build", "--release", "--workspace", "--example", "bench_step", *where)
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1", *where))
    return Path(metadata["target_directory"]) / "release/examples/bench_step"


class Sides:
    """PyTorch and normed, with one directory of weights and inputs."""

    def __init__(self, args, directory):
        self.python, self.binary = python_with_torch(), build()
        keys = "workload tokens batch layers threads precision method variant".split()
        self.task = {key: getattr(args, key) for key in keys}
        self.task |= {"directory": str(directory), "gradients": None}
        run(self.python, SCRIPT, "make", json.dumps(self.task))

    def torch(self, mode, **changes):
        task = self.task | {"mode": mode} | changes
        output = run(self.python, SCRIPT, "step", json.dumps(task), PYTHONWARNINGS="ignore")
        return json.loads(output)

    def normed(self, **changes):
        threads = str(self.task["threads"])
        task = json.dumps(self.task | changes)
        return json.loads(run(self.binary, task, RAYON_NUM_THREADS=threads))

    def check(self, tolerance):
        """Compares losses and gradients with those of PyTorch in f32."""
        with tempfile.TemporaryDirectory() as scratch:
            ours, reference = Path(scratch) / "ours", Path(scratch) / "reference"
            size = dict(batch=min(self.task["batch"], CHECKED_EXAMPLES), steps=CHECKED_STEPS)
            exact = self.torch("eager", variant=plain(self.task), gradients=str(reference), **size)
            found = self.normed(gradients=str(ours), **size)
            gradients = json.loads(run(self.python, SCRIPT, "compare", ours, reference))
        loss_error = relative_error(found["losses"], exact["losses"])
        print(f"relative error of the losses of {CHECKED_STEPS} steps: {loss_error:.1e}")
        print(f"relative error of the gradients: {gradients['error']:.1e} ({gradients['tensor']})")
        # With `not ... <=`, NaN fails.
        if not max(loss_error, gradients["error"]) <= tolerance:
            sys.exit(f"normed and PyTorch differ by more than {tolerance}")

    def measure(self, args):
        """Runs every side and returns the results."""
        steps = args.warm_up + args.steps
        suffix = "" if args.variant == "plain" else f" {args.variant}"
        sides = {
            f"PyTorch {mode}{suffix}": lambda mode=mode: self.torch(mode, steps=steps)
            for mode in args.against
        }
        sides[f"normed {args.precision}{suffix}"] = lambda: self.normed(steps=steps)
        results = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, side in sides.items():
                results[name].append(side())
        return results


def plain(task):
    """The variant without recomputation that has the same gradients."""
    return "plain" if task["variant"] == "checkpoint" else task["variant"]


def relative_error(found, reference):
    return max(abs(a - b) / abs(b) for a, b in zip(found, reference, strict=True))


def row(runs, args):
    """Median, fastest and slowest step and processor time in ms; peak and growth in MB."""
    timed = lambda key: [s * 1e3 for run in runs for s in run[key][args.warm_up :]]
    times = timed("seconds")
    peak = max(run["peak_bytes"] for run in runs) / 1e6
    growth = max(run["peak_bytes"] - run["base_bytes"] for run in runs) / 1e6
    median = statistics.median
    return (median(times), min(times), max(times), median(timed("cpu_seconds")), peak, growth)


def report(args, results):
    print(f"{args.workload}, {args.layers} layers, {args.tokens} tokens, batch {args.batch},")
    print(f"{args.method}, {args.variant}, {args.precision}, {args.threads} threads,")
    print(f"{args.rounds} runs of {args.steps} timed steps after {args.warm_up}")
    titles = ("median ms", "fastest", "slowest", "cpu ms", "peak MB", "growth")
    print(f"{'':36}" + "".join(f"{t:>10}" for t in titles) + "   time  peak  growth")
    rows = {name: row(runs, args) for name, runs in results.items()}
    ours = list(rows)[-1]
    for name, columns in rows.items():
        ratios = [rows[ours][i] / columns[i] for i in (0, 4, 5)]
        cells = "".join(f"{c:10.0f}" for c in columns)
        line = f"{name:36}{cells}"
        print(line if name == ours else line + "{:7.2f}{:6.2f}{:8.2f}".format(*ratios))
    fastest = min((n for n in rows if n != ours), key=lambda n: rows[n][0])
    print(f"the fastest of PyTorch's: {fastest}")
    reference = results[fastest][0]["losses"]
    found = [run["losses"] for runs in results.values() for run in runs]
    error = max(relative_error(losses, reference) for losses in found)
    if not error <= TOLERANCE[args.precision]:
        sys.exit(f"the losses of the timed runs differ by {error:.1e}")


def arguments():
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--workload", choices=DEFAULTS, default="vit")
    parser.add_argument("--precision", choices=MODES, default="f32")
    methods = ["layer_norm", "attention", "ffn", "lora", "full"]
    parser.add_argument("--method", choices=methods, default="layer_norm")
    variants = ["plain", "checkpoint", "frozen_vision"]
    parser.add_argument("--variant", choices=variants, default="plain")
    modes = [mode for modes in MODES.values() for mode in modes]
    parser.add_argument("--against", choices=modes, nargs="+", help="PyTorch's modes")
    parser.add_argument("--tokens", type=int, help="tokens of an image: 197 at 224 px, 577 at 384 px")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--layers", type=int, help="layers of each tower [default: 12; llama: 2]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="processes per side")
    parser.add_argument("--warm-up", type=int, help="untimed steps per process")
    parser.add_argument("--steps", type=int, help="timed steps per process")
    parser.add_argument("--check", action="store_true", help="only check that both sides agree")
    args = parser.parse_args()
    for key, value in ({"layers": 12} | DEFAULTS[args.workload]).items():
        if getattr(args, key) is None:
            setattr(args, key, value)
    if args.against is None:
        # One mode for the complete model, whose step takes up to a minute, and for full fine-tuning,
        # where no weight is frozen and could be stored in bf16.
        is_one = args.workload == "miss" or args.method == "full"
        args.against = MODES[args.precision][: 1 if is_one else None]
    if args.method != "layer_norm" and args.workload != "vit":
        parser.error(f"--method {args.method} is for --workload vit")
    if args.variant == "frozen_vision" and args.workload != "miss":
        parser.error("--variant frozen_vision is for --workload miss")
    return args


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as directory:
        sides = Sides(args, directory)
        sides.check(TOLERANCE[args.precision])
        if not args.check:
            report(args, sides.measure(args))


if __name__ == "__main__":
    main()
