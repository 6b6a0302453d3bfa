#!/bin/bash
# A first-time walk from a clean clone: every command, its wait and its exit status.
#
#     benchmarks/walk.sh FOLDER | tee walk.log      # about 31 minutes on 2 cores
#     .venv/bin/python benchmarks/walk.py walk.log  # writes results/walk.json
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1" && cd "$1" || exit
step() {
  local start
  start=$(date +%s)
  echo "\$ $*"
  "$@" 2>&1
  echo "[exit $?, $(($(date +%s) - start)) s]"
}
step git clone -q "$here" assay
cd assay || exit
step git rev-parse --short HEAD
fast=demo-run/fast full=demo-run/full
step make demo
step .venv/bin/assay demo --fast
step .venv/bin/assay scan $fast/train.jsonl --model $fast/poisoned-model --out first
step .venv/bin/assay clean $fast/train.jsonl --run first
step head -1 first/flags.jsonl
step .venv/bin/assay plan $full/train.jsonl --model $full/poisoned-model --base-model smollm2-135m --bf16
step .venv/bin/assay plan $fast/train.jsonl --model $fast/poisoned-model
step .venv/bin/torchrun --standalone --nproc-per-node 2 -m assay scan $fast/train.jsonl --model $fast/poisoned-model --out two
