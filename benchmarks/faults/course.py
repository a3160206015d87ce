"""One training of a run: watched, struck by its case, measured as it goes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.language import near_truth
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import Stage, judge, spoken
from model import checkpoint
from model.training import Training
from objectives.attempt import Step
from objectives.monitored import Monitored
from objectives.tacotron2 import Tacotron2, Tacotron2Run
from smart_tuner.repair.rule import UNRESTRAINED, Entry, Restraint, Rule
from smart_tuner.repair.rules import RULES
from smart_tuner.repair.rules.attention import TextIgnored
from smart_tuner.repair.words import ENGLISH

ACTS = ("repair", "end")
ADVISING = frozenset(rule.name for rule in RULES if rule.advises)


class Detected(Exception):
    """A rule would act: an arm that repairs in its own way takes over."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(ENGLISH.sentence(entry.rule, entry.reason, entry.evidence))
        self.entry = entry


class MemoryLedger:
    """A run's rows, kept here; `told` is called for each that acts."""

    def __init__(self, told: Callable[[Entry], None] = lambda _: None) -> None:
        self.entries: list[Entry] = []
        self._told = told

    def add(self, entry: Entry) -> Entry:
        entry = replace(entry, seq=len(self.entries) + 1)
        self.entries.append(entry)
        if entry.kind in ACTS:
            self._told(entry)
        return entry

    def flush(self) -> None: ...
    def take(self, entries: Sequence[Entry], step: int) -> None: ...


def stop(entry: Entry) -> None:
    raise Detected(entry)


@dataclass(frozen=True)
class Measure:
    """What the voice is worth at a step of the run."""

    step: int  # consumed, restarts counted
    value: float  # dB, free-running, as objectives/quality.py has it
    failures: float  # share of the sentences
    diagonal_score: float
    near_truth: float | None  # share of the first clip's steps attended within a symbol of the truth
    gate_accuracy: float
    mel_l1: float


class Undrawn(Tacotron2Run):
    """A benchmark has no use for pictures of thousands of runs."""

    def draw(self, path: Path) -> None: ...


class Course:
    """A training with its case. Consumed steps of the run are those before it and its own.

    Args:
        before: steps that the run consumed in trainings that were given up; of the strikes then, only the
            lasting ones come back.
    """

    def __init__(
        self,
        stage: Stage,
        setup: Setup,
        onset: int,
        training: Training,
        folder: Path,
        ledger: MemoryLedger,
        before: int = 0,
    ) -> None:
        self.stage, self.setup, self.training, self.ledger = stage, setup, training, ledger
        self._onset, self.before, self._folder = onset, before, folder
        self.each: Callable[[Training, Step], None] = lambda *_: None
        shown = spoken(setup.shape)
        self._judge, self._durations = judge(setup.shape), shown.durations
        self._items = self._judge.items
        self.curve: list[Measure] = []
        self._befall()

    @property
    def consumed(self) -> int:
        return self.before + self.training.step

    def watch(
        self,
        rules: Sequence[Rule],
        restraint: Restraint = UNRESTRAINED,
        kind: type[Monitored] = Monitored,
    ) -> "Course":
        """From now on by these, which know nothing of what was before."""
        voices = Tacotron2(self.training.corpus, self._judge, "")
        used = max((r.min_aligned_text_gain for r in rules if isinstance(r, TextIgnored)), default=0.0)
        run = Undrawn(self.training, self._judge, text_is_used=used)
        pace, place, ledger = self.stage.pace, self._folder, self.ledger
        self.start = dict(run.settings)
        self.watched = kind(voices, run, pace, rules, place, ledger, restraint=restraint)
        self._save()
        return self

    def go(self, until: int) -> None:
        """To the end, after so many consumed steps. Raises GivenUp, Detected, NonFinite or OutOfMemory."""
        self.train(until)
        self.watched.conclude()

    def train(self, until: int) -> None:
        """Up to so many consumed steps; raises as `go` does."""
        stage, training = self.stage, self.training
        while self.consumed < until:
            self.strike(training)
            self.each(training, self.watched.advance())
            if training.step % stage.measure_every == 0 or self.consumed == until:
                self._measure()
            if self.watched.changed or training.step % stage.checkpoint_every == 0:
                self._save()

    def strike(self, training: Training) -> None:
        """What is due before the next step of `training`, which may be this one's double."""
        for strike in self.setup.strikes:
            if self._onset + strike.after == self.before + training.step:
                strike.hit(training)

    def restore(self, path: Path) -> None:
        """Go on bit by bit from a checkpoint of the same run."""
        self.training.restore(path)
        self._befall()

    def resume(self, step: int) -> None:
        """Go on, with the weights that the training has, as if it had consumed so many steps."""
        self.training.step = step
        self._befall()

    def _befall(self) -> None:
        """What lasts, and began before."""
        for strike in self.setup.strikes:
            if strike.lasting and self._onset + strike.after < self.consumed:
                strike.hit(self.training)

    def _measure(self) -> None:
        training = self.training
        validation, judgement = training.validate(self._items), self._judge(training.voice())
        truth, r = self._durations.get(self._items[0].id), training.settings.n_frames_per_step
        near = None if truth is None else near_truth(validation.attention, truth, r)
        self.curve.append(
            Measure(
                self.consumed,
                judgement.value,
                judgement.failure_share,
                validation.diagonal_score,
                near,
                validation.gate_accuracy,
                validation.mel_l1,
            )
        )
        self.watched.judged(judgement.value)

    def _save(self) -> None:
        """Nothing is removed: runs are short, and another arm goes back by another choice."""
        step = self.training.step
        self.watched.saving(step)
        checkpoint.write(self._folder, step, self.training.save)


def numbers(measures: Iterable[Measure]) -> list[list[float | None]]:
    """What a result keeps of a run's measures."""
    return [[None if v is None else round(v, 4) for v in asdict(m).values()] for m in measures]


def rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What a result keeps of a run's rows."""
    names = ("kind", "step", "rule", "action", "reason", "changes", "back_to", "verdict", "remedy")
    return [{name: row[name] for name in names if row[name]} for row in map(asdict, entries)]
