"""The cases as data: what spoils a run, and what would be right to do about it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.draws import drawn
from benchmarks.faults.language import Shape
from benchmarks.faults.patches import PATCHES
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import TINY, Stage
from model.settings import LIMITS
from smart_tuner.repair.rules import RULES

FOLDER = Path(__file__).parent / "cases"
HALVES = ("development", "held_out")
RULE_NAMES = frozenset(rule.name for rule in RULES)


@dataclass(frozen=True)
class Case:
    """A fault F.. or a healthy recipe H...

    Args:
        severities: by half, each a table of patches, or of settings, and their strengths.
        rules: any of these is the right diagnosis.
        onset: the consumed step from which strikes hit.
        deadline: steps after the onset within which it must be seen.
        repairable: False: it should be ended, with the reason.
        missing: why it cannot be expressed in the stage.
        drawn: a healthy run whose settings are drawn by its seed, as a search draws them (draws.py).
    """

    name: str
    what: str
    severities: Mapping[str, tuple[Mapping[str, float], ...]]
    shape: Shape
    rules: frozenset[str] = frozenset()
    onset: int = 0
    deadline: int = 0
    repairable: bool = True
    missing: str = ""
    drawn: bool = False

    @property
    def is_fault(self) -> bool:
        return self.name.startswith("F")

    def setup(self, stage: Stage, half: str, severity: int, seed: int = 0) -> Setup:
        sound = self.sound(stage, half)
        return drawn(sound, stage, half, seed) if self.drawn else self.spoil(sound, half, severity)

    def spoil(self, setup: Setup, half: str, severity: int) -> Setup:
        for name, strength in self.severities[half][severity].items():
            setup = spoilt(setup, name, strength)
        return setup

    def sound(self, stage: Stage, half: str = "development") -> Setup:
        return Setup.of(stage, self.shape, half)


def spoilt(setup: Setup, name: str, strength: float) -> Setup:
    """By a patch, or by a setting's value."""
    if name in PATCHES:
        return PATCHES[name](setup, strength)
    kind = type(getattr(setup.settings, name))
    return setup.with_settings(**{name: kind(strength)})


def read(path: Path) -> Case:
    """Raises ValueError for what no patch, setting or rule is called."""
    found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    shape = Shape(**found.pop("shape", {}))
    severities = {half: tuple(found.pop(half, ())) for half in HALVES}
    rules = frozenset(found.pop("rules", ()))
    if path.stem.startswith("H"):  # a recipe is one thing: there is nothing to hold out
        severities = dict.fromkeys(HALVES, (found.pop("recipe", {}),))
    names = {name for half in severities.values() for severity in half for name in severity}
    if unknown := (names - PATCHES.keys() - LIMITS.keys()) | (rules - RULE_NAMES):
        raise ValueError(f"{path.name}: no patch, setting or rule is called {', '.join(sorted(unknown))}")
    return replace(Case(path.stem, severities=severities, shape=shape, rules=rules, **found))


def files(stage: Stage) -> list[Path]:
    """All cases that a stage has: those of its own lie in a folder of its name."""
    return sorted([*FOLDER.glob("*.toml"), *(FOLDER / stage.name).glob("*.toml")], key=lambda path: path.name)


def all_cases(stage: Stage = TINY) -> dict[str, Case]:
    """With their steps as parts of the stage's plan; files state them for the tiny one."""
    cases = [read(path) for path in [*files(stage), *(FOLDER / "draws").glob("*.toml")]]
    return {case.name: case if stage is TINY else scaled(case, stage) for case in cases}


def scaled(case: Case, stage: Stage) -> Case:
    times = stage.planned / TINY.planned
    patches = {name for half in case.severities.values() for severity in half for name in severity}
    if case.shape != Shape() or patches & {"warm_start", "clips"}:
        return replace(case, missing="of the made-up language alone")
    return replace(case, onset=round(times * case.onset), deadline=round(times * case.deadline))
