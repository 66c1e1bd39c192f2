#!/usr/bin/env bash
# From nothing to a metered fine-tune and its threshold report. Says what it does; skips what is done.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "building flopsmeter (skipped where nothing changed)"
cargo build --locked
step "Python environment with torch, transformers and peft"
tools/venv.sh
step "building and installing the Python package"
tools/wheel.sh debug
export PATH="$PWD/.venv/bin:$PATH" FLOPSMETER_LEDGER="$PWD/out/demo-ledger.sqlite"
mkdir -p out
rm -f out/demo-ledger.sqlite*
step "flopsmeter run --base examples/tiny-base.toml --modification demo --progress 10s -- python examples/lora_trainer.py"
flopsmeter run --base examples/tiny-base.toml --modification demo --progress 10s --summary out/run.json -- python examples/lora_trainer.py
step "flopsmeter report threshold demo --format pdf,html,md,json --out out"
flopsmeter report threshold demo --format pdf,html,md,json --out out
step "flopsmeter verify out/demo-ledger.sqlite"
flopsmeter verify out/demo-ledger.sqlite
printf '\nRead out/threshold.pdf (or .html, .md, .json). The records are in out/demo-ledger.sqlite.\n'
