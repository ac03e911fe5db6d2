"""gRPC through an HTTP entry: Python's grpcio on both sides."""

import collections
import concurrent.futures
import time

import grpc

from nodes import GRPC, check


EXECUTION_SECONDS = 0.005

# A unary call at the upstream, the connection it came on, and when.
Executed = collections.namedtuple("Executed", "name peer at")


def method(name):
    return f"/shop.Cart/{name}"


def channel_to(port):
    """A channel with a connection of its own, where what fails is not tried again."""
    options = {"grpc.enable_http_proxy": 0, "grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1}
    return grpc.insecure_channel(f"127.0.0.1:{port}", list(options.items()))


def start_grpc(executed=None):
    """An upstream; of each unary call it adds what it saw to `executed`."""

    def unary(request, context):
        if executed is not None:
            executed.append(Executed(request, context.peer(), time.monotonic()))
            # So that some are under way whenever a client dies: one that is then sent again is executed twice.
            time.sleep(EXECUTION_SECONDS)
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
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Cart", handlers)])
    server.add_insecure_port(f"127.0.0.1:{GRPC}")
    server.start()
    return server


def check_grpc(tunnel):
    server = start_grpc()
    with channel_to(tunnel.grpc) as channel:
        check("unary", channel.unary_unary(method("Unary"))(b"x", timeout=10) == b"unary x")
        got = list(channel.unary_stream(method("Down"))(b"1000", timeout=20))
        check("server streaming", got == [b"%d" % n for n in range(1000)], got[:5])
        got = channel.stream_unary(method("Up"))(iter([b"a"] * 1000), timeout=20)
        check("client streaming", got == b"a" * 1000)

        def ask():
            for n in range(100):
                yield b"%d" % n

        got = list(channel.stream_stream(method("Both"))(ask(), timeout=20))
        check("bidirectional streaming", got == [b"back %d" % n for n in range(100)], got[:5])

        def code(call):
            try:
                call()
                return None
            except grpc.RpcError as error:
                return error.code()

        found = code(lambda: channel.unary_unary(method("Fail"))(b"", timeout=10))
        check("an error of the upstream", found == grpc.StatusCode.NOT_FOUND, found)
        found = code(lambda: channel.unary_unary(method("Slow"))(b"", timeout=1))
        check("a deadline", found == grpc.StatusCode.DEADLINE_EXCEEDED, found)
        call = channel.unary_unary(method("Slow")).future(b"")
        call.cancel()
        check("a cancellation", call.cancelled())
        large = b"l" * 3_000_000
        check("3 MB each way", channel.unary_unary(method("Unary"))(large, timeout=20) == b"unary " + large)
        server.stop(0).wait()
        found = code(lambda: channel.unary_unary(method("Unary"))(b"x", timeout=10))
        check("an upstream that is gone is UNAVAILABLE", found == grpc.StatusCode.UNAVAILABLE, found)
