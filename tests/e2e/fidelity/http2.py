"""Requests over HTTP/2."""

from .cases import OK, answer, case, case2, chunked, pseudo, request

CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"hello"


def plain():
    for method in b"GET OPTIONS DELETE PROPFIND QUERY custom".split():
        yield case2(f"method {method.decode()}", pseudo(method))
    yield case2("HEAD", pseudo(b"HEAD"), answer=answer(b"200 OK", b"Content-Length: 5"))
    yield case2("HEAD without a length", pseudo(b"HEAD"), answer=answer(b"200 OK"))
    for (
        target
    ) in '// /a//b /../x /%2e%2e/x /a%2Fb /%zz /a|b /{a} /a"b /a^b /a\\b /[a] /a? /a?? /a?b=c&d /a;p=1 *'.split():
        method = b"OPTIONS" if target == "*" else b"GET"
        yield case2(f"target {target}", pseudo(method, target.encode()))
    yield case2("target in UTF-8", pseudo(path="/ä?ü".encode()))
    yield case2("target of 8 kB", pseudo(path=b"/" + b"a" * 8000))
    yield case2("scheme https", pseudo(scheme=b"https"))
    yield case2("host in upper case with a port", pseudo(authority=b"WWW.Example.com:8080"))
    yield case2(
        "Host and no :authority",
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b"host", b"www.example.com")],
    )
    yield case2("Host and :authority", [*pseudo(), (b"host", b"www.example.com")])
    yield case2("hazard: Host and another :authority", [*pseudo(), (b"host", b"other.example.com")])
    yield case2("hazard: user information in :authority", pseudo(authority=b"user@www.example.com"))
    yield case2(
        "order of pseudo-headers",
        [(b":path", b"/a"), (b":authority", b"www.example.com"), (b":method", b"GET"), (b":scheme", b"http")],
    )


