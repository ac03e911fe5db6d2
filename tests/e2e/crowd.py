"""Everything at once over one link: a browser, a stream of gRPC, a WebSocket, and a large download.

What comes has to be whole. How long an echo of the WebSocket takes meanwhile is printed, and is no check: it is
above all how long everything waits for a processor.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time

import grpc

from calls import channel_to, method, start_grpc
from nodes import PLACE, WEBSOCKET, Tunnel, check, eventually, note, start
from page import ASSETS, Browser, write_page

HUGE = 1024 * 1024 * 1024
# Each piece of the download begins with its number and is empty otherwise, so that nobody has to keep it.
PIECE = 64 * 1024
IDLE_SECONDS = 3
PING_SECONDS = 0.01


def number(piece):
    return piece.to_bytes(8, "big")


def write_huge():
    with (PLACE / "www/huge").open("wb") as file:
        file.truncate(HUGE)
        for piece in range(HUGE // PIECE):
            file.seek(piece * PIECE)
            file.write(number(piece))


def download(port):
    """How many bytes came as they should before the first that did not, and what curl says."""
    command = ["curl", "--silent", "--show-error", "--max-time", "120", f"http://127.0.0.1:{port}/huge"]
    curl = start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    right = 0
    empty = bytes(PIECE - 8)
    while curl.stdout.read(PIECE) == number(right // PIECE) + empty:
        right += PIECE
    curl.stdout.close()
    return right, curl.stderr.read().decode() + f"curl ends with {curl.wait()}"


def pace(*arguments):
    """One end of the WebSocket; it ends with its input."""
    script = pathlib.Path(__file__).with_name("pace.py")
    pipe = subprocess.PIPE
    process = start(sys.executable, script, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    if process.stdout.readline() != "ready\n":
        check(f"pace.py {arguments[0]} begins", False, process.communicate()[1])
    return process


def ping_pong(port, over):
    """How many messages of one stream came back, one after the other, and what went wrong."""
    asked = queue.SimpleQueue()
    count = 0
    with channel_to(port) as channel:
        stream = channel.stream_stream(method("Both"))(iter(asked.get, None), timeout=120)
        try:
            while not over.wait(PING_SECONDS):
                asked.put(b"%d" % count)
                back = next(stream)
                if back != b"back %d" % count:
                    return count, f"message {count} came back as {back}"
                count += 1
            asked.put(None)
            rest = list(stream)
            return count, rest and f"{rest} behind the last"
        except (grpc.RpcError, StopIteration) as failed:
            return count, repr(failed)
        finally:
            asked.put(None)


def come_first(*ranks):
    """The first get a processor whenever they want one, then the next; everything else gets what they leave."""
    try:
        for rank, processes in enumerate(reversed(ranks), start=1):
            for process in processes:
                for thread in os.listdir(f"/proc/{process.pid}/task"):
                    os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(rank))
    except PermissionError:
        note("nobody may come first here, so nobody does")


def percentiles(trips):
    """p50 and p99, in milliseconds."""
    trips = sorted(trips)
    return [1000 * trips[len(trips) * percent // 100] for percent in (50, 99)]


def check_crowd():
    """Once as it comes; once with processors for Adit as if the load had its own, which leaves what the link costs."""
    write_huge()
    write_page()
    together("crowd", "all share the processors")
    together("crowd-first", "Adit and the echo come first", come_first)


def together(name, how, prepare=lambda *ranks: None):
    upstream = start_grpc()
    echo = pace("echo", WEBSOCKET)
    tunnel = Tunnel(name, link="links: 1")
    tunnel.have_clients(1)
    ask = pace("ask", f"ws://127.0.0.1:{tunnel.websocket}/")
    prepare([echo, ask], [tunnel.server.process, tunnel.clients[0].process])
    idle = time.monotonic()
    time.sleep(IDLE_SECONDS)
    crowded = time.monotonic()

    over = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stream = pool.submit(ping_pong, tunnel.grpc, over)
        try:
            browser = Browser(tunnel)
            eventually("the page is loaded", browser.rounds, seconds=60)
            began = time.monotonic()
            right, said = download(tunnel.www)
            ended = time.monotonic()
            counts = browser.enough()
        finally:
            over.set()
    pings, wrong = stream.result()
    trips, asked_wrong = ask.communicate(timeout=60)
    echo.communicate(timeout=60)
    upstream.stop(0).wait()
    tunnel.kill()

    note(f"everything at once over one link, where {how}")
    check("a download of 1 GiB comes whole", right == HUGE and said == "curl ends with 0", f"{right} bytes\n{said}")
    whole = set(counts) == {ASSETS}
    check(f"Chromium loads {ASSETS} assets whole, {len(counts)} times", whole, f"{counts}\n{browser.log}")
    check(f"{pings} messages of a gRPC stream come back", pings and not wrong, wrong)
    check("the WebSocket ends well", ask.returncode == 0 and echo.returncode == 0, asked_wrong)
    sent, back = json.loads(trips)
    check(f"{len(sent)} messages of a WebSocket come back", len(sent) == len(back), len(back))

    alone = percentiles([to - at for at, to in zip(sent, back) if idle < at < crowded])
    loaded = percentiles([to - at for at, to in zip(sent, back) if began < at < ended])
    note(f"1 GiB in {ended - began:.1f} s; an echo in ms, p50 and p99:")
    note(f"{alone[0]:.2f} and {alone[1]:.2f} alone, {loaded[0]:.2f} and {loaded[1]:.2f} in the crowd")
    note(f"p99 in the crowd is {loaded[1] / alone[1]:.1f} times the one alone")
