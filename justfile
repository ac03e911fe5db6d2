# One screen of commands. The CI stages in .ci/run use the same ones.

# The environment's RUSTFLAGS would replace the flags in .cargo/config.toml.
unexport RUSTFLAGS

default:
    @just --list

# Format and lints
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    # The build of the workspace has the planted bugs in it; this is what is shipped.
    cargo clippy --package adit --all-targets -- -D warnings

# All tests
test:
    cargo test --workspace

# Server, two clients, two services in one process
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# One simulated run
sim SEED="7" *ARGS:
    cargo run --release -p adit-sim -- run chaos --seed {{SEED}} {{ARGS}}

# Many simulated runs, until one fails; see `adit-sim sweep --help`
sweep *ARGS:
    cargo run --release -p adit-sim -- sweep {{ARGS}}

# A run again, event for event; `--html FILE` draws it
replay SEED *ARGS:
    cargo run --release -p adit-sim -- replay {{SEED}} --trace {{ARGS}}

# The plan of a failing run, with less around the failure
shrink SEED *ARGS:
    cargo run --release -p adit-sim -- shrink {{SEED}} {{ARGS}}

# Whether seeds mean the same in two processes
canary *ARGS:
    cargo run --release -p adit-sim -- canary {{ARGS}}

# Whether planted bugs are found
mutants *ARGS:
    cargo run --release -p adit-sim -- mutants {{ARGS}}

# One fuzz target, or all in turn, for so many seconds each; see docs/fuzzing.md
fuzz TARGET="all" SECONDS="600":
    fuzz/run {{TARGET}} {{SECONDS}}

# An HTTP entry between real programs: nginx, curl, wrk, h2load, grpcio, websockets, Chromium
e2e:
    tests/e2e/run

# The steps of the Dockerfile, without Docker; needs root for chroot
packaging:
    tests/packaging.sh

# Sessions and bulk beside rathole
bench:
    cargo bench --bench tunnel

# Many sessions over one link, beside plain relays and yamux; PART is bulk, echo or idle
bench-mux *PART:
    cargo bench --bench mux -- {{PART}}

# What finding a rule costs among 10, 1,000 and 100,000
bench-rules:
    cargo bench --bench rules

# Connections and bulk of the forwarder beside haproxy and nginx
bench-forward:
    cargo bench --bench forward

# Requests through an HTTP entry beside nginx, SECONDS a round
bench-http SECONDS="3" ROUNDS="5":
    cargo build --release --bin adit
    python3 tests/bench/http.py {{SECONDS}} {{ROUNDS}}

# Memory of COUNT idle WebSockets
bench-websockets COUNT="10000":
    cargo build --release --bin adit
    python3 tests/bench/websockets.py {{COUNT}}

# First reply of a new connection over a long way, MS each way; needs root
bench-rtt MS="10":
    tests/bench/rtt.sh {{MS}}

# Bulk and first replies over one long link, MS each way; PART is bulk or first-reply; needs root
bench-mux-rtt MS="10" *PART:
    tests/bench/rtt.sh {{MS}} mux {{PART}}

# Licences, advisories, banned crates
lint:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v cargo-deny >/dev/null; then
        cargo deny check
    else
        echo "cargo-deny is not installed (cargo install cargo-deny): nothing checked"
    fi

# The whole of CI
ci:
    .ci/run
