"""Which words of a text were not said, or said twice.

A transcription does not tell: what is hard to hear, a recognizer mends or mishears. So the same recognizer
(Whisper) is asked how likely it finds a text for a sound, and how likely the text without one of its words,
or with one of them twice. Where such a text is by far the likelier one, the word was lost or repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from objectives.ear import HEARD_RATE, Ear

# Differences of log-likelihoods, set on 40 sentences that espeak-ng spoke in English; python -m
# benchmarks.misreadings says what they are worth on others.
LOST = 5.0  # of the text without the word, and of the whole one
REPEATED = -8.0  # of the text with the word twice: all that is written twice is unlikely at first
LONGEST_SECONDS = 30.0  # which the recognizer hears at once


@dataclass(frozen=True)
class Misreading:
    """Words of a text that were lost or repeated, as they are written, in their order."""

    lost: tuple[str, ...]
    repeated: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated)


def misreading(ear: Ear, wave: NDArray[np.float32], rate: int, text: str) -> Misreading:
    """What of `text` a wave (N,) of `rate` Hz says otherwise; nothing is found in one of over 30 s."""
    words, sound = text.split(), librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE)
    if not len(wave) or len(sound) > LONGEST_SECONDS * HEARD_RATE:
        return Misreading(() if len(wave) else tuple(words), ())
    likelihood = Likelihood(ear, sound)
    left = list(range(len(words)))
    whole = likelihood(words)
    while 2 * len(left) > len(words):  # without the likeliest to be lost, until the others, or half, are left
        found = {i: likelihood([words[k] for k in left if k != i]) for i in left}
        least = max(left, key=lambda i: found[i])
        if found[least] - whole <= LOST:
            break
        left.remove(least)
        whole = found[least]
    said = [words[i] for i in left]
    again = [likelihood([*said[: i + 1], *said[i:]]) - whole for i in range(len(said))]
    repeated = tuple(word for word, more in zip(said, again, strict=True) if more > REPEATED)
    return Misreading(tuple(word for i, word in enumerate(words) if i not in left), repeated)


class Likelihood:
    """How likely a recognizer finds texts for one sound (N,) of HEARD_RATE: logarithms, natural ones."""

    def __init__(self, ear: Ear, sound: NDArray[np.float32]) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model: Any = ear.model
        self._heard, self._frames = ear.encoded(sound)
        self._tokenizer = Tokenizer(self._model.hf_tokenizer, True, task="transcribe", language=ear.language)

    def __call__(self, words: Sequence[str]) -> float:
        tokens = self._tokenizer.encode(" " + " ".join(words))
        [found] = self._model.model.align(self._heard, self._tokenizer.sot_sequence, [tokens], [self._frames])
        return float(np.log(np.maximum(found.text_token_probs, 1e-9)).sum())
