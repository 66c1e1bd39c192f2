#!/usr/bin/env bash
# All checks, on a fresh machine as on a warm one. Ends with one line that says how it went.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "Debian packages"
tools/debian.sh
step "format"
cargo fmt --all --check
step "clippy, warnings denied"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "unit and whole-command tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo build --workspace --locked
    cargo nextest run --workspace --locked
else
    cargo build --workspace --locked
    cargo test --workspace --locked --lib --bins --tests --examples
fi
step "documentation examples"
cargo test --workspace --locked --doc
step "documentation builds without warnings"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --locked --no-deps --quiet
step "Python environment"
tools/venv.sh
step "wheel"
tools/wheel.sh debug
step "Python tests against real transformers and peft"
.venv/bin/python -m pytest python-bindings/tests
step "the stand-in for NVML against NVIDIA's header and other programs"
tools/venv.sh .venv-nvml tests/fake-nvml/requirements.txt
.venv-nvml/bin/python -m pytest tests/fake-nvml/checks
step "other estimators"
.venv/bin/python -m pytest tools/peers/tests
step "ceilings against true operations, small, on the processor"
.venv/bin/python -m pytest tests/gpu
OMP_NUM_THREADS=1 .venv/bin/python tests/gpu/compare.py --device cpu --flopsmeter .venv/bin/flopsmeter
printf '\nAll tests passed: format, lints, Rust, documentation, Python.\n'
