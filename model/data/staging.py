"""Folders that are filled under another name and then renamed, so that only whole ones are in their place."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".smart-tuner-makes-"  # of the folders in which something is made; then its name, and letters


@contextmanager
def being_made(target: Path) -> Iterator[Path]:
    """An empty folder, named as `target` and beside it, to fill and then to move to its place.

    The process that fills it holds it locked. Folders for `target` that nobody holds locked were left by
    processes that were killed: they are removed first.

    Raises:
        OSError: the folder in which `target` is to be cannot be made or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear(target)
    around, lock = _locked(target)
    try:
        inside = around / target.name
        inside.mkdir()
        yield inside
    finally:
        shutil.rmtree(around, ignore_errors=True)
        os.close(lock)


def _locked(target: Path) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{target.name}-", dir=target.parent))
        with suppress(FileNotFoundError):  # another maker took it for one that was left behind
            lock = os.open(made, os.O_RDONLY)
            with suppress(OSError):  # a network's file system may know no such locks; then nobody clears
                fcntl.flock(lock, fcntl.LOCK_EX)
            if made.is_dir():
                return made, lock
            os.close(lock)


def _clear(target: Path) -> None:
    ours = re.compile(re.escape(f"{PREFIX}{target.name}-") + "[a-z0-9_]{8}")
    for left in (path for path in target.parent.iterdir() if ours.fullmatch(path.name)):
        with suppress(OSError):  # it was removed meanwhile
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except OSError:
                pass  # its maker lives, or that cannot be known
            finally:
                os.close(lock)
