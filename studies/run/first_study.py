"""A study file for somebody's recordings: what a shipped study has, with steps that fit the hours given.

How long a step takes is measured on those recordings and this machine, so that the plan is no guess.
"""

import json
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from model.data.corpus import Corpus, load_corpus
from model.data.metadata import WAVES
from model.data.preflight import CorpusSettings, Report
from model.settings import Settings
from model.speech.text import PHONEME_INPUT
from model.training import Training
from studies.file.sections import OF_STUDY
from studies.file.spec import load
from studies.run.data import Progress, usual_settings

BASES = {"small": "quickstart", "full": "ljspeech"}  # the shipped study of a size
START_SIZE = "small"  # of the voices in `starts`
LEAST_MINUTES_FOR_FULL = 60.0  # of speech; with less, a full-size voice has too little to learn from
TIMED_STEPS, UNTIMED_STEPS = 8, 3
BESIDE_STEPS = 1.25  # times as long, with what is allowed for measures, listening and checkpoints
SEARCH_SHARE = 0.4  # of the steps; the rest trains the winner on
TRIALS = 8
TAKEN = 0.5  # of what whole trials would take: most end at an early rung
MEASURES = 4  # of a trial
ROUND = 50  # steps
LEAST_STEPS = 4000  # in all: with fewer nobody understands a small voice (docs/study-file.md)
HOUR = 3600.0


def starts(settings: CorpusSettings) -> tuple[str, ...]:
    """Shipped studies whose small voices serve as a start, the best first (docs/study-file.md); they read
    phonemes."""
    return (f"base-{settings.language}", "quickstart") if settings.input == PHONEME_INPUT else ()


@dataclass(frozen=True)
class Plan:
    """Steps of a trial, between its measures, and in all for the winner."""

    trial: int
    measure_every: int
    finish: int

    @classmethod
    def of(cls, hours: float, seconds: float) -> "Plan":
        """Args: seconds: that a step takes."""
        steps = hours * HOUR / (seconds * BESIDE_STEPS)
        measure = _rounded(SEARCH_SHARE * steps / (TRIALS * TAKEN * MEASURES))
        trial = MEASURES * measure
        return cls(trial, measure, max(trial, _rounded((1 - SEARCH_SHARE) * steps)))

    def hours(self, seconds: float) -> float:
        """What it takes by this measure."""
        return (TRIALS * TAKEN * self.trial + self.finish) * seconds * BESIDE_STEPS / HOUR


def settings_of(folder: Path, language: str, input: str) -> CorpusSettings:
    """How a folder's recordings are to be read; a rate of their own is found."""
    rates = {soundfile.info(wave).samplerate for wave in sorted((folder / WAVES).glob("*.wav"))[:20]}
    rate = rates.pop() if len(rates) == 1 else None
    own = rate if rate != CorpusSettings.sample_rate else None
    return replace(usual_settings(language, own), input=input)


def draft(
    name: str,
    folder: Path,
    settings: CorpusSettings,
    hours: float,
    workdir: Path,
    device: str,
    progress: Progress,
    start: str | None = None,
) -> tuple[str, list[str]]:
    """The text of a study file, and what to expect of it, in lines.

    Args:
        start: the study with whose voice a small one is to begin.

    Raises:
        DataError: the recordings are refused.
        TextError: something is missing to read their texts.
        SpecError: the name is none of a study.
    """

    def checked(done: int, total: int) -> None:
        progress("checking and measuring clips", done, total)

    corpus = load_corpus(folder, settings, workdir / "cache", progress=checked)
    minutes = (
        sum(item.mel.shape[0] for item in corpus.training)
        * corpus.mel_settings.hop_length
        / (60 * corpus.mel_settings.sample_rate)
    )
    size = "full" if device != "cpu" and minutes >= LEAST_MINUTES_FOR_FULL else "small"
    seconds = step_seconds(corpus, size, device, progress)
    plan = Plan.of(hours, seconds)
    text = written(name, folder, settings, size, plan, sentence(corpus.report), start)
    lines = told(minutes, len(corpus.training), size, device, seconds, plan, hours)
    return text, [*lines, *told_start(size, start, plan)]


