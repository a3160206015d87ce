"""Read recordings, and turn sound into log-mel spectrograms as NVIDIA's Tacotron 2 does."""

import io
import math
import os
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

LOUDNESS_FLOOR = 1e-5
SILENCE = math.log(LOUDNESS_FLOOR)  # what a silent mel frame holds, and what pads mels: 0 would be loud
TRIM_BLOCK = 256  # samples
MOST_MISSING_SECONDS = 0.01
UNKNOWN_SIZE = 0x7FFF0000  # bytes


class AudioError(ValueError):
    """A recording that cannot be used.

    Args:
        reason: the short kind of trouble, as in "missing audio".
        rate: the file's, in Hz, if that is the trouble.
    """

    def __init__(self, reason: str, detail: str, rate: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.rate = reason, detail, rate


@dataclass(frozen=True)
class MelSettings:
    """What a mel is computed with, in NVIDIA's names; the defaults fit public LJSpeech vocoders."""

    sample_rate: int = 22050
    filter_length: int = 1024
    hop_length: int = 256
    win_length: int = 1024
    n_mel_channels: int = 80
    mel_fmin: float = 0.0  # Hz
    mel_fmax: float = 8000.0  # Hz


def read_wave(path: Path, sample_rate: int, resample_from: int | None = None) -> NDArray[np.float32]:
    """Samples (N,) in [-1, 1] at `sample_rate`; a file at `resample_from` Hz is resampled.

    Raises AudioError for a file that is missing, unreadable, cut off, empty, not mono, not finite or of
    another rate.
    """
    if not path.is_file():
        raise AudioError("missing audio", f"there is no file {path}")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError("unreadable audio", f"{path} is not a sound file: {error.error_string}") from error
    missing = missing_seconds(path)
    if missing > MOST_MISSING_SECONDS:
        whole = missing + len(samples) / rate
        detail = f"{path} promises {whole:.2f} s and holds {len(samples) / rate:.2f} s"
        raise AudioError("cut off audio", detail)
    if not len(samples):
        raise AudioError("empty audio", f"{path} has no samples")
    if samples.shape[1] != 1:
        raise AudioError("not mono", f"{path} has {samples.shape[1]} channels: mix them down to 1")
    if not np.isfinite(samples).all():
        raise AudioError("not finite audio", f"{path} holds NaN or infinite samples")
    if rate not in (sample_rate, resample_from):
        declared = f" or {resample_from}" if resample_from else ""
        raise AudioError("wrong sample rate", f"{path} has {rate} Hz, wanted {sample_rate}{declared}", rate)
    wave: NDArray[np.float32] = samples[:, 0]
    if rate != sample_rate:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=sample_rate)
    return np.clip(wave, -1.0, 1.0)


def missing_seconds(path: Path) -> float:
    """How much more sound a WAV file's header promises than the file holds; 0 for any other file.

    Who wrote into a pipe could not know the length, and promised about 2 or 4 GB, or nothing.
    """
    seconds_a_byte = 0.0
    with open(path, "rb") as file:
        riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12))
        while (riff, wave) == (b"RIFF", b"WAVE") and len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                held = path.stat().st_size - file.tell()
                return max(0, size - held) * seconds_a_byte if size < UNKNOWN_SIZE else 0.0
            if name == b"fmt ":
                bytes_a_second = struct.unpack("<8xI", file.read(12).ljust(12))[0]
                seconds_a_byte = 1 / max(1, bytes_a_second)
                size -= 12
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0.0


def trimmed(
    wave: NDArray[np.float32], sample_rate: int, top_db: float | None, keep_seconds: float = 0.05
) -> NDArray[np.float32]:
    """The wave without edges that are more than `top_db` below its loudest part; None leaves it whole."""
    if top_db is None:
        return wave
    energy = np.add.reduceat(np.square(wave), np.arange(0, len(wave), TRIM_BLOCK))
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-top_db / 10))
    keep = round(keep_seconds * sample_rate)
    return wave[max(0, loud[0] * TRIM_BLOCK - keep) : (loud[-1] + 1) * TRIM_BLOCK + keep]


def mel_spectrogram(wave: NDArray[np.float32], settings: MelSettings) -> NDArray[np.float32]:
    """Natural logarithm of mel magnitudes (F, n_mel_channels), F = 1 + N // hop_length, of N > 0 samples."""
    padded = np.pad(wave.astype(np.float32, copy=False), settings.filter_length // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, settings.filter_length)
    frames = windows[:: settings.hop_length] * _window(settings)
    magnitudes = np.abs(np.fft.rfft(frames))
    mel: NDArray[np.float32] = magnitudes @ mel_filters(settings).T
    return np.log(np.maximum(mel, np.float32(LOUDNESS_FLOOR)))


@cache
def mel_filters(settings: MelSettings) -> NDArray[np.float32]:
    """The filterbank (n_mel_channels, 1 + filter_length // 2): Slaney's scale, each band of equal area."""
    filters: NDArray[np.float32] = librosa.filters.mel(
        sr=settings.sample_rate,
        n_fft=settings.filter_length,
        n_mels=settings.n_mel_channels,
        fmin=settings.mel_fmin,
        fmax=settings.mel_fmax,
    )
    filters.setflags(write=False)
    return filters


@cache
def _window(settings: MelSettings) -> NDArray[np.float32]:
    window = librosa.filters.get_window("hann", settings.win_length)
    centred: NDArray[np.float32] = librosa.util.pad_center(window, size=settings.filter_length)
    return centred.astype(np.float32)


def write_wave(path: Path, wave: NDArray[np.float32], sample_rate: int) -> None:
    """Write samples (N,) as a 16-bit WAV file; what exceeds [-1, 1] is clipped. Raises OSError."""
    write_samples(path, np.clip(wave, -1.0, 1.0), sample_rate)


def write_samples(path: Path, samples: NDArray[Any], sample_rate: int) -> None:
    """Write samples (N,), floats in [-1, 1] or integers of 16 bits, as a 16-bit WAV file. Raises OSError."""
    written = io.BytesIO()  # where the disk is full, libsndfile says no more than "System error"
    soundfile.write(written, samples, sample_rate, format="WAV", subtype="PCM_16")
    path.write_bytes(written.getbuffer())
