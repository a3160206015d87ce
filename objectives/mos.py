"""How good a sound is, as listeners would rate it from 1 (bad) to 5 (excellent): its predicted MOS.

DistillMOS (Stahl and Gamper, 2025, arXiv:2502.05356) predicts the mean opinion score of speech without a
recording to hold it against. It comes with the extra "ear"; without it no MOS is predicted.
"""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

WORST, BEST = 1.0, 5.0
RATE = 16_000  # Hz, of what it hears
WINDOW = 122_880  # samples of one prediction, 7.68 s


class Mos:
    """Predicts on the CPU. Raises ImportError where the package is not installed."""

    def __init__(self) -> None:
        # The package imports torchaudio for its own command alone, and PyPI's torchaudio loads only beside
        # a torch for CUDA. Its network is drawn at random before its weights are read, and says so.
        stub = patch.dict(sys.modules, {"torchaudio": ModuleType("torchaudio")})
        with stub, torch.random.fork_rng(devices=()), contextlib.redirect_stdout(io.StringIO()):
            from distillmos import ConvTransformerSQAModel

            self._model: Any = ConvTransformerSQAModel().eval()

    def __call__(self, waves: Sequence[NDArray[np.float32]], rate: int) -> float:
        """The MOS of waves (N,) of `rate` Hz, one after the other: the mean over the fewest windows of 7.68 s
        that hold all of them. Silence fills up a shorter sound; without any sound it is the worst."""
        sound = np.concatenate([np.zeros(0, np.float32), *waves])
        if not len(sound):
            return WORST
        sound = librosa.resample(sound, orig_sr=rate, target_sr=RATE)
        sound = np.pad(sound, (0, max(0, WINDOW - len(sound))))
        starts = np.linspace(0, len(sound) - WINDOW, -(-len(sound) // WINDOW)).astype(int)
        windows = torch.from_numpy(np.stack([sound[start : start + WINDOW] for start in starts]))
        with torch.inference_mode():
            return float(self._model(windows).mean().clamp(WORST, BEST))


def predictor() -> Mos | None:
    """None where the package is not installed."""
    return Mos() if is_installed() else None


def is_installed() -> bool:
    return importlib.util.find_spec("distillmos") is not None
