"""Upstreams that record every byte of a request and answer with the bytes of the case.

Each path has its own, and one case at a time.
"""

import contextlib
import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from .message import Message, Reader, parse_head

AFTER = b"/after-the-case"
AFTER_REQUEST = b"GET " + AFTER + b" HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
AFTER_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter"
# A connection that a proxy keeps may rest for so long.
REST_SECONDS = 120


class Upstream:
    """A listener that records what comes for the case that is on."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.state = threading.Condition()
        self.case = None
        self.seen = []
        self.busy = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def begin(self, case):
        with self.state:
            self.case, self.seen = case, []

    def finish(self, seconds=1):
        """What was seen, once nobody is in the middle of a request any more."""
        with self.state:
            self.state.wait_for(lambda: self.busy == 0, seconds)
            return self.seen

    def record(self, message):
        with self.state:
            self.seen.append(message)

    @contextlib.contextmanager
    def at_work(self):
        with self.state:
            self.busy += 1
        try:
            yield
        finally:
            with self.state:
                self.busy -= 1
                self.state.notify_all()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.guard, args=[connection], daemon=True).start()

    def guard(self, connection):
        # A proxy may leave at any time; what was recorded is judged, not how it left.
        with connection, contextlib.suppress(OSError):
            self.serve(connection)


class Http1Upstream(Upstream):
    def serve(self, connection):
        reader = Reader(connection, REST_SECONDS)
        while True:
            reader.extend(REST_SECONDS)
            head = reader.head()
            if head is None:
                return
            message = parse_head(head, is_answer=False)
            if message.start[1] == AFTER:
                connection.sendall(AFTER_ANSWER)
                continue
            with self.at_work():
                self.record(message)
                goes_on = self.answer(connection, reader, message)
            if not goes_on:
                return

    def answer(self, connection, reader, message):
        """Follows the script of the case. True if the connection carries another request."""
        reader.extend(5)
        said = b""
        for step in self.case.answer_steps:
            if step == "body":
                try:
                    reader.body(message)
                except TimeoutError:
                    message.whole = False
            elif step == "close":
                # A close with unread bytes would reset the connection and may lose the answer.
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(TimeoutError):
                    reader.rest()
                return False
            elif isinstance(step, tuple):
                message.body += reader.take(len(step[1]))
            else:
                said += step
                connection.sendall(step)
        return goes_on(message, said)


def goes_on(message, said):
    """Whether both sides mean to keep the connection, as a plain server decides it."""
    words = b",".join(message.values(b"connection")).lower()
    if b"close" in words or (message.start[2] == b"HTTP/1.0" and b"keep-alive" not in words):
        return False
    head = said.lower().replace(b"\r", b"")
    status = said.split(b" ")[1:2]
    framed = b"content-length" in head or b"chunked" in head or status in ([b"204"], [b"304"])
    return framed and b"connection: close" not in head and not head.startswith(b"http/1.0")


class Http2Upstream(Upstream):
    def serve(self, connection):
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            # It would join cookies.
            normalize_inbound_headers=False,
        )
        http2 = h2.connection.H2Connection(config)
        http2.initiate_connection()
        connection.sendall(http2.data_to_send())
        connection.settimeout(REST_SECONDS)
        streams = {}
        while data := connection.recv(1 << 16):
            try:
                events = http2.receive_data(data)
            except h2.exceptions.ProtocolError:
                connection.sendall(http2.data_to_send())
                return
            for event in events:
                self.take(event, http2, streams)
                connection.sendall(http2.data_to_send())

    def take(self, event, http2, streams):
        if isinstance(event, h2.events.RequestReceived):
            message = http2_message(event.headers)
            streams[event.stream_id] = message
            if message.start[1] != AFTER:
                self.record(message)
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id].body += event.data
            streams[event.stream_id].framing = streams[event.stream_id].framing.replace("none", "stream")
            http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            streams[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            message = streams[event.stream_id]
            answer = AFTER_PARTS if message.start[1] == AFTER else self.case.answer_parts
            # A stream may be reset before its answer.
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                send_parts(http2, event.stream_id, answer, message.start[0])


def http2_message(fields):
    """A message from the fields of HTTP/2. The authority becomes a `host` field in front of the others."""
    pseudo = {}
    headers, framing = [], []
    for name, value in fields:
        name, value = bytes(name), bytes(value)
        if name.startswith(b":"):
            pseudo[name] = value
        elif name == b"content-length":
            framing.append((name, value))
        else:
            headers.append((name, value))
    if b":authority" in pseudo:
        headers.insert(0, (b"host", pseudo[b":authority"]))
    if b":protocol" in pseudo:
        headers.insert(0, (b":protocol", pseudo[b":protocol"]))
    if b":status" in pseudo:
        start = (b"HTTP/2", pseudo[b":status"], b"")
    else:
        start = (pseudo.get(b":method", b""), pseudo.get(b":path", b""), b"HTTP/2")
    message = Message(start, headers, framing_headers=framing)
    if framing:
        message.framing = f"length {framing[0][1].decode('latin-1')}"
    return message


def send_parts(http2, stream, parts, method):
    """Sends an answer, given as its messages: interim ones, then the final one."""
    for message in parts:
        status = message.start[1]
        fields = [(b":status", status), *((name.lower(), value) for name, value in message.headers)]
        fields += [
            (name.lower(), value) for name, value in message.framing_headers if name.lower() == b"content-length"
        ]
        is_last = message is parts[-1]
        body = b"" if method == b"HEAD" else message.body
        ends = is_last and not body and not message.trailers
        http2.send_headers(stream, fields, end_stream=ends)
        if body:
            for at in range(0, len(body), 8192):
                at_end = at + 8192 >= len(body)
                http2.send_data(stream, body[at : at + 8192], end_stream=at_end and not message.trailers)
        if message.trailers:
            http2.send_headers(stream, [(n.lower(), v) for n, v in message.trailers], end_stream=True)


AFTER_PARTS = [Message((b"HTTP/1.1", b"200", b"OK"), [], body=b"after")]
