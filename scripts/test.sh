#!/usr/bin/env bash
# Installs what the tests need where it is missing (Debian's packages, when root), and runs all of
# them. What follows the script's name goes to `cargo test`: ./scripts/test.sh -- protocol::
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/prepare.sh
npm ci --prefix tests/third_party --no-audit --no-fund --loglevel=error

# Two thousand clients at once, beside all other tests, are some thousand sockets.
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -Hn)"

exec cargo test --workspace --locked "$@"
