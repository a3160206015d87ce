"""Sound as Telegram's voice messages want it: OGG with Opus, which knows few rates, none of ours."""

import io
from pathlib import Path

import soundfile
import soxr

RATE = 24_000  # Hz; Opus refuses 22,050


def as_opus(wave: Path | io.BytesIO) -> bytes:
    """Of any sound file, as one channel. Raises OSError or soundfile.LibsndfileError."""
    samples, rate = soundfile.read(wave, dtype="float32", always_2d=True)
    sound = soxr.resample(samples.mean(axis=1), rate, RATE)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="OGG", subtype="OPUS")
    return file.getvalue()
