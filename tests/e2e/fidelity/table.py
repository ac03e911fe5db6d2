"""What may differ between an exchange without Adit and one through it, and why. Everything else must not.

A line that excuses nothing any more fails the suite, so that the table stays short.
"""

import dataclasses
import re


@dataclasses.dataclass
class Line:
    # What may differ: words of `compare`, as a pattern.
    what: str
    reason: str
    # The header's name, as a pattern.
    name: str = ".*"
    # The cases, as a pattern that has to fit at the beginning of their names.
    cases: str = ""
    # Versions on the side of the visitor and of the upstream, as a pattern.
    leg: str = ".-."
    # How it looks straight and otherwise, as patterns.
    straight: str = ".*"
    other: str = ".*"
    may_be_unused: bool = False
    is_used: bool = False

    def excuses(self, case, leg, found):
        return (
            re.fullmatch(self.what, found.what)
            and re.fullmatch(self.name, found.name)
            and re.match(self.cases, case.name.removeprefix("HTTP/2: "))
            and re.fullmatch(self.leg, leg)
            and re.fullmatch(self.straight, found.straight)
            and re.fullmatch(self.other, found.other)
        )


HOP = "Belongs to one connection alone (RFC 9110, 7.6.1)."
VERSION = "Each connection has a version of its own (RFC 9110, 2.5)."
ANY = "(request|answer|interim)"

