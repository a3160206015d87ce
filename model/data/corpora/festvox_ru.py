"""Fetch a Russian voice's recordings from Debian's festvox-ru, cut at pauses where the text is certain.

One man reads 620 texts (Nickolay V. Shmyrev, 2005, a BSD-like licence that is copied along). The recordings
are 16 kHz and 4 to 18 s long; shorter pieces align sooner.
"""

import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from model.data.corpora import CorpusError, Recipe, build_once
from model.data.cutting import Piece
from model.speech.audio import write_samples

PACKAGE = "festvox-ru"
RECIPE: Recipe = {"corpus": PACKAGE, "recipe_version": 1}  # raise the version when pieces or texts change
VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"  # in the package
PAUSE = "pau"
VOWEL_PHONES = frozenset(["a", "aa", "ae", "ay", "e", "ee", "i", "ii", "oo", "u", "uu", "ur", "y", "yy"])
VOWEL_LETTERS = frozenset("аеёиоуыэюя")
SHORTEST_PAUSE = 0.1  # seconds; shorter ones are often the closure of a stop
SHORTEST_PIECE = 1.2  # seconds

_PROMPT = re.compile(r'\( (\S+) "(.*)" \)')
_LABEL = re.compile(r"([0-9.]+)\s+\S+\s+(\S+)")
_WORD_BOUNDARY = re.compile(r"[^\w+]*\s")  # up to the last space: an opening bracket begins the next piece
_PUNCTUATION = re.compile(r"[^\w\s+]")


@dataclass(frozen=True)
class Phone:
    """A phone of a label file, with its times in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Conversion:
    """What became of the recordings: how many there were, how many of them were cut, into how many pieces."""

    recordings: int
    cut: int
    pieces: int
    hours: float


def prepare(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Fill `folder` with the corpus in LJSpeech layout, unless it is there; needs apt-get and dpkg, not root.

    Raises CorpusError when the package cannot be fetched, or the folder holds anything else.
    """

    def build(part: Path) -> Recipe:
        with TemporaryDirectory(dir=part.parent) as temporary:
            unpacked = _fetch(Path(temporary))
            made = convert(unpacked / VOICE, part, progress)
            shutil.copy(unpacked / "usr/share/doc" / PACKAGE / "copyright", part / "COPYING")
        return {
            "changes": f"recordings were cut at pauses by {__name__}",
            "recordings": made.recordings,
            "recordings_cut": made.cut,
            "clips": made.pieces,
            "hours": round(made.hours, 4),
        }

    return build_once(folder, RECIPE, build)


def convert(
    source: Path, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Conversion:
    """Write the voice in `source` (etc/txt.done.data, lab/, wav/) to `folder` as metadata.csv and wavs/."""
    prompts = read_prompts(source / "etc" / "txt.done.data")
    (folder / "wavs").mkdir(parents=True)
    rows, cut, hours = [], 0, 0.0
    for done, (name, text) in enumerate(prompts.items(), start=1):
        samples, rate = soundfile.read(source / "wav" / f"{name}.wav", dtype="int16")
        parts = pieces(text, read_labels(source / "lab" / f"{name}.lab"), len(samples) / rate)
        for number, piece in enumerate(parts, start=1):
            clip = samples[round(piece.start * rate) : round(piece.end * rate)]
            write_samples(folder / "wavs" / f"{name}_{number:02d}.wav", clip, rate)
            rows.append(f"{name}_{number:02d}|{piece.text}\n")
        cut += len(parts) > 1
        hours += len(samples) / rate / 3600
        progress(done, len(prompts))
    (folder / "metadata.csv").write_text("".join(rows), "utf-8")
    return Conversion(len(prompts), cut, len(rows), hours)


def pieces(text: str, phones: list[Phone], seconds: float) -> list[Piece]:
    """Cut a recording in the middle of those pauses that surely lie between two known words.

    Every vowel letter is one vowel phone. So a pause after the n-th vowel phone lies between the n-th
    and the next vowel letter, and is certain if only one word boundary, or only one with punctuation,
    lies there. If the counts differ, nothing is certain and the recording stays whole.
    """
    cuts = [(0.0, 0)]
    for time, place in _certain_cuts(text, phones):
        if time - cuts[-1][0] >= SHORTEST_PIECE and seconds - time >= SHORTEST_PIECE:
            cuts.append((time, place))
    cuts.append((seconds, len(text)))
    return [
        Piece(" ".join(text[start:end].split()), earlier, later)
        for (earlier, start), (later, end) in pairwise(cuts)
    ]


def read_prompts(path: Path) -> dict[str, str]:
    """Texts by recording id from lines `( id "text" )`."""
    prompts: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        prompt = _PROMPT.fullmatch(line.strip())
        if prompt is None or "|" in line or prompt[1] in prompts:
            raise CorpusError(f'{path} line {number}: wanted is ( id "text" ) with a new id, got {line!r}')
        prompts[prompt[1]] = unicodedata.normalize("NFC", prompt[2])
    return prompts


def read_labels(path: Path) -> list[Phone]:
    """Phones from lines `end-time number phone` after a line `#`."""
    phones: list[Phone] = []
    for line in path.read_text("utf-8").splitlines()[1:]:
        label = _LABEL.fullmatch(line.strip())
        if label is None:
            raise CorpusError(f"{path}: wanted is `end-time number phone`, got {line!r}")
        phones.append(Phone(label[2], phones[-1].end if phones else 0.0, float(label[1])))
    return phones


def _certain_cuts(text: str, phones: list[Phone]) -> list[tuple[float, int]]:
    """Times in the middle of pauses, each with the place in the text where the next piece begins."""
    letters = [place for place, letter in enumerate(text.lower()) if letter in VOWEL_LETTERS]
    if len(letters) != sum(phone.name in VOWEL_PHONES for phone in phones):
        return []
    pauses: dict[int, list[float]] = {}  # by the vowels spoken before them
    spoken = 0
    for phone in phones:
        spoken += phone.name in VOWEL_PHONES
        if phone.name == PAUSE and phone.end - phone.start >= SHORTEST_PAUSE and 0 < spoken < len(letters):
            pauses.setdefault(spoken, []).append((phone.start + phone.end) / 2)
    places = {spoken: _only_boundary(text, letters[spoken - 1], letters[spoken]) for spoken in pauses}
    return [
        (times[0], place)
        for spoken, times in pauses.items()
        if len(times) == 1 and (place := places[spoken]) is not None
    ]


def _only_boundary(text: str, start: int, end: int) -> int | None:
    boundaries = list(_WORD_BOUNDARY.finditer(text, start, end))
    if len(boundaries) > 1:
        boundaries = [boundary for boundary in boundaries if _PUNCTUATION.search(boundary.group())]
    return boundaries[0].end() if len(boundaries) == 1 else None


def _fetch(folder: Path) -> Path:
    """Download Debian's package into the folder and unpack it there."""
    _run(folder, "apt-get", "download", PACKAGE)
    for package in folder.glob("*.deb"):
        _run(folder, "dpkg", "-x", package.name, "unpacked")
    return folder / "unpacked"


def _run(folder: Path, *command: str) -> None:
    if shutil.which(command[0]) is None:
        raise CorpusError(f"{command[0]} is not here: {PACKAGE} is a package of Debian and its like")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        advice = "; run `sudo apt-get update` and try again" if command[0] == "apt-get" else ""
        raise CorpusError(f"`{' '.join(command)}` failed: {done.stderr.strip()}{advice}")
