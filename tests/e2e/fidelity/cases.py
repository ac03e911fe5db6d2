"""What a case is: the exact bytes of a request and of its answer."""

import dataclasses

from .message import Reader, has_no_body, parse_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclasses.dataclass
class Case:
    """A request over HTTP/1.

    Steps of a visitor are bytes, `("bytewise", bytes)`, `await` (for `100 Continue`) and `half-close`. Steps of an
    upstream are bytes, `body` (reads the body of the request), `("take", bytes)` (reads as many raw bytes) and `close`.
    """

    name: str
    request_steps: list
    answer_steps: list
    # Of each request: says whether its answer has a body.
    methods: list
    # Raw bytes after `101`.
    then: bytes = b""
    # Whether it says something that HTTP/2 upstreams can be asked, too.
    over_http2: bool = True
    answer_parts: list = dataclasses.field(default_factory=list)

    kind = "http1"
    is_connect = False

    @property
    def sent(self):
        return b"".join(
            step[1] if isinstance(step, tuple) else step for step in self.request_steps if step not in WORDS
        )

    @property
    def answered(self):
        return b"".join(step for step in self.answer_steps if isinstance(step, bytes))


WORDS = ("await", "half-close", "close", "body")


@dataclasses.dataclass
class Http2Case:
    """A request over HTTP/2."""

    name: str
    fields: list
    body: bytes
    trailers: list
    answer_steps: list
    answer_parts: list
    # Whether the stream stays open after the head although there is no body yet.
    is_open: bool = False
    # Raw bytes after a final answer to extended CONNECT.
    then: bytes = b""
    # The HTTP/1 case that means the same, where HTTP/2 has its own words for it.
    like: Case = None
    over_http2: bool = True

    kind = "http2"

    @property
    def is_connect(self):
        """Whether it wants a connection of its own within HTTP/2."""
        return any(name == b":protocol" for name, _ in self.fields)

    @property
    def sent(self):
        lines = [name + b": " + value for name, value in self.fields]
        return b"\r\n".join([*lines, b"", self.body])

    answered = Case.answered


def case(name, request, answer=OK, answers=1, then=b"", over_http2=True):
    """A case from a request and an answer, each bytes or steps."""
    request_steps = [request] if isinstance(request, bytes) else request
    answer_steps = ["body", answer] if isinstance(answer, bytes) else answer
    first = next(step[1] if isinstance(step, tuple) else step for step in request_steps)
    method = first.lstrip(b"\r\n").split(b" ")[0]
    made = Case(name, request_steps, answer_steps, [method] * answers, then, over_http2)
    if over_http2:
        made.answer_parts = parts(made.answered, method)
    return made


def case2(name, fields, body=b"", trailers=(), answer=OK, over_http2=True, **more):
    """A case over HTTP/2. `fields` without pseudo-headers are put after those of a plain GET or POST."""
    if not fields or not fields[0][0].startswith(b":"):
        method = b"POST" if body or trailers else b"GET"
        fields = [*pseudo(method), *fields]
    answer_steps = ["body", answer] if isinstance(answer, bytes) else answer
    made = Http2Case(name, fields, body, list(trailers), answer_steps, [], over_http2=over_http2, **more)
    if over_http2:
        made.answer_parts = parts(made.answered, dict(fields).get(b":method"))
    return made


def pseudo(method=b"GET", path=b"/", scheme=b"http", authority=b"www.example.com"):
    return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]


class Bytes:
    """A connection that says what it is given, and ends."""

    def __init__(self, data):
        self.data = data

    def settimeout(self, _):
        pass

    def recv(self, _):
        data, self.data = self.data, b""
        return data


def parts(raw, method):
    """The messages of a raw answer, for upstreams that speak HTTP/2."""
    reader = Reader(Bytes(raw), 5)
    messages = []
    while True:
        message = parse_head(reader.head(), is_answer=True)
        messages.append(message)
        status = message.start[1]
        if status[:1] != b"1" or status == b"101":
            reader.body(message, has_none=has_no_body(method, status), until_close=True)
            return messages


def request(line, *lines, body=b"", host=b"www.example.com"):
    """A request whose head is a line, a host, and more lines."""
    hosts = [b"Host: " + host] if host is not None else []
    return b"\r\n".join([line, *hosts, *lines, b"", body])


def answer(status, *lines, body=b"", version=b"HTTP/1.1"):
    """An answer with exactly these lines."""
    return b"\r\n".join([version + b" " + status, *lines, b"", body])


def chunked(*chunks, trailers=(), end=b"0"):
    """A chunked body."""
    text = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return text + end + b"\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
