#!/usr/bin/env bash
# The steps of the Dockerfile by hand, for machines without Docker: a build from exactly what .dockerignore lets
# through, the command alone in an empty root (with the libraries that the base image has), run by a user who owns
# nothing. Needs root for chroot. Takes a full release build, or the path of a binary instead of one.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The user `nonroot` of the base image.
NOBODY=65532
TOKEN=0123456789abcdef0123456789abcdef

work=$(mktemp -d)
server=
# By its path: its users run it with an empty environment.
chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
end() {
    if [[ -n $server ]]; then
        kill -KILL "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'packaging: %s\n' "$*" >&2
    exit 1
}

binary=${1:-$work/src/target/release/adit}
if [[ $# == 0 ]]; then
    say 'build from what .dockerignore lets through'
    mkdir "$work/src"
    mapfile -t allowed < <(sed -n 's/^!//p' .dockerignore)
    tar --create "${allowed[@]}" | tar --extract --directory "$work/src"
    (
        cd "$work/src"
        # As in the image: no flags but those of .cargo/config.toml, no target but its own.
        unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_DIR
        cargo build --release --locked --package adit --bin adit
        strip target/release/adit
    )
fi
ls -l "$binary" | awk '{ print $5 " bytes" }'

say 'an empty root with the command alone'
root=$work/root
mkdir -p "$root/etc/adit"
cp "$binary" "$root/adit"
cp docs/examples/*.yaml docs/examples/*.txt docs/examples/*.toml "$root/etc/adit/"
# What the base image brings. Anything else that the command were linked against would be missing there.
for library in $(ldd "$binary" | grep -o '/[^ ]*'); do
    case ${library##*/} in
    ld-linux-* | libc.so.* | libm.so.* | libgcc_s.so.*) install -D "$library" "$root$library" ;;
    *) fail "the base image does not have $library" ;;
    esac
done
chmod -R a+rX "$work"
find "$root" -type f | sed "s|^$root||"

inside() {
    env --ignore-environment ADIT_TOKEN="$TOKEN" "$chroot" --userspec="$NOBODY:$NOBODY" "$root" "$@"
}

say 'run as nobody'
inside /adit --version
for file in server.yaml client.yaml forward.yaml database.yaml small.toml; do
    inside /adit check -c "/etc/adit/$file"
done
if inside /adit check -c /etc/adit/candidates.txt 2>/dev/null; then
    fail 'a list of candidates is no configuration'
fi
status=0
inside /adit health --admin 127.0.0.1:1 2>/dev/null || status=$?
[[ $status == 1 ]] || fail "health of nobody: expected exit code 1, found $status"

say 'serve, and drain on SIGTERM'
printf 'bind: 127.0.0.1\ncontrol: { port: 0 }\nproxy: { port: 0 }\npublic: { port: 0 }\nadmin: { listen: off }\n' \
    >"$root/etc/adit/any.yaml"
chmod a+r "$root/etc/adit/any.yaml"
# `exec`, so that the process that is signalled is the command itself.
(exec env --ignore-environment ADIT_TOKEN="$TOKEN" \
    "$chroot" --userspec="$NOBODY:$NOBODY" "$root" /adit server -c /etc/adit/any.yaml) >"$work/log" &
server=$!
for _ in $(seq 100); do
    grep -q 'listening: public' "$work/log" && break
    sleep 0.1
done
cat "$work/log"
grep -q 'listening: public' "$work/log" || fail 'the server did not start within 10 s'
[[ $(awk '/^Uid:/ { print $2 }' "/proc/$server/status") == "$NOBODY" ]] || fail 'it runs as somebody else'
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[[ $status == 0 ]] || fail "drain: expected exit code 0, found $status"

say ok
