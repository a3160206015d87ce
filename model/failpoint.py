"""Places where a test may end, freeze or delay this process.

SMART_TUNER_FAILPOINT=PLACE:ACTION[:NTH] with the actions kill, stop and sleep, at the NTH passing
(the first by default).
"""

import os
import signal
import time
from collections import Counter

VARIABLE = "SMART_TUNER_FAILPOINT"
PLACES = (
    "reserved",
    "asked",
    "bound",
    "ckpt-written",
    "ckpt-renamed",
    "row-written",
    "reported",
    "verdict",
    "decided",
    "telling",
    "released",
)
_passed: Counter[str] = Counter()


def failpoint(place: str) -> None:
    """Does nothing, unless the environment asks for a fault here."""
    wanted, _, rest = os.environ.get(VARIABLE, "").partition(":")
    if wanted != place:
        return
    action, _, nth = rest.partition(":")
    _passed[place] += 1
    if _passed[place] != int(nth or 1):
        return
    if action == "sleep":
        time.sleep(30)
    else:
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
