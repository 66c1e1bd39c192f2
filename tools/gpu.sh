#!/usr/bin/env bash
# Holds ceilings against what a GPU really did, with the command and the Python package built from here. Results stay in out/gpu.
# One GPU is used, the first that is visible. PYTHON names another interpreter with torch, transformers, peft and maturin, for a driver
# that is too old for the CUDA 13 that the PyTorch of the project's own environment is built for.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/venv.sh
python=${PYTHON:-.venv/bin/python}
seen=0
timeout 300 "$python" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)' || seen=$?
case $seen in
0) ;;
3)
    echo "skipped: PyTorch of $python sees no GPU here, so that no ceiling can be held against one"
    exit 0
    ;;
124)
    echo "gpu.sh: PyTorch of $python did not say within 300 s whether it sees a GPU; see whether nvidia-smi answers" >&2
    exit 1
    ;;
*)
    echo "gpu.sh: PyTorch of $python cannot be asked for a GPU; what it said stands above" >&2
    exit 1
    ;;
esac
PYTHON=$python tools/wheel.sh release
"$python" tests/gpu/compare.py --flopsmeter "${CARGO_TARGET_DIR:-target}/release/flopsmeter" --out out/gpu "$@"
