#!/usr/bin/env bash
# Installs what the tests need where it is missing (Debian's packages, when root), and runs all of
# them. What follows the script's name goes to `cargo test`: ./scripts/test.sh -- protocol::
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # a command, or a file that proves it is there; the Debian package that has it
  command -v "$1" >/dev/null 2>&1 || compgen -G "$1" >/dev/null || missing+=("$2")
}
need cargo "Rust (https://rustup.rs)"
need cc gcc
need curl curl
need node nodejs
need npm npm
need setpriv util-linux
need chromium chromium
need chromedriver chromium-driver
command -v initdb >/dev/null 2>&1 || need '/usr/lib/postgresql/*/bin/initdb' postgresql

if ((${#missing[@]})); then
  if [[ " ${missing[*]} " == *Rust* ]]; then
    echo "scripts/test.sh: install Rust first: https://rustup.rs" >&2
    exit 1
  fi
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "scripts/test.sh: missing: ${missing[*]}" >&2
    echo "Install them (on Debian: sudo apt-get install ${missing[*]}) and run this again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

npm ci --prefix tests/third_party --no-audit --no-fund --loglevel=error

# Two hundred chats at once are some thousand sockets.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)"

exec cargo test --workspace --locked "$@"
