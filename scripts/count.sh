#!/usr/bin/env bash
# Counts the instructions of the polls, and fails if one has become more than a tenth dearer than
# benches/instructions.json says: ./scripts/count.sh. With --record it writes that file anew; the commit
# that has it says why.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/prepare.sh
# Together: apart, all that both need would be built twice. What is counted is compared with what was built so.
cargo build --profile count --locked --quiet -p pollen -p pollen-bench
exec target/count/pollen-bench --server target/count/pollen --directory target/count/bench count "$@"
