#!/usr/bin/env bash
# Builds the release as one static binary, dist/pollen, which runs on any Linux of this machine's kind: no C library, no
# OpenSSL, nothing to install beside it. Then it shows that it is static, how large it is, and how long it takes from its
# start to the first answer of /readyz.
#
#   ./scripts/release.sh            all of it
#   ./scripts/release.sh build      builds and nothing else, as the Dockerfile does
#   ./scripts/release.sh measure    the rest, of the dist/pollen that there is
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(uname -m)-unknown-linux-musl

build() {
  command -v musl-gcc >/dev/null || {
    echo "scripts/release.sh: musl-gcc is missing (on Debian: sudo apt-get install musl-tools)" >&2
    exit 1
  }
  if [[ ! -d $(rustc --print target-libdir --target "$target") ]]; then
    command -v rustup >/dev/null || {
      echo "scripts/release.sh: this Rust toolchain has no $target" >&2
      exit 1
    }
    rustup target add "$target"
  fi
  # What is written in C, SQLite and the cryptography, is built for it too.
  export "CC_${target//-/_}=musl-gcc"
  cargo build --release --locked --bin pollen --target "$target"
  install -D "${CARGO_TARGET_DIR:-target}/$target/release/pollen" dist/pollen
}

measure() {
  if readelf --program-headers --dynamic dist/pollen | grep -E 'INTERP|NEEDED'; then
    echo "scripts/release.sh: dist/pollen is not static" >&2
    exit 1
  fi
  echo "static: no interpreter, no shared library"
  echo "size: $(stat --format %s dist/pollen | awk '{ printf "%.1f MiB", $1 / 1048576 }')"
  python3 - "$PWD/dist/pollen" <<'END'
import http.client, os, socket, statistics, subprocess, sys, tempfile, time

RUNS = 21

def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

def ready(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False

def start(directory):
    """Milliseconds from the start of the process to the first answer of /readyz."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "POLLEN_LISTEN": f"127.0.0.1:{port}",
                   "POLLEN_OLLAMA__BASE_URL": "http://127.0.0.1:9"}
    began = time.perf_counter()
    server = subprocess.Popen([sys.argv[1]], cwd=directory, env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready(port):
            if server.poll() is not None:
                sys.exit("the server ended by itself")
            time.sleep(0.001)
        return (time.perf_counter() - began) * 1000
    finally:
        server.terminate()
        server.wait()

def say(what, times):
    print(f"start to the first answered /readyz, {what}: {statistics.median(times):.0f} ms "
          f"(median of {len(times)}, {min(times):.0f} to {max(times):.0f})")

empty = []
for _ in range(RUNS):
    with tempfile.TemporaryDirectory() as directory:
        empty.append(start(directory))
with tempfile.TemporaryDirectory() as directory:
    start(directory)
    again = [start(directory) for _ in range(RUNS)]
say("empty directory", empty)
say("migrated database", again)
END
}

case ${1:-all} in
  build) build ;;
  measure) measure ;;
  all) build && measure ;;
  *)
    echo "usage: $0 [build | measure]" >&2
    exit 2
    ;;
esac
