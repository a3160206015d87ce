"""A made-up language: each letter is a spectral pattern of its own length, so the alignment is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.corpus import Corpus, Utterance
from model.data.preflight import Report
from model.speech.audio import SILENCE, MelSettings
from model.speech.text import FRONT_ENDS

LETTERS = "abcdefghijkl"
BANDS = 20
MELS = MelSettings(n_mel_channels=BANDS)
NOISE = 0.1  # standard deviation of each cell, in natural-log magnitude
HELD_OUT = 10


@dataclass(frozen=True)
class Shape:
    """What a corpus is like; the defaults are the base recipe's."""

    seed: int = 0  # of the patterns, lengths and texts: another seed is another language
    clips: int = 98
    shortest: int = 4  # letters of a text
    longest: int = 6
    silence: int = 0  # frames at the end of every clip
    source: str = "made up"  # or a shipped study, to whose clips nothing of the above applies


@dataclass(frozen=True)
class Spoken:
    """A corpus, and of each clip how many frames every letter takes."""

    corpus: Corpus
    durations: dict[str, tuple[int, ...]]


def patterns(random: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Two bumps a letter, a low and a high one, over the bands."""
    at = np.arange(BANDS) / BANDS
    found = {}
    for letter in LETTERS:
        low, high = random.uniform(0.05, 0.5), random.uniform(0.5, 0.95)
        bumps = -4.0 - ((at - low) / 0.05) ** 2, -4.5 - ((at - high) / 0.06) ** 2
        found[letter] = np.maximum(*bumps)
    return found


def speak(shape: Shape) -> Spoken:
    """The corpus of a shape, always the same."""
    random, front_end = np.random.default_rng(shape.seed), FRONT_ENDS["en"]
    sounds, lengths = patterns(random), {letter: int(random.integers(4, 7)) for letter in LETTERS}
    texts: dict[str, None] = {}
    while len(texts) < shape.clips:
        size = random.integers(shape.shortest, shape.longest + 1)
        texts["".join(random.choice(list(LETTERS), size))] = None
    items, durations = [], {}
    for number, text in enumerate(texts):
        frames = tuple(lengths[letter] + int(random.integers(-1, 2)) for letter in text)
        rows = [np.tile(sounds[letter], (n, 1)) for letter, n in zip(text, frames, strict=True)]
        mel = np.concatenate(rows)
        mel = np.pad(mel + random.normal(0.0, NOISE, mel.shape), ((0, shape.silence), (0, 0)))
        mel[len(mel) - shape.silence :] = SILENCE
        name = f"clip{number:03d}"
        symbols = np.array(front_end.encode(text), np.int64)
        items.append(Utterance(name, text, symbols, np.maximum(mel, SILENCE).astype(np.float32)))
        durations[name] = frames
    report = Report((), (), 0, {}, None)
    training, held_out = tuple(items[HELD_OUT:]), tuple(items[:HELD_OUT])
    return Spoken(Corpus(training, held_out, front_end, MELS, f"made up {shape}", report), durations)


def true_symbols(durations: Sequence[int], r: int, steps: int) -> NDArray[np.int64]:
    """Which symbol is spoken in each of `steps` decoder steps of r frames; after the last letter, its end."""
    owner = np.repeat(np.arange(len(durations)), durations)
    middles = np.arange(steps) * r + r // 2
    return np.where(middles < len(owner), owner[np.minimum(middles, len(owner) - 1)], len(durations))


def near_truth(attention: NDArray[np.float32], durations: Sequence[int], r: int) -> float:
    """Share of the decoder steps (S, N) whose most attended symbol is the spoken one or its neighbour."""
    truth = true_symbols(durations, r, len(attention))
    return float((np.abs(attention.argmax(axis=1) - truth) <= 1).mean())
