#!/usr/bin/env python3
"""Writes crates/normed/tests/golden/sampling.json: by what probabilities transformers draws tokens.

    python3 reference/make_sampling_goldens.py
"""

import json
from pathlib import Path

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

OUT = Path(__file__).resolve().parent.parent / "crates/normed/tests/golden/sampling.json"


def main():
    torch.manual_seed(0)
    cases = []
    for temperature in (0.2, 1.0, 1.7):
        for top_p in (0.05, 0.5, 0.9, 0.95, 1.0):
            logits = (torch.randn(1, 24) * 3).round(decimals=3)
            scores = TemperatureLogitsWarper(temperature)(None, logits)
            if top_p < 1.0:  # as `generate` leaves it out
                scores = TopPLogitsWarper(top_p)(None, scores)
            cases.append({
                "logits": [round(x, 3) for x in logits[0].tolist()],
                "temperature": temperature,
                "top_p": top_p,
                "probabilities": [float(f"{p:.9g}") for p in scores.double().softmax(-1)[0].tolist()],
            })
    OUT.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
