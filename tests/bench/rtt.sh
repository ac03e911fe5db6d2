#!/usr/bin/env bash
# What becomes of connections whose upstream is 20 ms away.
#
#   tests/bench/rtt.sh [MS] [BENCH [PART]]      MS: one way, 10 by default, so that a round trip is 20
#
# Makes two network namespaces joined by delay.py, starts the upstream in the far one, and the benchmark BENCH, which
# is the load tool, in the near one:
#
#   forward (the default)  how long a new connection waits for the first byte of its reply, straight and through adit
#                          forward, haproxy and nginx. Straight, and through a forwarder that connects when it is
#                          asked, a reply takes two round trips; over a connection that was ready it takes one.
#   mux                    the same through tunnels, whose clients run in the far one (the PART first-reply), and bulk
#                          beside plain TCP (the PART bulk).
#
# What is not installed is left out. BENCH_BINARY names the benchmark's binary if it is built already. Needs root,
# python3 and ip (iproute2); leaves nothing behind.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ((EUID != 0)); then
    echo "rtt.sh: making network namespaces needs root" >&2
    exit 1
fi

one_way=${1:-10}
bench=${2:-forward}
near=adit-near-$$
far=adit-far-$$
upstream=10.20.0.2:9000
# With jumbo frames delay.py carries 0.5 GB/s: more than plain TCP, which its send buffer of 4 MiB limits to 0.16.
case $bench in
forward) mtu=1500 words=(first-reply "$upstream") ;;
mux) mtu=9000 words=(long-way 10.20.0.1 "$upstream" "$far" "${@:3}") ;;
*)
    echo "rtt.sh: no benchmark '$bench': forward or mux" >&2
    exit 2
    ;;
esac
started=()
# Configuration files of the forwarders.
TMPDIR=$(mktemp -d)
export TMPDIR

clean_up() {
    local status=$? namespace pid
    trap - EXIT
    # What the benchmark started, should it have ended before its children.
    for namespace in "$near" "$far"; do
        for pid in $(ip netns pids "$namespace" 2>/dev/null); do
            kill -KILL "$pid" 2>/dev/null || true
        done
    done
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    for namespace in "$near" "$far"; do
        ip netns delete "$namespace" 2>/dev/null || true
    done
    rm -rf "$TMPDIR"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

binary=${BENCH_BINARY:-}
if [[ -z $binary ]]; then
    # The line "Executable … (PATH)" of cargo.
    binary=$(cargo bench --bench "$bench" --no-run 2>&1 | tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
fi

for namespace in "$near" "$far"; do
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    # Else a connection starts with what the kernel remembers of the one before it.
    ip netns exec "$namespace" sysctl --quiet --write net.ipv4.tcp_no_metrics_save=1
done

coproc way { exec python3 tests/bench/delay.py "$one_way" "$near" "$far" "$mtu"; }
started+=("$way_PID")
if ! read -r -u "${way[0]}" _; then
    echo "rtt.sh: delay.py did not start" >&2
    exit 1
fi

ip netns exec "$far" "$binary" upstream "$upstream" &
started+=($!)
# In the background, because a signal to this script is not heard before what runs in the foreground ends.
ip netns exec "$near" "$binary" "${words[@]}" &
started+=($!)
wait $!
