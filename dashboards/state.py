"""Which process serves the pages of a workdir: written to a file, so that it can be found and stopped."""

import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smart_tuner import files
from smart_tuner.store.leases import is_gone, process, this_process

Write = Callable[[dict[str, str], dict[str, str], list[int]], None]
STATE, LOCK = "pages.json", "pages.lock"
STOP_SECONDS = 20.0


class PagesError(RuntimeError):
    """The pages cannot be served; the message says what, why and what to do."""


@dataclass(frozen=True)
class Running:
    """The process that serves and its children; each page's address with its key, and without it on this
    machine."""

    owner: dict[str, Any]
    addresses: dict[str, str]
    bound: dict[str, str]
    children: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return int(self.owner["pid"])


def running(workdir: Path) -> Running | None:
    """The process that serves the workdir's pages, if it lives; on another machine, if it did not end."""
    found = _written(workdir)
    return None if found is None or _is_over(found.owner) else found


def _is_over(owner: dict[str, Any]) -> bool:
    """Whether the process ended, also by a restart of this machine, after which others have its number."""
    here = this_process()
    return is_gone(owner) or (owner["host"] == here["host"] and owner["boot"] != here["boot"])


def _written(workdir: Path) -> Running | None:
    try:
        with os.fdopen(files.opened(workdir / STATE, os.O_RDONLY), encoding="utf-8") as file:
            return Running(**json.load(file))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise PagesError(
            f"Cannot read {workdir / STATE}.\n{error.strerror}.\nOnly who started the pages may end them."
        ) from error


@contextmanager
def alone(workdir: Path) -> Iterator[Write]:
    """Be the one who serves; gives a function that writes down addresses (and those on this machine), and the
    pids of children.

    Raises:
        PagesError: another process does.
    """
    with os.fdopen(files.lock(workdir / LOCK), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = running(workdir)
            where = f"by process {other.pid}" if other else "already"
            raise PagesError(
                f"The pages of {workdir} are served {where}.\nThere can be one such process.\n"
                "Look with: run_study.py pages --status   or end it with: run_study.py pages --stop"
            ) from error
        _end_orphans(workdir)

        def write(addresses: dict[str, str], bound: dict[str, str], children: list[int]) -> None:
            state = {
                "owner": this_process(),
                "addresses": addresses,
                "bound": bound,
                "children": [process(c) for c in children],
            }
            descriptor, temporary = tempfile.mkstemp(prefix=f"{STATE}.", dir=workdir)  # for its owner alone
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(state, file, indent=1)
            os.replace(temporary, workdir / STATE)

        try:
            yield write
        finally:
            (workdir / STATE).unlink(missing_ok=True)


def stop(workdir: Path) -> bool:
    """End the process that serves, and wait until it has; False where none does.

    Raises:
        PagesError: it runs on another machine, or does not end.
    """
    found = _written(workdir)
    if found is None:
        return False
    here = this_process()
    if any(found.owner[name] != here[name] for name in ("host", "pids")):
        raise PagesError(
            f"The pages of {workdir} are served on another machine, or in another container.\n"
            f"It is {found.owner['host']}.\nRun there: run_study.py pages --stop"
        )
    served = _ended(found.owner)
    _end_orphans(workdir)
    return served


def _ended(owner: dict[str, Any]) -> bool:
    """Ask the process to end, if it surely is the one that was written down; whether it was."""
    if _is_over(owner):
        return False
    os.kill(owner["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while not _is_over(owner):
        if time.monotonic() > deadline:
            raise PagesError(
                f"Process {owner['pid']} does not end.\nIt was asked to {STOP_SECONDS:.0f} s ago.\n"
                f"See what it does, or end it with: kill -9 {owner['pid']}"
            )
        time.sleep(0.1)
    return True


def _end_orphans(workdir: Path) -> None:
    """End the children of a process that was killed before it could end them."""
    found = _written(workdir)
    if found is not None and _is_over(found.owner):
        for child in found.children:
            _ended(child)
        (workdir / STATE).unlink(missing_ok=True)
