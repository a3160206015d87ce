"""How soon a voice is understood that begins with another one, beside those that begin with nothing.

Trains on so many minutes of recorded Russian (Festvox), once from nothing and once from each --start, all by
the same settings and seeds, and lets Whisper hear what they say on the way: CER is letters of a hundred that
are heard otherwise, on sentences that no voice was trained on. Results are added to RESULTS, a file of JSON
lines, and what it has is not trained again; without --minutes only its table is printed. Intervals are of
95 %, bootstrapped over sentences, the same ones for all voices of so many minutes.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from benchmarks.faults.stage import HOME
from benchmarks.search.figures import Seeds, bootstrapped
from benchmarks.understood import Kind
from model.data.corpus import Corpus, Utterance
from model.network.warm_start import read, warm_start
from model.settings import Settings
from model.speech.voice import save_voice
from model.training import Training
from objectives.ear import Ear
from objectives.quality import Judge, yardstick
from studies.file.spec import Spec, load
from studies.report.summary import rendered
from studies.run import data

NOTHING = "nothing"
HEARD_AT = (200, 400, 700, 1000, 1500)  # steps
SENTENCES = 32  # that are heard
# In the middle of what the shipped studies search; all else is theirs.
RECIPE = {"learning_rate": 3e-3, "guided_attention_weight": 2.0, "gate_positive_weight": 5.0}
Run = Mapping[str, Any]


def spoken(input: str) -> tuple[Spec, Corpus]:
    spec = load("russian")
    corpus = spec.voice.corpus.model_copy(update={"input": input})
    spec = spec.model_copy(update={"corpus": corpus})
    return spec, data.load(spec, HOME, lambda *_: None, lambda told: click.echo(told, err=True))


def cut(items: Sequence[Utterance], minutes: float, frames_per_second: float) -> list[Utterance]:
    """So much of the clips, the same whatever the seed; a longer cut begins with the shorter."""
    shuffled = random.Random(0).sample(list(items), len(items))
    until = accumulate(len(item.mel) / frames_per_second for item in shuffled)
    return [item for item, seconds in zip(shuffled, until, strict=True) if seconds <= 60 * minutes]


def trained(
    spec: Spec, corpus: Corpus, items: Sequence[Utterance], start: Path | None, mels: float, seed: int
) -> Iterator[tuple[int, float, Training]]:
    """A training at each step at which it is heard, and its dB there."""
    dimensions = spec.voice.dimensions(len(corpus.front_end.symbols))
    recipe = RECIPE | {"mel_l1_weight": mels, "mel_l2_weight": mels}
    settings = Settings(**(spec.fixed | recipe))  # type: ignore[arg-type]
    training = Training(replace(corpus, training=tuple(items)), dimensions, settings, seed)
    if start is not None:
        warm_start(training.model, corpus.front_end, read(start))
    measured = corpus.held_out[: spec.objective.sentences]
    judge = Judge(measured, 1, 1, yardstick(measured, corpus.mel_settings))
    for step in HEARD_AT:
        while training.step < step:
            training.advance()
        yield step, judge(training.voice()).value, training


def run(
    spec: Spec, corpus: Corpus, minutes: float, start: Path | None, mels: float, seed: int, ear: Ear
) -> list[dict[str, Any]]:
    """What is heard of one training, in the order of its steps."""
    rate = corpus.mel_settings.sample_rate / corpus.mel_settings.hop_length
    items = cut(corpus.training, minutes, rate)
    used, texts = {item.id for item in items}, {row.id: row.text for row in corpus.report.rows}
    unheard = [*corpus.held_out, *(item for item in corpus.training if item.id not in used)]
    said = [texts[item.id].replace("+", "") for item in unheard][:SENTENCES]
    curve = []
    for step, distance, training in trained(spec, corpus, items, start, mels, seed):
        with TemporaryDirectory() as folder:
            save_voice(training.voice(), Path(folder))
            heard = Kind([Path(folder)], said, ear)
        errors, letters = heard.errors[0].tolist(), heard.letters[0].tolist()
        curve.append(
            {"step": step, "dB": round(distance, 3), "errors": errors, "letters": letters, "mos": heard.mos}
        )
        cer = 100 * sum(errors) / sum(letters)
        click.echo(f"  step {step}: {distance:.2f} dB, CER {cer:.1f}, MOS {heard.mos}", err=True)
    return curve


class Curves:
    """Voices of one start, minutes and input, over seeds."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = list(runs)
        self.steps = [point["step"] for point in self.runs[0]["curve"]]

    def cer(self, index: int, sentences: Seeds) -> float:
        """Args: index: which of the steps."""
        points = [run["curve"][index] for run in self.runs]
        wrong, of = (
            np.array([p[name] for p in points])[:, sentences].sum() for name in ("errors", "letters")
        )
        return float(100 * wrong / of)

    def mean(self, name: str, index: int) -> float:
        return fmean(run["curve"][index][name] for run in self.runs)

    @property
    def sentences(self) -> int:
        return len(self.runs[0]["curve"][0]["errors"])

    def reaches(self, cer: float) -> int | None:
        """The first step with no more than this CER."""
        every = np.arange(self.sentences)
        return next((s for i, s in enumerate(self.steps) if self.cer(i, every) <= cer), None)


