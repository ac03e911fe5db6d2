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


DIFFERENCES = []


def excused(case, leg, found):
    """The first line that allows the difference is marked as used."""
    for line in DIFFERENCES:
        if line.excuses(case, leg, found):
            line.is_used = True
            return True
    return False
