#!/usr/bin/env bash
# Builds the server as it is released, and measures it: all that docs/PERFORMANCE.md promises, in under 20 minutes, or
# with --quick in under 3. Further words are the names of cases: ./scripts/bench.sh tokens_live. The table goes to the
# terminal and, with all figures, to target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

# Ten thousand viewers are as many sockets, here and there.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

cargo build --release --locked -p pollen
cargo build --release --locked -p pollen-bench
exec target/release/pollen-bench "$@"
