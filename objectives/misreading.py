"""Which words of a text were not said, or said twice.

A transcription does not tell: what is hard to hear, a recognizer mends or mishears. So the same recognizer
(Whisper) is asked how likely it finds a text for a sound, and how likely the text without one of its words,
or with one of them twice. Where such a text is by far the likelier one, the word was lost or repeated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from objectives.ear import HEARD_RATE, Ear, as_heard, normalised

# Differences of log-likelihoods, set on 30 sentences that espeak-ng spoke in English and 27 recorded Russian
# ones; python -m benchmarks.misreadings says what they are worth on others.
LOST = 4.0  # of the text without a word, or without its end, and of the whole one
REPEATED = -5.5  # of the text with a word twice: whatever is written twice is unlikely at first
LONGEST_SECONDS = 30.0  # which the recognizer hears at once


@dataclass(frozen=True)
class Misreading:
    """Words of a text that were lost or repeated, in their order."""

    lost: tuple[str, ...]
    repeated: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated)


def misreading(ear: Ear, wave: NDArray[np.float32], rate: int, text: str, heard: str) -> Misreading:
    """What of `text` a wave (N,) of `rate` Hz says otherwise; nothing is found in one of over 30 s.

    Args:
        heard: what the recognizer wrote down.
    """
    plain = re.sub(r"[^\w\s'-]", " ", as_heard(text, ear.language))
    words = [word for word in plain.split() if re.search(r"\w", word)]
    sound = librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE)
    if not len(wave):
        return Misreading(tuple(words), ())
    if not words or len(sound) > LONGEST_SECONDS * HEARD_RATE:
        return Misreading((), ())
    likelihood = Likelihood(ear, sound, text[-1] if text[-1:] in tuple("!?") else ".")
    known = {normalised(word, ear.language) for word in words}
    others = [word for word in normalised(heard, ear.language).split() if word not in known]
    lost = _lost(likelihood, words, others)
    said = [word for i, word in enumerate(words) if i not in lost]
    whole = likelihood(said)
    again = [likelihood([*said[: i + 1], *said[i:]]) - whole for i in range(len(said))]
    repeated = tuple(word for word, more in zip(said, again, strict=True) if more > REPEATED)
    return Misreading(tuple(words[i] for i in sorted(lost)), repeated)


def _lost(likelihood: "Likelihood", words: Sequence[str], others: Sequence[str]) -> set[int]:
    """Indices of words that were not said. Args: others: what was heard and is not in the text."""
    lost, kept = set[int](), set[int]()  # kept: those in whose place another word was heard
    while 2 * len(lost) < len(words):
        left = [i for i in range(len(words)) if i not in lost]
        whole = likelihood([words[i] for i in left])
        gaps = [{i} for i in left if i not in kept] + [set(left[k:]) for k in range(1, len(left) - 1)]
        found = [(likelihood([words[i] for i in left if i not in gap]), gap) for gap in gaps]
        most, gap = max(found, key=lambda one: one[0], default=(whole, set[int]()))
        if most - whole <= LOST:
            return lost
        if len(gap) == 1 and _was_replaced(likelihood, [(i, words[i]) for i in left], min(gap), others, most):
            kept |= gap
        else:
            lost |= gap
    return lost


def _was_replaced(
    likelihood: "Likelihood", words: Sequence[tuple[int, str]], at: int, others: Sequence[str], without: float
) -> bool:
    """Whether another word in the place of one is likelier than none: so is a rare one, heard as another."""
    replaced = ([other if i == at else word for i, word in words] for other in others)
    return any(likelihood(text) >= without for text in replaced)


class Likelihood:
    """How likely a recognizer finds texts for one sound (N,) of HEARD_RATE: logarithms, natural ones.

    Args:
        end: the mark that ends each text: unlikely where more is said.
    """

    def __init__(self, ear: Ear, sound: NDArray[np.float32], end: str) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model: Any = ear.model
        self._heard, self._frames = ear.encoded(sound)
        self._end = end
        self._of = lru_cache(self._likelihood)
        self._tokenizer = Tokenizer(self._model.hf_tokenizer, True, task="transcribe", language=ear.language)

    def __call__(self, words: Sequence[str]) -> float:
        return self._of(" ".join(words) + self._end)

    def _likelihood(self, text: str) -> float:
        tokens = self._tokenizer.encode(f" {text}")
        [found] = self._model.model.align(self._heard, self._tokenizer.sot_sequence, [tokens], [self._frames])
        return float(np.log(np.maximum(found.text_token_probs, 1e-9)).sum())
