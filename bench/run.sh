#!/bin/sh
# bench/run.sh BUILD: the figures beside Postfix, in one run on this machine. See bench/ingest.py --help.
set -eu
build=${1:-build}
ninja -C "$build" src/prog/waxwing bench/load >/dev/null
exec python3 "$(dirname "$0")/ingest.py" --build "$build"
