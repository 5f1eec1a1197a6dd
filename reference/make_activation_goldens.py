"""Writes transformers' activation functions and their derivatives, for crates/normed/src/models/activation_names.rs.

    python make_activation_goldens.py OUT_DIR

activations.json: for each function of ACT2FN that has no parameters of its own (and `sqrtsoftplus`, the scores of a
router), places x, values y and derivatives.
"""

import json
import sys
from pathlib import Path

import torch
from transformers.activations import ACT2CLS, ACT2FN

PLACES = [-40.0, -12.5, -6.0, -3.1, -3.0, -2.9, -1.7, -1.0, -0.3, -0.01, 0.02, 0.25, 0.5, 0.7, 1.0, 2.2, 2.9, 3.2, 5.9, 6.1, 9.9, 10.5, 25.0, 60.0]

if __name__ == "__main__":
    goldens = {}
    for name in ACT2CLS:
        if name in ("prelu", "xielu", "sqrtsoftplus"):
            continue
        x = torch.tensor(PLACES, dtype=torch.float64, requires_grad=True)
        y = ACT2FN[name](x)
        y.sum().backward()
        rounded = lambda values: [float(f"{value:.9g}") for value in values.tolist()]
        goldens[name] = {"x": PLACES, "y": rounded(y.detach()), "slope": rounded(x.grad)}
    text = json.dumps(goldens, indent=None, separators=(",", ":")).replace('},', '},\n')
    (Path(sys.argv[1]) / "activations.json").write_text(text + "\n")
