"""What is being made beside its place, so that only whole things are in it; and what killed makers left."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".smart-tuner-"  # of the folders in which something is made


@contextmanager
def being_made(target: Path) -> Iterator[Path]:
    """An empty folder, named as `target` and beside it, to fill and then to move to its place.

    Its maker holds it locked. What is there of others and is locked by nobody, their makers did not live to
    remove: it is removed now.

    Raises:
        OSError: the folder in which `target` is to be cannot be made or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear(target.parent)
    around, lock = _locked(target.parent)
    try:
        inside = around / target.name
        inside.mkdir()
        yield inside
    finally:
        shutil.rmtree(around, ignore_errors=True)
        os.close(lock)


def _locked(parent: Path) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # another maker took it for one that was left behind
            lock = os.open(made, os.O_RDONLY)
            with suppress(OSError):  # a network's file system may know no such locks; then nobody clears
                fcntl.flock(lock, fcntl.LOCK_EX)
            if made.is_dir():
                return made, lock
            os.close(lock)


def _clear(parent: Path) -> None:
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it was removed meanwhile
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except OSError:
                pass  # its maker lives, or that cannot be known
            finally:
                os.close(lock)
