"""What is done about a fault, arm by arm, with the same seed and the same number of consumed steps.

B1 to B4 see what our rules see: only what they do about it differs.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.faults.case import Case
from benchmarks.faults.course import ACTS, Course, Detected, Measure, MemoryLedger, numbers, rows, stop
from benchmarks.faults.language import Shape
from benchmarks.faults.naive import Naive
from benchmarks.faults.replay import replay
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import Stage, judge
from model import checkpoint
from model.settings import LIMITS
from model.training import Training
from objectives.base import NonFinite, OutOfMemory
from smart_tuner.repair.autofix import GivenUp
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.rules import RULES

ARMS = {
    "B0": "no rules",
    "B1": "prune only",
    "B2": "restart with a new seed",
    "B3": "restart with a random change",
    "B4": "roll back, halve the rate",
    "B5": "four naive rules",
    "B6": "ours",
    "B7": "oracle",
}
UNRULED = ("B0", "B5", "B7")  # no rule of ours has a say in these
SEED_STEP = 1000  # between a run's seed and those of its restarts
MOST_REPAIRS = 5  # of B2 to B4, as of ours
REPLAYED = 5  # one seed in so many is replayed
PROVEN = 20  # steps before a detection: younger weights may be damaged
# What B3 draws one of: a setting, and how far it may change.
RANDOM = {
    "learning_rate": (0.1, 10.0),
    "batch_size": (0.5, 2.0),
    "guided_attention_weight": (0.25, 4.0),
    "gate_positive_weight": (0.25, 4.0),
    "gate_weight": (0.25, 4.0),
    "grad_clip_thresh": (0.1, 10.0),
    "p_attention_dropout": (0.25, 4.0),
    "p_prenet_dropout": (0.5, 1.5),
}
ENDS = (GivenUp, NonFinite, OutOfMemory, ValueError)  # the last: nothing is left to train on


class Bout:
    """One case, half, severity and seed, under every arm.

    All arms start from the same weights, and see the same up to our rules' first repair: what comes before
    it is trained once.
    """

    def __init__(self, stage: Stage, case: Case, half: str, severity: int, seed: int, folder: Path) -> None:
        self.stage, self.case, self.seed, self._folder = stage, case, seed, folder
        self.setup = case.setup(stage, half, severity)
        self.until = stage.budget if case.is_fault else stage.planned
        self._stem = folder / "B6"
        self._first: Entry | None = None  # the first row of ours that acts, or skips a batch
        self._before: list[Measure] = []  # it
        self._resumes_at = 0  # the newest checkpoint before it

    def course(self, name: str, seed: int, ledger: MemoryLedger, setup: Setup, before: int = 0) -> Course:
        folder = self._folder / name
        folder.mkdir()
        training = setup.training(seed)
        return Course(self.stage, setup, self.case.onset, training, folder, ledger, before)

    # The arms

    def ours(self) -> dict[str, Any]:
        course = self.course("B6", self.seed, MemoryLedger(), self.setup).watch(RULES)
        found = ended(course, self.until)
        self._first = next((e for e in course.ledger.entries if acts(e)), None)
        if self._first is not None:
            step = self._first.step
            self._before = [m for m in course.curve if m.step < step]
            saved = map(checkpoint.step_of, checkpoint.all_in(self._stem))
            self._resumes_at = max((s for s in saved if s < step), default=0)
        return found | {"replayed": self._replayed(course)}

    def _replayed(self, course: Course) -> bool | None:
        """Whether the rows alone lead to the same weights; only asked of some seeds."""
        if self.seed % REPLAYED or not any(e.kind == "repair" for e in course.ledger.entries):
            return None
        folder = self._folder / "replay"
        folder.mkdir()
        again = replay(course, self.setup.training(self.seed), folder)
        return weights_hash(again) == weights_hash(course.training)

    def unwatched(self) -> dict[str, Any]:
        """From where ours was last undisturbed."""
        course = self.course("B0", self.seed, MemoryLedger(), self.setup)
        if self._resumes_at:
            course.restore(checkpoint.at(self._stem, self._resumes_at))
        course.curve = [m for m in self._before if m.step <= self._resumes_at]
        return ended(course.watch(()), self.until)

    def restarted(self, name: str, changed: Callable[[Setup, int], Setup]) -> dict[str, Any]:
        """Until a start lasts, or the steps are used up."""
        assert self._first is not None
        consumed, curve, entries = self._first.step, list(self._before), [self._first]
        for attempt in range(1, MOST_REPAIRS + 1):
            last, seed = attempt == MOST_REPAIRS, self.seed + SEED_STEP * attempt
            ledger = MemoryLedger() if last else MemoryLedger(stop)
            setup = changed(self.setup, seed)
            course = self.course(f"{name}-{attempt}", seed, ledger, setup, consumed)
            again, state = False, "COMPLETE"
            try:
                course.watch(() if last else RULES).go(self.until)
            except Detected:
                again, state = course.consumed < self.until, "PRUNED"
            except ENDS as end:
                state = _state(end)
            consumed, curve = course.consumed, curve + course.curve
            entries += ledger.entries
            if not again:
                break
        return told(course, state, curve, entries) | {"trainings": attempt + 1}

    def rolled_back(self) -> dict[str, Any]:
        assert self._first is not None
        course = self.course("B4", self.seed, MemoryLedger(stop), self.setup)
        course.curve = list(self._before)
        _back_with_half_the_rate(course.training, self._stem, self._first.step)
        course.resume(self._first.step)
        for repairs in range(1, MOST_REPAIRS + 1):
            course.watch(RULES if repairs < MOST_REPAIRS else ())
            try:
                course.go(self.until)
            except Detected:
                _back_with_half_the_rate(course.training, self._folder / "B4", course.training.step)
            except ENDS as end:
                return told(course, _state(end))
            else:
                break
        return told(course, "COMPLETE")

    def naive(self) -> dict[str, Any]:
        course = self.course("B5", self.seed, MemoryLedger(), self.setup).watch(())
        rules = Naive(judge(self.setup.shape).items, self.stage.validate_every)
        course.each = rules
        return ended(course, self.until) | {"changes": rules.changes, "first_change": rules.first}

    def pruned(self) -> dict[str, Any]:
        assert self._first is not None
        told = {"curve": numbers(self._before), "rows": rows([self._first])}
        return {"state": "PRUNED", "consumed": self._first.step, **told}

    # What came of it

    def all(self, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """By arm. Where ours saw nothing, its run is that of no rules, and of all that see the same.

        Args:
            known: runs of arms without rules, which are not run again.

        Raises:
            ValueError: a known run is not what it would be now.
        """
        known = known or {}
        found, all_arms = {"B6": self.ours()}, self.case.is_fault and self.case.repairable
        if self._first is None:
            same = ("B0", "B1", "B2", "B3", "B4") if all_arms else ("B0",)
            found |= {arm: found["B6"] | {"same_as": "B6"} for arm in same}
            if "B0" in known and known["B0"]["weights"] != found["B6"]["weights"]:
                raise ValueError(f"{self.case.name}, seed {self.seed}: what is known is of other code")
        elif self.case.is_fault or any(row["kind"] in ACTS for row in found["B6"]["rows"]):
            found["B0"] = known.get("B0") or self.unwatched()
        if not all_arms:
            return found
        if self._first is not None:
            found |= {
                "B1": self.pruned(),
                "B2": self.restarted("B2", lambda setup, _: setup),
                "B3": self.restarted("B3", random_change),
                "B4": self.rolled_back(),
            }
        naive = known.get("B5") or self.naive()
        return found | {"B5": naive, "B7": known.get("B7") or oracle(self.stage, self.case, self.seed)}


def ended(course: Course, until: int) -> dict[str, Any]:
    """What comes of a run that is trained up to so many consumed steps, or to where it ends."""
    state = "COMPLETE"
    try:
        course.go(until)
    except ENDS as end:
        state = _state(end)
    return told(course, state)


def told(
    course: Course,
    state: str,
    curve: Sequence[Measure] | None = None,
    entries: Sequence[Entry] | None = None,
) -> dict[str, Any]:
    """A run as a result keeps it. Args: curve, entries: where it had trainings before this one."""
    return {
        "state": state,
        "consumed": course.consumed,
        "curve": numbers(curve or course.curve),
        "rows": rows(entries or course.ledger.entries),
        "weights": weights_hash(course.training),
    }


def acts(entry: Entry) -> bool:
    """Whether from here on the run is another one than that without rules."""
    return entry.kind in ACTS or entry.rule == "non_finite"


def oracle(stage: Stage, case: Case, seed: int) -> dict[str, Any]:
    """Knows the fault a validation after its onset, and takes it away with all that it did: a run of the
    base recipe that lost these steps."""
    lost = stage.validate_every
    curve = [[row[0] + lost, *row[1:]] for row in _sound(stage, case.shape, seed)]
    return {"state": "COMPLETE", "consumed": stage.budget, "curve": curve, "rows": []}


@cache
def _sound(stage: Stage, shape: Shape, seed: int) -> list[list[Any]]:
    with TemporaryDirectory(dir=quick()) as place:
        setup = Setup.of(stage, shape)
        course = Course(stage, setup, 0, setup.training(seed), Path(place), MemoryLedger()).watch(())
        course.go(stage.budget - stage.validate_every)
        return numbers(course.curve)


def weights_hash(training: Training) -> str:
    found = hashlib.sha256()
    for value in training.model.state_dict().values():
        found.update(value.numpy().tobytes())
    return found.hexdigest()[:16]


def random_change(setup: Setup, seed: int) -> Setup:
    """One setting, drawn evenly on a logarithmic scale; a setting at zero cannot be multiplied."""
    random = np.random.default_rng((seed, 3))
    name = random.choice([n for n in RANDOM if getattr(setup.settings, n)])
    low, high = RANDOM[name]
    old = getattr(setup.settings, name)
    value = old * float(np.exp(random.uniform(np.log(low), np.log(high))))
    value = min(max(value, LIMITS[name][0]), LIMITS[name][1])
    return setup.with_settings(**{name: round(value) if isinstance(old, int) else value})


def _back_with_half_the_rate(training: Training, folder: Path, step: int) -> None:
    proven = [p for p in checkpoint.all_in(folder) if checkpoint.step_of(p) <= step - PROVEN]
    training.roll_back(proven[-1] if proven else checkpoint.all_in(folder)[0])
    rate = max(LIMITS["learning_rate"][0], training.settings.learning_rate / 2)
    training.settings = replace(training.settings, learning_rate=rate)


def _state(end: Exception) -> str:
    return end.state if isinstance(end, GivenUp) else "FAIL"


def quick() -> str | None:
    """Where checkpoints go, which are synced: in memory that costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
