"""Hear some clips of a corpus before anything trains on it: do they say their texts, and in one voice?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from model.data.notes import Note
from model.data.preflight import CorpusSettings, Report, Row
from model.speech.audio import read_wave
from objectives.ear import Ear
from objectives.misreading import LONGEST_SECONDS, words_of
from objectives.similarity import speaker_encoder
from studies.run.data import Progress, described_note
from studies.run.recordings import likelihood_of, unlike

MOST_UNLIKE = 0.1  # of the clips that were heard: with more the fault is the corpus', and no clip's
LEAST_UNLIKE = 3  # clips
# The cosine of the d-vectors of two groups of clips: of one person 0.89 at least, of two 0.66 at most (two
# Russian voices, recorded, and espeak-ng's); a group is a tenth of the clips at least.
ONE_VOICE = 0.75
LEAST_GROUP = 0.1
LEAST_CLIPS = 20  # for groups
ROUNDS = 20
RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100)  # Hz; 24,000 and 48,000 sound nearly like two of them
LEAST_APART = 1.15  # times: nearer rates sound nearly alike
CLIPS_FOR_RATE, LEAST_FOR_RATE = 6, 3
LONGEST_FOR_RATE = 10.0  # s
LIKELIER = 0.7  # log-likelihood of a word, in the median of the clips
LEAST_LIKELIER = 0.75  # of the clips
LEAST_FIT = -3.0  # log-likelihood of a word: below, nothing fits, and what cannot be understood fits best


@dataclass(frozen=True)
class Unlike:
    """A clip that does not say its text."""

    row: Row
    heard: str
    why: str


@dataclass(frozen=True)
class HeardCorpus:
    """What was heard.

    Args:
        clips: how many.
        voices: the clips of the rarer voice; empty: there is one voice. None: nothing compares voices.
        rate, wanted_rate: Hz, of the files, and of what is trained on.
        fitting_rates: Hz, those at which the texts fit far better, if there are such; None: not judged.
    """

    clips: int
    unlike: tuple[Unlike, ...]
    voices: tuple[Row, ...] | None
    rate: int
    wanted_rate: int
    fitting_rates: tuple[int, ...] | None

    @property
    def refusal(self) -> str | None:
        """Why nothing should be trained on it: what, why, what to do, a line each."""
        if self.fitting_rates:
            set_right = f"asetrate={self.fitting_rates[0]},aresample={self.wanted_rate}"
            return (
                "The recordings have another rate than their files say.\n"
                f"Played at {' or '.join(map(str, self.fitting_rates))} Hz, and not at {self.rate}, "
                "they fit their texts far better.\n"
                f"Set it right, and listen: ffmpeg -i old.wav -af {set_right} new.wav"
            )
        bad = len(self.unlike)
        if bad >= LEAST_UNLIKE and bad > MOST_UNLIKE * self.clips:
            return (
                "Texts do not fit their recordings.\n"
                f"{bad} of {self.clips} clips that were heard say something else than is written.\n"
                "Look for lines that have slipped, recordings of another language or rate, or mixed up files."
            )
        if self.voices:
            return (
                "There is more than one voice in these recordings.\n"
                f"{len(self.voices)} of {self.clips} clips sound like another person, such as "
                f"{', '.join(row.id for row in self.voices[:3])}.\n"
                "A voice is learned from one person: hear all clips, and take out the others (data fix)."
            )
        return None

    def notes(self) -> Iterator[Note]:
        """The clips that a person should listen to, as other notes on a corpus name them."""
        of = f"of {self.clips} clips that were heard"
        if self.unlike:
            yield Note(
                f"{len(self.unlike)} {of} say something else than is written.",
                tuple(
                    f"{_named(one.row)}: written {one.row.text!r}, heard {one.heard!r}: {one.why}"
                    for one in self.unlike
                ),
            )
        if self.voices:
            yield Note(
                f"{len(self.voices)} {of} sound like another person.",
                tuple(f"{_named(row)}: {row.text!r}" for row in self.voices),
            )

    def told(self) -> Iterator[str]:
        """Lines for a person."""
        for note in self.notes():
            yield from described_note(note)
        yield f"{self.clips} clips were heard, {len(self.unlike)} of them say something else than is written."
        if self.fitting_rates is None:
            yield (
                f"Whether their rate is right was not judged: fewer than {LEAST_FOR_RATE} clips of "
                f"{self.rate} Hz are up to {LONGEST_FOR_RATE:.0f} s long."
            )
        if self.voices is None and self.clips >= LEAST_CLIPS:
            yield "Voices were not compared: for that Resemblyzer's weights must be there (docs/measure.md)."


def _named(row: Row) -> str:
    return f"line {row.line}: {row.id}"


def hear(report: Report, settings: CorpusSettings, ear: Ear, count: int, progress: Progress) -> HeardCorpus:
    """Hear so many accepted clips, spread over all of them."""
    chosen = spread(report.rows, count)
    encoder, vectors, found = speaker_encoder(), list[NDArray[np.float32]](), list[Unlike]()
    for number, row in enumerate(chosen, start=1):
        progress("hearing clips", number, len(chosen))
        wave = read_wave(row.wave, settings.sample_rate, settings.resample_from)
        said = ear([wave], settings.sample_rate, [row.text])
        if why := unlike(ear, wave, settings.sample_rate, row.text, said):
            found.append(Unlike(row, said.texts[0], why))
        if encoder is not None:
            vectors.append(encoder(wave, settings.sample_rate))
    voices = None if encoder is None or len(vectors) < LEAST_CLIPS else rarer_voice(np.array(vectors))
    others = None if voices is None else tuple(chosen[k] for k in voices)
    rate = settings.resample_from or settings.sample_rate
    rates = fitting_rates(report.rows, rate, ear, progress)
    return HeardCorpus(len(chosen), tuple(found), others, rate, settings.sample_rate, rates)


def fitting_rates(rows: Sequence[Row], rate: int, ear: Ear, progress: Progress) -> tuple[int, ...] | None:
    """The rates in Hz at which clips, whose files say `rate`, fit their texts far better: the best first, and
    those that are hardly worse. There are none where the files are right, or not far off, since what plays a
    third faster is understood as well. None where too few clips are short enough.
    """
    others = [other for other in RATES if not 1 / LEAST_APART < other / rate < LEAST_APART]
    known = [(row, soundfile.info(row.wave)) for row in rows]
    short = [row for row, is_ in known if is_.samplerate == rate and is_.duration <= LONGEST_FOR_RATE]
    chosen = [
        (row, words) for row in spread(short, CLIPS_FOR_RATE) if (words := words_of(row.text, ear.language))
    ]
    if len(chosen) < LEAST_FOR_RATE:
        return None
    fits: list[list[float]] = []  # a word, at the files' rate and at the others
    for number, (row, words) in enumerate(chosen, start=1):
        progress("hearing clips at other rates", number, len(chosen))
        wave = read_wave(row.wave, rate)
        fits.append([_fit(ear, wave, played, words) / len(words) for played in (rate, *others)])
    found = np.array(fits)[:, 1:]
    gains = found - np.array(fits)[:, :1]
    usual, share = np.median(gains, axis=0), np.mean(gains > 0, axis=0)
    is_right = (usual > LIKELIER) & (usual > usual.max() - LIKELIER) & (share >= LEAST_LIKELIER)
    is_right &= np.median(found, axis=0) > LEAST_FIT
    return tuple(others[k] for k in np.argsort(-usual) if is_right[k])


def _fit(ear: Ear, wave: NDArray[np.float32], rate: int, words: Sequence[str]) -> float:
    """How likely the words are for a wave (N,) played at `rate`; none are for one too long to be heard."""
    if len(wave) > LONGEST_SECONDS * rate:
        return -np.inf
    return likelihood_of(ear, wave, rate)(words)


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """So many of them, from the first to the last, as evenly as can be."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def rarer_voice(vectors: NDArray[np.float32]) -> list[int]:
    """Which of the d-vectors (N, WIDTH) are of another person than most are; none where all are of one.

    Two groups are made (spherical k-means), whose means tell whether they are two people.
    """
    vectors = vectors / np.maximum(1e-9, np.linalg.norm(vectors, axis=1, keepdims=True))
    middle = vectors.mean(axis=0)
    one = vectors[int(np.argmax(vectors @ middle))]
    centres = np.stack([one, vectors[int(np.argmin(vectors @ one))]])
    group = np.zeros(len(vectors), int)
    for _ in range(ROUNDS):
        group = np.argmax(vectors @ centres.T, axis=1)
        if group.min() == group.max():
            return []
        means = np.stack([vectors[group == k].mean(axis=0) for k in (0, 1)])
        centres = means / np.maximum(1e-9, np.linalg.norm(means, axis=1, keepdims=True))
    rarer = int(np.argmin(np.bincount(group, minlength=2)))
    found = [int(k) for k in np.flatnonzero(group == rarer)]
    is_other = centres[0] @ centres[1] < ONE_VOICE and len(found) >= LEAST_GROUP * len(vectors)
    return found if is_other else []
