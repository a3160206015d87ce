"""What a running trial does now: a small file beside its checkpoints, for whoever wants to look.

The database hears of a trial at its rungs, minutes apart. This file is written every two seconds, costs a
fraction of a millisecond, and nothing depends on it.
"""

import json
import math
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.training import StepMeasures

LIVE = "progress.json"
SAMPLE, ALIGNMENT, MELS = "sample.wav", "sample.png", "mels.png"  # of the trial's best state
EVERY_SECONDS = 2.0
MOST_POINTS = 240  # of the curve; when there are more, every second one is dropped


class Progress:
    """Told of every step of one attempt; a curve that an earlier attempt began goes on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LIVE
        self._seconds: deque[float] = deque(maxlen=50)
        self._curve: list[tuple[int, float | None, float | None]] = _curve(self._path)
        self._apart, self._next = 1, 0  # steps between points, and where the next one is
        self._written = -math.inf

    def stepped(self, measures: "StepMeasures", target: int, diagonal_score: float | None) -> None:
        """Args: target: the step at which the trial ends; diagonal_score: of the newest validation."""
        self._seconds.append(measures.seconds)
        if self._curve and measures.step <= self._curve[-1][0]:  # went back
            self._curve = [point for point in self._curve if point[0] < measures.step]
            self._next = measures.step
        if measures.step >= self._next:
            self._curve.append((measures.step, _short(measures.mel_l1), _short(measures.guided)))
            if len(self._curve) > MOST_POINTS:
                self._curve = self._curve[::2]
                self._apart *= 2
            self._next = self._curve[-1][0] + self._apart
        if time.monotonic() - self._written >= EVERY_SECONDS:
            self._written = time.monotonic()
            self._write(measures, target, diagonal_score)

    def _write(self, measures: "StepMeasures", target: int, diagonal_score: float | None) -> None:
        found = {
            "at": time.time(),
            "pid": os.getpid(),
            "step": measures.step,
            "target": target,
            "mel_l1": _short(measures.mel_l1),
            "off_diagonal": _short(measures.guided),
            "gate": _short(measures.gate),
            "learning_rate": _short(measures.learning_rate),
            "diagonal_score": None if diagonal_score is None else _short(diagonal_score),
            "step_seconds": _short(median(self._seconds)),
            "curve": self._curve,
        }
        temporary = self._path.with_suffix(".tmp")
        with suppress(OSError):  # a full disk, or a folder that another attempt took: the training will see
            temporary.write_text(json.dumps(found, allow_nan=False))
            os.replace(temporary, self._path)


def _curve(path: Path) -> list[tuple[int, float | None, float | None]]:
    try:
        return [(step, mel, away) for step, mel, away in json.loads(path.read_text())["curve"]]
    except (OSError, ValueError, KeyError):
        return []


def _short(value: float) -> float | None:
    """What is not finite is not shown."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
