"""Where no trial can be judged yet: not even the best say anything there."""

import math
from collections.abc import Collection

from objectives.distance import no_speech_yet
from smart_tuner.repair.pruning import LEAST_PEERS

PART = 3  # one of so many must say something


def say_nothing(values: Collection[float], mismatch: float) -> bool:
    """Whether enough trials were measured at a step to know that not even the best third say anything.

    Args:
        mismatch: dB between different sentences (objectives/quality.py); infinite: values are no distances.
    """
    best = sorted(math.inf if math.isnan(value) else value for value in values)
    return len(best) >= LEAST_PEERS and no_speech_yet(best[max(1, len(best) // PART) - 1], mismatch)
