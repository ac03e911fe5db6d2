"""Memory of idle WebSockets: server and client with COUNT of them open, nothing moving.

    python3 tests/bench/websockets.py [COUNT]     COUNT (10000)

Needs the release binary. The upstream and the visitors are processes of this script; a handshake and one echo are made on
each, so that everything is there that a WebSocket takes. What counts is the growth of the resident set by each.
"""

import base64
import multiprocessing
import os
import pathlib
import resource
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import time

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
ADIT = os.environ.get("ADIT", pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/adit")
PLACE = pathlib.Path(tempfile.mkdtemp(prefix="adit-bench-"))
# Each visitor's address has some 28,000 ports.
SOURCES = 4
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)
# A masked frame of four bytes; whoever mirrors it need not know what it is.
PING = b"\x82\x84\x00\x00\x00\x00ping"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def upstream(listener):
    """Switches each connection, and sends back whatever comes behind."""
    watched = selectors.DefaultSelector()
    watched.register(listener, selectors.EVENT_READ)
    switched = set()
    while True:
        for key, _ in watched.select():
            if key.fileobj is listener:
                stream, _ = listener.accept()
                watched.register(stream, selectors.EVENT_READ)
                continue
            came = key.fileobj.recv(4096)
            if not came:
                watched.unregister(key.fileobj)
                key.fileobj.close()
            elif key.fd in switched:
                key.fileobj.sendall(came)
            else:
                # The head comes in one piece here.
                switched.add(key.fd)
                key.fileobj.sendall(SWITCH)


def resident(process):
    """KiB."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def start(*command):
    log = (PLACE / "log").open("ab")
    return subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)


def read(stream, count):
    came = b""
    while len(came) < count:
        more = stream.recv(4096)
        if not more:
            sys.exit(f"a WebSocket ended: {came}")
        came += more
    return came


def open_one(port, n):
    stream = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.1.{n % SOURCES + 1}", 0))
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(
        f"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += read(stream, 1)
    if not head.startswith(b"HTTP/1.1 101"):
        sys.exit(f"it was not switched: {head}")
    stream.sendall(PING)
    read(stream, len(PING))
    return stream


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    # A process of its own: both ends together have more sockets than one may open.
    multiprocessing.get_context("fork").Process(target=upstream, args=(listener,), daemon=True).start()
    token = PLACE / "token"
    token.write_text(secrets.token_hex())
    control, proxy, port = free_port(), free_port(), free_port()
    (PLACE / "server.yaml").write_text(
        f"bind: 127.0.0.1\ncontrol: {{ port: {control} }}\nproxy: {{ port: {proxy} }}\n"
        f'admin: {{ listen: "off" }}\nlink: {{ max_streams: {COUNT} }}\n'
        f'entries: [ {{ name: www, kind: http, listen: "127.0.0.1:{port}" }} ]\n'
    )
    local = f"127.0.0.1:{listener.getsockname()[1]}"
    server = start(ADIT, "server", "-c", PLACE / "server.yaml", "--token-file", token)
    client = start(
        ADIT, "client", "--client-id", "a", "--server", f"127.0.0.1:{control}", "--local", local, "--token-file", token
    )
    try:
        deadline = time.monotonic() + 10
        while "registered" not in (PLACE / "log").read_text() or time.monotonic() < deadline - 9:
            if time.monotonic() > deadline:
                sys.exit((PLACE / "log").read_text())
            time.sleep(0.05)
        # What is there once belongs to nobody.
        held = [open_one(port, n) for n in range(100)]
        before = resident(server), resident(client)
        began = time.monotonic()
        held += [open_one(port, n) for n in range(COUNT)]
        took = time.monotonic() - began
        time.sleep(2)
        grown = [(now - then) / COUNT for now, then in zip((resident(server), resident(client)), before)]
        print(f"{COUNT} WebSockets, opened in {took:.1f} s: {grown[0]:.2f} KiB each at the server, ", end="")
        print(f"{grown[1]:.2f} KiB at the client")
        for stream in held[:: max(1, COUNT // 100)]:
            stream.sendall(PING)
            read(stream, len(PING))
    finally:
        server.kill()
        client.kill()


main()
