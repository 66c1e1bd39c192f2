#!/usr/bin/env bash
# Prometheus' own tool on the examples: from this machine, else out of Debian's package, which is unpacked and not installed (it would
# start a server).
set -euo pipefail
cd "$(dirname "$0")/.."

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    if ! (cd "$folder" && apt-get download -qq prometheus 2>/dev/null && dpkg -x prometheus_*.deb .); then
        echo "promtool is not here, and Debian's package prometheus cannot be had: install one of them" >&2
        exit 1
    fi
    promtool=$folder/usr/bin/promtool
fi
"$promtool" check rules examples/prometheus/flopsmeter.rules.yml
"$promtool" check config examples/prometheus/prometheus.yml
