"""How well a long recording is cut by its script: recorded Russian, joined, and cut again.

LABELS is the voice's folder in Debian's package festvox-ru, with etc/, lab/ and wav/, whose labels say when
each text is said. `sound`: all is read as it is written. `misread`: of every ten texts one is skipped, one is
misread (another text, broken off, or other words in its midst) and one is begun again or read twice. `edges`
is how far a text's begin and end are from the labels', by the clips that begin or end with it.
"""

import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import soundfile
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from model.data.corpora.festvox_ru import PAUSE, read_labels, read_prompts
from model.data.cutting import AFTER, BEFORE
from objectives.ear import Ear
from studies.report.summary import rendered
from studies.run import recordings

Wave = NDArray[np.float32]
CLEAN, MISREAD = "sound", "misread"
KINDS = {3: "skipped", 6: "misread", 9: "twice"}  # by a text's number among ten
letters = partial(recordings.letters_of, language="ru")
GAP = (0.2, 0.6)  # seconds between texts, beside the recordings' own edges


@dataclass
class Said:
    """A text in the joined recording: where its speech begins and ends, or None where it is not said so."""

    text: str
    kind: str = CLEAN
    start: float | None = None
    end: float | None = None


@dataclass
class Joined:
    """A long recording, and what is said in it."""

    rate: int
    script: list[Said] = field(default_factory=list)
    # What each stretch says, by the text that it is of ("": something else), and how many letters of it.
    spans: list[tuple[str, float, float, float]] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, wave: Wave, says: str, share: float, pause: float) -> None:
        """Args: share: of the text's recording."""
        end = self.seconds + len(wave) / self.rate
        self.spans.append((says, share * len(letters(says)), self.seconds, end))
        self.waves += [wave, np.zeros(round(pause * self.rate), np.float32)]
        self.seconds += len(wave) / self.rate + pause


