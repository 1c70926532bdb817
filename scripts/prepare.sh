#!/usr/bin/env bash
# Installs what the build and the tests need where it is missing, from Debian's packages when root;
# otherwise says what to install.
set -euo pipefail

missing=()
need() { # a command, or a file that proves it is there; the Debian package that has it
  command -v "$1" >/dev/null 2>&1 || compgen -G "$1" >/dev/null || missing+=("$2")
}

command -v cargo >/dev/null 2>&1 || {
  echo "scripts/prepare.sh: install Rust first: https://rustup.rs" >&2
  exit 1
}
need cc build-essential
need curl curl
need node nodejs
need npm npm
need setpriv util-linux
need python3 python3
need '/usr/lib/python3*/ensurepip' python3-venv
need chromium chromium
need chromedriver chromium-driver
need redis-server redis-server
need caddy caddy
need systemd-analyze systemd
need promtool prometheus
need docker-compose docker-compose
need valgrind valgrind
# The proxies of tests/proxies. Not everybody has /usr/sbin on their path.
need /usr/sbin/nginx nginx
need /usr/sbin/haproxy haproxy
need /usr/sbin/varnishd varnish
need /usr/sbin/squid squid
need /usr/sbin/apache2 apache2-bin
need pdftotext poppler-utils
need '/usr/share/fonts/truetype/lohit-devanagari/*' fonts-lohit-deva
need '/usr/share/fonts/truetype/droid/DroidSansFallback*' fonts-droid-fallback
command -v initdb >/dev/null 2>&1 || need '/usr/lib/postgresql/*/bin/initdb' postgresql

if ((${#missing[@]})); then
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "scripts/prepare.sh: missing: ${missing[*]}" >&2
    echo "Install them (on Debian: sudo apt-get install ${missing[*]}) and run this again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  # Debian starts a server as soon as it is installed, and at every boot; the tests start their own. Nobody's servers are
  # stopped who has them already: those are not missing.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
  # Debian's packages have switched these on for the next boot.
  if command -v systemctl >/dev/null; then
    for package in "${missing[@]}"; do
      case $package in nginx | haproxy | caddy | prometheus) systemctl disable --quiet "$package" || true ;; esac
    done
  fi
fi

node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' || {
  echo "scripts/prepare.sh: Node.js $(node --version) is too old for the third-party model server: install 20 or newer (https://nodejs.org)" >&2
  exit 1
}

# The Python tools that the tests run, in the versions that the list names.
tools=tests/third_party/.venv
if ! cmp -s tests/third_party/requirements.txt "$tools/installed.txt"; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/third_party/requirements.txt
  cp tests/third_party/requirements.txt "$tools/installed.txt"
fi
