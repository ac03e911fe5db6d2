"""Visitors that send exactly the bytes of a case and record exactly what comes back."""

import contextlib
import dataclasses
import socket
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from .message import Reader, has_no_body, parse_head
from .upstream import AFTER, AFTER_REQUEST, http2_message

# Nobody on loopback needs so long; who does is taken to be stuck.
SECONDS = 5


@dataclasses.dataclass
class Exchange:
    """What one case did on one path."""

    # What the upstream saw.
    requests: list = dataclasses.field(default_factory=list)
    interims: list = dataclasses.field(default_factory=list)
    answers: list = dataclasses.field(default_factory=list)
    # `answered`, `closed`, `stuck`; of HTTP/2 also `reset`.
    end: str = "answered"
    # What became of the connection: `open` if it carried another request, `closed`, `left` if the visitor closed its
    # side first, or `broken` if the next request was answered wrong.
    after: str = "closed"

    def brief(self):
        seen = " || ".join(each.brief() for each in self.requests) or "nothing"
        got = [each.brief(160) for each in [*self.interims, *self.answers]]
        return (
            f"upstream saw: {seen}\n{'':15}visitor got: {' || '.join(got) or 'nothing'}; {self.end}, then {self.after}"
        )


def visit(port, case, seconds=SECONDS):
    """Sends the request of `case` over HTTP/1."""
    exchange = Exchange()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection, seconds)
        try:
            is_closed = talk(connection, reader, case, exchange)
        except TimeoutError:
            exchange.end = "stuck"
            return exchange
        if not is_closed:
            exchange.after = after(connection, reader, seconds)
    return exchange


def talk(connection, reader, case, exchange):
    """Follows the script of the visitor. True if the connection cannot be asked anything more."""
    is_closed = False
    for step in case.request_steps:
        if step == "await":
            # Whoever expects `100 Continue` sends the body only after it, and not at all after a final answer.
            if not read_interim(reader, exchange):
                break
        elif step == "half-close":
            connection.shutdown(socket.SHUT_WR)
            is_closed = True
        elif isinstance(step, tuple):
            for byte in step[1]:
                send(connection, bytes([byte]))
        elif len(step) > 1 << 16:
            threading.Thread(target=send, args=[connection, step], daemon=True).start()
        else:
            send(connection, step)
    if is_closed:
        exchange.after = "left"
    for method in case.methods:
        answer = read_answer(reader, exchange, method, case)
        if answer is None:
            exchange.end = "closed"
            return True
        exchange.answers.append(answer)
        if answer.start[1] == b"101" and case.then:
            send(connection, case.then)
            answer.body = reader.rest()
            return True
        if answer.framing == "until close" or not answer.whole:
            return True
    return is_closed


def send(connection, data):
    # A server that has answered may close before it has read everything. What it answered is still read.
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
        connection.sendall(data)


def read_interim(reader, exchange):
    """Reads interim answers up to `100 Continue`. False if a final answer comes, which stays to be read."""
    while True:
        while b"\r\n\r\n" not in reader.buffer:
            if not reader.fill():
                return False
        status = reader.buffer.split(b" ")[1][:3]
        if status[:1] != b"1":
            return False
        exchange.interims.append(parse_head(reader.head(), is_answer=True))
        if status == b"100":
            return True


def read_answer(reader, exchange, method, case):
    while True:
        head = reader.head()
        if head is None:
            return None
        answer = parse_head(head, is_answer=True)
        status = answer.start[1]
        if status[:1] == b"1" and len(status) == 3 and status != b"101":
            exchange.interims.append(answer)
            continue
        is_raw = status == b"101" and case.then
        reader.body(answer, has_none=has_no_body(method, status) or is_raw, until_close=True)
        return answer


def after(connection, reader, seconds):
    """Whether the connection carries another request."""
    reader.extend(seconds)
    send(connection, AFTER_REQUEST)
    try:
        head = reader.head()
        if head is None:
            return "closed"
        answer = parse_head(head, is_answer=True)
        reader.body(answer, until_close=True)
    except TimeoutError:
        return "stuck"
    if answer.body == b"after":
        return "open"
    # A refusal of what was left of the case closes the connection; anything else is a connection out of step.
    return "refused" if answer.start[1] == b"400" else f"broken: {answer.brief()}"


def visit_http2(port, case, seconds=SECONDS):
    """Sends the request of `case` over HTTP/2."""
    exchange = Exchange()
    config = h2.config.H2Configuration(
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        normalize_inbound_headers=False,
    )
    http2 = h2.connection.H2Connection(config)
    http2.initiate_connection()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends = not case.body and not case.trailers and not case.is_open
        try:
            http2.send_headers(1, case.fields, end_stream=ends)
            if case.body or (case.is_open and not case.trailers and not case.then):
                for at in range(0, len(case.body) or 1, 16384):
                    is_last = at + 16384 >= len(case.body)
                    http2.send_data(1, case.body[at : at + 16384], end_stream=is_last and not case.trailers)
            if case.trailers:
                http2.send_headers(1, case.trailers, end_stream=True)
            exchange.end = listen(connection, http2, 1, exchange, seconds, case.then)
            if exchange.end in ("answered", "reset"):
                probe = Exchange()
                http2.send_headers(3, AFTER_FIELDS, end_stream=True)
                end = listen(connection, http2, 3, probe, seconds)
                is_open = end == "answered" and probe.answers[0].body == b"after"
                exchange.after = "open" if is_open else "closed"
        except (ConnectionError, h2.exceptions.ProtocolError):
            exchange.end = "closed"
        except TimeoutError:
            exchange.end = "stuck"
    return exchange


AFTER_FIELDS = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"www.example.com"),
    (b":path", AFTER),
]


def listen(connection, http2, stream, exchange, seconds, then=b""):
    """Reads until the stream is over, and says how it ended."""
    deadline = time.monotonic() + seconds
    connection.sendall(http2.data_to_send())
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(1 << 16)
        if not data:
            return "closed"
        end = None
        for event in http2.receive_data(data):
            end = end or take(event, http2, stream, exchange)
        if then and exchange.answers and not end:
            http2.send_data(stream, then)
            then = b""
        connection.sendall(http2.data_to_send())
        if end:
            return end


def take(event, http2, stream, exchange):
    """Notes one event. The way the stream ended, if it did."""
    if isinstance(event, h2.events.ConnectionTerminated):
        return "closed"
    if getattr(event, "stream_id", None) != stream:
        return None
    if isinstance(event, h2.events.InformationalResponseReceived):
        exchange.interims.append(http2_message(event.headers))
    elif isinstance(event, h2.events.ResponseReceived):
        exchange.answers.append(http2_message(event.headers))
    elif isinstance(event, h2.events.DataReceived):
        answer = exchange.answers[-1]
        answer.body += event.data
        answer.framing = answer.framing.replace("none", "stream")
        http2.acknowledge_received_data(event.flow_controlled_length, stream)
    elif isinstance(event, h2.events.TrailersReceived):
        exchange.answers[-1].trailers = list(event.headers)
    elif isinstance(event, h2.events.StreamEnded):
        return "answered"
    elif isinstance(event, h2.events.StreamReset):
        if exchange.answers:
            exchange.answers[-1].whole = False
            return "answered"
        return "reset"
    return None
