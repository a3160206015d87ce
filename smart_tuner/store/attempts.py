"""Which folder holds a trial's files: each attempt after the first renames it to a name of its own.

A folder of any other name, such as a copy, is somebody's own: it is neither read nor touched.
"""

import re
from pathlib import Path


def newest_attempt(first: Path) -> Path:
    """The folder of a trial's newest attempt; that of the first one, `first`, if there is none."""
    later = re.compile(re.escape(first.name) + "-attempt-([1-9][0-9]*)")
    found = {first: 1}
    for path in first.parent.glob(f"{first.name}-attempt-*"):
        if (name := later.fullmatch(path.name)) is not None:
            found[path] = int(name[1])
    return max((path for path in found if path.is_dir()), key=found.__getitem__, default=first)
