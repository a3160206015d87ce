"""The ear: how much of what a voice says a listener would understand, by speech recognition.

Whisper (Radford et al., 2022, arXiv:2212.04356), as faster-whisper runs it, writes down what it hears; that
is held against the text, letter by letter and word by word. It comes with the extra "ear".
"""

import importlib.util
import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from model.speech.text import FRONT_ENDS, TextError
from objectives.signals import NOBODY

VARIABLE = "SMART_TUNER_EAR"  # in the environment: a recognizer that comes before that of a study
HEARD_RATE = 16_000  # Hz, of what Whisper hears
# A sound up to here is heard in half of Whisper's window of 30 s: that costs a third, and 12 sentences of the
# quickstart's held-out ones were understood alike (recordings, wrong texts, shuffled, three voices: +-0.03).
SHORT_SECONDS = 13.0
FRAMES_A_SECOND = 100  # of Whisper's mels


class EarError(RuntimeError):
    """There is nothing to hear with; the message says why and what to do."""


@dataclass(frozen=True)
class Transcription:
    """What a recognizer wrote down of some sentences, held against them: error rates between 0 and 1.

    Args:
        texts: as they were written down, in the order of the sentences.
        lost, added: words of the sentences that were not heard, and those that were heard in their place.
        cer: errors for each letter of all texts together.
        wer: the same for each word.
    """

    texts: tuple[str, ...]
    cer: float
    wer: float
    lost: tuple[str, ...]
    added: tuple[str, ...]


class Ear:
    """Hears one language.

    Args:
        recognizer: the name of a Whisper model, which is fetched at its first use, or a folder that holds one
            in CTranslate2's format.
        language: "en" or "ru".
        device: where it runs; on a CPU with 8-bit weights.

    Raises EarError.
    """

    def __init__(self, recognizer: str, language: str, device: str = "cpu") -> None:
        if not is_installed():
            raise EarError(
                "Nothing can be heard: the extra ear is not installed.\n"
                "What to do: .venv/bin/python -m pip install -c constraints.txt -e '.[ear]'"
            )
        from faster_whisper import WhisperModel

        self._language, kind = language, torch.device(device)
        try:
            self._model: Any = WhisperModel(
                recognizer,
                device=kind.type,
                device_index=kind.index or 0,
                compute_type="int8" if kind.type == "cpu" else "float16",
                cpu_threads=torch.get_num_threads(),
            )
            self._frames, whole = 30 * FRAMES_A_SECOND, self._model.encode
            self._model.encode = lambda mel: whole(np.ascontiguousarray(mel[..., : self._frames]))
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
        right = [normalised(text, self._language) for text in texts]
        found = [normalised(text, self._language) for text in heard]
        words = jiwer.process_words(right, found)
        lost, added = list[str](), list[str]()
        for said, got, parts in zip(words.references, words.hypotheses, words.alignments, strict=True):
            for part in parts:
                if part.type != "equal":
                    lost += said[part.ref_start_idx : part.ref_end_idx]
                    added += got[part.hyp_start_idx : part.hyp_end_idx]
        cer = jiwer.cer(right, found)
        return Transcription(heard, min(1.0, cer), min(1.0, words.wer), tuple(lost), tuple(added))

    def _transcribed(self, wave: NDArray[np.float32], rate: int) -> str:
        if not len(wave):
            return ""
        sound = librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE)
        self._frames = (15 if len(sound) <= SHORT_SECONDS * HEARD_RATE else 30) * FRAMES_A_SECOND
        segments, _ = self._model.transcribe(
            sound,
            language=self._language,
            temperature=0.0,  # the same sound is always heard alike
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments)


def recognizer_of(chosen: str) -> str | None:
    """What listens. Args: chosen: what the study says."""
    found = os.environ.get(VARIABLE) or chosen
    return None if found == NOBODY else found


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("faster_whisper", "jiwer"))


def normalised(text: str, language: str) -> str:
    """Words as they sound: no case, punctuation, stress marks or ё, and numbers written out."""
    with suppress(TextError):  # a recognizer writes what it likes
        text = FRONT_ENDS[language].in_words(text) or text
    plain = unicodedata.normalize("NFC", text.replace("\u0301", "").replace("+", "")).casefold()
    return " ".join(re.findall(r"[^\W_]+", plain.replace("ё", "е").replace("'", "")))
