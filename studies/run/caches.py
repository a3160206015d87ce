"""Where libraries keep their caches: beside themselves, below HOME, or else in the workdir."""

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

VARIABLES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def keep_in(workdir: Path, places: Sequence[Path] | None = None) -> None:
    """Let caches be in the workdir where none of the usual `places` can be written, as in a container of a
    plain user. To be called before librosa is imported, which fails where numba finds no place."""
    if not any(map(_writable, _usual() if places is None else places)):
        for variable, name in VARIABLES.items():
            os.environ.setdefault(variable, str(workdir.absolute() / "cache" / name))


def _usual() -> list[Path]:
    specs = (find_spec(name) for name in ("librosa", "model"))  # whose code Numba compiles
    beside = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    below_home = Path(os.path.expanduser("~/.cache"))
    return [
        *(beside[:1] if all(map(_writable, beside)) else []),
        *([below_home] if below_home.is_absolute() else []),  # it may be nobody's
    ]


def _writable(folder: Path) -> bool:
    """Whether a file can be made there, or in the folder in which that would have to be made."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
