"""Check a corpus before anything trains on it: every row, every character, every recording.

Nothing is changed or truncated. A row with a character that its front end lacks refuses the corpus;
any other bad row is left out and counted, and too many of those refuse it too.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from model.audio import AudioError, MelSettings, read_wave, trimmed
from model.text import FRONT_ENDS, TextError

Progress = Callable[[int, int], None]  # called with what is done and what there is

METADATA, WAVES = "metadata.csv", "wavs"
UNKNOWN = "unknown characters"
AUDIBLE = 10 ** (-60 / 20)  # -60 dBFS
LEAST_AUDIBLE_SHARE = 0.01
FULL_SCALE = 32767 / 32768  # of 16-bit sound; wider formats come as close
MOST_CLIPPED_SHARE = 0.001
MOST_DEVIATIONS = 5  # median absolute deviations of the speaking rate
LEAST_DEVIATION = 0.05  # of the median: near-equal rates have no outliers
PLAIN_ID = re.compile(r"(?![.\s])[^/\\]+(?<!\s)")
LONGEST_FILE_NAME = 255  # bytes
SHOWN = 3  # ids a reason
SHOWN_CHARACTERS = 20


@dataclass(frozen=True)
class CorpusSettings:
    """What a corpus must be like. Raises ValueError for settings that nothing could meet."""

    language: str = "en"
    sample_rate: int = 22050
    resample_from: int | None = None  # Hz, if the files have another rate
    min_seconds: float = 0.4
    max_seconds: float = 12.0
    trim_db: float | None = 40.0  # edges so far below the loudest part are cut; None cuts nothing
    held_out: int = 16  # clips that are never trained on
    max_bad_percent: float = 5.0  # of the rows
    n_frames_per_step: int = 1  # the largest that will be trained with

    def __post_init__(self) -> None:
        if self.language not in FRONT_ENDS:
            raise ValueError(f"language {self.language!r} is unknown; known: {', '.join(FRONT_ENDS)}")
        if not 0 < self.min_seconds < self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} must lie between 0 and {self.max_seconds}")
        if min(self.sample_rate, self.n_frames_per_step, self.held_out + 1) < 1:
            raise ValueError(f"sample rate, n_frames_per_step and held_out must be positive: {self}")


@dataclass(frozen=True)
class Row:
    """An accepted clip."""

    id: str
    text: str  # as written
    wave: Path
    sha256: str  # of the file


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row; `reason` is short and stable, `detail` has the values."""

    id: str
    reason: str
    detail: str
    line: int


@dataclass(frozen=True)
class Report:
    rows: tuple[Row, ...]  # accepted, in the order of the file
    problems: tuple[Problem, ...]  # by line; at most one of a row's text and one of its audio
    total: int  # rows in the file, blank lines not counted
    unknown_characters: dict[str, int]
    refusal: str | None  # what, why, what to do, a line each; None: good to train on

    def write(self, path: Path) -> None:
        """Write all problems as text, one line a problem."""
        lines = [f"line {p.line}: {p.id}: {p.reason}: {p.detail}\n" for p in self.problems]
        path.write_text("".join(lines), "utf-8")


