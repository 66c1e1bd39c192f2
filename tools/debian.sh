#!/usr/bin/env bash
# Debian packages that tests need: poppler reads the PDFs back, a C compiler builds SQLite, venv holds torch.
set -euo pipefail
needed=()
command -v cc >/dev/null || needed+=(gcc libc6-dev)
# Debian ships Python's venv apart from Python.
python3 -c 'import ensurepip' 2>/dev/null || needed+=(python3-venv)
command -v pdftotext >/dev/null || needed+=(poppler-utils)
if [ ${#needed[@]} -eq 0 ]; then
    echo "nothing to install"
    exit 0
fi
command="apt-get install -y --no-install-recommends ${needed[*]}"
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    $command
elif sudo -n true 2>/dev/null; then
    sudo -n apt-get update -qq
    sudo -n $command
else
    echo "missing: ${needed[*]}. Install them with: sudo $command" >&2
    exit 1
fi
