#!/usr/bin/env bash
# The table of RESULTS.md: every method on VQA-RAD and SLAKE, three seeds each, on the bases that
# bases.sh makes. Can be stopped and started again. `reference/table.py runs/table` prints the table.
set -euo pipefail
cd "$(dirname "$0")/.."

# A rate of its own for each method: norms want about ten times what matrices do.
declare -A rate=([layer_norm]=3e-3 [attention]=3e-4 [ffn]=3e-4 [full]=2e-4)
for data in vqa_rad slake; do
    for seed in 1 2 3; do
        for method in layer_norm full attention ffn; do
            target/release/normed train "recipes/${data}_layer_norm.toml" --resume \
                --output "runs/table/$data-$method-$seed" --set "seed=$seed" \
                --set "tuning.method=$method" --set "train.lr=${rate[$method]}"
        done
    done
done
