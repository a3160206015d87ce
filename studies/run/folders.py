"""Where the files of a study's trials are: each attempt has a folder of its own name."""

from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

from model import checkpoint
from objectives.progress import LIVE, SAMPLE
from smart_tuner.store.attempts import newest_attempt

HALF_WRITTEN = (Path(LIVE).with_suffix(".tmp"), Path(SAMPLE).with_suffix(".tmp.wav"))


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial's newest attempt keeps its checkpoints and samples; the first one's, if there is none."""
    return newest_attempt(folder / f"trial-{number:04d}")


def attempt_folder(folder: Path, number: int, attempt_no: int, warn: Callable[[str], None]) -> Path:
    """The trial's folder, named anew: an attempt that lost its lease unknowingly finds nothing to spoil.

    What a first attempt finds there is not its trial's: a study of the same name was deleted, or is in
    another database. It is put aside, and `warn` told.
    """
    before, path = trial_folder(folder, number), folder / f"trial-{number:04d}"
    if attempt_no > 1:
        path = path.with_name(f"{path.name}-attempt-{attempt_no}")
        if before.is_dir() and before != path:
            before.rename(path)
            clear_unfinished(path)
    elif before.is_dir():
        names = (f"earlier-{before.name}{more}" for more in chain([""], (f"-{k}" for k in count(2))))
        aside = next(folder / name for name in names if not (folder / name).exists())
        before.rename(aside)
        warn(f"trial {number} begins anew; the files of another study of this name are now in {aside}")
    path.mkdir(parents=True, exist_ok=True)
    return path


def clear_unfinished(folder: Path) -> None:
    """Remove what an attempt that was killed had half written in a trial's folder. No attempt may be running
    there: its trial has ended, or the folder has a name that it does not know."""
    checkpoint.clear_unfinished(folder)
    for path in (folder / name for name in HALF_WRITTEN):
        if path.is_file():
            path.unlink(missing_ok=True)
