"""A training under watch: measures go to AutoFix, its repairs go to the training."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from model import checkpoint
from model.data.corpus import Utterance
from model.settings import LIMITS, Settings
from model.training import NonFinite, OutOfMemory, StepMeasures, Training, Validation
from objectives.pictures import save_attention
from objectives.signals import MILESTONE, SIGNALS
from smart_tuner.repair.autofix import AutoFix
from smart_tuner.repair.health import Health, Pace
from smart_tuner.repair.rule import Entry, Rule
from smart_tuner.repair.rules.attention import TextIgnored

EARLY_PROBES = (10, 15, 20)  # a cut graph shows at once


class Ledger(Protocol):
    """Where one trial's repairs are kept."""

    def add(self, entry: Entry) -> Entry: ...
    def flush(self) -> None: ...
    def take(self, entries: Sequence[Entry], step: int) -> None: ...


class MonitoredTraining:
    """One trial's training with its rules; without rules it only trains.

    Args:
        items: held-out clips for the teacher-forced validations.
        folder: where the trial's checkpoints are.
        told: of each entry, after it and its picture are kept.
    """

    ways = frozenset({"roll_back", "reinitialise", "exclude"})

    def __init__(
        self,
        training: Training,
        pace: Pace,
        rules: Sequence[Rule],
        items: Sequence[Utterance],
        folder: Path,
        ledger: Ledger,
        told: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        self.training, self._pace, self._items = training, pace, items
        self._folder, self._ledger, self._told = folder, ledger, told
        self._seen: Validation | None = None  # since the last repair
        used = [rule.min_aligned_text_gain for rule in rules if isinstance(rule, TextIgnored)]
        self._text_is_used = max(used, default=0.0)  # from then on, a run's text_gain is not measured
        n_clips = len(training.corpus.training)
        self.autofix: AutoFix | None = None
        if rules:
            most = training.model.dimensions.max_frames_per_step
            limits = LIMITS | {"n_frames_per_step": (1, most)}
            health, start = Health(pace, SIGNALS, MILESTONE), asdict(training.settings)
            self.autofix = AutoFix(self, start, rules, limits, n_clips, health, self._record)

    # What AutoFix may do

    def roll_back(self, step: int) -> None:
        path = checkpoint.at(self._folder, step)
        checkpoint.verify(path)
        self.training.roll_back(path)
        if step == 0 and self.autofix is not None:  # what the text is worth is measured anew
            self.autofix.health.best.pop("text_gain", None)

    def reinitialise(self, part: str) -> None:
        self.training.reinitialise(part)

    def exclude(self, clips: Sequence[str]) -> None:
        self.training.exclude(clips)

    def _record(self, entry: Entry) -> Entry:
        """With what the attention looked like, if it was seen: before a repair, and at its verdict."""
        entry = self._ledger.add(entry)
        if entry.kind != "alarm" and self._seen is not None:
            with suppress(OSError):  # no picture is worth a run
                self._draw(self._folder / entry.picture, self._seen)
        if entry.kind == "repair":
            self._seen = None
        self._told(entry)
        return entry

    def _draw(self, path: Path, seen: Validation) -> None:
        item, front_end = self._items[0], self.training.corpus.front_end
        title = f"step {seen.step}, clip {item.id}"
        save_attention(path, seen.attention, item.symbols.tolist(), front_end, title)

    # What the objective does

    def advance(self) -> StepMeasures:
        """One consumed step; batches that cannot be taken are passed over, as the rules say.

        Raises:
            GivenUp: a rule ended the trial.
            NonFinite, OutOfMemory: there are no rules.
        """
        training, fix = self.training, self.autofix
        if fix is None:
            return training.advance()
        while True:
            training.settings = Settings(**fix.settings())
            step = training.step + 1
            probe = step in EARLY_PROBES or step % fix.probe_every == 0
            try:
                measures = training.advance(closely=probe)
            except NonFinite:
                if (again := self._once_more()) is None:
                    continue
                measures = again
            except OutOfMemory as error:
                fix.out_of_memory(str(error))
                continue
            fix.health.note_clips(measures.clips)
            fix.stepped(step, step_measures(measures), probe_measures(measures))
            if step % self._pace.validate_every == 0:
                fix.validated(step, self.validate())
            return measures

    def _once_more(self) -> StepMeasures | None:
        """The batch that failed, again: if it passes, the machine slipped; else it is left behind."""
        assert self.autofix is not None
        try:
            return self.training.advance()
        except NonFinite as fault:
            bad = self.training.unsound(fault.clips)
            whole_batch = 2 * len(bad) > len(fault.clips)  # then it is not the clips
            self.training.skip()
            self.autofix.not_finite(fault.measures, () if whole_batch else bad)
            return None

    @cached_property
    def _constant(self) -> float:
        """The mel loss of the best frame, always the same: it needs no text, and no frames before."""
        mels = np.concatenate([item.mel for item in self._items])
        return float(np.abs(mels - np.median(mels, axis=0)).mean())

    def validate(self) -> dict[str, float]:
        """With text_gain, which takes two more validations, until the text was once of use."""
        self._seen = self.training.validate(self._items)
        found = validation_measures(self._seen) | {"constant": self._constant}
        assert self.autofix is not None
        late = self.training.step >= self._pace.planned // 8
        if late and self.autofix.health.best.get("text_gain", 0.0) < self._text_is_used:
            found["text_gain"] = self.training.text_gain(self._items)
        return found

    def judged(self, value: float) -> None:
        """The free-running measure, which only the objective makes."""
        if self.autofix is not None:
            self.autofix.health.note(self.training.step, {"value": value})
            self.autofix.health.improve("value", value)

    def conclude(self) -> None:
        """The run is over."""
        if self.autofix is not None:
            self.autofix.conclude()

    @property
    def redone(self) -> int:
        """Steps that repairs took back: they do not count as trained."""
        return 0 if self.autofix is None else self.autofix.redone

    @property
    def diagonal_score(self) -> float | None:
        """Of the newest validation since the last repair."""
        return None if self.autofix is None else self.autofix.health.last("diagonal_score")

    @property
    def changed(self) -> bool:
        """Whether a repair or verdict came since the last checkpoint."""
        return self.autofix is not None and self.autofix.changed

    def saving(self, step: int) -> set[int]:
        """A checkpoint of `step` is about to be written; the steps of those that repairs need."""
        if self.autofix is None:
            return set()
        self.autofix.saved(step)
        return self.autofix.kept()

    def repairs(self) -> list[Entry]:
        return [] if self.autofix is None else self.autofix.repairs()

    @property
    def grace_until(self) -> int:
        return 0 if self.autofix is None else self.autofix.rest_until

    def effective(self) -> dict[str, float]:
        """The settings that repairs left changed."""
        if self.autofix is None:
            return {}
        return {name: new for entry in self.autofix.entries for name, (_, new) in entry.changes.items()}

    def state(self) -> dict[str, Any] | None:
        return None if self.autofix is None else self.autofix.state()

    def take(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint's state; repairs that came after it never happened."""
        if self.autofix is not None and state is not None:
            self.autofix.take(state)
            self._ledger.take(self.autofix.entries, self.training.step)


def step_measures(m: StepMeasures) -> dict[str, float]:
    """By the names that rules know them by."""
    found = {"loss": m.loss, "unweighted_loss": m.mel_l1, "gate": m.gate, "guided": m.guided}
    return found | {"grad_norm": m.grad_norm}


def probe_measures(m: StepMeasures) -> dict[str, float] | None:
    if m.groups is None:
        return None
    kinds = {"gradient": "gradient_rms", "update": "update", "silent": "silent", "unchanged": "unchanged"}
    return {
        f"{kind}/{name}": float(getattr(group, attribute))
        for name, group in m.groups.items()
        for kind, attribute in kinds.items()
    }


def validation_measures(v: Validation) -> dict[str, float]:
    """Means over the items; a measure that no item has is left out."""
    found = {
        "aligned": float(v.aligned),
        "diagonal_score": v.diagonal_score,
        "gate_accuracy": v.gate_accuracy,
        "gate_late": v.gate_late,
        "held_out": v.mel_l1,
    }
    rows = [asdict(alignment) for alignment in v.alignments]
    for name in ("penalty", "corr", "coverage", "back", "leap", "dwell", "focus"):
        values = [row[name] for row in rows if row[name] is not None]
        if values:
            found[name] = fmean(values)
    return found
