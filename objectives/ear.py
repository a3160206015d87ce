"""The ear: how much of what a voice says a listener would understand, by speech recognition.

Whisper (Radford et al., 2022, arXiv:2212.04356), as faster-whisper runs it, writes down what it hears; that
is held against the text, letter by letter and word by word. It comes with the extra "ear".
"""

import importlib.util
import math
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from model.data.cutting import Piece, Span
from model.extras import installing
from model.speech.text import FRONT_ENDS, TextError
from objectives.signals import NOBODY

VARIABLE = "SMART_TUNER_EAR"  # in the environment: a recognizer that comes before that of a study
HEARD_RATE = 16_000  # Hz, of what Whisper hears
TOKENS_A_SECOND = 15  # at most: fast speech has 8, where babble is written down without end
# A sound up to here is heard in half of Whisper's window of 30 s: that costs a third, and 12 sentences of the
# quickstart's held-out ones were understood alike (recordings, wrong texts, shuffled, three voices: +-0.03).
SHORT_SECONDS = 13.0
FRAMES_A_SECOND = 100  # of Whisper's mels


NOT_INSTALLED = f"Nothing can be heard: the extra ear is not installed.\nWhat to do: {installing('ear')}"


class EarError(RuntimeError):
    """There is nothing to hear with; the message says why and what to do."""


@dataclass(frozen=True)
class Transcription:
    """What a recognizer wrote down of some sentences, held against them: error rates between 0 and 1.

    Args:
        texts: as they were written down, in the order of the sentences.
        cer: errors for each letter of all texts together.
        wer: the same for each word.
    """

    texts: tuple[str, ...]
    cer: float
    wer: float


class Ear:
    """Hears one language.

    Args:
        recognizer: the name of a Whisper model, which is fetched at its first use, or a folder that holds one
            in CTranslate2's format.
        language: "en" or "ru".
        device: where it runs; on a CPU with 8-bit weights.
        fetch: whether a model that is not here may be fetched.

    Raises EarError.
    """

    def __init__(self, recognizer: str, language: str, device: str = "cpu", *, fetch: bool = True) -> None:
        if not is_installed():
            raise EarError(NOT_INSTALLED)
        from faster_whisper import WhisperModel

        self.language, kind = language, torch.device(device)
        try:
            self.model: Any = WhisperModel(
                recognizer,
                device=kind.type,
                device_index=kind.index or 0,
                compute_type="int8" if kind.type == "cpu" else "float16",
                cpu_threads=torch.get_num_threads(),
                local_files_only=not fetch,
            )
            self._frames, whole = 30 * FRAMES_A_SECOND, self.model.encode
            self.model.encode = lambda mel: whole(np.ascontiguousarray(mel[..., : self._frames]))
        except (OSError, RuntimeError, ValueError) as error:
            raise EarError(
                f'Nothing can be heard: the recognizer "{recognizer}" cannot be loaded.\n'
                f"{str(error).splitlines()[0]}\n"
                "A name is fetched at its first use, which needs a network; else give the folder of one."
            ) from error

    def __call__(
        self, waves: Sequence[NDArray[np.float32]], rate: int, texts: Sequence[str]
    ) -> Transcription:
        """Hear waves (N,) of `rate` Hz that are to say `texts`."""
        import jiwer

        heard = tuple(self._transcribed(wave, rate) for wave in waves)
        right = [normalised(text, self.language) for text in texts]
        found = [normalised(text, self.language) for text in heard]
        cer = jiwer.cer(right, found)
        return Transcription(heard, min(1.0, cer), min(1.0, jiwer.wer(right, found)))

    def words(self, sound: NDArray[np.float32], progress: Callable[[int, int], None]) -> list[Piece]:
        """All words of a sound (N,) of HEARD_RATE, as long as it may be, with their times.

        Args:
            progress: called with the seconds that are done, and all.
        """
        self._frames = 30 * FRAMES_A_SECOND
        segments, about = self.model.transcribe(
            sound,
            language=self.language,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        found: list[Piece] = []
        for segment in segments:
            progress(int(segment.end), math.ceil(about.duration))
            found += [Piece(w.word.strip(), float(w.start), float(w.end)) for w in segment.words]
        return found

    def encoded(self, sound: NDArray[np.float32]) -> tuple[Any, int]:
        """What the recognizer makes of a sound (N,) of HEARD_RATE and at most 30 s; with its frames."""
        from faster_whisper.audio import pad_or_trim

        self._choose_window(sound)
        features = self.model.feature_extractor(sound)
        return self.model.encode(pad_or_trim(features)), features.shape[-1]

    def _choose_window(self, sound: NDArray[np.float32]) -> None:
        self._frames = (15 if len(sound) <= SHORT_SECONDS * HEARD_RATE else 30) * FRAMES_A_SECOND

    def _transcribed(self, wave: NDArray[np.float32], rate: int) -> str:
        if not len(wave):
            return ""
        sound = librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE)
        self._choose_window(sound)
        segments, _ = self.model.transcribe(
            sound,
            language=self.language,
            temperature=0.0,  # the same sound is always heard alike
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=10 + TOKENS_A_SECOND * -(-len(sound) // HEARD_RATE),
        )
        return " ".join(segment.text.strip() for segment in segments)


def speech_in(sound: NDArray[np.float32]) -> list[Span]:
    """Where in a sound (N,) of HEARD_RATE somebody speaks: by Silero VAD, as faster-whisper brings it. Pauses
    are of a tenth of a second at least."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        threshold=0.5, min_speech_duration_ms=0, min_silence_duration_ms=100, speech_pad_ms=0
    )
    found = get_speech_timestamps(sound, options)
    return [(span["start"] / HEARD_RATE, span["end"] / HEARD_RATE) for span in found]


def recognizer_of(chosen: str) -> str | None:
    """What listens. Args: chosen: what the study says."""
    found = os.environ.get(VARIABLE) or chosen
    return None if found == NOBODY else found


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("faster_whisper", "jiwer"))


def normalised(text: str, language: str) -> str:
    """Words as they sound: no case, punctuation, stress marks or ё, and numbers written out."""
    plain = unicodedata.normalize("NFC", as_heard(text, language)).casefold()
    return " ".join(re.findall(r"[^\W_]+", plain.replace("ё", "е").replace("'", "")))


def as_heard(text: str, language: str) -> str:
    """A text without stress marks and phonemes given by hand, which nobody writes down, and with its numbers
    in words."""
    text = re.sub(r"\[\[.*?\]\]", " ", text)
    with suppress(TextError):  # a recognizer writes what it likes
        text = FRONT_ENDS[language].in_words(text) or text
    return text.replace("\u0301", "").replace("+", "")
