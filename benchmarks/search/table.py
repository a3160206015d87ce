"""Tables of real trainings without rules, and the studies whose space they are from.

Each line of a table's file is one training: its settings, its seed, and the distance in dB (free-running,
from held-out recordings) at each measure. Keys of tiny.jsonl (the tiny stage, benchmarks/faults/stage.py): s
even over the space (scrambled Sobol), g of its better half, c of its best corner, n other seeds of s. Those
of quickstart.jsonl: benchmarks/search/trainings.py.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.file.spec import FOLDER, Spec
from studies.search.space import Space

Array = NDArray[np.float64]

PLAN, QUANTUM = 240, 60  # optimizer steps of the tiny stage: of a whole trial, and between two measures
SPACE = {  # of benchmarks/faults/search.py
    "learning_rate": {"type": "float", "low": 5e-4, "high": 2e-2, "log": True},
    "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.5},
    "gate_positive_weight": {"type": "float", "low": 1.0, "high": 20.0, "log": True},
    "p_attention_dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "batch_size": {"type": "categorical", "choices": [6, 12, 24]},
}


def quickstart(seed: int) -> Spec:
    return _study(_shipped(), seed)


def tiny(seed: int) -> Spec:
    """The quickstart with the tiny stage's space and plan, its first rung at the first measure."""
    data = _shipped() | {"space": SPACE}
    data["pruner"]["min_resource"] = data["objective"]["measure_every"] = QUANTUM
    data["objective"]["steps"] = PLAN
    return _study(data, seed)


def _shipped() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "quickstart.toml").read_text("utf-8"))


def _study(data: dict[str, Any], seed: int) -> Spec:
    return Spec.parse(data | {"seed": seed}, "the benchmark's study")


@dataclass(frozen=True)
class Table:
    """Real trainings of one kind.

    Args:
        study: theirs, by its seed.
        trials: the steps of so many whole ones are a search's.
        largest: dB of a run that says nothing, the mismatch distance: no measure is larger.
        least: dB, which no curve of a surrogate comes below; the best run of the table ended above it.
        deviation: dB between seeds of one recipe at the plan's end.
        good: dB at the end up to which that holds.
    """

    name: str
    study: Callable[[int], Spec]
    trials: int
    largest: float
    least: float
    deviation: float
    good: float

    @cached_property
    def spec(self) -> Spec:
        """The study of seed 0: what is read from it is the same for any seed."""
        return self.study(0)

    @cached_property
    def cube(self) -> Space:
        return Space(self.spec)

    @property
    def plan(self) -> int:
        """Optimizer steps of a whole trial."""
        return self.spec.objective.steps

    @property
    def quantum(self) -> int:
        """Optimizer steps between two measures."""
        return self.spec.objective.measure_every

    @property
    def measures(self) -> int:
        return self.plan // self.quantum

    @property
    def budget(self) -> int:
        """Measures that a search pays for: that many times `quantum` steps."""
        return self.trials * self.measures

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        lines = Path(__file__).with_name(f"{self.name}.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    @cached_property
    def points(self) -> Array:
        """Shape (runs, settings)."""
        return np.array([self.cube.point(row["settings"]) for row in self.rows])

    @cached_property
    def distances(self) -> Array:
        """In dB, shape (runs, measures)."""
        return np.array([row["distances"] for row in self.rows])


TINY = Table(
    "tiny",
    tiny,
    30,
    largest=27.219,
    least=4.0,
    deviation=0.93,  # H01 and H04 of benchmarks/faults
    good=14.0,
)
QUICKSTART = Table(
    "quickstart",
    quickstart,
    8,
    largest=12.5411,
    least=3.8,
    deviation=0.26,  # of its best four and their repeats
    good=8.0,
)
CUBE = TINY.cube
