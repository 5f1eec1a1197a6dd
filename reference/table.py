"""Prints the Markdown table of a folder of finished runs `DATA-METHOD-SEED`.

    python reference/table.py runs/table

A cell is the mean over seeds and, in brackets, the widest of the seeds' 95 % intervals joined.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

COLUMNS = ["open_exact_match", "closed_accuracy", "exact_match"]


def cell(scores, name):
    values = [s["scores"][name] for s in scores]
    mean = sum(v["value"] for v in values) / len(values)
    low = min(v["interval"]["lo"] for v in values)
    high = max(v["interval"]["hi"] for v in values)
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def row(label, seeds, scores):
    return f"| {label} | {seeds} | " + " | ".join(cell(scores, name) for name in COLUMNS) + " |"


def main(folder):
    runs = defaultdict(list)
    for path in sorted(Path(folder).glob("*-*-*/metrics.json")):
        data, method, _ = path.parent.name.rsplit("-", 2)
        runs[data].append((method, json.loads(path.read_text())))
    for data, finished in runs.items():
        print(f"\n{data}\n\n| method | seeds | open | closed | overall |\n|---|---|---|---|---|")
        first = finished[0][1]["test"]
        constants = [first["after"]["scores"][name]["constant"]["value"] for name in COLUMNS]
        print("| best constant | | " + " | ".join(f"{100 * c:.1f}" for c in constants) + " |")
        print(row("none", "", [first["before"]]))
        for method in dict.fromkeys(method for method, _ in finished):
            tests = [run["test"] for name, run in finished if name == method]
            print(row(method, len(tests), [t["after"] for t in tests]))
            print(row(f"{method}, image-blind", len(tests), [t["blind"] for t in tests]))


if __name__ == "__main__":
    main(sys.argv[1])
