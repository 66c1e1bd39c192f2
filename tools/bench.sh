#!/usr/bin/env bash
# The speed targets of the design, measured on this machine. Times are noise elsewhere; ratios to a peer in the same run are not.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

cargo build --release --locked
step "start-up: flopsmeter run -- true against true (target: less than 10 ms more)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export FLOPSMETER_LEDGER="$folder/ledger.sqlite"
tools/measure_startup.py target/release/flopsmeter
step "one estimate from a configuration (target: under 50 microseconds)"
cargo bench -p flopsmeter-core --locked
step "ledger ingest (target: over 100,000 samples a second)"
cargo bench -p flopsmeter-meter --locked
step "hook, per training step (target: under 20 microseconds)"
tools/venv.sh
tools/wheel.sh release
.venv/bin/python python-bindings/benches/hook_cost.py
step "size of the binary (target: under 20 MiB)"
ls -l target/release/flopsmeter
