"""What every check stands on: ports, processes of adit, nginx, and the line that says how a check ended."""

import contextlib
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile
import time

ADIT = sys.argv[1]
PLACE = pathlib.Path(tempfile.mkdtemp(prefix="adit-e2e-"))
# Where workers of nginx may read.
PLACE.chmod(0o755)
LARGE = 64 * 1024 * 1024
(PLACE / "token").write_text(secrets.token_hex())
# What has to end with the run, however it ends.
ENDS = contextlib.ExitStack()

given = set()


def free_ports(count):
    """Ports that nobody listens on, and that were not given before."""
    found = []
    while len(found) < count:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port not in given:
            given.add(port)
            found.append(port)
    return found


NGINX, GRPC, WEBSOCKET = free_ports(3)


def check(what, true, seen=""):
    """A line for what holds; the end for what does not."""
    if not true:
        sys.exit(f"FAILED  {what}\n{seen}")
    print(f"ok      {what}", flush=True)


def note(what):
    """A line that is no check."""
    print(f"        {what}", flush=True)


def eventually(what, is_so, seconds=20):
    """Waits until `is_so()`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"FAILED  {what}: not within {seconds} s")
        time.sleep(0.05)


def start(*command, end=subprocess.Popen.kill, **more):
    """A process that ends with the run at the latest; those with children need `end` to be kinder."""
    process = subprocess.Popen([str(part) for part in command], **more)
    ENDS.callback(process.wait)
    ENDS.callback(end, process)
    return process


def curl(*arguments):
    """What curl prints, errors too."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=120)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


class Node:
    """A process of adit."""

    every = []

    def __init__(self, name, role):
        self.log = PLACE / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = start(ADIT, role, "-c", PLACE / f"{name}.yaml", stdout=log, stderr=log)
        self.every.append(self)

    def says(self, words):
        return words in self.log.read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Tunnel:
    """A server with an HTTP entry for each kind of upstream, and those of its clients that are alive."""

    def __init__(self, name, link=""):
        self.name = name
        self.clients = []
        self.started = 0
        self.control, self.www, self.grpc, self.websocket = free_ports(4)
        proxy, admin = free_ports(2)
        (PLACE / f"{name}.yaml").write_text(
            f"""
bind: 127.0.0.1
control: {{ port: {self.control} }}
proxy: {{ port: {proxy} }}
link: {{ {link} }}
admin: {{ listen: "127.0.0.1:{admin}" }}
auth: {{ clients: [ {{ id: "*", token: {{ file: {PLACE}/token }} }} ] }}
entries:
  - {{ name: www, kind: http, listen: "127.0.0.1:{self.www}", group: www }}
  - {{ name: grpc, kind: http, listen: "127.0.0.1:{self.grpc}", group: grpc }}
  - {{ name: websocket, kind: http, listen: "127.0.0.1:{self.websocket}", group: websocket }}
"""
        )
        self.server = Node(name, "server")
        eventually("the server listens", lambda: self.server.says("listening: www"))

    def have_clients(self, count):
        """Starts clients, under new names, until so many are alive."""
        while len(self.clients) < count:
            self.started += 1
            name = f"{self.name}-client-{self.started}"
            (PLACE / f"{name}.yaml").write_text(
                f"""
client_id: {name}
servers: ["127.0.0.1:{self.control}"]
token: {{ file: {PLACE}/token }}
upstreams:
  - {{ name: www, group: www, targets: ["127.0.0.1:{NGINX}"] }}
  - {{ name: grpc, group: grpc, targets: ["127.0.0.1:{GRPC}"] }}
  - {{ name: websocket, group: websocket, targets: ["127.0.0.1:{WEBSOCKET}"] }}
"""
            )
            client = Node(name, "client")
            eventually(f"{name} registers", lambda: client.says(" registered server="))
            self.clients.append(client)

    def kill(self):
        for node in [self.server, *self.clients]:
            node.kill()


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
            types {{ text/html html; text/css css; text/javascript js; image/svg+xml svg; }}
            server {{
                listen 127.0.0.1:{NGINX}; root {PLACE}/www;
                location /echo {{ return 200 "$request_method $http_host $http_x_forwarded_for $http_via\\n"; }}
                location /take {{ client_body_in_file_only clean; proxy_pass http://127.0.0.1:{NGINX}/length; }}
                location /length {{ return 200 "$http_content_length\\n"; }}
                location /huge {{ sendfile on; }}
                location /page/ {{ add_header Cache-Control no-store; }}
                location /seen {{ access_log {PLACE}/seen.log; return 204; }}
            }}
        }}
        """
    )
    start("nginx", "-c", PLACE / "nginx.conf", end=subprocess.Popen.terminate, stderr=subprocess.DEVNULL)
