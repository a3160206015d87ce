"""Where no trial can be judged yet: not even the best say anything there."""

import math
from collections.abc import Collection

import optuna

from objectives.distance import NO_SPEECH
from smart_tuner.store.attributes import yardstick

FEWEST = 4  # trials that were measured at a step
PART = 3  # one of so many must say something


def silence(study: optuna.Study) -> float:
    """A larger value is that of a voice which says nothing; none is where values are no distances."""
    mismatch = yardstick(study).get("mismatch")
    return math.inf if mismatch is None else NO_SPEECH * mismatch


def say_nothing(values: Collection[float], silence: float) -> bool:
    """Whether enough trials were measured at a step to know that not even the best third say anything."""
    best = sorted(math.inf if math.isnan(value) else value for value in values)
    return len(best) >= FEWEST and best[max(1, len(best) // PART) - 1] > silence
