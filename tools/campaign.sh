#!/usr/bin/env bash
# Long runs: a day of the daemon and of a run on a clock that runs fifty times as fast, which takes half an hour on a machine that does
# nothing else. FACTOR and HOURS change both.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

tools/debian.sh
step "the example rules by Prometheus' own tool"
tools/promtool.sh
release=${CARGO_TARGET_DIR:-target}/release
cargo build --release --locked -p flopsmeter -p flopsmeter-fake-nvml
step "a day of readings: memory and ledger"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$folder/fast_clock.so" tools/campaign/fast_clock.c -ldl
tools/campaign/day.py "$release/flopsmeter" "$release/libnvidia_ml.so" "$folder/fast_clock.so" \
    --factor "${FACTOR:-50}" --hours "${HOURS:-24}"
