"""Where libraries keep what they computed: beside themselves, below HOME, or else in our own folder."""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

VARIABLES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def keep_in(home: Path) -> None:
    """Where the installation and HOME are read-only, as in a container of a plain user; before librosa is
    imported, which does not work without a place for numba's."""
    found = find_spec("librosa")
    beside = Path(found.origin).parent if found and found.origin else home
    if not any(writable(place) for place in (beside, Path("~/.cache").expanduser())):
        for variable, name in VARIABLES.items():
            os.environ.setdefault(variable, str(home.absolute() / "cache" / name))


def writable(folder: Path) -> bool:
    """Whether a file can be made there, or in a folder that can be made there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
