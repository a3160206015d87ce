"""Check a corpus before anything trains on it: every row, every character, every recording.

Nothing is changed or truncated; invisible characters that a front end drops are counted. A row with a
character that its front end lacks refuses the corpus; any other bad row is left out and counted, and too many
of those refuse it too. Clips beyond limits that the user set are left out as wished, however many they are.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from model.data.metadata import METADATA, WAVES, BadRow, Layout, Recordings, named, printable, read_lines
from model.data.notes import Note, Sounds, nearly_alike, rare_symbols
from model.data.pairing import find_shift
from model.data.split import choose_held_out
from model.speech.audio import AudioError, MelSettings, read_wave, trimmed
from model.speech.lexicon import LEXICON, LexiconError, read_lexicon
from model.speech.text import (
    FRONT_ENDS,
    LETTERS,
    MARKS,
    REMOVE,
    WRITE_OUT,
    FrontEnd,
    TextError,
    advice,
    front_end_of,
)

Progress = Callable[[int, int], None]  # called with what is done and what there is

UNKNOWN = "unknown characters"
AUDIBLE = 10 ** (-60 / 20)  # -60 dBFS
LEAST_AUDIBLE_SHARE = 0.01
MOST_OFFSET = 0.05  # of full scale; no sound card is that far off
MOST_OF_ONE_TEXT = 0.5
FULL_SCALE = 32767 / 32768  # of 16-bit sound; wider formats come as close
MOST_CLIPPED_SHARE = 0.001
MOST_DEVIATIONS = 5  # median absolute deviations of the speaking rate
LEAST_DEVIATION = 0.05  # of the median: near-equal rates have no outliers
PAUSES = frozenset(",.;:!?-")
PAUSE_SYMBOLS = 2  # that take as long as the pause of a mark within a text
LEAST_OF_ONE_TEXT = 10  # clips
LONGEST_TEXT = 400  # characters
CORRECT = f"Correct these rows of {METADATA} and their recordings, or add others."
SPOKEN_OTHERWISE = (
    "{} spoken in other words than are written: numbers, dates, abbreviations and the like. "
    "Write out what is said otherwise."
)
SPOKEN_BY_RULE = {
    "en": "They are spoken as whole numbers, years and telephone numbers, too. "
    "Write out what is said otherwise.",
    "ru": "They are spoken as in counting: in the nominative and masculine, years and ordinals, too. "
    "Write out what is said otherwise.",
}
MENDS = {  # what to do, by reason
    "name in other letters": f"Rename the files: ids and names must agree to the letter, {WAVES}/id.wav.",
    "missing audio": f"Put these recordings into {WAVES}/, or take their rows out.",
    "cut off audio": "Copy these files anew from where they came from: their ends are missing.",
    "not mono": "Mix them down: ffmpeg -i old.wav -ac 1 new.wav",
    "DC offset": "Filter it out: ffmpeg -i old.wav -af highpass=f=20 new.wav",
    "clipped audio": "Record these more softly, or take them out.",
    "shifted text": "Look for a line or a recording too many or missing, at the first of these lines.",
    "odd speaking rate": "Listen to these: their text is hardly what is said, or edges are not silent.",
}
SHOWN = 3  # ids a reason
SHOWN_CHARACTERS = 20


@dataclass(frozen=True)
class CorpusSettings:
    """What a corpus must be like. Raises ValueError for settings that nothing could meet."""

    language: str = "en"
    input: str = LETTERS  # or "phonemes": what the network reads
    normalise: bool = True  # numbers, dates, abbreviations and the like become the words that are spoken
    stress: bool | None = None  # whether stress is marked; None: where the language is Russian
    lexicon: str | None = None  # a file of readings; None: the corpus' own, if it has one
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

    def front_end(self, folder: Path) -> FrontEnd:
        """What reads the texts of the corpus in a folder. Raises TextError: something is missing for that."""
        has_stress = self.language == "ru" if self.stress is None else self.stress
        given = Path(self.lexicon) if self.lexicon else folder / LEXICON
        if not (self.normalise or has_stress or self.lexicon):
            return front_end_of(self.language, self.input)
        try:
            lexicon = read_lexicon(given) if self.lexicon or given.is_file() else ()
        except LexiconError as error:
            raise TextError(str(error)) from error
        return front_end_of(self.language, self.input, self.normalise, has_stress, lexicon)

    @property
    def wished(self) -> frozenset[str]:
        """Reasons to leave a clip out that the user chose: limits that are not the defaults."""
        own = {
            "too short": self.min_seconds != CorpusSettings.min_seconds,
            "too long": self.max_seconds != CorpusSettings.max_seconds,
        }
        return frozenset(reason for reason, is_own in own.items() if is_own)


@dataclass(frozen=True)
class Row:
    """An accepted clip."""

    id: str
    text: str  # as written
    wave: Path
    sha256: str  # of the file
    line: int


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row; `reason` is short and stable, `detail` has the values."""

    id: str
    reason: str
    detail: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.id}: {self.reason}: {self.detail}"


