"""The measure: how far a freely running voice is from recordings that it never heard.

Mel-cepstral distance in dB along the best time warp, on held-out sentences, several draws of the
prenet's masks each. A failed sentence scores the mismatch distance, the median distance between recordings of
different sentences: a voice that says something else is no better than that. No searched loss
weight enters, and the masks are the same for every trial and rung.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean, median, pstdev

import numpy as np
from numpy.typing import NDArray

from model.data.corpus import Utterance
from model.network.alignment import AlignmentMeasures, measure
from model.speech.audio import MelSettings, mel_spectrogram
from model.speech.vocoder import griffin_lim
from model.speech.voice import Speech, Voice
from objectives.distance import mel_cepstral_distance


@dataclass(frozen=True)
class Yardstick:
    """What distances are held against, in dB; of the corpus, never of a trial."""

    mismatch: float  # median distance between recordings of different held-out sentences
    copy_synthesis: float  # mean distance of copy-synthesis: the best that this vocoder allows


@dataclass(frozen=True)
class SentenceScore:
    """One held-out sentence in one draw."""

    id: str
    draw: int
    value: float  # dB, capped
    length_ratio: float  # spoken frames over recorded frames
    stop: str  # see model/speech/stopping.py
    failure: str | None  # "not finite", "never stopped", "stopped early", "alignment broken"


@dataclass(frozen=True)
class Judgement:
    """All scores of a voice at one step."""

    value: float  # dB, mean over sentences and draws
    spread: float | None  # standard deviation of the draws' means, dB; None for a single draw
    scores: tuple[SentenceScore, ...]
    mels: tuple[NDArray[np.float32], ...] = field(default=(), compare=False, repr=False)  # of the first draw

    @property
    def failures(self) -> dict[str, int]:
        return dict(Counter(score.failure for score in self.scores if score.failure))

    @property
    def failure_share(self) -> float:
        return sum(self.failures.values()) / len(self.scores)


class Judge:
    """Judges voices on fixed sentences; the same voice always gets the same judgement."""

    def __init__(self, items: Sequence[Utterance], draws: int, seed: int, yardstick: Yardstick) -> None:
        self.items, self._draws, self._seed, self.yardstick = tuple(items), draws, seed, yardstick

    def __call__(self, voice: Voice) -> Judgement:
        spoken = voice.front_end.spoken()
        asked = [(item, draw) for draw in range(self._draws) for item in self.items]
        speeches = voice.read(
            [item.symbols.tolist() for item, _ in asked],
            [_seed(self._seed, item.id, draw) for item, draw in asked],
        )
        scores = tuple(
            self._score(item, draw, speech, np.isin(item.symbols, list(spoken)))
            for (item, draw), speech in zip(asked, speeches, strict=True)
        )
        means = [fmean(s.value for s in scores if s.draw == draw) for draw in range(self._draws)]
        mels = tuple(speech.mel for speech in speeches[: len(self.items)])
        return Judgement(fmean(means), pstdev(means) if len(means) > 1 else None, scores, mels)

    def _score(
        self, item: Utterance, draw: int, speech: Speech, spoken: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> SentenceScore:
        mismatch, ratio = self.yardstick.mismatch, len(speech.mel) / len(item.mel)
        failed = failure(speech, spoken)
        value = mismatch if failed else min(mismatch, mel_cepstral_distance(speech.mel, item.mel))
        return SentenceScore(item.id, draw, value, ratio, speech.stop, failed)


def failure(speech: Speech, spoken: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str | None:
    """Why a spoken sentence counts as failed, or None."""
    if not np.isfinite(speech.mel).all():
        return "not finite"
    if speech.stop == "limit":
        return "never stopped"
    if not reached_end(speech.alignment, spoken):
        return "stopped early"
    if not alignment_of(speech, spoken).aligned:
        return "alignment broken"
    return None


def alignment_of(speech: Speech, spoken: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> AlignmentMeasures:
    return measure(speech.alignment.astype(np.float64), spoken)


def reached_end(
    alignment: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    spoken: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> bool:
    """Whether the attention (S, N) ever came to the last spoken symbol or to what follows it."""
    return bool(alignment.argmax(axis=1).max() >= np.flatnonzero(spoken)[-1])


def yardstick(items: Sequence[Utterance], settings: MelSettings) -> Yardstick:
    """Measure both distances on the recordings themselves. Needs at least two items."""
    if len(items) < 2:
        raise ValueError(f"{len(items)} held-out sentence, but the measure needs at least 2")
    between = [mel_cepstral_distance(a.mel, b.mel) for a, b in combinations(items, 2)]
    copies = [mel_spectrogram(griffin_lim(item.mel, settings), settings) for item in items]
    copied = [mel_cepstral_distance(copy, item.mel) for copy, item in zip(copies, items, strict=True)]
    return Yardstick(median(between), fmean(copied))


def _seed(study_seed: int, sentence: str, draw: int) -> int:
    """Masks depend on (study seed, sentence, draw) and on nothing else."""
    digest = hashlib.sha256(f"{study_seed}/{sentence}/{draw}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
