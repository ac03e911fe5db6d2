"""Raw answers of an HTTP/1 upstream."""

from .cases import OK, answer, case, chunked, request

GET = request(b"GET /a HTTP/1.1")
HEAD = request(b"HEAD /a HTTP/1.1")
POST = request(b"POST /a HTTP/1.1", b"Content-Length: 5", body=b"hello")
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH_0 = b"Content-Length: 0"
LENGTH_5 = b"Content-Length: 5"
HELLO = b"hello"
CLOSE = b"Connection: close"


def got(name, raw, sent=GET, over_http2=False, **more):
    return case(f"answer: {name}", sent, raw, over_http2=over_http2, **more)


def statuses():
    for status in [
        b"200 OK",
        b"201 Created",
        b"202 Accepted",
        b"203 Non-Authoritative Information",
        b"205 Reset Content",
        b"206 Partial Content",
        b"226 IM Used",
        b"299 Fine",
        b"300 Multiple Choices",
        b"301 Moved Permanently",
        b"400 Bad Request",
        b"404 Not Found",
        b"407 Proxy Authentication Required",
        b"418 I'm a teapot",
        b"426 Upgrade Required",
        b"451 Unavailable For Legal Reasons",
        b"499 Gone",
        b"500 Internal Server Error",
        b"502 Bad Gateway",
        b"503 Service Unavailable",
        b"508 Loop Detected",
        b"599 Late",
        b"600 Odd",
        b"700 Odder",
        b"999 Request denied",
    ]:
        yield got(f"status {status.decode()}", answer(status, LENGTH_0), over_http2=True)
    yield got("201 with a body", answer(b"201 Created", LENGTH_5, b"Location: /a", body=HELLO), POST, over_http2=True)
    yield got("204", answer(b"204 No Content", b"X-A: 1"), over_http2=True)
    yield got("204 with length 0", answer(b"204 No Content", LENGTH_0))
    yield got("204 with a length", answer(b"204 No Content", LENGTH_5))
    yield got("204 with an encoding", answer(b"204 No Content", CHUNKED))
    yield got("205 without a length", [b"", "body", answer(b"205 Reset Content"), "close"])
    yield got("205 with length 0", answer(b"205 Reset Content", LENGTH_0))
    yield got("304", answer(b"304 Not Modified", b'ETag: "a"'), over_http2=True)
    yield got(
        "304 with the length of the body",
        answer(b"304 Not Modified", b"Content-Length: 1234", b'ETag: "a"'),
        over_http2=True,
    )
    yield got("304 with length 0", answer(b"304 Not Modified", LENGTH_0), over_http2=True)
    yield got("304 with an encoding", answer(b"304 Not Modified", CHUNKED))
    for status in [b"000 Zero", b"099 Low", b"1000 Long", b"20 Short", b"abc Word", b"-20 Less"]:
        yield got(f"status {status.decode()}", answer(status, LENGTH_0, CLOSE))
    yield got(
        "101 that nobody asked for",
        ["body", answer(b"101 Switching Protocols", b"Upgrade: x", b"Connection: Upgrade"), "close"],
    )


def heads():
    yield got("HEAD with a length", answer(b"200 OK", b"Content-Length: 1234"), HEAD, over_http2=True)
    yield got("HEAD with length 0", answer(b"200 OK", LENGTH_0), HEAD, over_http2=True)
    yield got("HEAD without a length", answer(b"200 OK"), HEAD, over_http2=True)
    yield got("HEAD that is chunked", answer(b"200 OK", CHUNKED), HEAD)
    yield got("HEAD with 404", answer(b"404 Not Found", b"Content-Length: 9"), HEAD, over_http2=True)
    yield got("HEAD with 304 and a length", answer(b"304 Not Modified", b"Content-Length: 9"), HEAD, over_http2=True)
    yield got("HEAD with a body all the same", ["body", answer(b"200 OK", LENGTH_5, CLOSE, body=HELLO), "close"], HEAD)
    yield got(
        "HEAD with HTTP/1.0", ["body", answer(b"200 OK", b"Content-Length: 7", version=b"HTTP/1.0"), "close"], HEAD
    )


