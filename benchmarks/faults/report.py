"""Raw results in one file, and the tables that are made of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import optuna

from benchmarks.faults import jobs
from benchmarks.faults.arms import ARMS, UNRULED
from benchmarks.faults.case import Case
from benchmarks.faults.figures import Figures, Share, first_act, gap, most_of_none, share
from benchmarks.faults.jobs import Job
from benchmarks.faults.search import MODES, rows_of
from benchmarks.faults.stage import STAGES, Stage
from studies.report.summary import formatted

Record = dict[str, Any]
JOB = tuple(field.name for field in fields(Job))


def read(path: Path) -> Record:
    """The file's content; empty where there is none yet."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def job_of(row: Record) -> Job:
    return Job(*(row[name] for name in JOB))


def known(stage: Stage, found: Record) -> dict[Job, Any]:
    """What a file has of this stage, by the same rules and cases: results by arm, or a study's trials.

    A study without rules is the same by any.
    """
    by, studies = jobs.identity(stage), studies_of(stage, found)
    same = found["results"] if found.get("identity") == by else []
    runs = {job_of(row): row["arms"] for row in same}
    return runs | {job: of for job, (of, rules) in studies.items() if rules in (by, None)}


def studies_of(stage: Stage, found: Record) -> dict[Job, tuple[Any, str | None]]:
    """Trials of a file's studies of the same cases, and by which rules, if by any."""
    if found.get("ground") != jobs.ground(stage):
        return {}
    return {jobs.search_job(mode, seed): (trials, by) for mode, seed, trials, by in found["studies"]}


def known_without_rules(stage: Stage, found: Record) -> dict[Job, Any]:
    """What a file has that no rules could change, as a run has it.

    Raises ValueError if its cases or its stage are others.
    """
    if found.get("ground") != jobs.ground(stage):
        raise ValueError("these results are of other cases, or of another stage")
    kept: dict[Job, Any] = {}
    for row in found["results"]:
        arms = {arm: row["arms"][of.get("same_as", arm)] for arm, of in row["arms"].items() if arm in UNRULED}
        if arms:
            kept[job_of(row)] = arms
    return kept


def export(stage: Stage, study: optuna.Study, path: Path) -> Record:
    """All results of the study; what the file has of other databases, by the same rules and cases, stays, and
    so do other rules' studies until they are run again."""
    found, by = read(path), jobs.identity(stage)
    runs = {job: of for job, of in known(stage, found).items() if job.case not in MODES}
    studies = studies_of(stage, found)
    for job, of in jobs.results(study).items():
        if job.case in MODES:
            studies[job] = of["trials"], None if MODES[job.case].rules == "off" else by
        else:
            runs[job] = compact(of)
    found |= {
        "stage": stage.name,
        "identity": by,
        "ground": jobs.ground(stage),
        "results": [{**asdict(job), "arms": of} for job, of in runs.items()],
        "studies": [[job.case, job.seed, trials, rules] for job, (trials, rules) in studies.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, separators=(",", ":")))
    return found


def watching_row(of: Mapping[str, Any]) -> Record:
    """As a target, what benchmarks/watching.py measured."""
    share = float(of["watching"].rstrip("%")) / 100
    return {
        "measure": f"what watching adds to a step of the {of['case']}",
        "target": "at most 1 %",
        "found": f"{of['watching']} (quartiles {of['quartiles']})",
        "met": share <= 0.01,
    }


def add(path: Path, row: Record) -> Record:
    """A target that is measured elsewhere; the newest of its name counts."""
    found: Record = json.loads(path.read_text())
    others = [known for known in found.get("more", []) if known["measure"] != row["measure"]]
    found["more"] = [*others, row]
    path.write_text(json.dumps(found, separators=(",", ":")))
    return found


def compact(arms: Mapping[str, Any]) -> dict[str, Any]:
    """The results in short: reasons only of ours, and the arm's name for a run that is another's."""
    found = {}
    for arm, run in arms.items():
        if run.get("same_as"):
            found[arm] = {"same_as": run["same_as"]}
        elif arm == "B6":
            found[arm] = run
        else:
            act = [{k: row[k] for k in row if k != "reason"} for row in run["rows"] if row["kind"] != "alarm"]
            found[arm] = run | {"rows": act}
    return found


def figures(found: Mapping[str, Any], cases: Mapping[str, Case], half: str) -> Figures:
    stage = STAGES[found["stage"]]
    results = []
    for result in found["results"]:
        if result["half"] == half:
            arms = result["arms"]
            whole = {arm: arms[run["same_as"]] if "same_as" in run else run for arm, run in arms.items()}
            results.append(result | {"arms": whole})
    return Figures(results, cases, stage.planned, stage.budget)


