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


DIFFERENCES = [
    Line("request header added", "Upstreams are told where a request came from.", "forwarded|x-real-ip|x-forwarded-(for|host|port|proto)"),
    # To be made one name once `Via` is off by default.
    Line("request header added", "A request that goes in a circle has to be noticed.", "via|(x-)?adit-.*"),
    Line("request header (lost|value)", "Belongs to the connection of the visitor (RFC 9110, 7.6.1).",
         "connection|keep-alive|te|upgrade|proxy-connection"),
    Line("request header lost", "Named by Connection (RFC 9110, 7.6.1).", "x-private", "hop-by-hop: named"),
    Line("answer header (lost|added|value)", "Belongs to the connection of the upstream (RFC 9110, 7.6.1).", "connection|keep-alive|upgrade"),
    Line("(request|answer|interim)( trailer)? name case", "HTTP/2 has lower-case names alone (RFC 9113, 8.2).", leg="1-2|2-.|.-2"),
    Line("(answer|interim) reason", "HTTP/2 has no reason phrases (RFC 9113, 8.3.2).", leg="1-2|2-."),
    Line("request version", "Each connection has its own version (RFC 9110, 2.5).", other="HTTP/1\\.1"),
    Line("answer version", "Each connection has its own version (RFC 9110, 2.5).", other="HTTP/1\\.[01]"),
    Line("connection", "The upstream closes its own connection; the visitor's goes on.", straight="closed", other="open"),
]


def excused(case, leg, found):
    """The first line that allows the difference, or None."""
    return next((line for line in DIFFERENCES if line.excuses(case, leg, found)), None)
