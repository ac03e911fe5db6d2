"""One HTTP message as it was seen on a wire, and a reader that takes HTTP/1 apart without judging it."""

import dataclasses
import re
import time

END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
# A longer body is not waited for.
LENGTH_MAX = 1 << 40
HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")


@dataclasses.dataclass
class Message:
    """A request or an answer. All texts are bytes, because what is judged is bytes."""

    # Method, target and version; or version, status and reason. Of HTTP/2 the version is `HTTP/2`.
    start: tuple
    # Names and values in order, without white space around values. `Content-Length` and `Transfer-Encoding` are in
    # `framing`.
    headers: list
    # `none`, `length N`, `stream` (chunked in HTTP/1), `until close`, or another transfer coding.
    framing: str = "none"
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)
    # False where the message ended before its framing said so.
    whole: bool = True
    # Every `Content-Length` and `Transfer-Encoding` as it was sent.
    framing_headers: list = dataclasses.field(default_factory=list)

    def values(self, name):
        return [value for each, value in self.headers if each.lower() == name]

    def brief(self, most=240):
        """One line that shows the message to a reader of a report."""
        lines = [b" ".join(self.start)]
        lines += [name + b": " + value for name, value in self.headers]
        text = " | ".join(shown(line, 80) for line in lines)
        text += f" [{self.framing}]"
        if self.body:
            text += f" body {shown(self.body, 40)}"
        if self.trailers:
            text += " trailers " + " | ".join(shown(n + b": " + v, 60) for n, v in self.trailers)
        if not self.whole:
            text += " CUT"
        return text if len(text) <= most else text[:most] + "…"


def shown(data, most=160):
    """Bytes as a text of one line."""
    text = data.decode("latin-1").encode("unicode_escape").decode()
    return text if len(text) <= most else f"{text[:most]}… ({len(data)} bytes)"


def parse_lines(lines):
    """Header lines as names and values. Folded lines stay with the value that they continue."""
    headers = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and headers:
            name, value = headers[-1]
            headers[-1] = (name, value + b"\r\n" + line)
            continue
        name, colon, value = line.partition(b":")
        headers.append((name, value.strip(b" \t") if colon else b"<no colon>"))
    return headers


def parse_head(head, is_answer):
    """The message whose head this is, without its body."""
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    first = lines[0]
    if is_answer:
        version, _, rest = first.partition(b" ")
        status, _, reason = rest.partition(b" ")
        start = (version, status, reason)
    else:
        method, _, rest = first.partition(b" ")
        target, _, version = rest.rpartition(b" ")
        start = (method, target, version)
    message = Message(start, [])
    for name, value in parse_lines(lines[1:]):
        if name.lower() in (b"content-length", b"transfer-encoding"):
            message.framing_headers.append((name, value))
        else:
            message.headers.append((name, value))
    return message


class Reader:
    """Takes messages from a socket until a deadline."""

    def __init__(self, connection, seconds):
        self.connection = connection
        self.buffer = b""
        self.was_reset = False
        self.extend(seconds)

    def extend(self, seconds):
        self.deadline = time.monotonic() + seconds

    def fill(self):
        """Reads more. False at the end; raises TimeoutError at the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        try:
            data = self.connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
            return False
        self.buffer += data
        return bool(data)

    def head(self):
        """The next head without its empty line. At an end in the middle, what there was; None where nothing was."""
        while True:
            # Empty lines before a request are no part of it (RFC 9112, section 2.2).
            self.buffer = self.buffer.lstrip(b"\r\n")
            found = END_OF_HEAD.search(self.buffer)
            if found:
                head, self.buffer = self.buffer[: found.start()], self.buffer[found.end() :]
                return head
            if not self.fill():
                head, self.buffer = self.buffer, b""
                return head or None

    def line(self):
        while b"\n" not in self.buffer:
            if not self.fill():
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.removesuffix(b"\r")

    def take(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                break
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def body(self, message, has_none=False, until_close=False):
        """Reads the body of `message` and says how it was framed."""
        codings = [value for name, value in message.framing_headers if name.lower() == b"transfer-encoding"]
        lengths = [value for name, value in message.framing_headers if name.lower() == b"content-length"]
        coding = b", ".join(codings).lower()
        first = lengths[0].split(b",")[0].strip() if lengths else b""
        if coding:
            message.framing = "stream" if coding == b"chunked" else f"coding {shown(coding)}"
        elif lengths:
            message.framing = f"length {int(first) if first.isdigit() else shown(first)}"
        elif until_close and not has_none:
            message.framing = "until close"
        if has_none:
            return
        if coding.endswith(b"chunked"):
            self.chunks(message)
        elif first.isdigit() and int(first) > LENGTH_MAX:
            message.whole = False
        elif first.isdigit() and not coding:
            message.body = self.take(int(first))
            message.whole = len(message.body) == int(first)
        elif until_close:
            message.body = self.rest()

    def chunks(self, message):
        while True:
            line = self.line()
            size = HEXADECIMAL.match(line or b"")
            if not size:
                message.whole = False
                return
            size = int(size.group(), 16)
            if size == 0:
                break
            data = self.take(size)
            message.body += data
            if len(data) < size or self.line() is None:
                message.whole = False
                return
        lines = []
        while line := self.line():
            lines.append(line)
        message.whole = line is not None
        message.trailers = parse_lines(lines)


def has_no_body(method, status):
    return method == b"HEAD" or status in (b"204", b"304") or status[:1] == b"1"