def percent(of: Share) -> str:
    if not of.of:
        return "not measured"
    return f"{of.rate:.0%} ({of.hits} of {of.of}; {of.low:.0%} to {of.high:.0%})"


def points(of: tuple[float, float, float]) -> str:
    middle, low, high = (100 * x for x in of)
    return f"{middle:+.0f} points ({low:+.0f} to {high:+.0f})"


def targets(f: Figures) -> list[Record]:
    """What must be shown, what was found, and whether that is enough."""
    ours = f.repaired("B6")
    n, touched, harmed = len(f.healthy), len(f.touched()), len(f.harmed())
    runs, (same, asked) = n + len(f.faulty), f.replayed()
    recall, right, back = f.recall(), f.right_class(), share(ours)
    bound = f"; of other seeds at most {most_of_none(n):.1%}" if n and not touched else ""
    rows: list[tuple[str, str, str, bool | None]] = [
        ("held-out faults seen within their deadline", "at least 95 %", percent(recall), recall.rate >= 0.95),
        ("rightly diagnosed, of those seen", "at least 80 %", percent(right), right.rate >= 0.8),
        ("healthy runs touched", "0 of 300", f"{touched} of {n}{bound}", n >= 300 and not touched),
        ("repairable faults back in the healthy range", "at least 80 %", percent(back), back.rate >= 0.8),
    ]
    for arm in ("B2", "B3", "B0", "B4") if ours else ():
        more, asked_of = gap(ours, f.repaired(arm)), arm in ("B2", "B3")
        target = "at least 20 points, surely" if asked_of else ""
        met = more[0] >= 0.2 and more[1] > 0 if asked_of else None
        rows.append((f"more than {ARMS[arm]}", target, points(more), met))
    rows += [
        ("faults that cannot be repaired, ended with the reason", "", percent(f.ended()), None),
        ("runs left worse than without rules", "at most 2 %", f"{harmed} of {runs}", harmed <= 0.02 * runs),
        (
            "repaired runs of every fifth seed replayed to the same weights",
            "all",
            f"{same} of {asked}",
            bool(asked) and same == asked,
        ),
    ]
    return [dict(zip(("measure", "target", "found", "met"), row, strict=True)) for row in rows]


def fault_rows(f: Figures) -> list[Record]:
    """One a fault: whether it hurts, whether it was seen, and how many runs each arm brought back."""
    found = []
    for name, case in f.cases.items():
        if case.is_fault and f.of(name):
            results = f.of(name)
            p, d = f.hurt(name) if len(results) > 1 and len(f.base) > 1 else (float("nan"),) * 2
            seen = [r for r in results if f.detected(r)]
            acts = {act["rule"] for r in results if (act := first_act(r["arms"]["B6"]["rows"]))}
            row: Record = {
                "fault": f"{name} {case.what}",
                "counts": f"{'yes' if f.counts(name) else 'no'} (p {p:.2g}, d {d:.1f})",
                "seen": f"{len(seen)}/{len(results)}",
                "right": f"{sum(f.rightly(r) for r in seen)}/{len(seen)}",
                "by": ", ".join(sorted(acts)),
            }
            for arm in ARMS:
                runs = [r["arms"][arm] for r in results if arm in r["arms"]]
                good = sum(f.in_band(run, f.budget) for run in runs)
                row[arm] = f"{good}/{len(runs)}" if runs else ""
            found.append(row)
    return found


def healthy_rows(f: Figures) -> list[Record]:
    found = []
    for name, case in f.cases.items():
        results = [r for r in f.healthy if r["case"] == name]
        if results:
            values = sorted(r["arms"]["B6"]["curve"][-1][1] for r in results if r["arms"]["B6"]["curve"])
            touched = [r for r in f.touched() if r["case"] == name]
            acts = {act["rule"] for r in touched if (act := first_act(r["arms"]["B6"]["rows"]))}
            found.append(
                {
                    "recipe": f"{name} {case.what}",
                    "runs": len(results),
                    "touched": len(touched),
                    "by": ", ".join(sorted(acts)),
                    "only alarms": sum(r["case"] == name for r in f.alarmed()) - len(touched),
                    "median dB": round(values[len(values) // 2], 2) if values else None,
                    "range": f"{values[0]:.2f} to {values[-1]:.2f}" if values else "",
                }
            )
    return found


def study_rows(found: Mapping[str, Any]) -> list[Record]:
    return rows_of(found.get("studies", []), STAGES[found["stage"]])


def printed(f: Figures, found: Mapping[str, Any]) -> str:
    tables: Sequence[list[Record]] = (
        [*targets(f), *found.get("more", [])],
        fault_rows(f),
        healthy_rows(f),
        study_rows(found),
    )
    return "\n\n".join(formatted(table, "table") for table in tables if table)
