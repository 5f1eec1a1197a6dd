#!/usr/bin/env bash
# The table of RESULTS.md: every method on VQA-RAD and SLAKE, three seeds each, on the bases that
# bases.sh makes. Can be stopped and started again. `reference/table.py runs/table` prints the table.
#
#     recipes/table.sh [JOBS]    as many runs side by side, a thread each; one for each processor if absent
set -euo pipefail
cd "$(dirname "$0")/.."

# The best of those tried for one epoch on SLAKE's validation split (RESULTS.md), and attention's for
# ffn: norms want thirty times what matrices do.
declare -A rate=([layer_norm]=1e-2 [attention]=3e-4 [ffn]=3e-4 [full]=3e-4)
export RAYON_NUM_THREADS=1
mkdir -p runs/table
for seed in 1 2 3; do
    for data in vqa_rad slake; do
        for method in layer_norm full attention ffn; do
            run="runs/table/$data-$method-$seed"
            echo "target/release/normed train recipes/${data}_layer_norm.toml --resume --output $run" \
                "--set seed=$seed --set tuning.method=$method --set train.lr=${rate[$method]}" \
                ">> $run.log 2>&1"
        done
    done
done | xargs -P "${1:-$(nproc)}" -I{} bash -c '{}'
