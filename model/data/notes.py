"""What a person should look at in a corpus, though it keeps no row out: how recordings sound, and what their
texts leave unlearned."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from model.speech.audio import MelSettings

NOISE_FLATNESS = 0.3  # geometric by arithmetic mean of the power spectrum: speech is below 0.15, noise near 1
NOISE_WINDOW = 512  # samples
MOST_QUIETER = 20.0  # dB below the median clip
# Lines of mains hum above what is beside them: 2 of 1,343 clips of 9 voices, recorded or by espeak-ng, have
# more; with a hum 30 dB below the speech, 69 to 100 of 100 recorded ones do.
MOST_HUM = 10.0  # dB
MAINS = (50, 60)  # Hz
HARMONICS = 3
HUM_WINDOW = 0.5  # s
MOST_FOR_HUM = 30  # s of a clip
INAUDIBLE = 1e-4  # of full scale: -80 dBFS
QUIET_SHARE = 0.2  # of the windows: a hum is there when nobody speaks, too
# The first and last 2 ms beside the loudest tenth of 10 ms: none of 2,400 clips of 5 recorded voices and of
# espeak-ng is louder, and 56 to 87 % are that are cut off in loud speech.
LOUDEST_EDGE = -6.0  # dB
EDGE, PART = 0.002, 0.01  # s
LOUD = 0.9  # of the parts are quieter than the loud ones
# Parts of 10 ms, beside the loud ones. Of 2,200 clips of 6 recorded voices, 5 (of one) fall silent within for
# longer. A louder quietest twentieth has none of 1,800 clips of 5 of these voices, a third of the sixth's,
# and every one with white noise 10 dB below its speech.
LONGEST_PAUSE = 0.7  # s
SILENT = -30.0  # dB
LOUDEST_FLOOR, FLOOR_SHARE, LEAST_FOR_FLOOR = -20.0, 0.05, 1.0  # dB, of the windows, s
# The highest frequency within 70 dB of the strongest: 1,200 clips of 8 voices, recorded or by espeak-ng,
# reach 85 to 100 % of what their rate can hold; a voice learns what is below 8 kHz.
AUDIBLE_BAND, LOUD_WINDOWS, LEAST_BAND = -70.0, 0.95, 0.75  # dB, of the windows, of what could be
LEAST_CLIPS_OF_A_SYMBOL = 5  # with fewer it is hardly learned
NEARLY_ALIKE = 0.8  # of the words of two texts: one of ten words is another


@dataclass(frozen=True)
class Note:
    """What a person should look at."""

    told: str  # a sentence or two
    lines: tuple[str, ...]  # each case


class Sounds:
    """How the recordings of a corpus sound.

    Args:
        recorded_at: their sample rate in Hz, before they were resampled.
    """

    def __init__(self, recorded_at: int) -> None:
        self._highest = recorded_at / 2  # Hz
        self._narrow: list[str] = []
        self._noise: list[str] = []
        self._hum: dict[str, tuple[int, float]] = {}
        self._cut: list[str] = []
        self._pauses: list[str] = []
        self._floors: list[str] = []
        self._loudness: dict[str, float] = {}  # dB, by clip

    def add(
        self, clip: str, wave: NDArray[np.float32], speech: NDArray[np.float32], sample_rate: int
    ) -> None:
        """Args: clip: how it is named; wave (N,): all of it; speech (M,): without silent edges."""
        if (found := hum(wave, sample_rate)) is not None and found[1] > MOST_HUM:
            self._hum[clip] = found
        loudness = levels(speech, sample_rate)
        floor = noise_floor(loudness)
        if (flat := flatness(speech)) > NOISE_FLATNESS:
            self._noise.append(f"{clip}: flatness {flat:.2f}")
        elif floor is not None and floor > LOUDEST_FLOOR and clip not in self._hum:
            self._floors.append(f"{clip}: {-floor:.0f} dB below its loud parts")
        ends = [name for name, level in edges(wave, sample_rate).items() if level > LOUDEST_EDGE]
        if ends:
            self._cut.append(f"{clip}: {' and '.join(ends)}")
        if (pause := longest_pause(loudness)) > LONGEST_PAUSE:
            self._pauses.append(f"{clip}: {pause:.1f} s")
        highest = bandwidth(speech, sample_rate)
        held = min(self._highest, sample_rate / 2, MelSettings.mel_fmax)
        if highest is not None and highest < LEAST_BAND * held:
            self._narrow.append(f"{clip}: nothing above {highest:.0f} of {held:.0f} Hz")
        self._loudness[clip] = 10 * float(np.log10(np.mean(np.square(speech)) + 1e-12))

    def notes(self) -> Iterator[Note]:
        usual = median(self._loudness.values()) if self._loudness else 0.0
        quiet = [
            f"{clip}: {usual - loudness:.0f} dB below the median"
            for clip, loudness in self._loudness.items()
            if loudness < usual - MOST_QUIETER
        ]
        hums = [
            f"{c}: {mains} Hz, {by:.0f} dB above what is beside it" for c, (mains, by) in self._hum.items()
        ]
        mains = max(MAINS, key=[mains for mains, _ in self._hum.values()].count)
        lines = ",".join(f"bandreject=f={mains * k}:width_type=h:width=4" for k in range(1, HARMONICS + 1))
        for clips, what in (
            (self._noise, "sound like noise. Listen to some of them."),
            (hums, f"have mains hum. Filter it out: ffmpeg -i old.wav -af {lines} new.wav"),
            (
                self._floors,
                "are never quiet, as with a loud noise. See data make --denoise, or record them anew.",
            ),
            (self._pauses, f"fall silent within for over {LONGEST_PAUSE} s. Cut them there, or shorten it."),
            (
                self._narrow,
                "hold less than three quarters of the frequencies that a voice learns, as those of a "
                "telephone do. Find better ones, or take them out.",
            ),
            (self._cut, "begin or end within a word. Cut them anew with their pauses, or take them out."),
            (quiet, f"are over {MOST_QUIETER:.0f} dB quieter than the others. Amplify them."),
        ):
            if clips:
                yield Note(f"{len(clips)} of {len(self._loudness)} clips {what}", tuple(clips))


def flatness(wave: NDArray[np.float32]) -> float:
    """How even the spectrum is: 1 for white noise, near 0 for speech; 0 for what is too short to tell."""
    if len(wave) < NOISE_WINDOW:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(wave, NOISE_WINDOW)[::NOISE_WINDOW]
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(NOISE_WINDOW)))).mean(axis=0)[2:-2] + 1e-12
    return float(np.exp(np.log(power).mean()) / power.mean())


def bandwidth(wave: NDArray[np.float32], sample_rate: int) -> float | None:
    """The highest frequency in Hz that loud parts hold; None for what is too short to tell, or silent."""
    if len(wave) < NOISE_WINDOW:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(wave, NOISE_WINDOW)[:: NOISE_WINDOW // 2]
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(NOISE_WINDOW), axis=1)))[:, 2:-1]
    loud = np.quantile(power, LOUD_WINDOWS, axis=0)
    if not loud.any():
        return None
    last = np.flatnonzero(loud > loud.max() * 10 ** (AUDIBLE_BAND / 10))[-1]
    return float((last + 3) * sample_rate / NOISE_WINDOW)


def hum(wave: NDArray[np.float32], sample_rate: int) -> tuple[int, float] | None:
    """The mains' frequency in Hz, and by how many dB its lines stand out while nobody speaks: the second
    strongest of the first three, as one may be a voice. None for what is too short to tell."""
    size = round(HUM_WINDOW * sample_rate)
    if len(wave) < 2 * size:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(wave[: MOST_FOR_HUM * sample_rate], size)[:: size // 2]
    highest = round(max(MAINS) * HARMONICS * size / sample_rate) + 10
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)[:, :highest]))
    quiet = np.quantile(power, QUIET_SHARE, axis=0) + (INAUDIBLE * size / 4) ** 2
    found = []
    for mains in MAINS:
        above = []
        for harmonic in range(1, HARMONICS + 1):
            at = round(mains * harmonic * size / sample_rate)
            beside = np.median(np.concatenate([quiet[at - 8 : at - 3], quiet[at + 4 : at + 9]]))
            above.append(10 * float(np.log10(quiet[at - 1 : at + 2].max() / beside)))
        found.append((mains, sorted(above)[-2]))
    return max(found, key=lambda one: one[1])


def edges(wave: NDArray[np.float32], sample_rate: int) -> dict[str, float]:
    """How loud a wave begins and ends beside its loud parts, in dB; empty for what is too short to tell."""
    parts, edge = levels(wave, sample_rate), round(EDGE * sample_rate)
    if len(parts) < 10:
        return {}
    ends = {"beginning": wave[:edge], "end": wave[-edge:]}
    loud = float(np.quantile(parts, LOUD))
    return {name: 10 * float(np.log10(np.square(w).mean() + 1e-12)) - loud for name, w in ends.items()}


def longest_pause(levels: NDArray[np.float64]) -> float:
    """For how many seconds, at most, speech of these levels falls silent."""
    if not len(levels):
        return 0.0
    loud = np.flatnonzero(levels > np.quantile(levels, LOUD) + SILENT)
    return PART * float(max(np.diff(loud) - 1, default=0))


def noise_floor(levels: NDArray[np.float64]) -> float | None:
    """How loud the quietest parts of speech are beside its loud ones, in dB; None for what is too short."""
    if PART * len(levels) < LEAST_FOR_FLOOR:
        return None
    return float(np.quantile(levels, FLOOR_SHARE) - np.quantile(levels, LOUD))


def levels(wave: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """dB (N,) of each part of a wave, PART seconds long."""
    size = round(PART * sample_rate)
    parts = wave[: len(wave) // size * size].reshape(-1, size)
    found: NDArray[np.float64] = 10 * np.log10(np.square(parts).mean(axis=1, dtype=np.float64) + 1e-12)
    return found


def rare_symbols(
    clips: Mapping[str, Sequence[int]],
    names: Sequence[str],
    spoken: Collection[int],
    expected: Collection[int],
) -> Iterator[Note]:
    """Spoken symbols that hardly any clip holds.

    Args:
        clips: the symbols of each that is trained on, by its id.
        names: of symbols, by their numbers.
        spoken: which symbols are heard.
        expected: which of them any text of the language may hold.
    """
    holding = {symbol: list[str]() for symbol in expected}
    for name, symbols in clips.items():
        for symbol in {*symbols}.intersection(spoken):
            holding.setdefault(symbol, []).append(name)
    rare = sorted(symbol for symbol, those in holding.items() if len(those) < LEAST_CLIPS_OF_A_SYMBOL)
    if clips and rare:
        shown = ", ".join(f"{names[symbol]} ({len(holding[symbol])})" for symbol in rare)
        told = f"In fewer than {LEAST_CLIPS_OF_A_SYMBOL} clips, so that they are hardly learned: {shown}."
        lines = [f"{names[symbol]}: {', '.join(holding[symbol]) or 'no clip'}" for symbol in rare]
        yield Note(f"{told} Add texts that hold them.", tuple(lines))


def nearly_alike(held_out: Mapping[str, str], training: Mapping[str, str]) -> Iterator[Note]:
    """Held-out texts, by their ids, that have nearly the words of one that is trained on, in any order."""
    known = {name: _words(text) for name, text in training.items()}
    lines = []
    for name, text in held_out.items():
        words = _words(text)
        for other, those in known.items():
            if words and len(words & those) >= NEARLY_ALIKE * len(words | those):
                lines.append(f"{name}: {text!r} is nearly the text of {other}: {training[other]!r}")
                break
    if lines:
        told = (
            f"{len(lines)} of {len(held_out)} held-out clips say nearly what a clip says that is trained on: "
            "what is measured on them looks better than it is."
        )
        yield Note(told, tuple(lines))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))