def step_seconds(corpus: Corpus, size: str, device: str, progress: Progress) -> float:
    """How long a step of this corpus takes here, in the median."""
    spec = load(BASES[size])
    dimensions = spec.voice.dimensions(len(corpus.front_end.symbols))
    settings = Settings(**spec.fixed)  # type: ignore[arg-type]
    training = Training(corpus, dimensions, settings, seed=0, device=device)
    taken = []
    for number in range(UNTIMED_STEPS + TIMED_STEPS):
        progress("timing steps", number + 1, UNTIMED_STEPS + TIMED_STEPS)
        began = time.perf_counter()
        training.advance()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[UNTIMED_STEPS:])


def sentence(report: Report) -> str:
    """A sentence that is never trained on: of the middle length."""
    held = sorted((row.text for row in report.rows if row.id in report.held_out), key=len)
    return held[len(held) // 2]


def written(
    name: str,
    folder: Path,
    settings: CorpusSettings,
    size: str,
    plan: Plan,
    speak: str,
    start: str | None = None,
) -> str:
    """The file: its own tables, and the others as the shipped study has them."""
    shipped = (Path(__file__).parents[1] / f"{BASES[size]}.toml").read_text("utf-8")
    tables = dict(_tables(shipped))
    own = {
        "corpus": _lines(
            source="folder",
            path=str(folder.resolve()),
            language=settings.language,
            input=settings.input,
            **({} if settings.resample_from is None else {"resample_from": settings.resample_from}),
        ),
        "budget": _lines(trials=TRIALS),
        "objective": _lines(steps=plan.trial, measure_every=plan.measure_every, speak=speak),
        "finish": f"steps = {plan.finish} # in all: what the search found is trained on\n",
    }
    if start is not None and size == START_SIZE:
        own["model"] = _lines(size=size, warm_start=f"{OF_STUDY}{start}")
    pruner = re.sub(r"(?m)^min_resource = .*$", f"min_resource = {plan.measure_every}", tables["pruner"])
    tables |= own | {"pruner": pruner.rstrip() + "\n"}
    head = _lines(name=name, question="Which settings let this voice speak soonest?", seed=1)
    made = f"# Made for the recordings in {folder.name}; docs/study-file.md tells every key.\n"
    return made + head + "".join(f"\n[{table}]\n{content.strip()}\n" for table, content in tables.items())


def told(
    minutes: float, clips: int, size: str, device: str, seconds: float, plan: Plan, hours: float
) -> Iterator[str]:
    """What to expect, measured here where it can be."""
    yield f"{clips} clips to train on, {minutes:.0f} minutes."
    yield f"A step of a {size} voice takes {seconds:.2f} s here ({device})."
    yield (
        f"{TRIALS} trials of {plan.trial} steps, most of them ended early, then the best to {plan.finish}: "
        f"about {plan.hours(seconds):.1f} hours."
    )
    if plan.hours(seconds) > 1.1 * hours:
        yield f"That is more than the {hours:g} hours you gave: fewer steps make no voice."


def told_start(size: str, start: str | None, plan: Plan) -> Iterator[str]:
    """With what a voice begins, and what to expect where that is nothing."""
    if start is not None and size == START_SIZE:
        yield f'It begins with the voice of study "{start}".'
    elif start is not None:
        yield f'It begins with nothing: the voice of study "{start}" is of another size.'
    elif plan.finish < LEAST_STEPS and size == START_SIZE:
        yield f"Give more hours if you can: a small voice is hardly understood before step {LEAST_STEPS}."


def _tables(text: str) -> Iterator[tuple[str, str]]:
    """The tables of a study file, each with its lines."""
    parts = re.split(r"(?m)^\[([\w.]+)\]\n", text)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def _lines(**values: str | int) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _rounded(steps: float) -> int:
    return max(ROUND, round(steps / ROUND) * ROUND)