def headers():
    yield case2("cookie crumbs", [(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")])
    yield case2("the same name three times", [(b"x-a", b"1"), (b"x-b", b"x"), (b"x-a", b"2"), (b"x-a", b"3")])
    yield case2("order of names", [(b"x-%c" % letter, b"1") for letter in b"zambycxd"])
    yield case2("empty value", [(b"x-empty", b""), (b"x-b", b"c")])
    yield case2("names with underscores", [(b"x_a", b"1"), (b"x!#$%&'*+.^`|~", b"2")])
    yield case2("Latin-1 and UTF-8", [(b"x-a", b"Z\xfcrich"), (b"x-b", "€".encode())])
    yield case2("te: trailers", [(b"te", b"trailers")])
    yield case2("90 headers", [(b"x-h-%d" % n, b"v") for n in range(90)])
    yield case2("150 headers", [(b"x-h-%d" % n, b"v") for n in range(150)])
    yield case2("value of 8 kB", [(b"x-a", b"v" * 8000)])
    yield case2("value of 20 kB", [(b"x-a", b"v" * 20000)])
    yield case2("expect: 100-continue", [*pseudo(b"POST"), (b"expect", b"100-continue")], HELLO, answer=["body", OK])


def bodies():
    length = [(b"content-length", b"5")]
    yield case2("POST with a length", [*pseudo(b"POST"), *length], HELLO)
    yield case2("POST without a length", pseudo(b"POST"), HELLO)
    yield case2("POST without a body", pseudo(b"POST"))
    yield case2("POST with length 0", [*pseudo(b"POST"), (b"content-length", b"0")])
    yield case2("POST with an empty DATA frame", pseudo(b"POST"), is_open=True)
    yield case2("GET with a body", [*pseudo(), *length], HELLO)
    yield case2("GET with a body and no length", pseudo(), HELLO)
    yield case2("DELETE with a body", [*pseudo(b"DELETE"), *length], HELLO)
    yield case2("trailers", pseudo(b"POST"), HELLO, [(b"x-sum", b"1"), (b"x-other", b"2")])
    yield case2("trailers and a length", [*pseudo(b"POST"), *length], HELLO, [(b"x-sum", b"1")])
    yield case2("trailers without a body", pseudo(b"POST"), b"", [(b"x-sum", b"1")], is_open=True)


def hazards():
    def hazard(name, fields, **more):
        return case2(f"hazard: {name}", fields, **more)

    for name, value in [
        (b"connection", b"close"),
        (b"keep-alive", b"5"),
        (b"proxy-connection", b"x"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
    ]:
        yield hazard(f"{name.decode()}: {value.decode()}", [(name, value)])
    yield hazard("upper case in a name", [(b"X-Upper", b"1")])
    yield hazard("space in a name", [(b"x a", b"1")])
    yield hazard("colon in a name", [(b"x:a", b"1")])
    yield hazard("CRLF in a value", [(b"x-a", b"b\r\nx-c: d")])
    yield hazard("NUL in a value", [(b"x-a", b"b\0c")])
    yield hazard("white space around a value", [(b"x-a", b" b ")])
    yield hazard("length that is too long", [*pseudo(b"POST"), (b"content-length", b"6")], body=HELLO)
    yield hazard("length that is too short", [*pseudo(b"POST"), (b"content-length", b"4")], body=HELLO)
    yield hazard("pseudo-header behind others", [*pseudo()[:3], (b"x-a", b"1"), (b":path", b"/")])
    yield hazard("pseudo-header twice", [*pseudo(), (b":path", b"/b")])
    yield hazard("pseudo-header that is none", [*pseudo(), (b":odd", b"1")])
    yield hazard("no :path", pseudo()[:3])
    yield hazard("empty :path", pseudo(path=b""))
    yield hazard("no host at all", [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")])
    yield hazard("space in :path", pseudo(path=b"/a b"))
    yield hazard("CRLF in :path", pseudo(path=b"/a HTTP/1.1\r\nx: y"))
    yield hazard("space in :method", pseudo(b"GET /x"))
    yield hazard("absolute :path", pseudo(path=b"http://www.example.com/a"))
    yield hazard("CONNECT", [(b":method", b"CONNECT"), (b":authority", b"www.example.com:443")])


def answers():
    for name, raw in [
        ("204", answer(b"204 No Content", b"X-A: 1")),
        ("304", answer(b"304 Not Modified", b'ETag: "a"')),
        ("304 with the length of the body", answer(b"304 Not Modified", b"Content-Length: 1234")),
        ("length 0", answer(b"200 OK", b"Content-Length: 0")),
        ("chunked", answer(b"200 OK", CHUNKED, body=chunked(HELLO))),
        ("trailers", answer(b"200 OK", CHUNKED, body=chunked(HELLO, trailers=[b"X-Sum: 1"]))),
        ("reason of its own", answer(b"200 Alles klar", b"Content-Length: 2", body=b"ok")),
        ("status 299", answer(b"299 Fine", b"Content-Length: 0")),
        ("status 999", answer(b"999 Odd", b"Content-Length: 0")),
        (
            "Set-Cookie many times",
            answer(b"200 OK", b"Set-Cookie: a=1", b"X-A: 1", b"Set-Cookie: b=2", b"Content-Length: 0"),
        ),
        (
            "hop-by-hop headers",
            answer(b"200 OK", b"Connection: X-P, keep-alive", b"X-P: 1", b"Keep-Alive: 5", b"Content-Length: 0"),
        ),
        (
            "Date and Server",
            answer(b"200 OK", b"Date: Mon, 01 Jan 2024 00:00:00 GMT", b"Server: Me/1.0", b"Content-Length: 0"),
        ),
        ("interim 103", answer(b"103 Early Hints", b"Link: </a>") + OK),
        ("UTF-8 and Latin-1", answer(b"200 OK", b"X-A: Z\xfcrich", "X-B: €".encode(), b"Content-Length: 0")),
    ]:
        yield case2(f"answer: {name}", [], answer=raw)
    cut = ["body", answer(b"200 OK", b"Content-Length: 10", body=HELLO), "close"]
    yield case2(
        "answer: length and cut short",
        [],
        answer=cut,
        over_http2=False,
        like=case("", request(b"GET / HTTP/1.1"), cut, over_http2=False),
    )
    early = [answer(b"413 Payload Too Large", b"Connection: close", b"Content-Length: 3", body=b"big"), "close"]
    body = b"u" * 40_000
    like = request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body)) + body
    yield case2(
        "answer: 413 before the body is read",
        [*pseudo(b"POST"), (b"content-length", b"%d" % len(body))],
        body,
        answer=early,
        over_http2=False,
        like=case("", like, early, over_http2=False),
    )


def sockets():
    """WebSockets over extended CONNECT (RFC 8441) mean the same as those over an HTTP/1.1 upgrade."""
    lines = [
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-protocol", b"chat"),
        (b"origin", b"http://www.example.com"),
    ]
    upgrade = [b"Upgrade: websocket", b"Connection: Upgrade", *(name + b": " + value for name, value in lines)]
    switch = answer(
        b"101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: x", b"X-A: b"
    )
    ping = ("take", b"\x81\x04ping")
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *pseudo(path=b"/chat")[1:], *lines]
    taken = [switch, ping, b"\x81\x04pong", "close"]
    refused = ["body", answer(b"403 Forbidden", b"Content-Length: 2", body=b"no")]
    for name, steps, then in [
        ("taken", taken, ping[1]),
        ("refused", refused, b""),
        ("not understood", ["body", OK], b""),
    ]:
        like = case("", request(b"GET /chat HTTP/1.1", *upgrade), steps, then=then, over_http2=False)
        yield case2(
            f"WebSocket that is {name}", fields, answer=steps, is_open=True, then=then, like=like, over_http2=False
        )
    other = [(b":method", b"CONNECT"), (b":protocol", b"connect-udp"), *pseudo(path=b"/udp")[1:]]
    like = case("", request(b"GET /udp HTTP/1.1", b"Upgrade: connect-udp", b"Connection: Upgrade"), over_http2=False)
    yield case2("extended CONNECT that is no WebSocket", other, is_open=True, like=like, over_http2=False)


def http2_cases():
    groups = [plain, headers, bodies, hazards, answers, sockets]
    made = [each for group in groups for each in group()]
    for each in made:
        each.name = f"HTTP/2: {each.name}"
    return made
