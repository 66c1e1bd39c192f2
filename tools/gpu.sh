#!/usr/bin/env bash
# Holds ceilings against what a GPU really did, with the command and the Python package built from here. Results stay in out/gpu.
# PYTHON names an interpreter whose PyTorch sees the GPU; the project's own environment has PyTorch for processors.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/venv.sh
python=${PYTHON:-.venv/bin/python}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "skipped: PyTorch of $python sees no GPU here, so that no ceiling can be held against one"
    exit 0
fi
PYTHON=$python tools/wheel.sh release
"$python" tests/gpu/compare.py --flopsmeter "${CARGO_TARGET_DIR:-target}/release/flopsmeter" --out out/gpu "$@"
