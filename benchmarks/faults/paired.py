"""What pairs of runs show, with and without rules on the same seeds: of healthy ones, and of spoilt ones."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.faults.case import Case
from benchmarks.faults.course import ACTS
from benchmarks.faults.figures import BASE, Result, value_at
from benchmarks.faults.jobs import is_new
from benchmarks.faults.pairs import TOLD
from benchmarks.faults.search import MODES, best_at
from benchmarks.faults.stage import STAGES, Stage
from smart_tuner.repair.rules.usual import unusual
from studies.report.summary import formatted

BEFORE = Path(__file__).with_name("results-before.json")  # what data check says (before.py)

VALUE, LOSS = 1, 6  # columns of a run's measures: dB, held-out mel loss
MARGIN_DB, MARGIN_LOSS = 1.0, 0.05  # by which a run is worse than another one: dB, or parts of the loss
SAYS_NOTHING = 0.98  # of the worst value: a drawn run that ends there is no healthy one
ALONE, SEARCHED = "B6", "S6"
RESAMPLES = 10_000
Row = dict[str, Any]


@dataclass(frozen=True)
class Ends:
    """What a run came to after so many steps: dB and held-out loss."""

    value: float
    loss: float

    @classmethod
    def of(cls, run: Result, step: int, worst: float) -> "Ends":
        losses = [row[LOSS] for row in run["curve"] if row[0] <= step]
        gone = run["state"] in ("PRUNED", "FAIL") and run["consumed"] < step
        return cls(value_at(run, step, worst), float("inf") if gone or not losses else float(losses[-1]))

    def is_worse(self, than: "Ends") -> bool:
        """By its value; by its loss only where its value is not surely better: losses with another number of
        frames a step do not compare."""
        if self.value < than.value - MARGIN_DB:
            return False
        return self.value > than.value + MARGIN_DB or self.loss > than.loss * (1 + MARGIN_LOSS)


def interval(hits: int, of: int) -> str:
    """A share with its 95 % interval (Clopper and Pearson 1934)."""
    if not of:
        return "not measured"
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(0.975, hits + 1, of - hits))
    return f"{hits} of {of}, {hits / of:.0%} ({low:.0%} to {high:.0%})"


def mean(differences: Sequence[float]) -> str:
    """With its 95 % interval, bootstrapped."""
    if not differences:
        return ""
    values = np.array(differences)
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def acted(run: Result) -> Row | None:
    """The first row that changes or ends the run."""
    return next((row for row in run["rows"] if row["kind"] in ACTS), None)


def whole(arms: Mapping[str, Result]) -> dict[str, Result]:
    """Where an arm's run is another's, that one's measures with its own rows."""
    return {
        name: {**arms[run["same_as"]], "rows": run.get("rows", [])} if "same_as" in run else run
        for name, run in arms.items()
    }


