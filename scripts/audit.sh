#!/usr/bin/env bash
# What may come into the binary (deny.toml): licences, sources, crates that are not wanted, and known
# holes where the database of them is on this machine. ./scripts/audit.sh --online fetches it first.
# Builds cargo-deny into target/tools where it is missing, which takes some minutes once.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
deny=target/tools/bin/cargo-deny
if [[ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]]; then
  # Unoptimised: it builds in a third of the time, and checks in ten seconds instead of three.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "$version" --locked --quiet --debug \
    --no-default-features --root target/tools --target-dir target/tools/build
  rm -rf target/tools/build
fi

if [[ ${1:-} == --online ]]; then
  exec "$deny" --locked check
fi
# Also what only other systems need is looked at.
cargo fetch --locked --quiet
"$deny" --offline --locked check bans licenses sources
if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*" >/dev/null; then
  "$deny" --offline --locked check advisories
else
  echo "scripts/audit.sh: known holes (RUSTSEC) were not looked for: there is no database of them here." \
    "Once a day where there is a network: ./scripts/audit.sh --online" >&2
fi
