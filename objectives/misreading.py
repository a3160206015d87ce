"""Which words of a text were not said, or said twice.

A transcription does not tell: what is hard to hear, a recognizer mends or mishears. So the same recognizer
(Whisper) is asked how likely it finds a text for a sound, and how likely the text without one of its words,
or with one of them twice. Where such a text is by far the likelier one, the word was lost or repeated. Where
the attention of the voice that spoke is known, it decides between the two, or that neither is so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from model.speech.text import FrontEnd
from objectives.ear import HEARD_RATE, Ear, as_heard, normalised

# Differences of log-likelihoods, set on 30 sentences that espeak-ng spoke in English and 27 recorded Russian
# ones; python -m benchmarks.misreadings says what they are worth on others.
LOST = 4.0  # of the text without a word, or without its end, and of the whole one
REPEATED = -5.5  # of the text with a word twice: whatever is written twice is unlikely at first
LONGEST_SECONDS = 30.0  # which the recognizer hears at once
# Of attention: a word that is said takes its share of the time, one that is said twice is gone back to.
PASSED_OVER = 0.5  # of the steps that words of its length have in the median, at most
READ_AGAIN = 0.5  # of the word's symbols, at least


@dataclass(frozen=True)
class Misreading:
    """Words of a text that were lost or repeated, in their order."""

    lost: tuple[str, ...]
    repeated: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated)


@dataclass(frozen=True)
class Attended:
    """How a voice's attention passed a word."""

    passed_over: bool
    read_again: bool


def attended(path: NDArray[np.int64], ends: Sequence[int]) -> list[Attended]:
    """How each word was passed. Args: path: symbols (S,) that steps attend; ends: of words, exclusive."""
    word, back = np.searchsorted(ends, path, side="right"), np.maximum.accumulate(path) - path
    symbols = np.maximum(1, np.diff(ends, prepend=0))
    steps = np.bincount(word, minlength=len(ends))[: len(ends)] / symbols
    again = [max(back[word == i], default=0) for i in range(len(ends))]
    few = PASSED_OVER * np.median(steps)
    return [
        Attended(bool(s <= few), bool(a >= READ_AGAIN * n))
        for s, a, n in zip(steps, again, symbols, strict=True)
    ]


def word_ends(front_end: FrontEnd, text: str, symbols: int) -> list[int]:
    """Where each word of a text of so many symbols ends, by what it is read as alone: espeak-ng joins some
    ("in the" becomes one word of phonemes)."""
    ends = list(accumulate(len(front_end.read(word)) + 1 for word in words_of(text, front_end.name)))
    return [-(-end * symbols // ends[-1]) for end in ends]


def words_of(text: str, language: str) -> list[str]:
    plain = re.sub(r"[^\w\s'-]", " ", as_heard(text, language))
    return [word for word in plain.split() if re.search(r"\w", word)]


def misreading(
    ear: Ear,
    wave: NDArray[np.float32],
    rate: int,
    text: str,
    heard: str,
    attention: Sequence[Attended] | None = None,
) -> Misreading:
    """What of `text` a wave (N,) of `rate` Hz says otherwise; nothing is found in one of over 30 s.

    Args:
        heard: what the recognizer wrote down.
        attention: of each word; None: it is not known, and the recognizer alone is asked.
    """
    words = words_of(text, ear.language)
    sound = librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE)
    if not len(wave):
        return Misreading(tuple(words), ())
    if not words or len(sound) > LONGEST_SECONDS * HEARD_RATE:
        return Misreading((), ())
    likelihood = Likelihood(ear, sound, text[-1] if text[-1:] in tuple("!?") else ".")
    known = {normalised(word, ear.language) for word in words}
    others = [word for word in normalised(heard, ear.language).split() if word not in known]
    lost = _lost(likelihood, words, others)
    left = [i for i in range(len(words)) if i not in lost]
    said = [words[i] for i in left]
    whole = likelihood(said)
    again = [likelihood([*said[: i + 1], *said[i:]]) - whole for i in range(len(said))]
    twice = [i for i, more in zip(left, again, strict=True) if more > REPEATED]
    if attention is not None:  # what is heard to be wrong with a word, it knows better
        wrong = sorted({*lost, *twice})
        lost = {i for i in wrong if attention[i].passed_over}
        twice = [i for i in wrong if attention[i].read_again]
    return Misreading(tuple(words[i] for i in sorted(lost)), tuple(words[i] for i in twice))


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