DIFFERENCES = [
    # What is added and replaced.
    Line(
        "request header added",
        "Upstreams are told where a request came from.",
        name="forwarded|x-real-ip|x-forwarded-(for|host|port|proto)",
    ),
    Line(
        "request header (value|lost)",
        "What a stranger says of where it comes from is not believed.",
        name="forwarded|x-real-ip|x-forwarded-.*|true-client-ip",
        cases="headers: where it came from",
    ),
    Line("request header added", "A request that goes in a circle has to be noticed.", name="adit-hops"),
    Line(
        "request header added",
        "HTTP/1.1 asks for a host (RFC 9112, 3.2).",
        name="host",
        cases="no host with HTTP/1\\.0",
        other="localhost",
    ),
    # What belongs to one connection.
    Line(
        "request header (lost|value|added)",
        HOP,
        name="connection|keep-alive|te|upgrade|proxy-connection|proxy-authorization",
    ),
    Line("answer header (lost|added|value)", HOP, name="connection|keep-alive|upgrade|proxy-authenticate"),
    Line(
        "(request|answer) header lost",
        "Named by Connection (RFC 9110, 7.6.1).",
        name="x-private|x-p|cookie|authorization|http2-settings",
        cases="hop-by-hop|answer: (headers: named|hop)",
    ),
    Line("(request|answer) version", VERSION, other=r"HTTP/1\.[01]"),
    Line(
        "connection", "The upstream closes its own connection; the visitor's goes on.", straight="closed", other="open"
    ),
    Line("connection", "Bytes behind an answer that is over are nobody's.", straight="broken.*", other="open"),
    # What HTTP/2 has no words for.
    Line(f"{ANY}( trailer)? name case", "HTTP/2 has lower-case names alone (RFC 9113, 8.2).", leg="1-2|2-.|.-2"),
    Line("(answer|interim) reason", "HTTP/2 has no reason phrases (RFC 9113, 8.3.2).", leg="1-2|2-."),
    Line("interim answers", "Hyper neither says nor hears interim answers over HTTP/2.", leg="1-2|2-.", other="none"),
    Line("request header value", "HTTP/2 may say a cookie in crumbs (RFC 9113, 8.2.3).", name="cookie", leg="2-."),
    Line(
        "request framing",
        "Trailers need chunks.",
        straight="none",
        other="stream",
        cases="trailers without a body",
        leg="2-1",
    ),
    Line(
        "request header value",
        "HTTP/2 may say a host twice, HTTP/1 must not.",
        name="host",
        cases="Host and :authority",
    ),
    # Of HTTP/2 a WebSocket has no key and no 101 (RFC 8441).
    Line(
        "request header added|answer header lost",
        "HTTP/2 has no such key (RFC 8441).",
        name="sec-websocket-(key|accept)",
        leg="2-1",
    ),
    Line(
        "answer (status|framing)",
        "HTTP/2 takes a WebSocket with 200 (RFC 8441).",
        cases="WebSocket that is taken",
        leg="2-1",
    ),
    # Framing.
    Line("request framing", "Says the same.", leg=".-2", straight="none", other="length 0"),
    Line(
        "answer framing",
        "What ends with its connection has to be framed where the connection goes on.",
        straight="until close",
        other="stream",
    ),
    Line(
        "answer framing",
        "HTTP/1.0 has no chunks.",
        straight="stream",
        other="until close",
        cases="answer: chunked to HTTP/1.0",
    ),
    Line(
        "connection( told)?",
        "HTTP/1.0 has no chunks: the end of the connection ends the answer.",
        straight="open",
        other="closed",
        cases="answer: chunked to HTTP/1.0",
    ),
    Line("answer framing", "204 has no length (RFC 9110, 8.6).", cases="answer: 204", other="none"),
    Line(
        "answer framing",
        "Without a body there is no encoding (RFC 9112, 6.1).",
        straight="stream",
        other="none",
        cases="answer: (304|HEAD)",
    ),
    Line("answer framing", "`identity` is no encoding any more.", straight="coding identity", other="stream"),
    Line(
        "answer framing",
        "Not to have changed has no body, and Hyper says no length of one.",
        straight="length .*",
        other="none",
        cases="answer: 304",
    ),
    Line(
        "(request|answer) trailer header lost|(request|answer) trailer name case",
        "Hyper passes on trailers that were announced, in lower case.",
        cases="trailers|answer: trailers",
    ),
    # Lines of a head.
    Line(
        f"{ANY} order",
        "The order of lines with different names says nothing (RFC 9110, 5.3).",
    ),
    Line("interim name case", "Hyper does not tell how an interim answer is written.", name="x-custom"),
    Line("interim reason", "Reasons say nothing (RFC 9110, 15), and Hyper does not tell those of interim answers."),
    Line("answer reason", "Only ASCII is sure to be read; reasons say nothing (RFC 9110, 15).", other=""),
    Line(
        "answer header (lost|added|value)",
        "A line that is none is left out, or read as nginx does: the answer is of use without it.",
        cases="answer: headers: sloppy",
    ),
    # Interim answers.
    Line(
        "interim answers",
        "`100 Continue` is answered by the entry, and nobody else is asked.",
        straight="none|100",
        other="none|100",
    ),
    Line(
        "interim answers", "HTTP/1.0 has no interim answers (RFC 9110, 15.2).", cases="answer: interim 103 to HTTP/1.0"
    ),
    # Targets.
    Line(
        "request target",
        "An origin is asked for a path (RFC 9112, 3.2.2).",
        straight="(?i)(https?|ftp)://.*",
        other="/.*",
    ),
    Line(
        "request header (value|added)",
        "The host of an absolute target counts (RFC 9112, 3.2.2).",
        name="host",
        cases="target form: absolute",
    ),
    # What is refused.
    Line(
        "refused",
        "Two servers may read it in two ways: requests could be smuggled.",
        cases="hazard: framing",
        other="answered (400|501).*",
    ),
    Line(
        "refused",
        "No header line (RFC 9110, 5.5; RFC 9112, 5): others may read another one.",
        cases="hazard: header",
        other="answered 400 bad_head",
    ),
    Line(
        "refused",
        "No request line (RFC 9112, 3): others may read another one.",
        cases="hazard: line",
        other="answered 400 bad_head",
    ),
    Line("refused", "Neither HTTP/1.0 nor HTTP/1.1.", cases="hazard: version", other="answered 400 bad_head"),
    Line(
        "refused",
        "A request has exactly one host, and one that others read the same way.",
        cases="hazard: (host|two|the same)|empty host|no host with HTTP/1\\.1",
        other="answered 400 bad_host",
        straight="answered 200",
    ),
    Line(
        "refused",
        "A request has one host: rules and upstream might go by different ones.",
        cases="target form: absolute with (another host|user)|hazard: Host and",
        other="answered 400 hosts_differ",
    ),
    Line(
        "refused",
        "Where there are rules, the upstream might see another path than they did.",
        leg=".-2",
        other="answered 400 bad_path",
        cases=r"target /(.*/)?(%2e%2e|\.\.?)(/|$)|target .*%(zz|4|)$",
    ),
    Line(
        "refused",
        "No URI has such characters (RFC 3986): who asks writes them with `%`, as browsers do.",
        cases=r"target (/.*[<>`]|in Latin-1)",
        other="answered 400 bad_head",
    ),
    Line("request target", "A fragment is for whoever asks (RFC 9110, 4.2.5).", straight=".*#.*", other="[^#]*"),
    Line(
        "request target|request header value|refused",
        "`*` and a host are targets of OPTIONS and CONNECT alone (RFC 9112, 3.2).",
        cases=r"target form: (\*|authority) with|target \*$",
    ),
    Line("refused", "The target is no target.", cases="target form: a (word|query)", other="answered 400.*"),
    Line(
        "refused",
        "For forward proxies.",
        cases="CONNECT|hazard: (extended )?CONNECT|extended CONNECT that is no WebSocket",
        other="answered 501 connect|reset.*",
    ),
    Line(
        "refused",
        "The head of a request has a limit.",
        cases="headers: (110|200) headers|headers: value of [23]0 kB|value of 20 kB",
        other="answered 431.*",
    ),
    Line(
        "refused",
        "The body of a request that breaks off is not made to look finished.",
        cases="body that breaks off",
        other="answered 400 bad_body",
    ),
    # A race: the answer may be quicker.
    Line(
        "refused",
        "A visitor that closes its side of the connection is gone, as for nginx.",
        cases="visitor half-closes",
        may_be_unused=True,
    ),
    Line(
        "connection told",
        "Where nobody takes the rest of a body, the connection ends.",
        straight="open",
        other="closed",
        cases="expect|answer: 413",
    ),
    Line(
        "refused",
        "Not HTTP/2 (RFC 9113, 8): within HTTP/1 it could become another request.",
        cases="hazard",
        leg="2-.",
        other="(reset|closed).*|answered 400.*",
    ),
    Line(
        "request header value",
        "HTTP/1 has no white space around values.",
        name="x-a",
        cases="hazard: white space around a value",
        leg="2-1",
    ),
    # Answers that are none.
    Line(
        "refused",
        "Not HTTP/1.0 or HTTP/1.1: what it is, nobody can say.",
        cases="answer: (version|no head|two spaces|code with)",
        other="answered 502.*",
    ),
    Line(
        "refused",
        "A status has three digits, from 100 on.",
        cases="answer: status (000|099|1000|20|abc|-20) ",
        other="answered 502.*",
    ),
    Line(
        "refused",
        "There is no whole answer.",
        cases="answer: (nothing at all|a head that breaks)",
        other="answered 502.*",
    ),
    Line(
        "refused",
        "Where its body ends, two may read in two ways.",
        cases="answer: (hazard|an empty length|chunk size that is none|HTTP/1.0 that is chunked)",
        other="answered 502.*|closed.*",
    ),
    Line(
        "connection|answer (body|whole)",
        "Where its body ends, two may read in two ways: it breaks off behind its head.",
        cases="answer: chunks ended by LF",
    ),
    Line(
        "refused",
        "It is encoded in a way that visitors are not told of.",
        cases="answer: Transfer-Encoding: gzip",
        other="answered 502.*",
    ),
    Line(
        "refused",
        "Taken with 200 it would be a WebSocket (RFC 8441), which it is not.",
        cases="WebSocket that is not understood",
        leg="2-1",
        other="answered 502.*",
    ),
    Line(
        "refused",
        "Control characters could end a line elsewhere.",
        cases="answer: (reason with a control|headers: sloppy: (NUL|CR|a control|an empty name))",
        other="answered 502.*",
    ),
]


def excused(case, leg, found):
    """The first line that allows the difference, or None."""
    return next((line for line in DIFFERENCES if line.excuses(case, leg, found)), None)
