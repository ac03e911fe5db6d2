"""The HTTP entry with real programs on both sides; see `run`.

Every check prints a line; the first that fails ends the run with what was seen.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

ADIT = sys.argv[1]
PLACE = pathlib.Path(tempfile.mkdtemp(prefix="adit-e2e-"))
# Where workers of nginx may read.
PLACE.chmod(0o755)
LARGE = 64 * 1024 * 1024
LOAD_SECONDS = 4


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


CONTROL, PROXY, PUBLIC, ADMIN, NGINX, GRPC, WEBSOCKET = free_ports(7)
GRPC_PUBLIC, WEBSOCKET_PUBLIC = free_ports(2)


def check(what, true, seen=""):
    """A line for what holds; the end for what does not."""
    if not true:
        sys.exit(f"FAILED  {what}\n{seen}")
    print(f"ok      {what}", flush=True)


def eventually(what, is_so, seconds=20):
    """Waits until `is_so()`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"FAILED  {what}: not within {seconds} s")
        time.sleep(0.05)


def run(*command, **more):
    """What a program prints; it has to end well."""
    done = subprocess.run(command, capture_output=True, timeout=120, **more)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def curl(*arguments, port=None):
    return run("curl", "--silent", "--show-error", "--max-time", "60", *arguments)


class Node:
    """A process of adit."""

    def __init__(self, name, *arguments):
        self.log = PLACE / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([ADIT, *arguments], stdout=log, stderr=log)

    def says(self, words, times=1):
        return self.log.read_text().count(words) >= times

    def kill(self):
        self.process.kill()
        self.process.wait()


def start_nginx():
    (PLACE / "www").mkdir()
    (PLACE / "www/index.html").write_text("hello\n")
    (PLACE / "www/large").write_bytes(os.urandom(LARGE))
    for n in range(50):
        (PLACE / f"www/asset-{n}").write_text(f"asset {n}\n" * 100)
    (PLACE / "nginx.conf").write_text(
        f"""
        daemon off; pid {PLACE}/nginx.pid; error_log {PLACE}/nginx.log; worker_processes 1;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; client_body_temp_path {PLACE}/body; proxy_temp_path {PLACE}/proxy;
            fastcgi_temp_path {PLACE}/f; uwsgi_temp_path {PLACE}/u; scgi_temp_path {PLACE}/s;
            client_max_body_size 0; keepalive_requests 1000000;
            server {{
                listen 127.0.0.1:{NGINX}; root {PLACE}/www;
                location /echo {{ return 200 "$request_method $http_host $http_x_forwarded_for $http_via\\n"; }}
                location /take {{ client_body_in_file_only clean; proxy_pass http://127.0.0.1:{NGINX}/length; }}
                location /length {{ return 200 "$http_content_length\\n"; }}
            }}
        }}
        """
    )
    return subprocess.Popen(["nginx", "-c", PLACE / "nginx.conf"], stderr=subprocess.DEVNULL)


def start_tunnel():
    (PLACE / "token").write_text(secrets.token_hex())
    (PLACE / "server.yaml").write_text(
        f"""
bind: 127.0.0.1
control: {{ port: {CONTROL} }}
proxy: {{ port: {PROXY} }}
admin: {{ listen: "127.0.0.1:{ADMIN}" }}
auth: {{ clients: [ {{ id: "*", token: {{ file: {PLACE}/token }} }} ] }}
entries:
  - {{ name: www, kind: http, listen: "127.0.0.1:{PUBLIC}", group: www }}
  - {{ name: grpc, kind: http, listen: "127.0.0.1:{GRPC_PUBLIC}", group: grpc }}
  - {{ name: socket, kind: http, listen: "127.0.0.1:{WEBSOCKET_PUBLIC}", group: socket }}
"""
    )
    server = Node("server", "server", "-c", str(PLACE / "server.yaml"))
    eventually("the server listens", lambda: server.says("listening: www"))
    return server, [start_client(name) for name in "abc"]


def start_client(name):
    (PLACE / f"{name}.yaml").write_text(
        f"""
client_id: {name}
servers: ["127.0.0.1:{CONTROL}"]
token: {{ file: {PLACE}/token }}
upstreams:
  - {{ name: www, group: www, targets: ["127.0.0.1:{NGINX}"] }}
  - {{ name: grpc, group: grpc, targets: ["127.0.0.1:{GRPC}"] }}
  - {{ name: socket, group: socket, targets: ["127.0.0.1:{WEBSOCKET}"] }}
"""
    )
    client = Node(name, "client", "-c", str(PLACE / f"{name}.yaml"))
    eventually(f"client {name} registers", lambda: client.says(" registered server="))
    return client


def check_curl():
    www = f"http://127.0.0.1:{PUBLIC}"
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"]:
        said = curl(version, f"{www}/echo", "-H", "Host: www.example.com")
        check(f"curl {version}", said.startswith("GET www.example.com 127.0.0.1 "), said)
        assets = [f"{www}/asset-{n}" for n in range(50)]
        # Without `--parallel-immediate` curl 7.88 breaks HTTP/2 by itself, whatever it speaks to.
        said = curl(version, "--parallel", "--parallel-immediate", *assets)
        check(f"50 assets, curl {version} --parallel", said.count("asset ") == 50 * 100, said[:500])
        got = PLACE / "got"
        curl(version, "--output", got, f"{www}/large")
        same = got.read_bytes() == (PLACE / "www/large").read_bytes()
        check(f"64 MiB down, curl {version}", same)
        said = curl(version, "--data-binary", f"@{PLACE}/www/large", f"{www}/take")
        check(f"64 MiB up, curl {version}", said.strip() == str(LARGE), said[:500])
    said = curl("--head", f"{www}/large")
    check("HEAD has the length and no body", f"content-length: {LARGE}" in said, said)
    said = curl("--include", f"{www}/nowhere")
    check("404 is the upstream's", "404 Not Found" in said and "x-adit-reason" not in said, said)


