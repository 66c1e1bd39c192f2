#!/usr/bin/env bash
# Makes .venv with torch, transformers, peft and trl in the versions of python-bindings/requirements.txt, or another
# environment of other versions: venv.sh [FOLDER REQUIREMENTS].
#
# The packages (5 GB) stand in a cache folder, one environment for each content of that file, so that a second clone
# downloads nothing. .venv is this clone's own and sees them; flopsmeter itself is installed into .venv only, so that two
# clones never test each other's build.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
requirements=${2:-python-bindings/requirements.txt}
python=${FLOPSMETER_PYTHON:-python3}
cache=${FLOPSMETER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flopsmeter}

fail() {
    echo "venv.sh: $*" >&2
    exit 1
}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "no usable '$python'; install Python 3.11 or later"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is Python $version; set FLOPSMETER_PYTHON to a Python 3.11 or later"
hash=$({ cat "$requirements"; "$python" -c 'import sys, platform; print(sys.version, sys.base_prefix, platform.machine())'; } | sha256sum | cut -c1-16)
packages=$cache/venv-$hash

if [ "$(cat "$venv/packages" 2>/dev/null)" = "$packages" ] && [ -e "$packages/complete" ]; then
    echo "$venv is up to date"
    exit 0
fi
if [ -e "$venv" ] && [ ! -e "$venv/packages" ]; then
    fail "$venv was made by something else; move it away and run this again"
fi

mkdir -p "$cache"
exec 9>"$packages.lock"
flock --nonblock 9 || { echo "waiting for another venv.sh that fills $packages"; flock 9; }
if [ ! -e "$packages/complete" ]; then
    echo "installing $requirements into $packages (once; torch alone downloads 3 GB and takes some minutes)"
    rm -rf "$packages"
    "$python" -m venv "$packages" ||
        fail "'$python -m venv' failed; on Debian and Ubuntu: sudo apt-get install -y python3-venv"
    "$packages/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --requirement "$requirements"
    touch "$packages/complete"
fi
flock --unlock 9

echo "making $venv on top of $packages"
rm -rf "$venv"
"$python" -m venv --without-pip "$venv"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$packages/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/flopsmeter_packages.pth"
# maturin's module looks for its binary beside the interpreter.
if [ -e "$packages/bin/maturin" ]; then
    ln -s "$packages/bin/maturin" "$venv/bin/maturin"
fi
echo "$packages" >"$venv/packages"