def interims():
    hints = answer(b"103 Early Hints", b"Link: </a.css>; rel=preload", b"Link: </b.js>; rel=preload")
    for status, name in [
        (b"102 Processing", "102"),
        (b"103 Early Hints", "103"),
        (b"199 Odd", "199"),
        (b"104 Upload Resumption Supported", "104"),
    ]:
        yield got(f"interim {name}", answer(status, b"X-A: b") + OK, over_http2=True)
    yield got("interim 100 that nobody expects", answer(b"100 Continue") + OK)
    yield got("interim 103 three times", hints + hints + hints + OK, over_http2=True)
    yield got("interim 102 and 103", answer(b"102 Processing") + hints + OK, over_http2=True)
    yield got("interim 103 to HTTP/1.0", hints + OK, request(b"GET /a HTTP/1.0"))
    yield got("interim 103 before 304", hints + answer(b"304 Not Modified"), over_http2=True)
    yield got("interim with a reason of its own", answer(b"103 hints from me") + OK)
    yield got("interim with a case of names", answer(b"103 Early Hints", b"X-CuStOm: 1") + OK)
    yield got("interim before the body of the request is read", [hints, "body", OK], POST)


def first_lines():
    for name, line in [
        ("empty reason", b"200 "),
        ("no space behind the code", b"200"),
        ("reason of its own", b"200 Alles klar"),
        ("reason that contradicts", b"200 Not Found"),
        ("reason with several spaces", b"200  a  b "),
        ("reason with a tab", b"200 a\tb"),
        ("reason in UTF-8", "200 Schön €".encode()),
        ("reason in Latin-1", b"200 Sch\xf6n"),
        ("reason of 1 kB", b"200 " + b"r" * 1000),
        ("reason with punctuation", b'404 (no) [such] {thing}: <x>; "y"/z\\'),
        ("reason with a control character", b"200 a\x01b"),
        ("code with text", b"200OK"),
    ]:
        yield got(name, answer(line, LENGTH_5, body=HELLO))
    for version in [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"ICY", b"HTTP/1"]:
        yield got(
            f"version {version.decode()}", ["body", answer(b"200 OK", LENGTH_5, version=version, body=HELLO), "close"]
        )
    yield got(
        "HTTP/1.0 with keep-alive",
        answer(b"200 OK", LENGTH_5, b"Connection: keep-alive", version=b"HTTP/1.0", body=HELLO),
    )
    yield got("two spaces before the code", answer(b" 200 OK", LENGTH_5, body=HELLO))
    yield got("no head at all", ["body", b"hello there\r\n", "close"])
    yield got("nothing at all", ["body", "close"], POST)
    yield got("a head that breaks off", ["body", b"HTTP/1.1 200 OK\r\nContent-Le", "close"], POST)
    yield got("CRLF before the answer", b"\r\n" + answer(b"200 OK", LENGTH_5, body=HELLO))