def check_websocket():
    heard = []

    async def echo(socket):
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.exceptions.ConnectionClosedError as closed:
            heard.append(closed.rcvd.code)

    async def talk():
        async with websockets.asyncio.server.serve(echo, "127.0.0.1", WEBSOCKET, max_size=None):
            url = f"ws://127.0.0.1:{WEBSOCKET_PUBLIC}/"
            for compression in [None, "deflate"]:
                async with websockets.asyncio.client.connect(
                    url, compression=compression, max_size=None, proxy=None
                ) as socket:
                    for message in ["text", b"binary", "", "x" * 125, "y" * 126, os.urandom(70_000)]:
                        await socket.send(message)
                        back = await socket.recv()
                        check(f"a message of {len(message)}, {compression}", back == message)
                    large = os.urandom(4 * 1024 * 1024)
                    await socket.send([large[:1_000_000], large[1_000_000:]])
                    check(f"4 MiB in fragments, {compression}", await socket.recv() == large)
                    await (await socket.ping())
                    check(f"ping and pong, {compression}", True)
                    await socket.close(4321, "bye")
                    check(f"close code, {compression}", socket.close_code == 4321, socket.close_code)
        check("the upstream hears the close codes", heard == [4321, 4321], heard)

    asyncio.run(talk())


def start_grpc():
    def unary(request, _):
        return b"unary " + request

    def fail(_, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    def slow(_, context):
        while context.is_active():
            time.sleep(0.05)
        return b""

    def down(request, _):
        yield from (b"%d" % n for n in range(int(request)))

    def up(requests, _):
        return b"".join(requests)

    def both(requests, _):
        for request in requests:
            yield b"back " + request

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Down": grpc.unary_stream_rpc_method_handler(down),
        "Up": grpc.stream_unary_rpc_method_handler(up),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }
    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Cart", handlers)])
    server.add_insecure_port(f"127.0.0.1:{GRPC}")
    server.start()
    return server


def check_grpc():
    server = start_grpc()
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{GRPC_PUBLIC}", options) as channel:
        name = "/shop.Cart/{}".format
        check("unary", channel.unary_unary(name("Unary"))(b"x", timeout=10) == b"unary x")
        got = list(channel.unary_stream(name("Down"))(b"1000", timeout=20))
        check("server streaming", got == [b"%d" % n for n in range(1000)], got[:5])
        got = channel.stream_unary(name("Up"))(iter([b"a"] * 1000), timeout=20)
        check("client streaming", got == b"a" * 1000)

        asked = []

        def ask():
            for n in range(100):
                asked.append(n)
                yield b"%d" % n

        for n, back in enumerate(channel.stream_stream(name("Both"))(ask(), timeout=20)):
            assert back == b"back %d" % n
        check("bidirectional streaming", n == 99)

        def code(call):
            try:
                call()
                return None
            except grpc.RpcError as error:
                return error.code()

        found = code(lambda: channel.unary_unary(name("Fail"))(b"", timeout=10))
        check("an error of the upstream", found == grpc.StatusCode.NOT_FOUND, found)
        found = code(lambda: channel.unary_unary(name("Slow"))(b"", timeout=1))
        check("a deadline", found == grpc.StatusCode.DEADLINE_EXCEEDED, found)
        call = channel.unary_unary(name("Slow")).future(b"")
        call.cancel()
        check("a cancellation", call.cancelled())
        large = b"l" * 3_000_000
        check("3 MB each way", channel.unary_unary(name("Unary"))(large, timeout=20) == b"unary " + large)
        server.stop(0).wait()
        found = code(lambda: channel.unary_unary(name("Unary"))(b"x", timeout=10))
        check("an upstream that is gone is UNAVAILABLE", found == grpc.StatusCode.UNAVAILABLE, found)


def check_kill(clients):
    """One of three clients dies under load of requests that may be repeated: none fails."""
    www = f"http://127.0.0.1:{PUBLIC}/"
    loads = {
        "wrk": ["wrk", "-t1", "-c16", f"-d{LOAD_SECONDS}", www],
        "h2load": ["h2load", "-c4", "-m10", "-D", str(LOAD_SECONDS), www],
    }
    for name, command in loads.items():
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(LOAD_SECONDS / 2)
        victim = clients.pop()
        victim.kill()
        said = load.communicate(timeout=60)[0].decode()
        if name == "wrk":
            failed = re.search("Non-2xx|Socket errors", said)
        else:
            failed = not re.search(r" 0 failed, 0 errored", said) or not re.search(r" 0 4xx, 0 5xx", said)
        check(f"no request of {name} fails while one of {len(clients) + 1} clients is killed", not failed, said)
        rate = re.search(r"Requests/sec: *([0-9.]+)|, ([0-9.]+) req/s", said)
        print(f"        {rate and (rate[1] or rate[2])} requests a second")


def check_drain(server):
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(timeout=40)
    check("a server that is told to stop drains, and ends well", code == 0, code)


def main():
    nginx = start_nginx()
    with contextlib.ExitStack() as ends:
        ends.callback(nginx.terminate)
        server, clients = start_tunnel()
        for node in [server, *clients]:
            ends.callback(node.process.kill)
        check_curl()
        check_websocket()
        check_grpc()
        check_kill(clients)
        check_drain(server)
        for node in [server, *clients]:
            check("nobody panicked", "panicked" not in node.log.read_text(), node.log)


main()
