"""What differs between two exchanges of one case. Nothing is excused here; see `table`."""

import collections
import dataclasses

from .message import shown


# Said anew for each connection; of the host there is a rule of its own.
PLACELESS = {b"host", b"connection", b"upgrade"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """`what` it is about, the name of the header if it is one, and how it was straight and otherwise."""

    what: str
    name: str
    straight: str
    other: str

    def __str__(self):
        name = f" {self.name}" if self.name else ""
        return f"{self.what}{name}: {self.straight} -> {self.other}"


class Comparison:
    """Collects the differences between an exchange and the straight one."""

    def __init__(self, leg):
        # Versions of HTTP on both sides, like `1-2`.
        self.leg = leg
        self.found = []

    def note(self, what, straight, other, name=""):
        if straight != other:
            texts = [shown(each) if isinstance(each, bytes) else str(each) for each in (straight, other)]
            self.found.append(Difference(what, name, *texts))

    def exchanges(self, straight, other):
        refusal = refused(straight, other)
        if refusal:
            self.note("refused", outcome(straight), refusal)
            return
        self.note("end", straight.end, other.end)
        self.note("connection", straight.after, other.after)
        if self.leg[0] == "1" and other.answers and other.answers[-1].whole:
            self.persistence(other)
        self.note("times asked", len(straight.requests), len(other.requests))
        for one, two in zip(straight.requests, other.requests):
            self.messages("request", one, two, self.leg[2] == "2")
        self.note("interim answers", statuses(straight.interims), statuses(other.interims))
        if statuses(straight.interims) == statuses(other.interims):
            for one, two in zip(straight.interims, other.interims):
                self.headers("interim", one.headers, two.headers)
                self.note("interim reason", one.start[2], two.start[2])
        self.note("answers", len(straight.answers), len(other.answers))
        for one, two in zip(straight.answers, other.answers):
            self.messages("answer", one, two, self.leg[0] == "2")

    def persistence(self, other):
        """Whether the visitor was told what becomes of its connection (RFC 9112, 9.3). This is not compared."""
        answer = other.answers[-1]
        words = b",".join(answer.values(b"connection")).lower()
        stays = b"close" not in words if answer.start[0] == b"HTTP/1.1" else b"keep-alive" in words
        if other.after in ("open", "closed") and answer.start[1] != b"101":
            self.note("connection told", "open" if stays else "closed", other.after)

    def messages(self, kind, one, two, is_http2):
        words = ["method", "target", "version"] if kind == "request" else ["version", "status", "reason"]
        for word, mine, theirs in zip(words, one.start, two.start):
            if word != "version" or not (is_http2 or b"HTTP/2" in (mine, theirs)):
                self.note(f"{kind} {word}", mine, theirs)
        self.headers(kind, one.headers, two.headers)
        self.note(f"{kind} framing", one.framing, two.framing)
        # Of a message that breaks off the last bytes may be lost on the way.
        if one.whole or two.whole or not one.body.startswith(two.body):
            self.note(f"{kind} body", one.body, two.body)
        self.note(f"{kind} whole", one.whole, two.whole)
        self.headers(f"{kind} trailer", one.trailers, two.trailers)

    def headers(self, kind, mine, theirs):
        ours, others = by_name(mine), by_name(theirs)
        for name in sorted(ours.keys() | others.keys()):
            one, two = ours.get(name), others.get(name)
            text = shown(name, 60)
            if one is None:
                self.note(f"{kind} header added", "none", shown(b", ".join(v for _, v in two)), text)
            elif two is None:
                self.note(f"{kind} header lost", shown(b", ".join(v for _, v in one)), "none", text)
            else:
                if values(one) != values(two):
                    self.note(
                        f"{kind} header value", *(shown(b" and ".join(values(each))) for each in (one, two)), text
                    )
                else:
                    self.note(f"{kind} name case", *(b",".join(n for n, _ in each) for each in (one, two)), text)
        # By where each name comes first: values of one name that stand apart mean the same together.
        same = {name for name in ours if name in others and values(ours[name]) == values(others[name])} - PLACELESS
        orders = [[name for name in each if name in same] for each in (ours, others)]
        self.note(f"{kind} order", *(shown(b" ".join(order)) for order in orders))
        if b"host" in ours and b"host" in others and self.leg[2] == "1":
            places = ["first" if next(iter(each)) == b"host" else "behind others" for each in (ours, others)]
            self.note(f"{kind} host's place", *places)


def by_name(headers):
    found = collections.defaultdict(list)
    for name, value in headers:
        found[name.lower()].append((name, value))
    return dict(found)


def values(lines):
    return [value for _, value in lines]


def statuses(messages):
    return " ".join(message.start[1].decode("latin-1") for message in messages) or "none"


def outcome(exchange):
    if exchange.answers:
        return f"answered {statuses(exchange.answers)}"
    return exchange.end


def refused(straight, other):
    """How a proxy answered by itself what goes through straight; None if it did not."""
    if not other.answers:
        is_same = not straight.answers and straight.end == other.end and len(other.requests) == len(straight.requests)
        return None if is_same else f"{other.end} without an answer"
    own = [answer for answer in other.answers if answer.values(b"x-adit-reason")]
    if own:
        return f"answered {statuses(other.answers)} {shown(own[0].values(b'x-adit-reason')[0])}"
    if len(other.requests) < len(straight.requests) or not straight.answers:
        return f"answered {statuses(other.answers)}"
    return None


def differences(case, leg, straight, other):
    comparison = Comparison(leg)
    comparison.exchanges(straight, other)
    if case.is_connect and other.answers:
        # To extended CONNECT every 2xx says that the connection is taken.
        taken = straight.answers[0].start[1] == b"101", other.answers[0].start[1][:1] == b"2"
        comparison.note("WebSocket taken", *taken)
    return comparison.found
