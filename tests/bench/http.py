"""Requests a second through an HTTP entry, beside nginx as a reverse proxy of one hop, and rathole with plain TCP.

    python3 tests/bench/http.py [SECONDS [ROUNDS]]     SECONDS a round (3), ROUNDS (5)

Everything runs on loopback and takes turns; what counts is the ratio of the medians. Adit is there twice: as it comes,
with a worker for each processor, and with one worker, which is what nginx and the load generator have here. Needs
nginx, wrk and the release binary; rathole is left out where it is not installed. CPU is that of the processes in the
middle, from /proc.
"""

import os
import pathlib
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
ADIT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/adit"
PLACE = pathlib.Path(tempfile.mkdtemp(prefix="adit-bench-"))
PLACE.chmod(0o755)
TICKS = os.sysconf("SC_CLK_TCK")
os.environ["PATH"] += ":/usr/sbin"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def nginx(name, server):
    """An nginx with one worker; returns its process."""
    place = PLACE / name
    place.mkdir()
    (place / "nginx.conf").write_text(
        f"""daemon off; pid {place}/pid; error_log {place}/log; worker_processes 1;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000; proxy_temp_path {place}/p; client_body_temp_path {place}/b;
                fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s; {server} }}"""
    )
    return subprocess.Popen(["nginx", "-c", place / "nginx.conf"], stderr=subprocess.DEVNULL)


def start(*command, **variables):
    log = (PLACE / "log").open("ab")
    return subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=os.environ | variables)


def children(process):
    """A process and those it has started."""
    tasks = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [process.pid, *map(int, tasks.read_text().split())]


def cpu(processes):
    """Seconds of all of them so far."""
    total = 0
    for pid in (pid for process in processes for pid in children(process)):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
            one.settimeout(1)
            one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return one.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def adit(name, upstream, **variables):
    """A server and a client: the ports of an entry of HTTP and of one of TCP, and the processes."""
    place = PLACE / name
    place.mkdir()
    token = place / "token"
    token.write_text(secrets.token_hex())
    control, proxy, http, tcp = free_port(), free_port(), free_port(), free_port()
    (place / "server.yaml").write_text(
        f"bind: 127.0.0.1\ncontrol: {{ port: {control} }}\nproxy: {{ port: {proxy} }}\n"
        f'admin: {{ listen: "127.0.0.1:{free_port()}" }}\nentries:\n'
        f'  - {{ name: www, kind: http, listen: "127.0.0.1:{http}" }}\n'
        f'  - {{ name: tcp, listen: "127.0.0.1:{tcp}" }}\n'
    )
    server = start(ADIT, "server", "-c", place / "server.yaml", "--token-file", token, **variables)
    client = ["--server", f"127.0.0.1:{control}", "--local", f"127.0.0.1:{upstream}", "--token-file", token]
    return http, tcp, [server, start(ADIT, "client", "--client-id", "a", *client, **variables)]


def programs(upstream):
    """Name -> port and the processes in the middle."""
    found = {}
    port = free_port()
    pool = f"upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}"
    location = 'location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }'
    found["nginx"] = (port, [nginx("proxy", f"{pool} server {{ listen 127.0.0.1:{port}; {location} }}")])

    http, tcp, both = adit("adit", upstream)
    found["adit http"], found["adit tcp"] = (http, both), (tcp, both)
    # As many as nginx has.
    http, _, both = adit("adit-1", upstream, TOKIO_WORKER_THREADS="1")
    found["one worker"] = (http, both)

    if shutil.which("rathole"):
        control, port = free_port(), free_port()
        (PLACE / "server.toml").write_text(
            f'[server]\nbind_addr = "127.0.0.1:{control}"\ndefault_token = "t"\n'
            f'[server.services.s]\nbind_addr = "127.0.0.1:{port}"\n'
        )
        (PLACE / "client.toml").write_text(
            f'[client]\nremote_addr = "127.0.0.1:{control}"\ndefault_token = "t"\n'
            f'[client.services.s]\nlocal_addr = "127.0.0.1:{upstream}"\n'
        )
        both = [start("rathole", "--server", PLACE / "server.toml"), start("rathole", "--client", PLACE / "client.toml")]
        found["rathole"] = (port, both)
    else:
        print("rathole is not installed: left out")
    return found


def load(port, visitors):
    """Requests a second, and the 99th percentile in milliseconds."""
    command = ["wrk", "-t1", f"-c{visitors}", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    if re.search("Non-2xx|Socket errors", said):
        sys.exit(said)
    value, unit = re.search(r"99%\s+([0-9.]+)(us|ms|s)", said).groups()
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", said)[1])
    return rate, float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def main():
    upstream = free_port()
    started = [nginx("upstream", f'server {{ listen 127.0.0.1:{upstream}; location / {{ return 200 "hello\\n"; }} }}')]
    try:
        found = programs(upstream)
        started += [process for _, processes in found.values() for process in processes]
        for name, (port, _) in found.items():
            deadline = time.monotonic() + 10
            while not answers(port):
                if time.monotonic() > deadline:
                    sys.exit(f"{name} does not answer")
                time.sleep(0.05)
        for visitors in [1, 64]:
            seen = {name: [] for name in found}
            for _ in range(ROUNDS):
                for name, (port, processes) in found.items():
                    before = cpu(processes)
                    rate, slow = load(port, visitors)
                    spent = (cpu(processes) - before) / (rate * SECONDS) * 1e6
                    seen[name].append((rate, slow, spent))
            print(f"\n{visitors} visitors at once; medians of {ROUNDS} rounds of {SECONDS} s")
            print(f"{'':12}{'requests/s':>12}{'range':>20}{'p99, ms':>10}{'CPU, us':>10}")
            for name, rounds in seen.items():
                rates, slows, spents = zip(*rounds)
                span = f"({min(rates):,.0f} to {max(rates):,.0f})"
                middle = statistics.median
                print(f"{name:12}{middle(rates):12,.0f}{span:>20}{middle(slows):10.2f}{middle(spents):10.1f}")
            rates = {name: statistics.median(rate for rate, _, _ in rounds) for name, rounds in seen.items()}
            for name in ["adit http", "one worker"]:
                ratios = [f"{rates[name] / rates[other]:.2f} of {other}" for other in rates if other != name]
                print(f"{name}: {', '.join(ratios)}")
    finally:
        for process in started:
            process.terminate()


main()
