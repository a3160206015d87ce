"""A repaired run again, from its rows alone: no rule is asked."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults.course import Course
from model import checkpoint
from model.settings import LIMITS, Settings
from model.training import NonFinite, OutOfMemory, Training
from smart_tuner.repair.rule import Entry, settings_at

FAILED = ("non_finite", "out_of_memory")


def on_failure(entry: Entry) -> bool:
    """Whether the row came when the step behind it could not be taken."""
    return entry.rule in FAILED and entry.kind != "verdict"


def replay(course: Course, training: Training, folder: Path) -> Training:
    """Train `training` as `course` went; its settings are those of the start."""
    start, entries = training.settings, course.ledger.entries
    done: list[Entry] = []  # what was applied so far; alarms and verdicts have changes or none
    left = [e for e in entries if e.kind in ("repair", "verdict") or e.rule == "non_finite"]
    checkpoint.write(folder, 0, training.save)
    while training.step < course.training.step:
        course.strike(training)
        _step(training, start, done, left, folder)
        changed = _apply(training, left, done, folder, lambda e: not on_failure(e))
        if changed or training.step % course.stage.checkpoint_every == 0:
            checkpoint.write(folder, training.step, training.save)
    return training


def _step(training: Training, start: Settings, done: list[Entry], left: list[Entry], folder: Path) -> None:
    """One consumed step; batches that fail are passed over as the rows say."""
    while True:
        now = settings_at(training.step, asdict(start), done, LIMITS["learning_rate"][0])
        training.settings = Settings(**now)
        try:
            training.advance()
            return
        except NonFinite:
            training.skip()
        except OutOfMemory:
            pass
        if not _apply(training, left, done, folder, on_failure, most=1):
            raise ValueError(f"step {training.step + 1} fails, and no row says what was done about it")


def _apply(
    training: Training,
    left: list[Entry],
    done: list[Entry],
    folder: Path,
    which: Callable[[Entry], bool],
    most: int = 100,
) -> list[Entry]:
    """What the rows of this step did, in their order."""
    now = [entry for entry in left if entry.step == training.step and which(entry)][:most]
    for entry in now:
        left.remove(entry)
        done.append(entry)
        if entry.back_to is not None:
            training.roll_back(checkpoint.at(folder, entry.back_to))
        for part in filter(None, (entry.fresh or "").split(",")):
            training.reinitialise(part)
        if entry.clips:
            training.exclude(entry.clips)
    return now
