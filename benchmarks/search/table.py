"""Real trainings of the tiny stage (benchmarks/faults/stage.py), without rules, and the space they are from.

Each line of tiny.jsonl is one: its settings, its seed, and the distance in dB (free-running, from held-out
recordings) after 60, 120, 180 and 240 optimizer steps. Keys: s even over the space (scrambled Sobol), g of
its better half, c of its best corner, n other seeds of s.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies.file.spec import FOLDER, Spec
from studies.search.space import Space

Array = NDArray[np.float64]

PLAN, QUANTUM = 240, 60  # optimizer steps: of a whole trial, and between two measures
MEASURES = PLAN // QUANTUM
LARGEST = 27.219  # dB of a run that says nothing: no measure is larger
TABLE = Path(__file__).with_name("tiny.jsonl")
SPACE = {  # of benchmarks/faults/search.py
    "learning_rate": {"type": "float", "low": 5e-4, "high": 2e-2, "log": True},
    "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.5},
    "gate_positive_weight": {"type": "float", "low": 1.0, "high": 20.0, "log": True},
    "p_attention_dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "batch_size": {"type": "categorical", "choices": [6, 12, 24]},
}


def study(seed: int) -> Spec:
    """The quickstart with this space and plan: as there, the first rung is the first measure."""
    data = tomllib.loads((FOLDER / "quickstart.toml").read_text("utf-8"))
    data |= {"seed": seed, "space": SPACE}
    data["pruner"]["min_resource"] = data["objective"]["measure_every"] = QUANTUM
    data["objective"]["steps"] = PLAN
    return Spec.parse(data, "the benchmark's study")


CUBE = Space(study(0))


@dataclass(frozen=True)
class Table:
    """Points of shape (runs, 5) and distances in dB of shape (runs, 4)."""

    points: Array
    distances: Array


def read(path: Path = TABLE) -> Table:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    points = np.array([CUBE.point(row["settings"]) for row in rows])
    return Table(points, np.array([row["distances"] for row in rows]))
