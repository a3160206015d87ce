"""Checkpoints on disk: a folder is whole, as its SHA-256 sums prove, or it counts as not there.

A checkpoint is a folder ckpt-STEP with a manifest of sizes and SHA-256 sums. It is written beside
its place, synced and renamed; neither safetensors nor torch notices a flipped byte, the manifest does.
Whatever else lies in the same folder, under a name that is not made here, is somebody's own: it is neither
read nor touched.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from model.failpoint import failpoint

SCHEMA = 1
MANIFEST = "manifest.json"
NAME = re.compile(r"ckpt-([0-9]{8,})")  # a copy or an archive beside a checkpoint has another name
UNFINISHED = re.compile(rf"{NAME.pattern}\.tmp")


class DamagedCheckpoint(ValueError):
    """A checkpoint whose files are not those that were written."""


def write(parent: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Make the checkpoint of `step` in `parent`; `fill` writes its files into the folder it is given.

    Raises:
        OSError: there is no `parent`, or the disk is full or not writable; nothing half-written is left.
    """
    path = at(parent, step)
    temporary = parent / f"{path.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(temporary)
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            for file in sorted(temporary.iterdir())
        }
        manifest = temporary / MANIFEST
        manifest.write_text(json.dumps({"schema": SCHEMA, "step": step, "files": files}, indent=1))
        for file in (*temporary.iterdir(), temporary):
            _sync(file)
        failpoint("ckpt-written")
        if path.is_symlink():
            path.unlink()  # the link alone: what it leads to is somebody's own
        elif path.exists():  # the same step again, after a resume: os.replace needs an empty target
            shutil.rmtree(path)
        os.replace(temporary, path)
        _sync(parent)
        failpoint("ckpt-renamed")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return path


def clear_unfinished(parent: Path) -> None:
    """Remove what `write` left when its process was killed. Nobody may be writing in `parent`."""
    for path in parent.glob("ckpt-*.tmp"):
        if UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def verify(path: Path) -> None:
    """Raises DamagedCheckpoint with the reason when a file is missing, cut or changed."""
    for name, size, digest in _listed(path):
        file = path / name
        if not file.is_file() or file.stat().st_size != size:
            raise DamagedCheckpoint(f"{path.name}: {name} is missing or cut")
        if _sha256(file) != digest:
            raise DamagedCheckpoint(f"{path.name}: {name} was changed (sha256)")


def set_aside(parent: Path, after: int) -> None:
    """Take the checkpoints of later steps out of the way: they are damaged, or of another version."""
    for path in all_in(parent):
        if step_of(path) > after:
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def files(path: Path) -> list[Path]:
    """All that a checkpoint consists of. Raises DamagedCheckpoint when its manifest is."""
    return [path / MANIFEST, *(path / name for name, _, _ in _listed(path))]


def _listed(path: Path) -> list[tuple[str, int, str]]:
    """Name, size and SHA-256 of each file, by the manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        schema = manifest["schema"]
        found = [(name, entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(f"{path.name} has no readable manifest") from error
    if schema != SCHEMA:
        raise DamagedCheckpoint(f"{path.name} has schema {schema}, but this program reads {SCHEMA}")
    return found


def digest(path: Path) -> str:
    """SHA-256 of the manifest, and so of everything in the checkpoint."""
    return _sha256(path / MANIFEST)


def newest(parent: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that verifies; `warn` is called for every damaged one that is passed over."""
    for path in reversed(all_in(parent)):
        try:
            verify(path)
        except DamagedCheckpoint as damage:
            warn(f"checkpoint damaged: {damage}; using the one before")
        else:
            return path
    return None


def at(parent: Path, step: int) -> Path:
    """Where the checkpoint of `step` is, or would be."""
    return parent / f"ckpt-{step:08d}"


def step_of(path: Path) -> int:
    """The step of one of the paths that `at` and `all_in` give."""
    return int(path.name.removeprefix("ckpt-"))


def all_in(parent: Path) -> list[Path]:
    """Checkpoints by step, oldest first."""
    return sorted(filter(_is_ours, parent.glob("ckpt-*")), key=step_of)


def _is_ours(path: Path) -> bool:
    found = NAME.fullmatch(path.name)
    return found is not None and path == at(path.parent, int(found[1])) and path.is_dir()


def keep(parent: Path, count: int, also: Collection[int]) -> None:
    """Remove all but the newest `count` checkpoints and those of the steps `also`."""
    kept = {at(parent, step) for step in also}
    for path in all_in(parent)[:-count]:
        if path not in kept and not path.is_symlink():  # a link is somebody's own, though it can be read
            shutil.rmtree(path)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
