"""The fidelity suite alone: `PATH=$PATH:/usr/sbin target/e2e/bin/python -B tests/e2e/fidelity.py ADIT [WORDS]`.

With words, only cases whose names have them. The suite itself is the package of the same name beside this file.
"""

import shutil
import sys

from fidelity import check_fidelity
from nodes import ENDS, PLACE

with ENDS:
    check_fidelity(*sys.argv[2:])
shutil.rmtree(PLACE)
