"""What the benchmark found: its results in one file, and the table made of it."""

import json
from pathlib import Path
from typing import Any

import optuna

from benchmarks.faults import jobs
from benchmarks.faults.case import Case
from benchmarks.faults.stage import Stage

HERE = Path(__file__).parent


def export(stage: Stage, study: optuna.Study, cases: dict[str, Case]) -> Path:
    """All results of the study, compact."""
    rows = [{**job.params(), "arms": arms} for job, arms in jobs.results(study).items()]
    found: dict[str, Any] = {"stage": stage.name, "identity": jobs.identity(stage), "results": rows}
    path = Path("runs") / f"faults-{stage.name}.json"
    path.write_text(json.dumps(found, separators=(",", ":")))
    return path
