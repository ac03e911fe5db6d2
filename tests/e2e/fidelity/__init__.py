"""Whether HTTP arrives as it was said: every case straight, through nginx, and through Adit over both carries."""

import collections
import sys
import threading
import time

from nodes import check, note

from .answers import answer_cases
from .compare import differences
from .http2 import http2_cases
from .message import shown
from .paths import all_paths
from .requests import request_cases
from .table import DIFFERENCES, excused


def run_path(path, cases, exchanges, failures):
    for case in cases:
        if path.takes(case):
            try:
                exchanges[path.name, case.name] = path.run(case)
            except Exception as error:  # noqa: BLE001, a fault of the suite itself names its case
                failures.append(f"{path.name}: {case.name}: {error!r}")
                raise


def check_fidelity(only=""):
    began = time.monotonic()
    cases = [case for case in [*request_cases(), *answer_cases(), *http2_cases()] if only in case.name]
    names = collections.Counter(case.name for case in cases)
    check("cases of fidelity have names of their own", max(names.values()) == 1, names.most_common(3))
    paths = all_paths()
    exchanges, failures = {}, []
    threads = [
        threading.Thread(target=run_path, args=[path, cases, exchanges, failures], daemon=True) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    check("every case ran on every path", not failures, failures)
    failed = judge(cases, paths, exchanges)
    unused = [] if only else [line for line in DIFFERENCES if not line.is_used and not line.may_be_unused]
    for line in unused:
        print(f"UNUSED  {line.what} {line.name} ({line.reason})")
    seconds = time.monotonic() - began
    note(f"fidelity: {len(cases)} cases on {len(paths)} paths in {seconds:.1f} s")
    check("HTTP arrives as it was said", not failed, f"{len(failed)} of {len(cases)} cases")
    check("no line of the table is unused", not unused)


def judge(cases, paths, exchanges):
    """Prints what differs and may not, and gives the names of those cases."""
    failed, causes = [], collections.Counter()
    for case in cases:
        straight = exchanges["straight", case.name]
        found = collections.defaultdict(list)
        for path in paths:
            exchange = exchanges.get((path.name, case.name))
            if exchange is None or not path.name.startswith("adit"):
                continue
            leg = path.leg(case.kind)
            for each in differences(case, leg, straight, exchange):
                line = excused(case, leg, each)
                if line:
                    line.is_used = True
                else:
                    found[each].append(path.name)
                    causes[each.what if each.what.endswith("name case") else f"{each.what} {each.name}"] += 1
        if found:
            failed.append(case.name)
            report(case, found, paths, exchanges)
    for cause, count in causes.most_common():
        note(f"{count:5} times  {cause}")
    return failed


def report(case, found, paths, exchanges):
    print(f"FAILED  {case.name}")
    note(f"sent      {shown(case.sent, 300)}")
    note(f"answered  {shown(case.answered, 300)}")
    for difference, names in found.items():
        note(f"DIFFERS   {difference}  ({', '.join(names)})")
    shown_names = {name for names in found.values() for name in names}
    nginx = next(path for path in paths if path.name == "nginx")
    leg = nginx.leg(case.kind)
    others = differences(case, leg, exchanges["straight", case.name], exchanges["nginx", case.name])
    note(
        "NGINX     "
        + (
            "; ".join(str(each) for each in others if each.what == "refused" or not excused(case, leg, each))
            or "as straight"
        )
    )
    for path in paths:
        if path.name in ("straight", "nginx", *sorted(shown_names)[:1]):
            note(f"{path.name}: {exchanges[path.name, case.name].brief()}")
    sys.stdout.flush()