class Voice:
    """The recordings, their texts and labels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.texts = read_prompts(folder / "etc" / "txt.done.data")
        self.names = list(self.texts)

    def wave(self, name: str) -> tuple[Wave, int]:
        wave, rate = soundfile.read(self._folder / "wav" / f"{name}.wav", dtype="float32")
        return wave, int(rate)

    def text(self, name: str) -> str:
        return self.texts[name].replace("+", "")

    def speech(self, name: str) -> tuple[float, float]:
        phones = [p for p in read_labels(self._folder / "lab" / f"{name}.lab") if p.name != PAUSE]
        return phones[0].start, phones[-1].end

    def pauses(self, name: str) -> list[float]:
        """The middles of those within it."""
        phones = read_labels(self._folder / "lab" / f"{name}.lab")[1:-1]
        return [(p.start + p.end) / 2 for p in phones if p.name == PAUSE and p.end - p.start > 0.1]


def joined(voice: Voice, first: int, minutes: float, kind: str, seed: int) -> Joined:
    chance = random.Random(seed)
    found = Joined(voice.wave(voice.names[0])[1])
    for number, name in enumerate(voice.names[first:]):
        if found.seconds > 60 * minutes:
            break
        wave, rate = voice.wave(name)
        said = Said(voice.text(name), KINDS.get(number % 10, CLEAN) if kind == MISREAD else CLEAN)
        start, end = voice.speech(name)
        if said.kind == CLEAN:
            said.start, said.end = found.seconds + start, found.seconds + end
        found.script.append(said)
        stretches = list(parts(voice, said, name, wave, rate, number, chance))
        for k, (part, says) in enumerate(stretches, start=1):
            in_one_go = said.kind == "misread" and k < len(stretches)
            found.add(part, says, len(part) / len(wave), 0.0 if in_one_go else chance.uniform(*GAP))
    return found


def parts(
    voice: Voice, said: Said, name: str, wave: Wave, rate: int, number: int, chance: random.Random
) -> Iterator[tuple[Wave, str]]:
    """What is really said for a text: sounds, and of each what a right clip of it could say."""
    pauses, way = voice.pauses(name), number // 10 % 3
    at = round(rate * pauses[-1]) if pauses else len(wave) // 2
    if said.kind == CLEAN:
        yield wave, said.text
    elif said.kind == "twice":
        yield (wave if way == 0 else wave[:at]), said.text
        yield wave, said.text
    elif said.kind == "misread":
        other = voice.wave(voice.names[-1 - chance.randrange(100)])[0]
        if way == 0:
            yield other, ""
        elif way == 1:
            yield wave[:at], said.text
        else:  # a fifth of it is other words
            a, b = round(0.35 * len(wave)), round(0.55 * len(wave))
            begin = min(rate // 2, max(0, len(other) - (b - a)))
            yield wave[:a], said.text
            yield other[begin : begin + b - a], ""
            yield wave[b:], said.text


def judged(found: Joined, rows: Sequence[recordings.Row]) -> dict[str, str]:
    """What became of the texts."""
    good = [row for row in rows if not row.left_out]
    plain = [said for said in found.script if said.kind == CLEAN]
    edges, lost = list[float](), 0
    for said in plain:
        inside = [
            row for row in good if seconds(row)[0] < (said.end or 0) and seconds(row)[1] > (said.start or 0)
        ]
        told = letters(" ".join(row.text for row in inside))
        lost += len(letters(said.text)) - int(LCSseq.similarity(letters(said.text), told))
        for row in inside:
            start, end = seconds(row)
            if begins(said.text, row.text):
                edges.append(abs(start + BEFORE - (said.start or 0)))
            if begins(said.text[::-1], row.text[::-1]):
                edges.append(abs(end - AFTER - (said.end or 0)))
    return {
        "minutes": f"{found.seconds / 60:.1f}",
        "texts": str(len(found.script)),
        "clips": str(len(good)),
        "edges, median s": f"{statistics.median(edges):.3f}",
        "edges, 95 % s": f"{np.percentile(edges, 95):.3f}",
        "letters lost": f"{100 * lost / sum(len(letters(said.text)) for said in plain):.2f} %",
        "clips that say otherwise": str(sum(not is_right(found, row) for row in good)),
    }


def seconds(row: recordings.Row) -> tuple[float, float]:
    return row.start or 0.0, row.end or 0.0


def is_right(found: Joined, row: recordings.Row) -> bool:
    """Whether the stretches of a clip say its text, and no more than it, as far as their lengths tell."""
    start, end = seconds(row)
    inside = [
        (says, count * (min(b, end) - max(a, start)) / (b - a))
        for says, count, a, b in found.spans
        if min(b, end) - max(a, start) > 0.2
    ]
    said, text = letters(" ".join(dict.fromkeys(says for says, _ in inside))), letters(row.text)
    usual = sum(count for _, count in inside)
    return all(says for says, _ in inside) and text in said and usual < 1.6 * len(text) + 5


def begins(text: str, clip: str) -> bool:
    """Whether a text and a clip begin alike, whichever is the longer one."""
    one, other = letters(text), letters(clip)
    shared = min(20, len(one), len(other))
    return one[:shared] == other[:shared]


@click.command(help=__doc__)
@click.argument("labels", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--recognizer", default="base", show_default=True)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--first", default=0, show_default=True, help="The number of the text to begin with.")
@click.option("--seed", default=1, show_default=True)
@click.option("--kind", type=click.Choice([CLEAN, MISREAD]), multiple=True, default=[CLEAN, MISREAD])
def main(labels: Path, recognizer: str, minutes: float, first: int, seed: int, kind: Sequence[str]) -> None:
    voice, ear, table = Voice(labels), Ear(recognizer, "ru"), []
    for each in kind:
        found = joined(voice, first, minutes, each, seed)
        with TemporaryDirectory() as place:
            sound, out = Path(place) / "long.wav", Path(place) / "out"
            soundfile.write(sound, np.concatenate(found.waves), found.rate)
            sound.with_suffix(".txt").write_text("\n".join(said.text for said in found.script), "utf-8")
            rows = recordings.make(
                [(sound, sound.with_suffix(".txt"))], out, ear, recordings.Making(), lambda *_: None
            )
        table.append({"reading": each, **judged(found, rows)})
        for row in rows:
            if not row.left_out and not is_right(found, row):
                click.echo(
                    f"says otherwise: {row.id} {row.start} {row.text!r}, heard {row.heard!r}", err=True
                )
    click.echo(rendered(list(table[0]), [list(row.values()) for row in table]))


if __name__ == "__main__":
    main()
