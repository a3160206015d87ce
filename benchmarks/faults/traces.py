"""All that rules are told of a run that they leave alone, so that others can be asked what they would do.

What a run measures until a rule first acts does not depend on the rules. So a run without rules is trained
once; its trace answers in milliseconds for any rules, thresholds or restraint.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.course import ACTS, Course, Detected, MemoryLedger, stop
from benchmarks.faults.stage import Stage
from objectives.monitored import Monitored
from objectives.signals import MILESTONE, SIGNALS
from smart_tuner.repair.autofix import AutoFix
from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import UNRESTRAINED, Entry, Restraint, Rule

Event = list[Any]
Trace = Mapping[str, Any]


class Traced(Monitored):
    """Notes what the rules are told; they only tell what they see."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.events: list[Event] = []
        fix = self.autofix
        assert fix is not None
        stepped, validated, failed, memory = fix.stepped, fix.validated, fix.not_finite, fix.out_of_memory
        heard_at: int | None = None

        def hear() -> None:
            """Rules may want to hear the voice before they act."""
            nonlocal heard_at
            if heard_at != self.run.step:
                heard_at = self.run.step
                self.events.append(["worth", {}, heard_at, self.run.worth()])

        def note(kind: str, call: Any) -> Any:
            def told(*what: Any) -> Any:
                clips = dict(self.run.clips) if kind == "stepped" else {}
                if kind == "validated" or (kind == "stepped" and what[0] % fix.probe_every == 0):
                    hear()
                self.events.append([kind, clips, *what])
                return call(*what)

            return told

        fix.stepped = note("stepped", stepped)  # type: ignore[method-assign]
        fix.validated = note("validated", validated)  # type: ignore[method-assign]
        fix.not_finite = note("not_finite", failed)  # type: ignore[method-assign]
        fix.out_of_memory = note("out_of_memory", memory)  # type: ignore[method-assign]

    def judged(self, value: float) -> None:
        self.events.append(["judged", {}, value])
        super().judged(value)


def traced(course: Course, rules: Sequence[Rule]) -> Course:
    """A course under watch, where every rule only tells."""
    names = frozenset(rule.name for rule in rules)
    return course.watch(rules, Restraint(advises=names), Traced)


def written(path: Path, course: Course, found: Mapping[str, Any]) -> None:
    """Keep a traced course with what came of it."""
    watched = course.watched
    assert isinstance(watched, Traced) and watched.autofix is not None
    start = {
        "settings": dict(course.start),
        "limits": {name: list(of) for name, of in watched.autofix.limits.items()},
        "n_clips": watched.run.n_clips,
        "ways": sorted(watched.ways),
        "worst": watched.run.worst,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with gzip.open(part, "wt", compresslevel=4) as file:
        json.dump({"result": found, "start": start, "events": watched.events}, file)
    part.rename(path)


def read(path: Path) -> Trace:
    with gzip.open(path, "rt") as file:
        found: Trace = json.load(file)
    return found


class Untouched:
    """A run to which nothing can be done, since nothing is: its trace ends where a rule acts.

    Attributes:
        heard: the step at which its worth was last noted, and what it was.
        is_sure: a rule never asked for its worth at another step.
    """

    def __init__(self, ways: Sequence[str], health: Health) -> None:
        self.ways = frozenset(ways)
        self.heard: tuple[int, float | None] = (0, None)
        self.is_sure = True
        self._health = health

    def worth(self) -> float | None:
        step, value = self.heard
        self.is_sure &= step == self._health.step
        return value

    def roll_back(self, step: int) -> None: ...
    def reinitialise(self, part: str) -> None: ...
    def exclude(self, clips: Sequence[str]) -> None: ...


def told(
    trace: Trace, stage: Stage, rules: Sequence[Rule], restraint: Restraint = UNRESTRAINED
) -> tuple[list[Entry], bool]:
    """What rules say of a traced run, up to the first row that changes or ends it; and whether that is sure:
    a rule may have asked what the run was worth where the trace does not know."""
    ledger, start = MemoryLedger(stop), trace["start"]
    health = Health(stage.pace, SIGNALS, MILESTONE)
    limits = {name: (low, high) for name, (low, high) in start["limits"].items()}
    run = Untouched(start["ways"], health)
    known = start["settings"], rules, limits, start["n_clips"], health
    fix = AutoFix(run, *known, ledger.add, restraint, start.get("worst"))
    fix.saved(0)
    try:
        for kind, clips, *what in trace["events"]:
            if kind == "worth":
                run.heard = what[0], what[1]
            else:
                _tell(fix, stage, kind, clips, what)
        fix.conclude()
    except Detected:
        pass
    return ledger.entries, run.is_sure


def _tell(fix: AutoFix, stage: Stage, kind: str, clips: Mapping[str, Any], what: Sequence[Any]) -> None:
    if kind == "judged":
        fix.judged(fix.health.step, *what)
        return
    if kind == "not_finite":
        what = [what[0], tuple(what[1])]
    if clips:
        fix.health.note_clips({clip: (loss, away) for clip, (loss, away) in clips.items()})
    getattr(fix, kind)(*what)
    if kind == "stepped" and (step := what[0]) % stage.checkpoint_every == 0:
        fix.saved(step)


def acts(entries: Sequence[Entry]) -> Entry | None:
    """The row that changes or ends the run, if there is one."""
    return next((entry for entry in entries if entry.kind in ACTS), None)
