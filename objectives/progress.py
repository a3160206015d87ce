"""What a running trial does now: a small file beside its checkpoints, for whoever wants to look.

The database hears of a trial at its rungs, minutes apart. This file is written every two seconds, costs a
fraction of a millisecond, and nothing depends on it.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

Point = tuple[int, *tuple[float | None, ...]]  # a step, and the value of each curve there
LIVE = "progress.json"
SAMPLE, ALIGNMENT, MELS = "sample.wav", "sample.png", "mels.png"  # of the trial's best state
EVERY_SECONDS = 2.0
MOST_POINTS = 240  # of the curve; when there are more, every second one is dropped


class Progress:
    """Told of every step of one attempt; a curve that an earlier attempt began goes on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LIVE
        self._seconds: deque[float] = deque(maxlen=50)
        self._curve: list[Point] = _curve(self._path)
        self._apart, self._next = 1, 0  # steps between points, and where the next one is
        self._written = -math.inf

    def stepped(
        self, step: int, seconds: float, signals: Mapping[str, float], target: int, curves: Sequence[str]
    ) -> None:
        """Note what was measured.

        Args:
            seconds: that the step took.
            signals: of the step, and of the newest validation; those of parts of the network are left out.
            target: the step at which the trial ends.
            curves: the signals whose course is kept, always the same.
        """
        self._seconds.append(seconds)
        if self._curve and step <= self._curve[-1][0]:  # went back
            self._curve = [point for point in self._curve if point[0] < step]
            self._next = step
        if step >= self._next:
            self._curve.append((step, *(_short(signals.get(name, math.nan)) for name in curves)))
            if len(self._curve) > MOST_POINTS:
                self._curve = self._curve[::2]
                self._apart *= 2
            self._next = self._curve[-1][0] + self._apart
        if time.monotonic() - self._written >= EVERY_SECONDS:
            self._written = time.monotonic()
            whole = {name: _short(value) for name, value in signals.items() if "/" not in name}
            self._write(
                {
                    "at": time.time(),
                    "pid": os.getpid(),
                    "step": step,
                    "target": target,
                    "signals": whole,
                    "step_seconds": _short(median(self._seconds)),
                    "curve": self._curve,
                    "curves": list(curves),
                }
            )

    def _write(self, found: Mapping[str, Any]) -> None:
        temporary = self._path.with_suffix(".tmp")
        with suppress(OSError):  # a full disk, or a folder that another attempt took: the training will see
            temporary.write_text(json.dumps(found, allow_nan=False))
            os.replace(temporary, self._path)


def _curve(path: Path) -> list[Point]:
    try:
        found = json.loads(path.read_text())["curve"]
        return [(step, *values) for step, *values in found if isinstance(step, int)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _short(value: float) -> float | None:
    """What is not finite is not shown."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
