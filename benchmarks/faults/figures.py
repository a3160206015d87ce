"""The figures of the benchmark, from its raw results: rates, their intervals, and which faults count."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from benchmarks.faults.case import Case
from benchmarks.faults.course import ACTS

RESAMPLES = 10_000
MOST_P, LEAST_D = 0.05, 0.5  # a fault counts that is surely and clearly worse than healthy (DeepCrime)
BASE = "H01"
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """A rate with its 95 % interval."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.hits / self.of if self.of else float("nan")


def value_at(run: Result, step: int, worst: float) -> float:
    """The newest measure up to `step`; a run that was ended before has none, and is as bad as can be."""
    if run["state"] in ("PRUNED", "FAIL") and run["consumed"] < step:
        return worst
    values = [row[1] for row in run["curve"] if row[0] <= step]
    return float(values[-1]) if values else worst


def first_act(rows: Iterable[Result]) -> Result | None:
    """The first row that changes or ends the run, or skips a batch."""
    return next((r for r in rows if r["kind"] in ACTS or r["rule"] == "non_finite"), None)


def hurts(spoilt: Sequence[float], healthy: Sequence[float]) -> tuple[float, float]:
    """p of a one-sided rank test, and Cohen's d, of spoilt values against healthy ones."""
    p = float(mannwhitneyu(spoilt, healthy, alternative="greater").pvalue)
    spread = np.sqrt((np.var(spoilt, ddof=1) + np.var(healthy, ddof=1)) / 2)
    gap = float(np.mean(spoilt) - np.mean(healthy))
    return p, gap / float(spread) if spread else float("inf") * np.sign(gap)


def resampled(groups: Sequence[NDArray[np.float64]], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean over all, where whole groups are drawn: runs of one fault are alike."""
    random = np.random.default_rng(seed)
    sums, counts = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    drawn = random.integers(len(groups), size=(RESAMPLES, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def share(by_case: Mapping[str, Sequence[bool]]) -> Share:
    groups = [np.asarray(hits, float) for hits in by_case.values() if len(hits)]
    if not groups:
        return Share(0, 0, float("nan"), float("nan"))
    hits, of = int(sum(g.sum() for g in groups)), sum(len(g) for g in groups)
    return Share(hits, of, *resampled(groups))


def gap(a: Mapping[str, Sequence[bool]], b: Mapping[str, Sequence[bool]]) -> tuple[float, float, float]:
    """How much larger the rate of `a` is than that of `b` on the same runs, with its 95 % interval."""
    groups = [np.asarray(a[case], float) - np.asarray(b[case], float) for case in a if len(a[case])]
    return (float(np.concatenate(groups).mean()), *resampled(groups))


def most_of_none(n: int) -> float:
    """The largest rate, at 95 %, where none of n runs was hit."""
    return float(1 - 0.05 ** (1 / n)) if n else float("nan")


class Figures:
    """All figures of one stage.

    Args:
        results: of the jobs; each with case, seed and, by arm, what came of it.
        planned, budget: consumed steps of a healthy run, and of a spoilt one.
    """

    def __init__(
        self, results: Sequence[Result], cases: Mapping[str, Case], planned: int, budget: int
    ) -> None:
        self.cases, self.planned, self.budget = cases, planned, budget
        self.healthy = [r for r in results if not cases[r["case"]].is_fault]
        self.faulty = [r for r in results if cases[r["case"]].is_fault]
        values = [row[1] for r in results for run in r["arms"].values() for row in run["curve"]]
        self.worst = max(values, default=float("nan"))
        self.base = [
            value_at(r["arms"]["B6"], planned, self.worst) for r in self.healthy if r["case"] == BASE
        ]
        self.band = float(np.percentile(self.base, 97.5)) if self.base else float("nan")

    def of(self, case: str) -> list[Result]:
        return [r for r in self.faulty if r["case"] == case]

    def hurt(self, case: str) -> tuple[float, float]:
        """Without rules, after the planned steps."""
        spoilt = [value_at(r["arms"]["B0"], self.planned, self.worst) for r in self.of(case)]
        return hurts(spoilt, self.base)

    def counts(self, case: str) -> bool:
        if len(self.of(case)) < 2 or len(self.base) < 2:
            return False
        p, d = self.hurt(case)
        return p < MOST_P and d >= LEAST_D

    @property
    def counting(self) -> list[str]:
        return [case for case in sorted({r["case"] for r in self.faulty}) if self.counts(case)]

    def detected(self, result: Result) -> bool:
        case, row = self.cases[result["case"]], first_act(result["arms"]["B6"]["rows"])
        return row is not None and case.onset <= row.get("step", 0) <= case.onset + case.deadline

    def rightly(self, result: Result) -> bool:
        row = first_act(result["arms"]["B6"]["rows"])
        return row is not None and row["rule"] in self.cases[result["case"]].rules

    def recall(self) -> Share:
        return share({case: [self.detected(r) for r in self.of(case)] for case in self.counting})

    def right_class(self) -> Share:
        return share(
            {case: [self.rightly(r) for r in self.of(case) if self.detected(r)] for case in self.counting}
        )

    def in_band(self, run: Result, step: int) -> bool:
        return value_at(run, step, self.worst) <= self.band

    def repaired(self, arm: str) -> dict[str, list[bool]]:
        """For each repairable fault that counts: whether each run ended as good as healthy ones do."""
        return {
            case: [self.in_band(r["arms"][arm], self.budget) for r in self.of(case)]
            for case in self.counting
            if self.cases[case].repairable
        }

    def ended(self) -> Share:
        """The share that was ended, of runs with a fault that counts and that nothing can repair."""
        return share(
            {
                case: [r["arms"]["B6"]["state"] in ("PRUNED", "FAIL") for r in self.of(case)]
                for case in self.counting
                if not self.cases[case].repairable
            }
        )

    def touched(self) -> list[Result]:
        """Healthy runs that a rule changed or ended."""
        return [r for r in self.healthy if any(row["kind"] in ACTS for row in r["arms"]["B6"]["rows"])]

    def alarmed(self) -> list[Result]:
        return [r for r in self.healthy if r["arms"]["B6"]["rows"]]

    def harmed(self) -> list[Result]:
        """Runs that no rules left as good as healthy, and ours did not."""
        found = []
        for r in [*self.healthy, *self.faulty]:
            step = self.budget if self.cases[r["case"]].is_fault else self.planned
            ours, none = r["arms"]["B6"], r["arms"].get("B0", r["arms"]["B6"])
            if self.in_band(none, step) and not self.in_band(ours, step):
                found.append(r)
        return found

    def replayed(self) -> tuple[int, int]:
        asked = [r["arms"]["B6"].get("replayed") for r in self.faulty]
        return sum(a is True for a in asked), sum(a is not None for a in asked)
