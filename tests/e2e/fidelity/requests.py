"""Raw requests over HTTP/1."""

from .cases import OK, answer, case, chunked, request

CHUNKED = b"Transfer-Encoding: chunked"
LENGTH_5 = b"Content-Length: 5"
GET = b"GET / HTTP/1.1"
POST = b"POST / HTTP/1.1"
HELLO = b"hello"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def methods():
    no_body = b"GET OPTIONS TRACE PROPFIND REPORT M-SEARCH QUERY PURGE get custom-lower A_B!#$%&'*+.^`|~1".split()
    for method in no_body:
        yield case(f"method {method.decode()}", request(method + b" /m HTTP/1.1"))
    yield case("method HEAD", request(b"HEAD /m HTTP/1.1"), answer(b"200 OK", LENGTH_5))
    for method in b"POST PUT PATCH DELETE".split():
        name, line = method.decode(), method + b" /m HTTP/1.1"
        yield case(f"{name} with length 0", request(line, b"Content-Length: 0"))
        yield case(f"{name} without a length", request(line))
        yield case(f"{name} with a body", request(line, LENGTH_5, body=HELLO))
        yield case(f"{name} with an empty chunked body", request(line, CHUNKED, body=chunked()))
    yield case("long method", request(b"ABCDEFGHIJ" * 6 + b" /m HTTP/1.1"))
    yield case("CONNECT", request(b"CONNECT www.example.com:443 HTTP/1.1"), over_http2=False)


