"""The ways from a visitor to an upstream: straight, through nginx, and through Adit."""

import socket
import subprocess

from nodes import PLACE, Node, eventually, free_ports, start

from .cases import case
from .upstream import AFTER, Http1Upstream, Http2Upstream
from .visitor import SECONDS, visit, visit_http2

SETTLE = case("settle", b"GET " + AFTER + b" HTTP/1.1\r\nHost: www.example.com\r\n\r\n")


class Path:
    """One way. `ports` say where visitors of HTTP/1 and HTTP/2 go, `upstreams` where what they say arrives."""

    def __init__(self, name, ports, upstreams, patience=SECONDS):
        self.name = name
        self.patience = patience
        self.ports = dict(zip(["http1", "http2"], ports))
        self.upstreams = dict(zip(["http1", "http2"], upstreams))

    def leg(self, kind):
        """The versions of HTTP on both sides, like `1-2`."""
        return f"{kind[-1]}-{2 if isinstance(self.upstreams[kind], Http2Upstream) else 1}"

    def takes(self, case):
        return case.over_http2 or self.name == "straight" or not self.leg(case.kind).endswith("-2")

    def run(self, case):
        if self.name == "straight":
            case = getattr(case, "like", None) or case
        upstream, port = self.upstreams[case.kind], self.ports[case.kind]
        upstream.begin(case)
        exchange = (visit if case.kind == "http1" else visit_http2)(port, case, self.patience)
        exchange.requests = upstream.finish()
        if self.name != "straight" and exchange.after != "open":
            # Connections that the upstream has closed are noticed now, and not by the next case.
            settled = visit(self.ports["http1"], SETTLE)
            if [answer.body for answer in settled.answers] != [b"after"]:
                exchange.after += ", and the next request fails"
        return exchange


def straight():
    upstreams = [Http1Upstream(), Http2Upstream()]
    return Path("straight", [upstream.port for upstream in upstreams], upstreams)


def through_nginx():
    """nginx as faithful as it can be told to be."""
    upstream = Http1Upstream()
    ports = free_ports(2)
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port} {word}; location / {{ proxy_pass http://127.0.0.1:{upstream.port}; }} }}"
        for port, word in zip(ports, ["", "http2"])
    )
    (PLACE / "fidelity.conf").write_text(
        f"""
        daemon off; pid {PLACE}/fidelity.pid; error_log {PLACE}/fidelity-nginx.log; worker_processes 1;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; client_body_temp_path {PLACE}/fb; proxy_temp_path {PLACE}/fp;
            fastcgi_temp_path {PLACE}/ff; uwsgi_temp_path {PLACE}/fu; scgi_temp_path {PLACE}/fs;
            underscores_in_headers on; ignore_invalid_headers off; merge_slashes off; client_max_body_size 0;
            large_client_header_buffers 8 64k; keepalive_requests 1000000;
            map $http_upgrade $upgrades {{ default upgrade; "" ""; }}
            proxy_http_version 1.1; proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrades;
            proxy_request_buffering off; proxy_buffering off; proxy_buffer_size 128k; proxy_busy_buffers_size 128k;
            proxy_buffers 8 128k; proxy_next_upstream off; proxy_pass_header Server; proxy_pass_header Date;
            proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Buffering; proxy_pass_header X-Accel-Redirect;
            proxy_pass_header X-Accel-Expires; proxy_pass_header X-Accel-Buffering; server_tokens off;
            {servers}
        }}
        """
    )
    start("nginx", "-c", PLACE / "fidelity.conf", end=subprocess.Popen.terminate, stderr=subprocess.DEVNULL)
    eventually("nginx listens", lambda: all(accepts(port) for port in ports))
    # It is not judged. Where it is stuck, as behind interim answers, it is not waited for.
    return Path("nginx", ports, [upstream, upstream], patience=0.7)


def accepts(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def through_adit(carry, speech):
    """A server and a client, with sessions on `carry` and upstreams that speak `speech`."""
    name = f"fidelity-{carry}-{speech}"
    upstream = Http1Upstream() if speech == "h1" else Http2Upstream()
    control, proxy, www = free_ports(3)
    # Without rules no path is compared, and none is refused for how it looks.
    rules = "rules: [ { group: www, upstream_protocol: h2c } ]" if speech == "h2c" else ""
    (PLACE / f"{name}.yaml").write_text(
        f"""
bind: 127.0.0.1
control: {{ port: {control} }}
proxy: {{ port: {proxy} }}
admin: {{ listen: "off" }}
auth: {{ clients: [ {{ id: "*", token: {{ file: {PLACE}/token }} }} ] }}
entries: [ {{ name: www, kind: http, listen: "127.0.0.1:{www}", group: www, carry: {carry} }} ]
{rules}
"""
    )
    server = Node(name, "server")
    eventually("the server listens", lambda: server.says("listening: www"))
    (PLACE / f"{name}-client.yaml").write_text(
        f"""
client_id: {name}
servers: ["127.0.0.1:{control}"]
token: {{ file: {PLACE}/token }}
upstreams: [ {{ name: www, group: www, targets: ["127.0.0.1:{upstream.port}"] }} ]
"""
    )
    client = Node(f"{name}-client", "client")
    eventually(f"{name} registers", lambda: client.says(" registered server="))
    return Path(f"adit {carry} {speech}", [www, www], [upstream, upstream])


def all_paths():
    adit = [through_adit(carry, speech) for speech in ("h1", "h2c") for carry in ("dedicated", "mux")]
    return [straight(), through_nginx(), *adit]
