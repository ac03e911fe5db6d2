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
sim SEED="7":
    cargo run --release -p adit-sim -- run smoke --seed {{SEED}}

# Many simulated runs, from seed FROM; stops at the first failure
sweep COUNT="20" FROM="1":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p adit-sim
    for ((seed = {{FROM}}; seed < {{FROM}} + {{COUNT}}; seed++)); do
        "${CARGO_TARGET_DIR:-target}/release/adit-sim" run smoke --seed "$seed"
    done

# Sessions and bulk beside rathole
bench:
    cargo bench --bench tunnel

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
