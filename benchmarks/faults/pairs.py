"""A case with and without rules, on the same seed: where no rule acts, the two are one run."""

from pathlib import Path
from typing import Any

from benchmarks.faults.arms import ended
from benchmarks.faults.case import Case
from benchmarks.faults.course import ADVISING, Course, MemoryLedger, rows
from benchmarks.faults.draws import searched
from benchmarks.faults.stage import Stage
from benchmarks.faults.traces import Trace, acts, read, told, traced, written
from smart_tuner.repair.rule import Restraint
from smart_tuner.repair.rules import RULES

TRACES = Path("runs") / "traces"
TOLD = "TOLD"  # in place of an end: the run was not trained with rules
FAILED = ("not_finite", "out_of_memory")  # what ends a run without rules


class Pair:
    """One case, half, severity and seed.

    Args:
        folder: for checkpoints; may go afterwards.
        traces: where the runs without rules are kept, and found again.
    """

    def __init__(
        self, stage: Stage, case: Case, half: str, severity: int, seed: int, folder: Path, traces: Path
    ) -> None:
        self.stage, self.case, self.half, self.seed, self._folder = stage, case, half, seed, folder
        self.setup = case.setup(stage, half, severity, seed)
        self.until = stage.budget if case.is_fault else stage.planned
        self._trace = traces / stage.name / f"{case.name}-{half}-{severity}-{seed}.json.gz"

    def trace(self) -> Trace:
        """The run that every rule leaves alone."""
        if not self._trace.exists():
            course = traced(self._course("B0"), RULES)
            found = ended(course, self.stage.planned)
            written(self._trace, course, found)
        return read(self._trace)

    def arms(self, trained: bool = True) -> dict[str, Any]:
        """Without rules (B0), with ours alone (B6), and, where settings are drawn, with ours as in the search
        that draws them (S6).

        Args:
            trained: also what comes of a run on which rules act; else only what they would do first.
        """
        trace = self.trace()
        found = {"B0": unruled(trace)}
        ways = {"B6": Restraint(advises=ADVISING)}
        if self.case.drawn:
            ways["S6"] = Restraint(searched(self.stage, self.half), ADVISING)
        for arm, restraint in ways.items():
            entries, is_sure = told(trace, self.stage, RULES, restraint)
            if acts(entries) is None and (is_sure or not trained):
                found[arm] = found["B0"] | {"rows": rows(entries), "same_as": "B0"}
            elif not trained:
                found[arm] = {"state": TOLD, "consumed": 0, "curve": [], "rows": rows(entries)}
            else:
                found[arm] = ended(self._course(arm).watch(RULES, restraint), self.until)
        return found

    def _course(self, name: str) -> Course:
        folder = self._folder / name
        folder.mkdir()
        training = self.setup.training(self.seed)
        return Course(self.stage, self.setup, self.case.onset, training, folder, MemoryLedger())


def unruled(trace: Trace) -> dict[str, Any]:
    """What comes of the run where nothing watches it: the first step that cannot be taken ends it."""
    found, step = dict(trace["result"]), 0
    for kind, _, *what in trace["events"]:
        if kind == "stepped":
            step = what[0]
        elif kind in FAILED:
            curve = [row for row in found["curve"] if row[0] <= step]
            return {"state": "FAIL", "consumed": step, "curve": curve, "rows": [], "weights": ""}
    return found | {"rows": []}