class DataError(ValueError):
    """Data that training refuses: what, why, and what to do, a line each."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def check(folder: Path, settings: CorpusSettings, progress: Progress = no_progress) -> Report:
    """Check all rows of `folder` (LJSpeech layout) and read each of its recordings once.

    Raises DataError when the folder, its metadata.csv or its wavs/ is missing.
    """
    needed = {folder: Path.is_dir, folder / METADATA: Path.is_file, folder / WAVES: Path.is_dir}
    for path, is_there in needed.items():
        if not is_there(path):
            wanted = f"{METADATA} with lines id|text (UTF-8, no header), and {WAVES}/id.wav for each"
            refusal = f"Cannot read a corpus in {folder}.\nThere is no {path}.\nExpected layout: {wanted}."
            raise DataError(refusal, Report((), (), 0, {}, refusal))
    content = (folder / METADATA).read_bytes().removeprefix(b"\xef\xbb\xbf")
    numbered = enumerate(content.split(b"\n"), 1)  # splitlines would also split at rarer characters
    lines = [(number, line.removesuffix(b"\r")) for number, line in numbered if line.strip()]
    survey = _Survey(folder, settings)
    for done, (number, line) in enumerate(lines, 1):
        survey.examine(number, line)
        progress(done, len(lines))
    survey.exclude_odd_speaking_rates()
    return survey.report(len(lines))


class _BadRow(ValueError):  # raised and caught in this file only
    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class _Clip:
    line: int
    row: Row
    rate: float  # letters a second


class _Survey:
    """What is known of the rows so far."""

    def __init__(self, folder: Path, settings: CorpusSettings) -> None:
        self._folder, self._settings = folder, settings
        self._front_end = FRONT_ENDS[settings.language]
        self._spoken = self._front_end.spoken()
        self._clips: list[_Clip] = []
        self._problems: list[Problem] = []
        self._unknown: Counter[str] = Counter()
        self._line_of_id: dict[str, int] = {}
        self._id_of_recording: dict[str, str] = {}

    def examine(self, line: int, content: bytes) -> None:
        name = _printable(content.split(b"|")[0].decode("utf-8", "replace"))
        text = symbols = None
        with self._excluding(line, name):
            name, text = self._columns(line, content)
        if text is None:
            return
        with self._excluding(line, name):
            symbols = self._encode(text)
        with self._excluding(line, name):
            row, samples = self._listen(name, text)
            if symbols is not None:
                self._clips.append(_Clip(line, row, self._speaking_rate(symbols, samples)))

    @contextmanager
    def _excluding(self, line: int, name: str) -> Iterator[None]:
        try:
            yield
        except (_BadRow, AudioError) as bad:
            self._problems.append(Problem(name, bad.reason, bad.detail, line))

    def _columns(self, line: int, content: bytes) -> tuple[str, str]:
        """Id and text of a line; nothing is unquoted."""
        try:
            columns = content.decode("utf-8").split("|")
        except UnicodeDecodeError as error:
            byte, place = content[error.start], error.start + 1
            raise _BadRow("bad encoding", f"byte {place} (0x{byte:02X}) is not UTF-8") from error
        if len(columns) not in (2, 3):
            raise _BadRow("bad metadata line", f"{len(columns)} columns, wanted id|text or id|raw|normalised")
        name = columns[0]
        fits = len(f"{name}.wav".encode()) <= LONGEST_FILE_NAME
        if not (fits and name.isprintable() and PLAIN_ID.fullmatch(name)):
            raise _BadRow("bad id", f"{_printable(name)!r} is no plain file name")
        first = self._line_of_id.setdefault(name, line)
        if first != line:
            raise _BadRow("duplicate id", f"also on line {first}")
        return name, columns[-1]

    def _encode(self, text: str) -> list[int]:
        unknown = Counter(self._front_end.unknown(text))
        if unknown:
            self._unknown.update(unknown)
            raise _BadRow(UNKNOWN, _counted(unknown))
        try:
            self._front_end.normalise(text)
        except TextError as error:
            raise _BadRow("misplaced stress", str(error)) from error
        try:
            return self._front_end.encode(text)
        except TextError as error:
            raise _BadRow("empty text", str(error)) from error

    def _listen(self, name: str, text: str) -> tuple[Row, int]:
        """The row and its samples without silent edges."""
        s, path = self._settings, self._folder / WAVES / f"{name}.wav"
        wave = read_wave(path, s.sample_rate, s.resample_from)
        loudness = np.abs(wave)
        if np.mean(loudness >= AUDIBLE) < LEAST_AUDIBLE_SHARE:
            raise _BadRow("silent audio", f"peak {loudness.max():.1e}, over 99 % below {AUDIBLE} (-60 dBFS)")
        clipped = np.mean(loudness >= FULL_SCALE)
        if clipped > MOST_CLIPPED_SHARE:
            limit = f"limit {MOST_CLIPPED_SHARE:.1%}"
            raise _BadRow("clipped audio", f"{clipped:.2%} of samples at full scale, {limit}")
        samples = len(trimmed(wave, s.sample_rate, s.trim_db))
        seconds = samples / s.sample_rate
        if not s.min_seconds <= seconds <= s.max_seconds:
            limits = f"limits {s.min_seconds:g} and {s.max_seconds:g} s"
            reason = "too short" if seconds < s.min_seconds else "too long"
            raise _BadRow(reason, f"{seconds:.2f} s without silent edges, {limits}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        first = self._id_of_recording.setdefault(digest, name)
        if first != name:
            raise _BadRow("duplicate recording", f"the same file as that of {first}")
        return Row(name, text, path, digest), samples

    def _speaking_rate(self, symbols: list[int], samples: int) -> float:
        """Letters a second, of a clip that is long enough to be decoded."""
        r = self._settings.n_frames_per_step
        frames = 1 + samples // MelSettings().hop_length
        steps = -(-frames // r)
        if steps < len(symbols):
            spoken = f"{steps} decoder steps ({frames} frames, {r} a step)"
            raise _BadRow("too few frames", f"{spoken} for {len(symbols)} symbols")
        return sum(symbol in self._spoken for symbol in symbols) * self._settings.sample_rate / samples

    def exclude_odd_speaking_rates(self) -> None:
        """Exclude clips whose text can hardly be what is heard."""
        if not self._clips:
            return
        middle = median(clip.rate for clip in self._clips)
        deviation = median(abs(clip.rate - middle) for clip in self._clips)
        limit = MOST_DEVIATIONS * max(deviation, LEAST_DEVIATION * middle)
        kept = []
        for clip in self._clips:
            with self._excluding(clip.line, clip.row.id):
                if abs(clip.rate - middle) > limit:
                    usual = f"usual are {middle:.1f}, give or take {limit:.1f}"
                    raise _BadRow("odd speaking rate", f"{clip.rate:.1f} letters a second, {usual}")
                kept.append(clip)
        self._clips = kept

    def report(self, total: int) -> Report:
        rows = tuple(clip.row for clip in self._clips)
        problems = tuple(sorted(self._problems, key=lambda p: p.line))
        return Report(rows, problems, total, dict(self._unknown), self._refusal(problems, total))

    def _refusal(self, problems: tuple[Problem, ...], total: int) -> str | None:
        s, why, what_to_do = self._settings, [], []
        bad = [p for p in problems if p.reason != UNKNOWN]
        share = 100 * len({p.line for p in bad}) / max(1, total)
        if self._unknown:
            rows = len(problems) - len(bad)
            why.append(f"{rows} of {total} rows have unknown characters: {_counted(self._unknown)}.")
            what_to_do.append(f"Write these out, or choose the text's language (now {s.language}).")
        if share > s.max_bad_percent:
            limit = f"limit {s.max_bad_percent:g} %"
            why.append(f"{share:.1f} % of {total} rows are bad ({limit}): {by_reason(bad)}.")
        if len(self._clips) <= s.held_out:
            why.append(f"{len(self._clips)} good clips are left, and {s.held_out} are to be held out.")
        if len(why) > len(what_to_do):
            what_to_do.append(f"Correct these rows of {METADATA} and their recordings, or add others.")
        if not why:
            return None
        return f"Cannot train on {self._folder}.\n{' '.join(why)}\n{' '.join(what_to_do)}"


def by_reason(problems: Sequence[Problem]) -> str:
    """Counts and first ids of each reason, the commonest first."""
    parts = []
    for reason, count in Counter(p.reason for p in problems).most_common():
        first = [p.id for p in problems if p.reason == reason][:SHOWN]
        parts.append(f"{count} {reason} ({', '.join(first)}{', ...' if count > SHOWN else ''})")
    return ", ".join(parts)


def _counted(characters: Counter[str]) -> str:
    shown = ", ".join(
        f"{_printable(character)!r} (U+{ord(character):04X}) {count} x"
        for character, count in characters.most_common(SHOWN_CHARACTERS)
    )
    more = len(characters) - SHOWN_CHARACTERS
    return f"{shown} and {more} more" if more > 0 else shown


def _printable(text: str) -> str:
    """At most 80 characters that stay on one line and leave a terminal as it is."""
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text[:80])