@dataclass(frozen=True)
class Report:
    rows: tuple[Row, ...]  # accepted, in the order of the file
    problems: tuple[Problem, ...]  # by line; at most one of a row's text and one of its audio
    total: int  # rows in the file, blank lines not counted
    unknown_characters: dict[str, int]
    refusal: str | None  # what, why, what to do, a line each; None: good to train on
    held_out: frozenset[str] = frozenset()  # ids of rows that are never trained on
    notes: tuple[Note, ...] = ()
    mends: Mapping[str, str] = field(default_factory=dict)  # what to do, by a problem's reason

    def training(self) -> Iterator[Row]:
        return (row for row in self.rows if row.id not in self.held_out)

    def write(self, path: Path) -> None:
        """Write all problems as text, one line a problem, and all cases of the notes after them."""
        lines = [str(problem) for problem in self.problems]
        for note in self.notes:
            lines += [note.told, *(f"  {line}" for line in note.lines)]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


class DataError(ValueError):
    """Data that training refuses: what, why, and what to do, a line each."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def no_progress(done: int, total: int) -> None:
    """Show no progress."""


def check(folder: Path, settings: CorpusSettings, progress: Progress = no_progress) -> Report:
    """Check all rows of `folder` (LJSpeech layout), read each of its recordings once, and hold clips out.

    What this accepts can be trained on: nothing else refuses speech data. Raises DataError when the
    folder, its metadata.csv or its wavs/ is missing.
    """
    needed = {folder: Path.is_dir, folder / METADATA: Path.is_file, folder / WAVES: Path.is_dir}
    for path, is_there in needed.items():
        if not is_there(path):
            wanted = f"{METADATA} with lines id|text (UTF-8, no header), and {WAVES}/id.wav for each"
            refusal = f"Cannot read a corpus in {folder}.\nThere is no {path}.\nExpected layout: {wanted}."
            raise DataError(refusal, Report((), (), 0, {}, refusal))
    lines, utf16, has_cr_only = read_lines((folder / METADATA).read_bytes())
    recordings = Recordings(folder / WAVES)
    survey = _Survey(folder, settings, recordings, Layout.of(lines, utf16, has_cr_only, recordings))
    for done, (number, line) in enumerate(lines, 1):
        survey.examine(number, line, first=done == 1)
        progress(done, len(lines))
    survey.exclude_shifted_texts()
    survey.exclude_odd_speaking_rates()
    return survey.report(len(lines))


@dataclass(frozen=True)
class _Clip:
    line: int
    row: Row
    symbols: list[int]
    rate: float  # letters a second

    @property
    def id(self) -> str:
        return self.row.id


@dataclass(frozen=True)
class _Pair:
    """The lengths of a text (in symbols, with pauses) and its recording, where they are known."""

    line: int
    symbols: int | None
    samples: int | None


class _Survey:
    """What is known of the rows so far."""

    def __init__(
        self, folder: Path, settings: CorpusSettings, recordings: Recordings, layout: Layout
    ) -> None:
        self._folder, self._settings = folder, settings
        self._recordings, self._layout = recordings, layout
        self._front_end = settings.front_end(folder)
        self._spoken = self._front_end.spoken()
        self._clips: list[_Clip] = []
        self._pairs: list[_Pair] = []
        self._problems: list[Problem] = []
        self._mends: dict[str, str] = {}
        self._unknown: Counter[str] = Counter()
        self._character_mends: Counter[tuple[str, str]] = Counter()
        self._rates: set[int] = set()  # those that are not wanted
        self._line_of_id: dict[str, int] = {}
        self._id_of_recording: dict[str, str] = {}
        self._named: set[str] = set()  # ids of recordings that some row means
        self._loudest_silence = 0.0  # a peak
        self._numbers: list[str] = []
        self._dropped: Counter[str] = Counter()
        self._with_dropped: list[str] = []
        self._sounds = Sounds(self._settings.resample_from or self._settings.sample_rate)

    def examine(self, line: int, content: bytes, first: bool) -> None:
        name = printable(content.split(b"|")[0].decode("utf-8", "replace"))
        text = symbols = samples = None
        self._named.add(self._layout.id_of(content, self._recordings))
        with self._excluding(line, name):
            name, text = self._columns(line, content, first)
        if text is None:
            return
        with self._excluding(line, name):
            symbols = self._encode(line, name, text)
        with self._excluding(line, name):
            row, samples = self._listen(line, name, text)
            if symbols is not None:
                rate = self._speaking_rate(symbols, samples)
                self._clips.append(_Clip(line, row, symbols, rate))
        self._pairs.append(_Pair(line, None if symbols is None else self._length(symbols), samples))

    @contextmanager
    def _excluding(self, line: int, name: str) -> Iterator[None]:
        try:
            yield
        except AudioError as bad:
            self._exclude(line, name, bad.reason, bad.detail, self._audio_mend(bad))
        except BadRow as bad:
            self._exclude(line, name, bad.reason, bad.detail, bad.mend)

    def _exclude(self, line: int, name: str, reason: str, detail: str, mend: str) -> None:
        self._problems.append(Problem(name, reason, detail, line))
        if mend or reason in MENDS:
            self._mends[reason] = mend or MENDS[reason]

    def _audio_mend(self, bad: AudioError) -> str:
        if bad.rate is None:
            return ""
        self._rates.add(bad.rate)
        if len(self._rates) == 1 and self._settings.resample_from is None:
            return (
                f"Have them resampled: --resample-from {bad.rate}, "
                f"in a study file resample_from = {bad.rate} in [corpus]."
            )
        return f"Bring them to one rate: ffmpeg -i old.wav -ar {self._settings.sample_rate} new.wav"

    def _columns(self, line: int, content: bytes, first: bool) -> tuple[str, str]:
        """Id and text of a line."""
        name, text = self._layout.row(content, self._recordings, first)
        earlier = self._line_of_id.setdefault(name, line)
        if earlier != line:
            raise BadRow("duplicate id", f"also on line {earlier}")
        return name, text

    def _encode(self, line: int, name: str, text: str) -> list[int]:
        unknown = Counter(self._front_end.unknown(text))
        if unknown:
            mends = self._front_end.mends(text)
            self._unknown.update(unknown)
            self._character_mends.update(mends.items())
            raise BadRow(UNKNOWN, _counted(unknown, mends))
        try:
            self._front_end.normalise(text)
        except TextError as error:
            raise BadRow("misplaced stress", str(error)) from error
        try:
            symbols = self._front_end.encode(text)
        except TextError as error:
            reason = "unknown phonemes" if error.characters else "empty text"
            raise BadRow(reason, str(error)) from error
        place = f"line {line}, {name}"  # and not as what may have to go (model/data/mending.py, NAMED)
        if dropped := Counter(self._front_end.dropped(text)):
            self._dropped.update(dropped)
            self._with_dropped.append(f"{place}: {_counted(dropped)}")
        if words := self._front_end.in_words(text):
            self._numbers.append(f"{place}: {printable(text, LONGEST_TEXT)!r} is spoken {words!r}")
        return symbols

    def _length(self, symbols: Sequence[int]) -> int:
        marks = (self._front_end.symbols[symbol] in PAUSES for symbol in symbols[:-2])
        return len(symbols) + PAUSE_SYMBOLS * sum(marks)

    def _listen(self, line: int, name: str, text: str) -> tuple[Row, int]:
        """The row and its samples without silent edges."""
        s, path = self._settings, self._folder / WAVES / f"{name}.wav"
        if not path.is_file() and self._recordings.of(name):
            self._refuse_other_file(name, self._recordings.of(name)[0])
        wave = read_wave(path, s.sample_rate, s.resample_from)
        self._refuse_unlike_speech(wave)
        speech = trimmed(wave, s.sample_rate, s.trim_db)
        seconds = len(speech) / s.sample_rate
        if not s.min_seconds <= seconds <= s.max_seconds:
            reason, limit = ("too short", "min") if seconds < s.min_seconds else ("too long", "max")
            limits = f"limits {s.min_seconds:g} and {s.max_seconds:g} s"
            value = getattr(s, f"{limit}_seconds")
            mend = (
                f"Cut or join these, or set {limit}_seconds in [corpus], not to {value:g}, to leave them out."
            )
            if reason in s.wished:
                mend = f"Left out, as {limit}_seconds = {value:g} asks."
            raise BadRow(reason, f"{seconds:.2f} s without silent edges, {limits}", mend)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        first = self._id_of_recording.setdefault(digest, name)
        if first != name:
            raise BadRow("duplicate recording", f"the same file as that of {first}")
        self._sounds.add(f"line {line}: {name}", wave, speech, s.sample_rate)
        return Row(name, text, path, digest, line), len(speech)

    def _refuse_other_file(self, name: str, file: str) -> None:
        suffix = Path(file).suffix
        detail = f"there is {file}, wanted {name}.wav"
        if suffix.lower() != ".wav":
            mend = f'for f in {WAVES}/*{suffix}; do ffmpeg -i "$f" "${{f%.*}}.wav"; done'
            raise BadRow("audio that is no WAV", detail, f"Convert them: {mend}")
        if suffix != ".wav":
            mend = f'for f in {WAVES}/*{suffix}; do mv "$f" "${{f%.*}}.wav"; done'
            raise BadRow("name in other letters", detail, f"Rename them: {mend}")
        raise BadRow("name in other letters", detail)

    def _refuse_unlike_speech(self, wave: NDArray[np.float32]) -> None:
        offset = float(np.mean(wave, dtype=np.float64))
        if abs(offset) > MOST_OFFSET:
            raise BadRow("DC offset", f"the mean is {offset:.2f} of full scale, limit {MOST_OFFSET}")
        loudness = np.abs(wave)
        if np.mean(loudness >= AUDIBLE) < LEAST_AUDIBLE_SHARE:
            peak = loudness.max()
            self._loudest_silence = max(self._loudest_silence, float(peak))
            detail = f"peak {peak:.1e}, over 99 % below {AUDIBLE} (-60 dBFS)"
            raise BadRow("silent audio", detail, _amplify(self._loudest_silence))
        clipped = np.mean(loudness >= FULL_SCALE)
        if clipped > MOST_CLIPPED_SHARE:
            limit = f"limit {MOST_CLIPPED_SHARE:.1%}"
            raise BadRow("clipped audio", f"{clipped:.2%} of samples at full scale, {limit}")

    def _speaking_rate(self, symbols: list[int], samples: int) -> float:
        """Letters a second, of a clip that is long enough to be decoded."""
        r = self._settings.n_frames_per_step
        frames = 1 + samples // MelSettings().hop_length
        steps = -(-frames // r)
        symbols_to_read = [s for s in symbols if self._front_end.symbols[s] not in MARKS]
        if steps < len(symbols_to_read):
            spoken = f"{steps} decoder steps ({frames} frames, {r} a step)"
            mend = f"Set max_frames_per_step in the study's [model] below {r}, or take these rows out."
            detail = f"{spoken} for {len(symbols_to_read)} symbols"
            raise BadRow("too few frames", detail, mend if r > 1 else "")
        return sum(symbol in self._spoken for symbol in symbols) * self._settings.sample_rate / samples

    def exclude_shifted_texts(self) -> None:
        """Exclude clips whose length tells that their text stands some lines away."""
        pairs = self._pairs
        shift = find_shift([pair.symbols for pair in pairs], [pair.samples for pair in pairs])
        if shift is None:
            return
        fitting = {pairs[row].line: pairs[row + shift.by].line for row in shift.rows}
        self._keep(
            lambda clip: clip.line not in fitting,
            lambda clip: BadRow(
                "shifted text", f"its length fits the text of line {fitting[clip.line]} better"
            ),
        )

    def exclude_odd_speaking_rates(self) -> None:
        """Exclude clips whose text can hardly be what is heard."""
        if not self._clips:
            return
        middle = median(clip.rate for clip in self._clips)
        deviation = median(abs(clip.rate - middle) for clip in self._clips)
        limit = MOST_DEVIATIONS * max(deviation, LEAST_DEVIATION * middle)
        usual = f"usual are {middle:.1f}, give or take {limit:.1f}"
        self._keep(
            lambda clip: abs(clip.rate - middle) <= limit,
            lambda clip: BadRow("odd speaking rate", f"{clip.rate:.1f} letters a second, {usual}"),
        )

    def _keep(self, is_good: Callable[[_Clip], bool], told: Callable[[_Clip], BadRow]) -> None:
        kept = []
        for clip in self._clips:
            with self._excluding(clip.line, clip.id):
                if not is_good(clip):
                    raise told(clip)
                kept.append(clip)
        self._clips = kept

    def report(self, total: int) -> Report:
        rows = tuple(clip.row for clip in self._clips)
        problems = tuple(sorted(self._problems, key=lambda p: p.line))
        held_out = choose_held_out(self._clips, self._settings.held_out)
        refusal = self._refusal(problems, total, held_out)
        unknown, mends = dict(self._unknown), dict(self._mends)
        if self._unknown:
            mends[UNKNOWN] = self._character_advice()
        return Report(rows, problems, total, unknown, refusal, held_out, tuple(self._notes(held_out)), mends)

    def _notes(self, held_out: frozenset[str]) -> Iterator[Note]:
        if self._numbers:
            count, language = len(self._numbers), self._settings.language
            told = f"{_texts(count)} numbers. {SPOKEN_BY_RULE[language]}"
            if self._front_end.words:
                told = SPOKEN_OTHERWISE.format("1 text is" if count == 1 else f"{count} texts are")
            yield Note(told, tuple(self._numbers))
        if self._dropped:
            told = f"{_texts(len(self._with_dropped))} invisible characters, which are dropped"
            yield Note(f"{told}: {_counted(self._dropped)}.", tuple(self._with_dropped))
        yield from self._sounds.notes()
        training = {clip.id: clip for clip in self._clips if clip.id not in held_out}
        yield from nearly_alike(
            {f"line {c.line}: {c.id}": c.row.text for c in self._clips if c.id in held_out},
            {name: clip.row.text for name, clip in training.items()},
        )
        letters = self._spoken if self._settings.input == LETTERS else frozenset[int]()
        yield from rare_symbols(
            {name: clip.symbols for name, clip in training.items()},
            self._front_end.symbols,
            self._spoken,
            letters,
        )
        pairs = zip(self._clips, self._clips[1:], strict=False)
        if twice := [
            f"line {b.line}: {b.id}: the text of line {a.line}" for a, b in pairs if a.symbols == b.symbols
        ]:
            yield Note(
                f"{_texts(len(twice))} the words of the clip before. Are they said twice?", tuple(twice)
            )
        if others := self._recordings.others(self._named):
            told = f"{len(others)} recordings in {WAVES}/ have no line in {METADATA}, and are not used."
            yield Note(told, tuple(printable(file) for file in others))

    def _character_advice(self) -> str:
        rarest_first = sorted(self._character_mends, key=self._character_mends.__getitem__)
        mends = dict.fromkeys(self._unknown, WRITE_OUT) | dict(rarest_first)
        told = advice(mends, f"choose the text's language (now {self._settings.language})")
        return f"{told[0].upper()}{told[1:]}."

    def _refusal(self, problems: tuple[Problem, ...], total: int, held_out: frozenset[str]) -> str | None:
        s, why, what_to_do = self._settings, [], []
        bad = [p for p in problems if p.reason != UNKNOWN and p.reason not in s.wished]
        share = 100 * len({p.line for p in bad}) / max(1, total)
        if self._unknown:
            rows = sum(p.reason == UNKNOWN for p in problems)
            why.append(f"{rows} of {total} rows have unknown characters: {_counted(self._unknown)}.")
            what_to_do.append(self._character_advice())
        if share > s.max_bad_percent:
            limit = f"limit {s.max_bad_percent:g} %"
            why.append(f"{share:.1f} % of {total} rows are bad ({limit}): {by_reason(bad)}.")
            reasons = [reason for reason, _ in Counter(p.reason for p in bad).most_common()]
            what_to_do += [f"{reason}: {self._mends[reason]}" for reason in reasons if reason in self._mends]
            if not all(reason in self._mends for reason in reasons):
                what_to_do.append(CORRECT)
        if text := self._only_text():
            why.append(text)
            what_to_do.append("Give each recording the words that are said in it.")
        if len(self._clips) <= s.held_out:
            why.append(f"{len(self._clips)} good clips are left, and {s.held_out} are to be held out.")
            what_to_do += [] if what_to_do else [CORRECT]
        elif len(held_out) < min(2, s.held_out) and not text:
            why.append("Every text occurs twice, or its recording has more pieces than are to be held out.")
            what_to_do.append(f"Add clips with other texts, or hold out more than {s.held_out}.")
        if not why:
            return None
        return "\n".join([f"Cannot train on {self._folder}.", " ".join(why), *what_to_do])

    def _only_text(self) -> str | None:
        counts = Counter(tuple(clip.symbols) for clip in self._clips)
        for symbols, count in counts.most_common(1):
            if count >= LEAST_OF_ONE_TEXT and count > MOST_OF_ONE_TEXT * len(self._clips):
                text = next(clip.row.text for clip in self._clips if tuple(clip.symbols) == symbols)
                return f"{count} of {len(self._clips)} clips have one and the same text, {printable(text)!r}."
        return None


def by_reason(problems: Sequence[Problem]) -> str:
    """Counts and first ids of each reason, the commonest first."""
    parts = []
    for reason, count in Counter(p.reason for p in problems).most_common():
        first = [p.id for p in problems if p.reason == reason][:SHOWN]
        parts.append(f"{count} {reason} ({', '.join(first)}{', ...' if count > SHOWN else ''})")
    return ", ".join(parts)


def _amplify(peak: float) -> str:
    """What to do about clips that are too quiet; `peak` is their loudest sample."""
    if peak < AUDIBLE / 10:
        return "There is nothing in them: record them anew, or take their rows out."
    gain = f"{-3 - 20 * np.log10(peak):.0f}dB"
    return f"Amplify what holds speech (ffmpeg -i old.wav -af volume={gain} new.wav), take the rest out."


def _texts(count: int) -> str:
    return "1 text has" if count == 1 else f"{count} texts have"


def _counted(characters: Counter[str], mends: Mapping[str, str] | None = None) -> str:
    shown = ", ".join(
        f"{named(character)} {count} x{_mend(character, mends or {})}"
        for character, count in characters.most_common(SHOWN_CHARACTERS)
    )
    more = len(characters) - SHOWN_CHARACTERS
    return f"{shown} and {more} more" if more > 0 else shown


def _mend(character: str, mends: Mapping[str, str]) -> str:
    mend = mends.get(character, WRITE_OUT)
    if mend == WRITE_OUT:
        return ""
    return ": remove it" if mend == REMOVE else f": looks like {mend}"
