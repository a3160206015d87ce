"""Sound for Telegram's voice messages: OGG with Opus, which takes few sample rates, and not ours."""

import io
from pathlib import Path

import soundfile
import soxr

RATE = 24_000  # Hz; Opus refuses 22,050


def as_opus(wave: Path | io.BytesIO) -> bytes:
    """Any sound file as OGG with Opus, in one channel. Raises OSError or soundfile.LibsndfileError."""
    samples, rate = soundfile.read(wave, dtype="float32", always_2d=True)
    sound = soxr.resample(samples.mean(axis=1), rate, RATE)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="OGG", subtype="OPUS")
    return file.getvalue()
