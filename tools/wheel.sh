#!/usr/bin/env bash
# Builds the Python package with the native command in it, and installs it into .venv (argument: debug or release).
# PYTHON names another interpreter to build with and install into; the wheel itself fits every Python from 3.10.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
target=${CARGO_TARGET_DIR:-target}
scripts=python-bindings/flopsmeter_gpai.data/scripts
case $profile in
release) flags=(--release) ;;
debug) flags=() ;;
*)
    echo "wheel.sh: the profile is debug or release, not '$profile'" >&2
    exit 2
    ;;
esac
if [ -z "${PYTHON:-}" ]; then
    tools/venv.sh
    PYTHON=.venv/bin/python
fi

cargo build --quiet --locked "${flags[@]}" --package flopsmeter --bin flopsmeter
mkdir -p "$scripts" out/wheel
cp "$target/$profile/flopsmeter" "$scripts/flopsmeter"
rm -f out/wheel/flopsmeter_gpai-*.whl
"$PYTHON" -m maturin build --quiet --locked "${flags[@]}" --manifest-path python-bindings/Cargo.toml --interpreter "$PYTHON" --out out/wheel
wheel=$(echo out/wheel/flopsmeter_gpai-*.whl)
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall "$wheel"
echo "built and installed $wheel"
