#!/bin/bash
# Measures pyflame beside the other sampling profilers for Python, in one run.
#
#   scripts/bench.sh                        some twenty minutes, CPython 3.13
#   scripts/bench.sh --quick                under a minute, fewer rows
#   scripts/bench.sh --python 2.7,3.15      others: any that `scripts/pythons` knows, or a path
#   scripts/bench.sh --help                 the other options
#
# Writes a Markdown table to stdout, progress to stderr, the raw data to target/bench/*.json.
# Needs cargo, cc, strace, taskset and python3 (3.7 or later). Installs py-spy and austin from PyPI into
# ${PYFLAME_BENCH:-$HOME/.cache/pyflame/bench} where they can be had, else says that it goes without.
# Measures as scripts/bench/main.py describes.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in cargo cc strace taskset python3 readelf; do
    command -v "$tool" >/dev/null || { echo "bench: needs $tool" >&2; exit 1; }
done
cargo build --quiet --release
out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out/bench"
for program in run bare; do
    cc -O2 -Wall -Wextra -o "$out/bench/$program" "scripts/bench/$program.c"
done
exec python3 scripts/bench/main.py --built "$out" "$@"
