#!/usr/bin/env bash
# Throws bytes at what parses bytes, for as long as one likes: ./scripts/fuzz.sh [SECONDS [TARGET...]]
# Each target in turn, all of them if none is named; docs/FUZZING.md says what they are. Needs
# cargo-fuzz (cargo install cargo-fuzz --locked).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fuzz --version >/dev/null 2>&1 || {
  echo "scripts/fuzz.sh: install cargo-fuzz first: cargo install cargo-fuzz --locked" >&2
  exit 1
}
seconds=${1:-60}
shift || true
# What is fuzzed is what is built: the same versions of everything.
cp Cargo.lock fuzz/Cargo.lock
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list)

for target in "${targets[@]}"; do
  echo "== $target"
  # No sanitiser: there is no unsafe code of ours to watch, and the stable compiler has none.
  cargo fuzz run -s none "$target" -- -max_total_time="$seconds" -timeout=10 -max_len=4096 -print_final_stats=1
done
