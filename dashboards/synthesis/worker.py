"""The synthesis worker: a process that speaks one text after another, with its last voices in memory.

It listens to what it spoke, where there is a recognizer already: nobody waits here for one to be fetched.
"""

import io
import os
import signal
from collections import OrderedDict
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import soundfile
from numpy.typing import NDArray

from model import checkpoint
from model.checkpoint import DamagedCheckpoint
from model.speech.hifigan import VocoderError
from model.speech.text import TextError
from model.speech.voice import Voice, load_voice
from smart_tuner.store.storage import open_storage
from studies.report.voices import heard_at_once, voice_checkpoint, with_sound
from studies.run import libraries
from studies.run.study import StudyError, load_study

VOICES = 3
SYMBOLS = 700  # numbers are spoken as words, so that a short text may be a long speech
READY = "ready"


def serve(pipe: Connection, url: str, workdir: Path) -> None:
    """Answer requests (study, trial, text) until the other end is gone; trainings have priority."""
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this
    voices: OrderedDict[Path, Voice] = OrderedDict()
    libraries.choose(workdir)
    with closing(open_storage(url, looking=True)) as storage:
        pipe.send(READY)
        while True:
            try:
                name, number, text = pipe.recv()
            except EOFError:
                return
            try:
                study = load_study(name, storage)
                number, path = voice_checkpoint(study, number, workdir / "studies" / name)
                voice = _voice(voices, path, study)
                pipe.send(_said(study, voice, number, path, text))
            except TextError as error:
                pipe.send(_unspeakable(error))
            except StudyError as error:
                pipe.send({"error": "no_voice", "why": str(error)})
            except VocoderError as error:
                pipe.send({"error": "no_vocoder", "why": str(error)})
            except (DamagedCheckpoint, OSError, ValueError) as error:
                pipe.send({"error": "damaged_voice", "why": str(error)})


def _unspeakable(error: TextError) -> dict[str, Any]:
    kind = "unknown_characters" if error.characters else "unspeakable"
    return {
        "error": kind,
        "characters": [[c, f"U+{ord(c):04X}", count] for c, count in error.characters.items()],
    }


def _voice(voices: "OrderedDict[Path, Voice]", path: Path, study: optuna.Study) -> Voice:
    voices[path] = voices.pop(path) if path in voices else with_sound(load_voice(path), study)
    while len(voices) > VOICES:
        voices.popitem(last=False)
    return voices[path]


def _said(study: optuna.Study, voice: Voice, number: int, path: Path, text: str) -> dict[str, Any]:
    symbols = voice.front_end.encode(text)
    if len(symbols) > SYMBOLS:
        return {"error": "too_long_spoken", "symbols": len(symbols), "limit": SYMBOLS}
    speech, heard = heard_at_once(study, voice, text)
    sound, rate = voice.sound(speech), voice.mel_settings.sample_rate
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="PCM_16")
    low, high = float(speech.mel.min()), float(speech.mel.max())
    return {
        "trial": number,
        "step": checkpoint.step_of(path),
        "digest": checkpoint.digest(path),
        "stop": speech.stop,
        "vocoder": voice.sounds_by,
        "heard": heard,
        "words": voice.front_end.in_words(text),
        "seconds": len(sound) / rate,
        "wave": file.getvalue(),
        "letters": [voice.front_end.symbols[symbol] for symbol in symbols],
        "alignment": _grid(speech.alignment),
        "mel": _grid((speech.mel - low) / max(high - low, 1e-6)),
    }


def _grid(values: NDArray[np.float32]) -> dict[str, Any]:
    """A grid of numbers from 0 to 1 as bytes, row by row."""
    rows, columns = values.shape
    return {"rows": rows, "columns": columns, "bytes": (values.clip(0, 1) * 255).astype(np.uint8).tobytes()}
