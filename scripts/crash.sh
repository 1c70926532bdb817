#!/usr/bin/env bash
# Long rounds of nodes that are killed, halted and cut off from their database, with people who use
# them meanwhile: ./scripts/crash.sh [ROUNDS] [SEED]. A line for each round, and a total.
# CRASH_LOG=FILE keeps the servers' logs.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/prepare.sh

# Nodes, people and models on one machine are some thousand sockets.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)"

export CRASH_ROUNDS=${1:-5} CRASH_SEED=${2:-$RANDOM}
exec cargo test --locked --test pollen -- --ignored --exact --nocapture \
  crash::nodes::many_rounds_of_nodes_that_are_killed_halted_and_cut_off