def framings():
    def until_close(name, raw, sent=GET):
        return got(name, ["body", raw, "close"], sent)

    yield until_close("body until close", answer(b"200 OK", CLOSE, body=HELLO))
    yield until_close("body until close with HTTP/1.0", answer(b"200 OK", version=b"HTTP/1.0", body=HELLO))
    yield until_close("empty body until close", answer(b"200 OK"))
    yield until_close("body until close to HTTP/1.0", answer(b"200 OK", body=HELLO), request(b"GET /a HTTP/1.0"))
    yield until_close("large body until close", answer(b"200 OK", body=bytes(range(256)) * 2000))
    for name, body in [
        ("chunked", chunked(HELLO, b"world")),
        ("chunked and empty", chunked()),
        ("chunk extensions", b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        ("white space behind a chunk size", b"5   \r\nhello\r\n0\r\n\r\n"),
        ("upper-case chunk size", b"A\r\n0123456789\r\n0\r\n\r\n"),
        ("leading zeros of a chunk size", b"00000005\r\nhello\r\n0000\r\n\r\n"),
        ("one large chunk", chunked(b"x" * 300_000)),
        ("many small chunks", chunked(*[b"y"] * 500)),
        ("chunks ended by LF alone", b"5\nhello\n0\n\n"),
        ("trailers", chunked(HELLO, trailers=[b"X-Sum: 1", b"x-OTHER: 2"])),
    ]:
        yield got(name, answer(b"200 OK", CHUNKED, body=body), over_http2=name in ("chunked", "trailers"))
    wanted = request(b"GET / HTTP/1.1", b"TE: trailers")
    raw = answer(b"200 OK", CHUNKED, body=chunked(HELLO, trailers=[b"X-Sum: 1"]))
    yield got("trailers that are wanted and not announced", raw, wanted, over_http2=True)
    announced = answer(b"200 OK", CHUNKED, b"Trailer: X-Sum", body=chunked(HELLO, trailers=[b"X-Sum: 1"]))
    yield got(
        "trailers that are announced and wanted",
        announced,
        request(b"GET / HTTP/1.1", b"TE: trailers", b"Connection: TE"),
        over_http2=True,
    )
    yield got("chunked to HTTP/1.0", answer(b"200 OK", CHUNKED, body=chunked(HELLO)), request(b"GET / HTTP/1.0"))
    yield got(
        "chunked to HTTP/1.0 with keep-alive",
        answer(b"200 OK", CHUNKED, body=chunked(HELLO)),
        request(b"GET / HTTP/1.0", b"Connection: keep-alive"),
    )
    yield got("Transfer-Encoding: Chunked", answer(b"200 OK", b"Transfer-Encoding: Chunked", body=chunked(HELLO)))
    yield until_close("chunked that breaks off", answer(b"200 OK", CHUNKED, body=b"5\r\nhello\r\n5\r\nwo"))
    yield until_close("chunked without its last chunk", answer(b"200 OK", CHUNKED, body=b"5\r\nhello\r\n"))
    yield until_close("chunk size that is none", answer(b"200 OK", CHUNKED, CLOSE, body=b"zz\r\nhello\r\n"))
    yield until_close("length and cut short", answer(b"200 OK", b"Content-Length: 10", body=HELLO))
    yield until_close("longer than its length", answer(b"200 OK", LENGTH_5, CLOSE, body=b"hello, world"))
    yield until_close("the same length twice", answer(b"200 OK", LENGTH_5, LENGTH_5, CLOSE, body=HELLO))
    yield until_close("the same length in a list", answer(b"200 OK", b"Content-Length: 5, 5", CLOSE, body=HELLO))
    yield until_close(
        "hazard: lengths that differ", answer(b"200 OK", LENGTH_5, b"Content-Length: 3", CLOSE, body=HELLO)
    )
    yield until_close(
        "hazard: a length and an encoding", answer(b"200 OK", LENGTH_5, CHUNKED, CLOSE, body=chunked(HELLO))
    )
    yield until_close("hazard: a length that is none", answer(b"200 OK", b"Content-Length: abc", CLOSE, body=HELLO))
    yield until_close("hazard: a negative length", answer(b"200 OK", b"Content-Length: -1", CLOSE, body=HELLO))
    yield until_close("an empty length", answer(b"200 OK", b"Content-Length:", CLOSE, body=HELLO))
    yield until_close(
        "Transfer-Encoding: gzip, chunked",
        answer(b"200 OK", b"Transfer-Encoding: gzip, chunked", CLOSE, body=chunked(HELLO)),
    )
    yield until_close(
        "Transfer-Encoding: identity", answer(b"200 OK", b"Transfer-Encoding: identity", CLOSE, body=HELLO)
    )
    yield until_close("HTTP/1.0 that is chunked", answer(b"200 OK", CHUNKED, version=b"HTTP/1.0", body=chunked(HELLO)))
    yield got("large body", answer(b"200 OK", b"Content-Length: 1048576", body=bytes(range(256)) * 4096))


def headers():
    def lines(name, *more, over_http2=True, status=b"200 OK"):
        return got(f"headers: {name}", answer(status, *more, LENGTH_5, body=HELLO), over_http2=over_http2)

    yield lines("case of names", b"X-CuStOm: 1", b"x-lower: 2", b"X-UPPER: 3", b"ETag: 4", b"WWW-Authenticate: Basic")
    yield lines("order of names", *[b"X-%c: 1" % letter for letter in b"ZAMBYCXD"])
    yield lines(
        "order of names beside hop-by-hop ones",
        b"X-Z: 1",
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"X-A: 2",
        b"X-B: 3",
    )
    yield lines("names with underscores", b"X_A: 1")
    yield lines("names with all characters of a token", b"X!#$%&'*+-.^_`|~9z: 1")
    yield lines("empty value", b"X-Empty:", b"X-B: c")
    yield lines("white space", b"X-A:  b   c  ", b"X-B:\td\t")
    yield lines("Latin-1 and UTF-8", b"X-A: Z\xfcrich", "X-B: €".encode())
    yield lines("UTF-8 file name", 'Content-Disposition: attachment; filename="ä.txt"'.encode())
    yield lines(
        "Set-Cookie many times",
        *[b"Set-Cookie: c%d=%d; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT" % (n, n) for n in range(30)],
    )
    yield lines(
        "Set-Cookie between others", b"Set-Cookie: a=1", b"X-A: 1", b"set-cookie: b=2", b"X-B: 2", b"Set-Cookie: a=3"
    )
    yield lines("large Set-Cookie", b"Set-Cookie: a=" + b"x" * 7000)
    yield lines("the same name three times", b"X-A: 1", b"X-B: x", b"X-A: 2", b"x-a: 3")
    yield lines("Location", b'Location: HTTP://Other.Example.com:80/%7eA/../b?c=%zz|{}#d "', status=b"302 Found")
    yield lines("Location that is relative", b"Location: ../a//b?c", status=b"301 Moved Permanently")
    yield lines("Location in UTF-8", "Location: /ä".encode(), status=b"302 Found")
    yield lines(
        "Date, Server and Via",
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT",
        b"Server: Me/1.0",
        b"Via: 1.1 inner",
        b"X-Powered-By: x",
    )
    yield lines("a date that is none", b"Date: yesterday", b"Expires: -1", b"Last-Modified: 0")
    yield lines("of caches", b"Cache-Control: no-store", b"Age: 5", b'ETag: W/"a"', b"Vary: *", b"Warning: 110 - x")
    yield lines(
        "of security",
        b"Strict-Transport-Security: max-age=1",
        b"Content-Security-Policy: default-src 'self'",
        b"X-Accel-Redirect: /x",
        b"X-Sendfile: /y",
        b"X-Accel-Buffering: no",
        b"X-Accel-Expires: 5",
    )
    yield lines("named by Connection", b"Connection: X-Private", b"X-Private: 1", b"X-Public: 2")
    yield lines("Upgrade that is offered", b"Connection: Upgrade", b"Upgrade: h2,h2c")
    yield lines(
        "Alt-Svc and Proxy-Authenticate",
        b'Alt-Svc: h2=":443"',
        b"Proxy-Authenticate: Basic",
        b"WWW-Authenticate: Negotiate",
        b"WWW-Authenticate: NTLM",
    )
    yield lines("Trailer without one", b"Trailer: X-Sum")
    for count in (95, 150):
        yield lines(f"{count} headers", *[b"X-H-%d: %d" % (n, n) for n in range(count)], over_http2=count < 100)
    for size in (16, 32, 64):
        yield lines(f"head of {size} kB", *[b"X-H-%d: %s" % (n, b"v" * 1000) for n in range(size)], over_http2=False)
    yield lines("value of 30 kB", b"X-A: " + b"v" * 30000, over_http2=False)
    for name, line in [
        ("space before a colon", b"X-A : b"),
        ("a folded line", b"X-A: b\r\n c"),
        ("an empty name", b": b"),
        ("a line without a colon", b"no-colon"),
        ("a space in a name", b"X A: b"),
        ("non-ASCII in a name", "X-Ä: b".encode()),
        ("NUL in a value", b"X-A: b\0c"),
        ("CR in a value", b"X-A: b\rc"),
        ("a control character in a value", b"X-A: b\x01c"),
        ("parentheses in a name", b"X(A): b"),
    ]:
        yield lines(f"sloppy: {name}", b"X-Before: 1", line, b"X-After: 2", over_http2=False)
    yield got("headers: LF ends lines", answer(b"200 OK", LENGTH_5, b"X-A: b").replace(b"\r\n", b"\n") + HELLO)
    yield lines("Connection: close", CLOSE)


def bodies():
    gzipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcbH\xcd\xc9\xc9\x07\x00\x86\xa6\x106\x05\x00\x00\x00"
    length = b"Content-Length: %d" % len(gzipped)
    yield got(
        "gzip is not touched", answer(b"200 OK", b"Content-Encoding: gzip", length, body=gzipped), over_http2=True
    )
    yield got(
        "range",
        answer(b"206 Partial Content", b"Content-Range: bytes 0-4/10", LENGTH_5, body=HELLO),
        request(b"GET / HTTP/1.1", b"Range: bytes=0-4"),
        over_http2=True,
    )
    yield got("416", answer(b"416 Range Not Satisfiable", b"Content-Range: bytes */10", LENGTH_0), over_http2=True)
    yield got("binary body", answer(b"200 OK", b"Content-Length: 256", body=bytes(range(256))), over_http2=True)
    large = request(b"POST /a HTTP/1.1", b"Content-Length: 2097152") + b"u" * 2097152
    early = answer(b"413 Payload Too Large", CLOSE, b"Content-Length: 3", body=b"big")
    yield got("413 before the body of the request is read", [early, "close"], large)
    yield got(
        "413 before a chunked body is read",
        [early, "close"],
        request(b"POST /a HTTP/1.1", CHUNKED) + chunked(b"u" * 2097152),
    )
    yield got("200 before a small body is read", [OK, "body"], POST)
    shake = request(
        b"GET /chat HTTP/1.1",
        b"Upgrade: WebSocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: chat",
        b"Origin: http://www.example.com",
    )
    switch = answer(
        b"101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    )
    ping = ("take", b"\x81\x04ping")
    yield got("WebSocket", [switch, ping, b"\x81\x04pong", "close"], shake, then=ping[1])
    yield got(
        "WebSocket with keep-alive in Connection",
        [switch, ping, b"\x81\x04pong", "close"],
        shake.replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
        then=ping[1],
    )
    yield got(
        "WebSocket whose first bytes come with 101",
        [switch + b"\x81\x02hi", ping, b"\x81\x04pong", "close"],
        shake,
        then=ping[1],
    )
    yield got("WebSocket that is refused", answer(b"403 Forbidden", LENGTH_5, body=HELLO), shake)
    yield got(
        "another protocol",
        [switch.replace(b"websocket", b"raw/1"), ping, b"\x81\x04pong", "close"],
        shake.replace(b"WebSocket\r", b"raw/1\r"),
        then=ping[1],
    )
    yield got(
        "reason of its own with 101",
        [switch.replace(b"Switching Protocols", b"Web Socket Protocol Handshake"), ping, b"\x81\x04pong", "close"],
        shake,
        then=ping[1],
    )


GROUPS = [statuses, heads, interims, first_lines, framings, headers, bodies]


def answer_cases():
    return [each for group in GROUPS for each in group()]
