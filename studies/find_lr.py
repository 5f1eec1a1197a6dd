#!/usr/bin/env python3
"""Compares the suggestions of `normed train --find-lr` with a grid of learning rates, on ten small data sets.

    NORMED_DATA=DATA python3 studies/find_lr.py OUT            # run what is missing in OUT, then print the table
    NORMED_DATA=DATA python3 studies/find_lr.py OUT --table    # print the table of what is in OUT
    NORMED_DATA=DATA python3 studies/find_lr.py OUT --other    # ten other samples of the same data

DATA has the folders slake and vqa-rad. NORMED names the program (default: normed), JOBS the number of runs at a time
(default: 2). Needs Pillow, which shrinks the images to the model's 64 pixels once.
"""

import json
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NORMED = os.environ.get("NORMED", "normed")
SEEDS = (1, 2)
TEST_QUESTIONS = 200
EPOCHS = 3
# Data set, training rows, method, and the grid of rates.
NORMS, LORA, FULL = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (1e-3, 3e-3, 1e-2, 3e-2), (1e-4, 3e-4, 1e-3, 3e-3)
CELLS = (
    ("phantom", 200, "layer_norm", NORMS),
    ("phantom", 400, "lora", LORA),
    ("phantom", 300, "full", FULL),
    ("phantom", 800, "layer_norm", NORMS),
    ("slake", 300, "layer_norm", NORMS),
    ("slake", 400, "lora", LORA),
    ("slake", 200, "full", FULL),
    ("vqa_rad", 420, "layer_norm", NORMS),
    ("vqa_rad", 300, "lora", LORA),
    ("vqa_rad", 200, "full", FULL),
)
# Other samples of the same data, for a rule that was found on the first ones.
OTHER_CELLS = (
    ("phantom", 250, "lora", LORA),
    ("phantom", 500, "full", FULL),
    ("phantom", 350, "layer_norm", NORMS),
    ("slake", 450, "layer_norm", NORMS),
    ("slake", 250, "lora", LORA),
    ("slake", 500, "full", FULL),
    ("vqa_rad", 250, "layer_norm", NORMS),
    ("vqa_rad", 500, "lora", LORA),
    ("vqa_rad", 350, "full", FULL),
    ("slake", 600, "lora", LORA),
)
if "--other" in sys.argv:
    CELLS = OTHER_CELLS


