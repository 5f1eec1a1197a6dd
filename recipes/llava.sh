#!/usr/bin/env bash
# The small LLaVA: made and pretrained on phantoms, trained further on SLAKE, then tuned on VQA-RAD by several
# methods with the recipe that a LLaVA-Med of 7B is tuned with. A run that is over is not run again; a killed
# one goes on.
#
#     recipes/llava.sh TOKENIZER     a directory with Mistral's tokenizer.json
#
# NORMED_DATA names the directory that holds slake and vqa-rad.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -f runs/tokenizer/tokenizer.json ]]; then
    mkdir -p runs/tokenizer
    cp "${1:?name the directory of the tokenizer}/tokenizer.json" runs/tokenizer/
fi
cargo build --release --locked
normed="${CARGO_TARGET_DIR:-target}/release/normed"
for recipe in llava_phantom llava_slake; do
    "$normed" pretrain "recipes/$recipe.toml" --resume
done
# The steps of the recipe for 7B are of 16 examples in passes of 2: here in one pass, and nothing recomputed.
small="--set model=runs/llava_slake/model --set train.batch_size=16 --set train.grad_accum_steps=1
    --set train.recompute=none --set train.epochs=12 --set train.metric=last --set generate.max_new_tokens=16"
declare -A rate=([layer_norm]=3e-3 [lora]=1e-3 [full]=1e-4)
for method in ${METHODS:-layer_norm lora full}; do
    "$normed" train recipes/llava_med_vqa_rad_layer_norm.toml --resume --output "runs/llava_vqa_rad_$method" \
        $small --set tuning.method="$method" --set train.lr="${rate[$method]}"
done
