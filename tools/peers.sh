#!/usr/bin/env bash
# Writes the comparison with other estimators into METHOD.md; with --check, fails where it says anything else.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/venv.sh
cargo build --locked
.venv/bin/python tools/compare_peers.py --binary "${CARGO_TARGET_DIR:-target}/debug/flopsmeter" "${@:---write}"
