#!/usr/bin/env bash
# Takes the pictures of the README anew, with a scripted model: docs/images/*.png. Look at each of them.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/prepare.sh
if ! fc-list | grep -qi emoji; then
  echo "the agents' icons would be boxes: install Debian's package fonts-noto-color-emoji" >&2
  exit 1
fi

exec cargo test --locked --test pollen -- --ignored --exact \
  browser::screenshots::the_pictures_of_the_readme
