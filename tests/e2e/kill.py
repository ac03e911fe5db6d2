"""One of three clients dies under load."""

import collections
import concurrent.futures
import itertools
import re
import subprocess
import threading
import time

import grpc

from calls import channel_to, method, start_grpc
from nodes import Tunnel, check, note, start

LOAD_SECONDS = 4
CHANNELS = 4
# Calls that are in flight at once.
CALLERS = 16
# Seconds in which the server hears at the latest that a client's connection ended.
NOTICED = 0.25

Call = collections.namedtuple("Call", "name began ended error")


def kill_one(tunnel):
    """The moments before and after the death of a client."""
    victim = tunnel.clients.pop(0)
    before = time.monotonic()
    victim.kill()
    return before, time.monotonic()


def check_kill(tunnel):
    """Requests that may be repeated: none fails."""
    www = f"http://127.0.0.1:{tunnel.www}/"
    loads = {
        "wrk": ["wrk", "-t1", "-c16", f"-d{LOAD_SECONDS}", www],
        "h2load": ["h2load", "-c4", "-m10", "-D", str(LOAD_SECONDS), www],
    }
    for name, command in loads.items():
        tunnel.have_clients(3)
        load = start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(LOAD_SECONDS / 2)
        kill_one(tunnel)
        said = load.communicate(timeout=60)[0].decode()
        if name == "wrk":
            failed = re.search("Non-2xx|Socket errors", said)
        else:
            failed = not re.search(r" 0 failed, 0 errored", said) or not re.search(r" 0 4xx, 0 5xx", said)
        check(f"no request of {name} fails while one of 3 clients is killed", not failed, said)
        rate = re.search(r"Requests/sec: *([0-9.]+)|, ([0-9.]+) req/s", said)
        note(f"{rate and (rate[1] or rate[2])} requests a second")


def check_kill_grpc():
    """Calls of gRPC may not be repeated: those that the dead client has may fail, and none is executed twice."""
    executed = []
    upstream = start_grpc(executed)
    # A tunnel that has not seen this upstream fail, so that all clients are asked from the beginning.
    tunnel = Tunnel("calls")
    tunnel.have_clients(3)
    over = threading.Event()
    channels = [channel_to(tunnel.grpc) for _ in range(CHANNELS)]

    def call(caller):
        unary = channels[caller % CHANNELS].unary_unary(method("Unary"))
        calls = []
        for n in itertools.count():
            if over.is_set():
                return calls
            name = b"%d of caller %d" % (n, caller)
            began = time.monotonic()
            try:
                back = unary(name, timeout=10)
                error = None if back == b"unary " + name else f"the answer {back}"
            except grpc.RpcError as failed:
                error = failed
            calls.append(Call(name, began, time.monotonic(), error))

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call, caller) for caller in range(CALLERS)]
        try:
            time.sleep(LOAD_SECONDS / 2)
            before, after = kill_one(tunnel)
            time.sleep(LOAD_SECONDS / 2)
        finally:
            over.set()
    calls = [one for caller in callers for one in caller.result()]
    for channel in channels:
        channel.close()
    upstream.stop(0).wait()
    tunnel.kill()
    judge(calls, executed, before, after)


def judge(calls, executed, before, after):
    failed = [one for one in calls if one.error]
    wrong = [one for one in failed if code_of(one.error) != grpc.StatusCode.UNAVAILABLE]
    check("whatever call fails is UNAVAILABLE", not wrong, wrong[:5])
    wrong = [one for one in failed if one.ended < before or one.began > after + NOTICED]
    seen = [(one.name, one.began - after, one.ended - after, one.error) for one in wrong[:5]]
    check("no call fails that was not on its way when the client died", not wrong, seen)
    check(f"no more fail than were on their way: {len(failed)} of {CALLERS}", len(failed) <= CALLERS, failed)
    later = [one for one in calls if one.began > after + NOTICED]
    check("calls go on after it", len(later) > CALLERS, len(later))

    times = collections.Counter(one.name for one in executed)
    twice = [name for name, count in times.items() if count > 1]
    check("no call is executed twice", not twice, twice[:5])
    never = [one.name for one in calls if not one.error and not times[one.name]]
    check("every call that succeeds was executed", not never, never[:5])
    peers = {one.peer for one in executed if one.at < before}
    alive = {one.peer for one in executed if one.at > after + NOTICED}
    seen = f"{peers} before, {alive} after"
    check("the one that died had calls, as the others have", len(peers) >= 3 and alive < peers, seen)

    late = sum(one.began > after for one in failed)
    done = sum(times[one.name] for one in failed)
    note(f"{len(calls) / LOAD_SECONDS:.0f} calls a second; of those that failed {done} were executed, {late} were late")


def code_of(error):
    return error.code() if isinstance(error, grpc.RpcError) else error
