#!/usr/bin/env bash
# The speed targets of the design, measured on this machine. Times are noise elsewhere; ratios to a peer in the same run are not.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

release=${CARGO_TARGET_DIR:-target}/release
cargo build --release --locked -p flopsmeter -p flopsmeter-fake-nvml
step "start-up: flopsmeter run -- true against true (target: less than 10 ms more)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export FLOPSMETER_LEDGER="$folder/ledger.sqlite"
tools/measure_startup.py "$release/flopsmeter"
step "one estimate from a configuration (target: under 50 microseconds)"
cargo bench -p flopsmeter-core --locked
step "ledger ingest (target: over 100,000 samples a second)"
cargo bench -p flopsmeter-meter --locked --bench ledger
step "a portfolio of 10,000 runs (target: assessed in under a second)"
cargo bench -p flopsmeter-meter --locked --bench portfolio
step "hook, per training step (target: under 20 microseconds)"
tools/venv.sh
tools/wheel.sh release
.venv/bin/python python-bindings/benches/hook_cost.py
step "eight GPUs once a second, beside others (target: under 0.05 % of a core and 10 MiB)"
tools/venv.sh .venv-nvml tests/fake-nvml/requirements.txt
env -u FLOPSMETER_LEDGER tools/measure_daemon.py "$release/flopsmeter" "$release/libnvidia_ml.so" 60 --python .venv-nvml/bin/python
step "size of the binary (target: under 20 MiB)"
ls -l "$release/flopsmeter"