class Pairs:
    """The pairs of one half of a stage.

    Args:
        results: of the jobs; each with case, seed and, by arm, what came of it.
    """

    def __init__(self, stage: Stage, cases: Mapping[str, Case], results: Iterable[Result]) -> None:
        self.stage, self.cases = stage, cases
        self.results = [{**result, "arms": whole(result["arms"])} for result in results]
        values = [row[VALUE] for r in self.results for run in r["arms"].values() for row in run["curve"]]
        self.worst = max(values, default=float("nan"))
        self.base = [self.end(r, "B0") for r in self.results if r["case"] == BASE]

    def end(self, result: Result, arm: str, step: int | None = None) -> Ends:
        return Ends.of(result["arms"][arm], self.stage.planned if step is None else step, self.worst)

    def healthy(self) -> list[Row]:
        """Drawn runs that come to something without rules, and those of the base recipe."""
        sound = [
            r
            for r in self.results
            if not self.cases[r["case"]].is_fault and self.end(r, "B0").value < SAYS_NOTHING * self.worst
        ]
        rows = []
        for arm, how in ((ALONE, "one training alone"), (SEARCHED, "in the search that draws them")):
            mine = [r for r in sound if arm in r["arms"]]
            touched = [r for r in mine if acted(r["arms"][arm])]
            trained = [r for r in mine if r["arms"][arm]["state"] != TOLD]
            pairs = [(self.end(r, "B0"), self.end(r, arm)) for r in trained]
            harmed = [r for r in trained if self.end(r, arm).is_worse(self.end(r, "B0"))]
            rules = sorted({row["rule"] for r in touched if (row := acted(r["arms"][arm]))})
            rows.append(
                {
                    "healthy runs": how,
                    "touched": interval(len(touched), len(mine)),
                    "by": ", ".join(rules),
                    "made worse": len(harmed),
                    "mean gain, dB": mean([off.value - on.value for off, on in pairs]),
                    "only told of": sum(bool(r["arms"][arm]["rows"]) for r in mine) - len(touched),
                }
            )
        return rows

    def hurts(self, result: Result) -> bool:
        """Whether a spoilt run is worse, without rules, than every sound one of the base recipe."""
        spoilt = self.end(result, "B0")
        return bool(self.base) and all(
            spoilt.value > sound.value + MARGIN_DB / 2 or spoilt.loss > sound.loss * (1 + MARGIN_LOSS)
            for sound in self.base
        )

    def faults(self) -> list[Row]:
        rows = []
        for name, case in self.cases.items():
            mine = [r for r in self.results if r["case"] == name] if case.is_fault else []
            for r in mine:
                ours = r["arms"][ALONE]
                first, act = self._seen(case, ours), acted(ours)
                off, on = self.end(r, "B0"), self.end(r, ALONE, self.stage.budget)
                rows.append(
                    {
                        "fault": f"{name} {case.what}",
                        "half": r["half"],
                        "hurts": self.hurts(r),
                        "seen at": first.get("step", 0) if first else "",
                        "by": first["rule"] if first else "",
                        "right": first["rule"] in case.rules if first else None,
                        "before": is_told_before(case, r["half"], r["severity"]),
                        "done": (act or {}).get("action", ""),
                        "verdicts": ", ".join(v["verdict"] for v in ours["rows"] if v.get("verdict")),
                        "dB without": round(off.value, 2),
                        "dB with": round(on.value, 2) if ours["state"] == "COMPLETE" else ours["state"],
                        "back": self._is_back(ours) if case.repairable and ours["state"] != TOLD else None,
                        "harm": None if ours["state"] == TOLD else self._harms(ours, on, off),
                    }
                )
        return rows

    def _harms(self, ours: Result, on: Ends, off: Ends) -> bool:
        return bool(ours["state"] == "COMPLETE") and on.is_worse(off)

    def _seen(self, case: Case, run: Result) -> Row | None:
        """The first row in time: the rule that acted, else one that told."""
        rows = [r for r in run["rows"] if case.onset <= r.get("step", 0) <= case.onset + case.deadline]
        return next((r for r in rows if r["kind"] in ACTS), rows[0] if rows else None)

    def _is_back(self, run: Result) -> bool:
        end = Ends.of(run, self.stage.budget, self.worst)
        return bool(self.base) and any(
            end.value <= sound.value + MARGIN_DB / 2 and end.loss <= sound.loss * (1 + MARGIN_LOSS)
            for sound in self.base
        )

    def shares(self) -> list[Row]:
        """How many faults that hurt were seen, rightly named, brought back; harm to any spoilt run. Kinds on
        which no rule was made stand beside the others, where there are any."""
        rows = self.faults()
        new = [row for row in rows if is_new(row["fault"].partition(" ")[0])]
        found = {"": _shares(rows)}
        if new:
            known = [row for row in rows if row not in new]
            found = {"kinds that rules were mended on": _shares(known), "new kinds": _shares(new)}
        return [
            {"spoilt runs": what, **{name: shares[what] for name, shares in found.items()}}
            for what in _shares([])
        ]