def bodies():
    yield case("GET with a body", request(GET, LENGTH_5, body=HELLO))
    yield case("GET with length 0", request(GET, b"Content-Length: 0"))
    yield case("GET with a chunked body", request(GET, CHUNKED, body=chunked(HELLO)))
    yield case("OPTIONS with a body", request(b"OPTIONS / HTTP/1.1", LENGTH_5, body=HELLO))
    yield case("PROPFIND with a body", request(b"PROPFIND / HTTP/1.1", LENGTH_5, body=HELLO))
    yield case("custom method with length 0", request(b"CUSTOM / HTTP/1.1", b"Content-Length: 0"))
    yield case("chunked", request(POST, CHUNKED, body=chunked(HELLO, b"world")))
    extended = b'5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n'
    yield case("chunk extensions", request(POST, CHUNKED, body=extended))
    yield case("white space before a chunk extension", request(POST, CHUNKED, body=b"5 ; a=b\r\nhello\r\n0\r\n\r\n"))
    yield case("white space behind a chunk size", request(POST, CHUNKED, body=b"5  \r\nhello\r\n0\r\n\r\n"))
    yield case("upper-case chunk size", request(POST, CHUNKED, body=b"A\r\n0123456789\r\n0\r\n\r\n"))
    yield case("leading zeros of a chunk size", request(POST, CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"))
    yield case("one large chunk", request(POST, CHUNKED, body=chunked(bytes(range(256)) * 1200)))
    yield case("300 chunks of one byte", request(POST, CHUNKED, body=chunked(*[b"x"] * 300)))
    trailers = [b"X-Sum: 1", b"x-OTHER: 2"]
    yield case(
        "trailers", request(POST, CHUNKED, b"Trailer: X-Sum", b"TE: trailers", body=chunked(HELLO, trailers=trailers))
    )
    yield case("trailers that nobody announced", request(POST, CHUNKED, body=chunked(HELLO, trailers=trailers)))
    hidden = chunked(HELLO, trailers=[b"Content-Length: 3", b"Host: evil"])
    yield case("trailers that frame and route", request(POST, CHUNKED, body=hidden))
    yield case("Transfer-Encoding: Chunked", request(POST, b"Transfer-Encoding: Chunked", body=chunked(HELLO)))
    yield case(
        "Transfer-Encoding: CHUNKED with white space",
        request(POST, b"Transfer-Encoding:  CHUNKED ", body=chunked(HELLO)),
    )
    yield case("transfer-encoding in lower case", request(POST, b"transfer-encoding: chunked", body=chunked(HELLO)))
    yield case("content-length in upper case", request(POST, b"CONTENT-LENGTH: 5", body=HELLO))
    yield case("leading zeros of a length", request(POST, b"Content-Length: 0005", body=HELLO))
    yield case("white space around a length", request(POST, b"Content-Length:\t 5 \t", body=HELLO))
    yield case("binary body", request(POST, b"Content-Length: 256", body=bytes(range(256))))
    yield case("large body", request(POST, b"Content-Length: 1048576", body=bytes(range(256)) * 4096))
    yield case(
        "Content-Encoding is not touched",
        request(POST, b"Content-Encoding: gzip", LENGTH_5, body=b"\x1f\x8b\x08\x00\x00"),
    )
    yield case(
        "body that breaks off", [request(POST, b"Content-Length: 10", body=HELLO), "half-close"], over_http2=False
    )


def hazards():
    """What two servers may read in two ways. Each may be refused; where it passes it has to pass as one thing."""

    def hazard(name, raw, **more):
        return case(f"hazard: {name}", raw, over_http2=False, **more)

    def framing(name, *lines, line=POST, body=HELLO):
        return hazard(f"framing: {name}", request(line, *lines, body=body))

    five = chunked(HELLO)
    yield framing("a length and an encoding", LENGTH_5, CHUNKED, body=five)
    yield framing("an encoding and a length", CHUNKED, LENGTH_5, body=five)
    yield framing("lengths that differ", LENGTH_5, b"Content-Length: 6", body=b"hello!")
    yield framing("the same length twice", LENGTH_5, LENGTH_5)
    yield framing("the same length in a list", b"Content-Length: 5, 5")
    yield framing("a length with a sign", b"Content-Length: +5")
    yield framing("a negative length", b"Content-Length: -5")
    yield framing("a length that is none", b"Content-Length: five")
    yield framing("an empty length", b"Content-Length:", body=b"")
    yield framing("a length of twenty digits", b"Content-Length: 99999999999999999999", body=b"")
    yield framing("Transfer-Encoding: identity", b"Transfer-Encoding: identity", LENGTH_5)
    yield framing("Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip, chunked", body=five)
    yield framing("Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, gzip", body=five)
    yield framing("Transfer-Encoding: xchunked", b"Transfer-Encoding: xchunked", body=five)
    yield framing("chunked twice", CHUNKED, CHUNKED, body=five)
    yield framing("chunked with HTTP/1.0", CHUNKED, line=b"POST / HTTP/1.0", body=five)
    yield framing("space before the colon of an encoding", b"Transfer-Encoding : chunked", body=five)
    yield framing("chunks ended by LF alone", CHUNKED, body=b"5\nhello\n0\n\n")
    yield framing("chunk size that is none", CHUNKED, body=b"xyz\r\nhello\r\n0\r\n\r\n")
    yield framing("chunk longer than said", CHUNKED, body=b"3\r\nhello\r\n0\r\n\r\n")

    def head(name, line):
        return hazard(f"header: {name}", request(GET, line))

    yield head("space before a colon", b"X-A : b")
    yield head("a folded line", b"X-A: b\r\n c")
    yield hazard("header: a first line that is folded", request(GET, b" X-A: b", host=None))
    yield head("a line without a colon", b"no-colon")
    yield head("an empty name", b": value")
    yield head("CR in a value", b"X-A: b\rc")
    yield head("NUL in a value", b"X-A: b\0c")
    yield head("a control character in a value", b"X-A: b\x01c")
    yield head("DEL in a value", b"X-A: b\x7fc")
    yield head("a control character in a name", b"X-\x01A: b")
    yield head("a space in a name", b"X A: b")
    yield head("non-ASCII in a name", "X-Ä: b".encode())
    yield head("parentheses in a name", b"X(A): b")
    for name, line in [
        ("tab", b"GET\t/\tHTTP/1.1"),
        ("several spaces", b"GET  /  HTTP/1.1"),
        ("space at the end", b"GET / HTTP/1.1 "),
        ("space in the target", b"GET /a b HTTP/1.1"),
        ("CR in the target", b"GET /a\rb HTTP/1.1"),
        ("NUL in the target", b"GET /a\0b HTTP/1.1"),
        ("control character in the target", b"GET /a\x01b HTTP/1.1"),
        ("DEL in the target", b"GET /a\x7fb HTTP/1.1"),
        ("an empty method", b" / HTTP/1.1"),
        ("a method that is no token", b"G{ET / HTTP/1.1"),
    ]:
        yield hazard(f"line: {name}", request(line))
    for version in [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.9", b"http/1.1", b"HTTP/01.1"]:
        yield hazard(f"version: {version.decode()}", request(b"GET / " + version))
    yield hazard("version: HTTP/0.9", [b"GET /\r\n\r\n", "half-close"])


def targets():
    plain = (
        '// /a//b /./ /../x /a/../b /. /.. /a/. /%2e%2e/x /a%2Fb /a%2fb /%00 /%zz /%4 /% /%41 /a|b /{a} /a"b /<a>'
        " /a^b /a`b /a\\b /[a] /~a /a=b&c /a;p=1 /a;p/b;q /a:b@c /!$&'()*+,;= /a? /a?? /a?b?c /a?b=c&d=%20+x /a?{b}|c"
        ' /a?[b]="<c>" /a?b\'c /a?/../b /a?%zz /a#b /a?b#c /#'
    )
    for target in plain.split():
        yield case(f"target {target}", request(f"GET {target} HTTP/1.1".encode()))
    yield case("target in UTF-8", request("GET /ä/€?ü=ö HTTP/1.1".encode()))
    yield case("target in Latin-1", request(b"GET /\xe4?\xfc HTTP/1.1"))
    for size in (4, 8, 15):
        yield case(f"target of {size} kB", request(b"GET /" + b"a" * (size * 1000) + b" HTTP/1.1"))
    yield case("query of 8 kB", request(b"GET /?" + b"a=b&" * 2000 + b" HTTP/1.1"))


def target_forms():
    def form(name, target, host=b"www.example.com", method=b"GET"):
        return case(f"target form: {name}", request(method + b" " + target + b" HTTP/1.1", host=host))

    yield form("absolute", b"http://www.example.com/a?b")
    yield form("absolute without a path", b"http://www.example.com")
    yield form("absolute with a query and no path", b"http://www.example.com?a")
    yield form("absolute with a port", b"http://www.example.com:8080/a", b"www.example.com:8080")
    yield form("absolute in upper case", b"HTTP://WWW.EXAMPLE.COM/A")
    yield form("absolute with https", b"https://www.example.com/a")
    yield form("absolute with another host", b"http://other.example.com/a")
    yield form("absolute with another port", b"http://www.example.com:81/a")
    yield form("absolute with user information", b"http://user:pass@www.example.com/a")
    yield form("absolute without a Host", b"http://www.example.com/a", None)
    yield form("ftp", b"ftp://www.example.com/a")
    yield form("* with OPTIONS", b"*", method=b"OPTIONS")
    yield form("* with GET", b"*")
    yield form("authority with GET", b"www.example.com:80")
    yield form("a word", b"index.html")
    yield form("a query alone", b"?a=b")


def hosts():
    plain = (
        "WWW.Example.COM www.example.com:80 www.example.com:8080 [2001:db8::1] [2001:db8::1]:8080 127.0.0.1 localhost"
    )
    plain += " www.example.com. under_score.example.com www.example.com: -a.b a..b xn--bcher-kva.example"
    for host in plain.split():
        yield case(f"host {host}", request(GET, host=host.encode()))
    for host in [
        "a b",
        "a/b",
        "a,b",
        "user@a",
        "a:port",
        "a:99999",
        "a%41",
        "bücher.example",
        "[::1",
        "a!$&'()*+;=b",
        "a~b",
    ]:
        yield case(f"hazard: host {host}", request(GET, host=host.encode()))
    yield case("host with white space around", request(GET, host=b" \twww.example.com\t "))
    yield case("host behind the other headers", request(GET, b"X-A: b", b"Host: www.example.com", host=None))
    yield case("empty host", request(GET, host=b""))
    yield case("no host with HTTP/1.1", request(GET, host=None))
    yield case("no host with HTTP/1.0", request(b"GET / HTTP/1.0", host=None))
    yield case("host with HTTP/1.0", request(b"GET / HTTP/1.0"))
    yield case("hazard: two hosts", request(GET, b"Host: other.example.com"))
    yield case("hazard: the same host twice", request(GET, b"Host: www.example.com"))


def headers():
    def lines(name, *more, **rest):
        return case(f"headers: {name}", request(GET, *more, **rest))

    yield lines("case of names", b"X-CuStOm: 1", b"x-lower: 2", b"X-UPPER: 3", b"ETag: 4", b"SOAPAction: 5", b"DNT: 1")
    yield lines("names with underscores", b"X_Under_Score: 1", b"_x: 2")
    yield lines("names with digits", b"123: 1", b"X-2-Y: 2")
    yield lines("names with all characters of a token", b"X!#$%&'*+-.^_`|~9z: 1")
    yield lines("name of one letter", b"a: 1", b"B: 2")
    yield lines("name of 200 bytes", b"X-" + b"a" * 198 + b": 1")
    yield lines("name of 4 kB", b"X-" + b"a" * 4000 + b": 1")
    for count in (50, 99, 110, 200):
        yield lines(f"{count} headers", *[b"X-H-%d: %d" % (n, n) for n in range(count - 1)])
    for size in (8, 14, 20, 30):
        yield lines(f"value of {size} kB", b"X-A: " + b"v" * (size * 1000))
    yield lines("head of 12 kB in 40 headers", *[b"X-H-%d: %s" % (n, b"v" * 290) for n in range(40)])
    yield lines("empty value", b"X-Empty:", b"X-Empty-Too: ", b"X-B: c")
    yield lines("white space around a value", b"X-A:   b  ", b"X-B:\tc\t", b"X-C:d")
    yield lines("white space within a value", b"X-A: b   c\td")
    yield lines("quotes and commas", b'X-A: "b, \\"c", d ,e', b"X-B: ;;==,,")
    yield lines("UTF-8 in a value", "X-A: Zürich €".encode())
    yield lines("Latin-1 in a value", b"X-A: Z\xfcrich \x80\xff")
    yield lines("the same name three times", b"X-A: 1", b"X-B: x", b"X-A: 2", b"x-a: 3", b"X-A: 2")
    yield lines("order of names", *[b"X-%c: 1" % letter for letter in b"ZAMBYCXD"], b"Accept: */*", b"User-Agent: u")
    yield lines(
        "order of names beside hop-by-hop ones", b"X-Z: 1", b"Connection: keep-alive", b"X-A: 2", b"X-M: 3", b"X-B: 4"
    )
    yield lines("a browser's", *BROWSER)
    yield lines("one Cookie", b"Cookie: a=1; b=2")
    yield lines("several Cookies", b"Cookie: a=1", b"Cookie: b=2; c=3", b"Cookie: d")
    yield lines("Cookie that is sloppy", b'Cookie: a="x y"; b=1,2; ;c={"d":1};=e;f')
    yield lines("Accept-Encoding", b"Accept-Encoding: gzip, deflate, br;q=0.5, *;q=0")
    yield lines(
        "Range and conditions",
        b"Range: bytes=0-1,5-",
        b'If-Range: "x"',
        b'If-None-Match: W/"y", "z"',
        b"If-Modified-Since: x",
    )
    yield lines("Authorization", b"Authorization: Basic dTpw", b"WWW-Authenticate: x")
    yield lines("Negotiate", b"Authorization: Negotiate YII" + b"A" * 4000 + b"==")
    yield lines("Date, Server and Via of the visitor", b"Date: now", b"Server: s", b"Via: 1.1 other")
    yield lines("Max-Forwards", b"Max-Forwards: 3")
    yield lines("Origin and Sec-Fetch", b"Origin: null", b"Sec-Fetch-Mode: cors", b'sec-ch-ua: "x";v="1"')
    yield lines("HTTP2-Settings", b"HTTP2-Settings: AAMAAABk", b"Upgrade-Insecure-Requests: 1")
    yield lines(
        "names of proxies",
        b"X-Request-Id: 1",
        b"X-Correlation-ID: 2",
        b"traceparent: 3",
        b"X-Amzn-Trace-Id: 4",
        b"CDN-Loop: 5",
    )
    yield lines(
        "where it came from",
        b"X-Forwarded-For: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
        b"X-Real-IP: 6.6.6.6",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Ssl: on",
        b"True-Client-IP: 6.6.6.6",
    )
    yield lines("method override", b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /x", b"X-Rewrite-URL: /y")
    yield lines("names that look like pseudo-headers", b"Method: x", b"Path: y", b"Status: 200")


BROWSER = b"""User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101
Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8
Accept-Language: de,en-US;q=0.7
Accept-Encoding: gzip, deflate
Referer: http://www.example.com/a?b
Connection: keep-alive
Cookie: a=1; b=2
Upgrade-Insecure-Requests: 1
Pragma: no-cache
Cache-Control: no-cache""".split(b"\n")


def hop_by_hop():
    def hop(name, *lines, first=GET, **more):
        return case(f"hop-by-hop: {name}", request(first, *lines), **more)

    yield hop("Connection: close", b"Connection: close")
    yield hop("Connection: keep-alive", b"Connection: Keep-Alive", b"Keep-Alive: timeout=5")
    yield hop("named by Connection", b"Connection: X-Private, keep-alive", b"X-Private: 1", b"X-Public: 2")
    yield hop(
        "Connection names what belongs to the end",
        b"Connection: Host, Cookie, Authorization",
        b"Cookie: a=1",
        b"Authorization: x",
    )
    yield hop("Connection: empty", b"Connection:", b"Connection: ,, ,")
    yield hop("TE: trailers", b"TE: trailers")
    yield hop("TE: trailers, named by Connection", b"Connection: TE", b"TE: trailers")
    yield hop("TE: gzip", b"TE: gzip;q=0.5, trailers")
    yield hop("Proxy-Connection", b"Proxy-Connection: keep-alive")
    yield hop("Proxy-Authorization", b"Proxy-Authorization: Basic dTpw")
    yield hop("Upgrade without Connection", b"Upgrade: websocket")
    yield hop("Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    yield hop("Upgrade that is not taken", b"Connection: Upgrade", b"Upgrade: tls/1.0")
    yield hop("HTTP/1.0 with keep-alive", b"Connection: keep-alive", first=b"GET / HTTP/1.0")
    yield case("hop-by-hop: HTTP/1.0 with a body", request(b"POST / HTTP/1.0", LENGTH_5, body=HELLO))
    yield hop("HTTP/1.1 with a length 0 answer", b"Connection: close", answer=answer(b"200 OK", b"Content-Length: 0"))


def line_ends():
    plain = request(GET, b"X-A: b")
    yield case("LF ends lines", plain.replace(b"\r\n", b"\n"))
    yield case("LF ends lines of a POST", request(POST, LENGTH_5).replace(b"\r\n", b"\n") + HELLO)
    yield case("LF and CRLF mixed", plain.replace(b"\r\nX-A", b"\nX-A"))
    yield case("CRLF before the request line", b"\r\n" + plain)
    yield case("several CRLFs before the request line", b"\r\n\r\n\r\n" + plain)
    yield case("LF before the request line", b"\n" + plain)
    yield case("head in single bytes", [("bytewise", plain)])
    yield case("chunked body in single bytes", [request(POST, CHUNKED), ("bytewise", chunked(HELLO, b"!"))])
    yield case("pipelined GETs", request(b"GET /1 HTTP/1.1") + request(b"GET /2 HTTP/1.1"), answers=2)
    one, two, three = [request(b"POST /%d HTTP/1.1" % number, LENGTH_5, body=HELLO) for number in (1, 2, 3)]
    yield case("pipelined POSTs", one + two + three, answers=3)
    yield case("CRLF between requests", one + b"\r\n" + two, answers=2)
    half = [request(GET), "half-close"]
    yield case("visitor half-closes", half)


def expectations():
    head = request(POST, b"Expect: 100-continue", LENGTH_5)

    def expect(name, steps, script=OK, **more):
        return case(f"expect: {name}", steps, script, **more)

    yield expect("the upstream says 100", [head, "await", HELLO], [CONTINUE, "body", OK])
    yield expect("the upstream says nothing before the body", [head, HELLO], ["body", OK])
    yield expect(
        "417",
        [head, "await", HELLO],
        [answer(b"417 Expectation Failed", b"Content-Length: 0", b"Connection: close"), "close"],
        over_http2=False,
    )
    yield expect(
        "401 at once",
        [head, "await", HELLO],
        [answer(b"401 Unauthorized", b"Content-Length: 2", b"Connection: close", body=b"no"), "close"],
        over_http2=False,
    )
    yield expect("upper case", [head.replace(b"100-continue", b"100-Continue"), "await", HELLO], [CONTINUE, "body", OK])
    yield expect("without a body", request(GET, b"Expect: 100-continue"))
    yield expect("something else", request(POST, b"Expect: magic", LENGTH_5, body=HELLO))
    yield expect("chunked", [head.replace(LENGTH_5, CHUNKED), "await", chunked(HELLO)], [CONTINUE, "body", OK])


GROUPS = [methods, bodies, hazards, targets, target_forms, hosts, headers, hop_by_hop, line_ends, expectations]


def request_cases():
    return [each for group in GROUPS for each in group()]