def rows_of(name, count, out):
    """Writes `count` training rows and the test rows of SLAKE or VQA-RAD, with images of 64 pixels."""
    path, test = out / f"{name}_{count}.jsonl", out / f"{name}_test.jsonl"
    if path.exists():
        return path
    from PIL import Image

    root = Path(os.environ["NORMED_DATA"]) / name.replace("_", "-")
    for split, number, file in (("train", count, path), ("test", TEST_QUESTIONS, test)):
        with open(root / f"{split}.jsonl", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        # The model reads 48 tokens, of which unknown words take one a letter.
        fits = lambda row: row.get("lang", "en") == "en" and 0 < len(str(row["answer"])) <= 30
        chosen = []
        for row in random.Random(f"{name} {number}").sample([row for row in rows if fits(row)], number):
            keep = {key: row[key] for key in ("id", "question", "answer", "answer_type")}
            small = out / "images" / (row["image"].replace("/", "_").replace(" ", "_") + ".png")
            if not small.exists():
                small.parent.mkdir(exist_ok=True)
                Image.open(root / row["image"]).convert("RGB").resize((64, 64), Image.BICUBIC).save(small)
            chosen.append({**keep, "image": str(small), "group": row["image"], "split": split})
        if split == "train":
            # A validation split that nothing is chosen by, so that no training row is held out.
            chosen += [{**row, "id": f"v{i}", "split": "validate"} for i, row in enumerate(chosen[:4])]
        file.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return path


def recipe_of(name, count, method, out):
    """Writes the recipe of a data set and a method, without a rate."""
    path = out / f"{name}_{count}_{method}.toml"
    if name == "phantom":
        data = f'name = "phantom"\ndomain = "shifted"\ntrain = {count}\nvalidate = 4\ntest = 0\nseed = 7'
    else:
        data = f'name = "jsonl"\nfile = "{rows_of(name, count, out).resolve()}"'
    path.write_text(
        f'model = "{REPOSITORY / "models/phantom"}"\n[data]\n{data}\n[tuning]\nmethod = "{method}"\n'
        'towers = ["text", "decoder"]\n'
        f'[train]\nepochs = {EPOCHS}\nbatch_size = 8\nmetric = "last"\neval_every_epochs = 1000\n'
        f'[cache]\nplace = "{out / "cache"}"\n',
        encoding="utf-8",
    )
    return path


def normed(*words):
    """Runs the program; returns the last line that it prints."""
    done = subprocess.run([NORMED, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def sweep(recipe, out):
    """The suggestion for a recipe."""
    path = out / f"{recipe.stem}.sweep.json"
    if not path.exists():
        output = out / "runs" / recipe.stem
        line = normed("train", recipe, "--find-lr", "--force", "--json", "--threads", 1, "--output", output)
        path.write_text(line, encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def run(recipe, lr, seed, out):
    """Trains at a rate, and answers the test questions: whether each is right, by its image."""
    name = f"{recipe.stem}_{lr:g}_{seed}"
    answers = out / f"{name}.answers.jsonl"
    if not answers.exists():
        output = out / "runs" / name
        settings = ("--set", f"train.lr={lr}", "--set", f"seed={seed}", "--threads", 1)
        normed("train", recipe, *settings, "--no-test", "--resume", "--output", output)
        test = out / (re.split(r"_\d+_", recipe.stem)[0] + "_test.jsonl")
        data = ("--data", test) if test.exists() else ("--recipe", recipe, "--set", f"data.test={TEST_QUESTIONS}")
        normed("predict", *data, "--adapter", output, "--force", "--out", answers, "--threads", 1)
    with open(answers, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    plain = lambda text: " ".join(text.lower().replace(",", " ").rstrip(".").split())
    return [(row["cluster"], float(plain(row["prediction"]) == plain(row["target"]))) for row in rows]


def mean_of(runs):
    """The right answers of several runs, averaged over the runs: one number a question."""
    return [(rows[0][0], sum(right for _, right in rows) / len(rows)) for rows in zip(*runs)]


def interval(values):
    """The mean and the 95 % interval, in percent: the percentile bootstrap over images."""
    clusters = {}
    for cluster, value in values:
        total = clusters.setdefault(cluster, [0.0, 0])
        total[0], total[1] = total[0] + value, total[1] + 1
    sums, rng, means = list(clusters.values()), random.Random(0), []
    for _ in range(2000):
        drawn = rng.choices(sums, k=len(sums))
        means.append(100 * sum(s for s, _ in drawn) / sum(n for _, n in drawn))
    means.sort()
    return 100 * sum(v for _, v in values) / len(values), means[50], means[1949]


def show(values, signed=False):
    mean, low, high = interval(values)
    sign = "+" if signed else ""
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def difference(a, b):
    return [(cluster, x - y) for (cluster, x), (_, y) in zip(a, b)]


def all_rates(out, pool):
    recipes = [recipe_of(*cell[:3], out) for cell in CELLS]
    sweeps = [pool.submit(sweep, recipe, out) for recipe in recipes]
    jobs = []
    for seed in SEEDS:
        jobs += [pool.submit(run, r, lr, seed, out) for r, cell in zip(recipes, CELLS) for lr in cell[3]]
    for recipe, cell, found in zip(recipes, CELLS, sweeps):
        lr = found.result()["suggestion"]
        if lr and not any(abs(lr / other - 1) < 0.01 for other in cell[3]):
            jobs += [pool.submit(run, recipe, float(f"{lr:g}"), seed, out) for seed in SEEDS]
    for job in jobs:
        job.result()


def rates_table(out):
    """A line for each data set: the scores at all rates, and the suggestion's distance from the best."""
    lines = [
        "| data | rows | method | exact match, % by rate | suggestion | excluded from | default | best minus suggestion | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        recipe = recipe_of(*cell[:3], out)
        if not (out / f"{recipe.stem}.sweep.json").exists():
            continue
        found = sweep(recipe, out)
        lr = found["suggestion"] and float(f"{found['suggestion']:g}")
        scores = {}
        for rate in sorted({*cell[3], *([lr] if lr else [])}):
            done = [s for s in SEEDS if (out / f"{recipe.stem}_{rate:g}_{s}.answers.jsonl").exists()]
            if done:
                scores[rate] = (mean_of([run(recipe, rate, s, out) for s in done]), len(done))
        by_rate = ", ".join(f"{r:g}: {interval(v)[0]:.1f}" + ("" if n == len(SEEDS) else "*") for r, (v, n) in scores.items())
        high = f"{found['too_high']:.2g}" if found["too_high"] else "none"
        if lr in scores:
            best = max((v for v, _ in scores.values()), key=lambda v: interval(v)[0])
            behind = difference(best, scores[lr][0])
            text, verdict = show(behind, True), "within 1" if interval(behind)[0] <= 1 else "behind"
        else:
            text, verdict = "", "withheld" if not lr else "not run"
        suggestion = f"{lr:g}" if lr else "none"
        lines.append(
            f"| {cell[0]} | {cell[1]} | {cell[2]} | {by_rate} | {suggestion} | {high} | {found['default']:.2g} | {text} | {verdict} |"
        )
    return "\n".join(lines)


def main():
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    if "--table" not in sys.argv[2:]:
        with ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
            all_rates(out, pool)
    print(rates_table(out))


if __name__ == "__main__":
    main()