@cache
def _checked() -> frozenset[str]:
    """The kinds that data check refuses or tells of."""
    found = json.loads(BEFORE.read_text("utf-8"))
    return frozenset(row["clips"].partition(" ")[0] for row in found if row["named"])


def is_told_before(case: Case, half: str, severity: int) -> bool:
    """Whether it is told before a step is trained: by data check, or as an unusual setting."""
    return case.name in _checked() or any(unusual(case.severities[half][severity]))


def _shares(rows: Sequence[Row]) -> dict[str, str]:
    hurting = [row for row in rows if row["hurts"]]
    seen = [row for row in hurting if row["seen at"] != ""]
    repairable = [row for row in hurting if row["back"] is not None]
    measures = {
        "that hurt, seen in time": (seen, hurting),
        "rightly named, of those seen": ([row for row in seen if row["right"]], seen),
        "rightly named by a rule, or told of before a step is trained, of all that hurt": (
            [row for row in hurting if row["right"] or row["before"]],
            hurting,
        ),
        "repairable and back in the healthy range": ([r for r in repairable if r["back"]], repairable),
        "left worse than without rules": (
            [row for row in rows if row["harm"]],
            [row for row in rows if row["harm"] is not None],
        ),
    }
    return {name: interval(len(a), len(b)) for name, (a, b) in measures.items()}


def doctored(studies: Sequence[Sequence[Any]], stage: Stage) -> list[Row]:
    """What rules were worth to whole studies of equal steps, on the same seeds.

    Args:
        studies: each its mode, seed and trials, and by which rules.
    """
    by_mode: dict[str, dict[int, list[list[Any]]]] = {}
    for mode, seed, trials, _ in studies:
        by_mode.setdefault(mode, {})[seed] = trials
    rows = []
    for mode, with_rules in by_mode.items():
        without = by_mode.get(mode.removesuffix("policy") + "off", {})
        if not mode.startswith("D-") or not mode.endswith("-policy"):
            continue
        steps = MODES[mode].steps * stage.planned
        worst = max(
            (row[1] for of in (with_rules, without) for t in of.values() for row in t if row[1]), default=0.0
        )
        ends = [
            tuple(
                best if (best := best_at(of[seed], steps)) is not None else worst
                for of in (without, with_rules)
            )
            for seed in sorted(with_rules.keys() & without.keys())
        ]
        if ends:
            off, on = (float(np.mean(column)) for column in zip(*ends, strict=True))
            gain = mean([a - b for a, b in ends])
            what = MODES[mode].what.removesuffix(", rules policy")
            rows.append(
                {
                    "studies": what,
                    "pairs": len(ends),
                    "dB without": round(off, 2),
                    "dB with": round(on, 2),
                    "mean gain, dB": gain,
                }
            )
    return rows


def by_half(found: Mapping[str, Any], cases: Mapping[str, Case]) -> dict[str, Pairs]:
    """The halves that a file of results has."""
    stage, results = STAGES[found["stage"]], found["results"]
    halves = dict.fromkeys(result["half"] for result in results)
    return {half: Pairs(stage, cases, [r for r in results if r["half"] == half]) for half in halves}


def tables(found: Mapping[str, Any], cases: Mapping[str, Case]) -> dict[str, list[list[Row]]]:
    """By what they are of: a half's healthy and spoilt runs, or whole studies."""
    shown = {
        f"{half.replace('_', ' ')} half": [rows for rows in (p.healthy(), p.shares(), p.faults()) if rows]
        for half, p in by_half(found, cases).items()
    }
    if rows := doctored(found.get("studies", []), STAGES[found["stage"]]):
        shown["whole studies"] = [rows]
    return shown


def told_pairs(found: Mapping[str, Any], cases: Mapping[str, Case]) -> str:
    shown = tables(found, cases).items()
    return "\n\n".join(
        text for name, of in shown for text in (f"{name}:", *(formatted(t, "table") for t in of))
    )
