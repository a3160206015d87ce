"""A study run by a Python call, as from a notebook: an objective, a space, and the rest has defaults."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from rich.console import Console

from objectives.attempt import Callback, Callbacks
from objectives.base import Objective
from smart_tuner.store.storage import open_storage
from studies.callbacks.terminal import Terminal
from studies.callbacks.trackers import Trackers
from studies.file.spec import Spec
from studies.run.study import open_study, refuse_undesired
from studies.run.training import plan_of, trials, usable_device
from studies.run.worker import Worker

KINDS = {"FloatDistribution": "float", "IntDistribution": "int", "CategoricalDistribution": "categorical"}
NOT_KEPT = (
    "the arguments of {name}, which is no dataclass of plain values, are not kept with the study: "
    "resume would make it with its defaults"
)


def run_study(
    objective: Objective,
    space: Mapping[str, BaseDistribution | Mapping[str, Any]],
    /,
    *,
    steps: int,
    measure_every: int,
    n_trials: int,
    name: str | None = None,
    storage: str | None = None,
    workdir: str | Path = "runs",
    seed: int = 0,
    device: str = "cpu",
    callbacks: Iterable[Callback] = (),
    tracking: bool = False,
    **tables: Any,
) -> optuna.Study:
    """Run a study until it has so many trials, or go on with the one of this name; Ctrl-C saves its trial.

    Args:
        objective: a dataclass of plain values is stored with them, and others count as another objective.
            Of any other that takes arguments you are warned, unless objective={"args": {...}} gives them.
        space: what is searched, by the objective's parameters: Optuna's distributions, or tables as a study
            file has them, such as {"type": "float", "low": 0.1, "high": 1.0}.
        steps: of a trial.
        measure_every: steps from one measure, at which a trial may be pruned, to the next.
        name: default: that of the objective's class.
        storage: SQLAlchemy URL; default: study.db in `workdir`.
        workdir: for checkpoints and what the objective shows.
        device: where this call trains; kept with a study that begins, for the command `resume`.
        callbacks: told how trials go, beside the terminal.
        tracking: whether MLflow, TensorBoard and optuna-dashboard get numbers, too.
        tables: further tables of a study file (docs/study-file.md), such as
            rules={"mode": "off"}, sampler={"name": "random"} or settings={"momentum": 0.9}.

    Raises:
        SpecError: the space or a table is wrong; the message names each key.
        StudyError: the study cannot start or go on.
        Interrupted: it was asked to stop; the running trial can go on.
    """
    made_by = type(objective)
    used = f"{made_by.__module__}:{made_by.__qualname__}"
    kept = _arguments(objective)
    given = {"args": kept or {}, **tables.pop("objective", {})}
    data = {
        "name": name or made_by.__name__.lower(),
        "question": f"Which of these make {made_by.__name__} best?",
        "seed": seed,
        "space": {key: _table(source) for key, source in space.items()},
        "budget": {"trials": n_trials, **tables.pop("budget", {})},
        "objective": {"use": used, "steps": steps, "measure_every": measure_every, **given},
        **tables,
    }
    spec = Spec.parse(data, "this study", own=objective)
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{workdir / 'study.db'}"
    opened = open_storage(url)
    try:
        on = usable_device(device)  # before a study is begun with it
        study = open_study(spec, opened, spec.code, objective, device)
        refuse_undesired(study)
        terminal = Terminal(Console(stderr=True), objective.unit)
        told = [*callbacks, *([Trackers(study, workdir, terminal.warned)] if tracking else []), terminal]
        with Callbacks(told) as each:
            job = trials(spec, study, objective, plan_of(spec, spec.code), on, each)
            folder = workdir / "studies" / spec.name
            if kept is None and not spec.objective.args:
                each.warned(NOT_KEPT.format(name=made_by.__name__))

            def hangs(seconds: float) -> None:
                """A process that is not ours to start again is left alone."""
                terminal.warned(
                    f"a step hangs for {seconds:.0f} s; stop it and call again, the trial goes on"
                )

            Worker(spec, study, job, folder, each, on_stall=hangs).work()
    finally:
        opened.close()
    return optuna.load_study(study_name=spec.name, storage=open_storage(url, looking=True))


def _arguments(objective: Objective) -> dict[str, Any] | None:
    """What makes the same objective again; None where that is not known, or JSON cannot say it."""
    names = signature(type(objective)).parameters
    stored: tuple[Field[Any], ...] = fields(objective) if is_dataclass(objective) else ()
    if not names.keys() <= {field.name for field in stored if field.init}:
        return None
    values = {name: getattr(objective, name) for name in names}
    try:
        same = json.loads(json.dumps(values, allow_nan=False)) == values
    except (TypeError, ValueError):
        same = False
    return values if same else None


def _table(source: BaseDistribution | Mapping[str, Any]) -> dict[str, Any]:
    """A distribution as a study file has it."""
    if isinstance(source, Mapping):
        return dict(source)
    found = json.loads(distribution_to_json(source))
    values = {key: value for key, value in found["attributes"].items() if value is not None}
    if found["name"] == "IntDistribution" and values["log"]:
        values.pop("step")
    return {"type": KINDS[found["name"]], **values}