def table(runs: Sequence[Run], beside: str = NOTHING) -> str:
    """Args: beside: the start that the others are compared with."""
    kinds: dict[tuple[float, str, float], dict[str, list[Run]]] = {}
    for one in runs:
        kind = one["minutes"], one["input"], one["mels"]
        kinds.setdefault(kind, {}).setdefault(one["start"], []).append(one)
    rows = []
    for (minutes, input, mels), starts in sorted(kinds.items()):
        other = Curves(starts[beside]) if beside in starts else None
        for name in sorted(starts, key=lambda name: name != NOTHING):
            rows.append([f"{minutes:g}", input, f"{mels:g}", name, *_row(Curves(starts[name]), other)])
    at = [f"CER at {step}" for step in HEARD_AT]
    head = [
        "minutes",
        "input",
        "mels weigh",
        "start",
        "seeds",
        *at,
        f"beside {beside}",
        "steps to its last CER",
        "MOS",
        "dB",
    ]
    return rendered(head, rows)


def _row(curves: Curves, other: Curves | None) -> Iterator[str]:
    every, last = np.arange(curves.sentences), len(curves.steps) - 1
    yield str(len(curves.runs))
    yield from (f"{curves.cer(i, every):.1f}" for i in range(len(curves.steps)))
    if other is None:
        yield from ("", "")
    else:
        more: Callable[[Seeds], float] = partial(_difference, curves, other, last)
        yield str(bootstrapped(more, curves.sentences))
        yield str(curves.reaches(other.cer(last, every)) or "never")
    yield f"{curves.mean('mos', last):.2f}" if curves.runs[0]["curve"][last]["mos"] else ""
    yield f"{curves.mean('dB', last):.2f}"


def _difference(one: Curves, other: Curves, index: int, sentences: Seeds) -> float:
    return one.cer(index, sentences) - other.cer(index, sentences)


@click.command(help=__doc__)
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--minutes", multiple=True, type=float, help="Of recordings; may be given more than once.")
@click.option("--start", "starts", multiple=True, help="NAME=FOLDER of a voice; more than once.")
@click.option("--input", type=click.Choice(["phonemes", "letters"]), default="phonemes", show_default=True)
@click.option("--mels", default=10.0, show_default=True, help="What both mel losses weigh.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--beside", default=NOTHING, show_default=True, help="The start that others are compared with.")
@click.option("--recognizer", default="base", show_default=True)
def main(
    results: Path,
    minutes: tuple[float, ...],
    starts: tuple[str, ...],
    input: str,
    mels: float,
    seeds: int,
    beside: str,
    recognizer: str,
) -> None:
    known = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    folders = {NOTHING: None} | {n: Path(p) for n, _, p in (start.partition("=") for start in starts)}
    if minutes:
        (spec, corpus), ear = spoken(input), Ear(recognizer, "ru")
    for seed in range(1, seeds + 1):
        for length in minutes:
            for name, folder in folders.items():
                what = {"minutes": length, "input": input, "mels": mels, "start": name, "seed": seed}
                if any(what.items() <= one.items() for one in known):
                    continue
                click.echo(str(what), err=True)
                known.append(what | {"curve": run(spec, corpus, length, folder, mels, seed, ear)})
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[-1]) + "\n")
    click.echo(table(known, beside))


if __name__ == "__main__":
    main()
