"""One trial of a study: from its parameters to the value that the objective gives it."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial

from objectives.attempt import Attempt, Callback, Plan, Start
from objectives.base import Objective, Parameter
from objectives.trial import Trial
from smart_tuner.repair.autofix import known_at_first, policy_hash
from smart_tuner.repair.pruning import medians, peers
from smart_tuner.repair.rule import UNRESTRAINED, Restraint, Rule
from smart_tuner.repair.words import BUILT_IN, of_rules
from smart_tuner.store import attributes
from smart_tuner.store.attributes import AUTO, GoesOn, goes_on_from, learned_from
from smart_tuner.store.optuna_private import latest, storage_of
from smart_tuner.store.outage import first_line
from smart_tuner.store.records import begun_with, repairs_of
from studies.file.space import check_drawn, check_given, derived, suggest
from studies.file.spec import Spec, objective_class
from studies.report.history import first_of_line
from studies.run import data, tacotron2
from studies.run.artifacts import Artifacts
from studies.run.study import StudyError, load_study, rdb, stored_spec

FURTHER_MEASURES = 8  # of a trial that goes on from another one, at most
# Runs a trial to its value, or raises what ends it.
Job = Callable[[Attempt], float]


def device_for(study: optuna.Study, given: str | None) -> str:
    """As `usable_device`, of the device that is given, or else that which the study was begun with."""
    device = attributes.device(study)
    return usable_device(given) if given else usable_device(device, f' that "{study.study_name}" began with')


def usable_device(device: str, which: str = "") -> str:
    """The device that is meant, once something was computed there; "auto" is a GPU if there is one.

    Args:
        which: what the error says of the device.

    Raises:
        StudyError: no trial is to be taken for nothing.
    """
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        square = torch.ones(2, 2, device=device)
        (square @ square).sum().item()
    except (RuntimeError, AssertionError, ImportError) as error:  # torch knows no common one
        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise StudyError(
            f'Cannot use the device "{device}"{which}.\n{first_line(error)}\n'
            f"Give --device one of those that work here: {', '.join(found)}."
        ) from error
    return device


def devices_of(device: str, workers: int) -> list[str]:
    """The device of each worker: one GPU after the other, where none is chosen by its number."""
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    return [f"{device}:{number % gpus}" if gpus > 1 else device for number in range(workers)]


def objective_of(
    spec: Spec,
    study: optuna.Study,
    workdir: Path,
    progress: data.Progress,
    warned: Callable[[str], None],
    allowed: Collection[str] = (),
    artifacts: Artifacts | None = None,
) -> Objective:
    """What a study's trials are runs of.

    Args:
        allowed: code of the user's that may be imported, as "module:Name".
        artifacts: where workers that share no folder find the voice to begin with.

    Raises:
        CodeError: the study uses an objective that may not be, or cannot be.
        Others: as `studies.run.tacotron2.voices`.
    """
    if spec.objective.use is None:
        rules = spec.rules.chosen(allowed)
        return tacotron2.voices(spec, study, rules, workdir, progress, warned, artifacts)
    made = objective_class(spec.objective.use, allowed)
    try:
        return made(**spec.objective.args)
    except (TypeError, ValueError) as error:
        raise StudyError(
            f'Cannot make the objective of study "{spec.name}".\n{spec.objective.use}: {error}\n'
            "Give what it takes in [objective.args]."
        ) from error


def share_start(spec: Spec, study: optuna.Study, workdir: Path, artifacts: Artifacts) -> None:
    """Have in the store what the trials begin with, as it may be on this machine alone."""
    if spec.objective.use is None:
        tacotron2.begun_with(study, spec, workdir, artifacts)


def trials(
    spec: Spec, study: optuna.Study, objective: Objective, plan: Plan, device: str, callback: Callback
) -> Job:
    """What a worker does with each trial."""
    _describe(study, spec, objective, plan.rules)

    def run(attempt: Attempt) -> float:
        trial = attempt.trial
        params = attempt.outage.wait_for(lambda: _suggested(trial, spec))
        values = spec.parameters(params, objective.parameters)
        found = attempt.outage.wait_for(lambda: latest(trial))
        if (of := learned_from(found)) is not None:
            callback.warned(f'trial {trial.number} has the best values of "{of[0]}" (trial {of[1]})')
        restraint = attempt.outage.wait_for(lambda: _restraint(trial, found, spec, plan, objective))
        own, first, step = replace(plan, restraint=restraint), trial.number, 0
        if restraint == UNRESTRAINED:
            own = replace(own, rules=known_at_first(plan.rules))
        else:
            begun = attempt.outage.wait_for(lambda: _begins_with(trial, found, spec, values, callback.warned))
            values = {**values, **begun}
        if (goes_on := goes_on_from(found)) is not None:
            first, step = attempt.outage.wait_for(lambda: first_of_line(study, trial.number)), goes_on.step
            own = trained_on(own, goes_on, spec, objective.finishing(values, step, goes_on.steps))
        seed = derived(spec.seed, "training", first)  # what it goes on from is read with the same seed only
        made = objective.run({**values, **own.settings}, seed, device)
        attempt.outage.wait_for(lambda: _note_start(trial, made.settings))
        start = Start(attempt, objective, made, params, own, found.last_step or step)
        callback.started(start)
        return Trial(start, callback).value()

    return run


def _describe(study: optuna.Study, spec: Spec, objective: Objective, rules: Sequence[Rule]) -> None:
    """For pages and reports, which import no code of the user's: what its numbers are called and mean."""
    found = {name: getattr(objective, name) for name in ("unit", "curves", "measures")}
    found = {name: value if isinstance(value, str) else list(value) for name, value in found.items()}
    if spec.objective.use is not None:
        found["limits"] = {name: _finite(objective.parameters[name]) for name in spec.space}
    own = {key: said for key, said in of_rules(rules).items() if key not in BUILT_IN}
    unit = {"unit.value": (objective.unit, objective.unit)}
    words = {key: list(pair) for key, pair in {**unit, **objective.words, **own}.items()}
    for name, value in (("objective", found), ("words", words)):
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def _finite(parameter: Parameter) -> list[float]:
    """The smallest and largest value, as JSON can hold them."""
    most = sys.float_info.max
    return [max(parameter.low, -most), min(parameter.high, most)]


def _suggested(trial: optuna.Trial, spec: Spec) -> dict[str, Any]:
    check_given(latest(trial), spec)
    try:
        drawn = suggest(trial, spec)
    except ValueError as error:
        raise StudyError(
            f'Cannot draw parameters in study "{trial.study.study_name}".\n{error}\n'
            "Trials that were added from elsewhere use a parameter's name for something else: "
            "start the study anew under another name."
        ) from error
    check_drawn(drawn, spec)
    return drawn


def _note_start(trial: optuna.Trial, settings: Mapping[str, float]) -> None:
    trial.set_user_attr("settings", dict(settings))
    trial.set_user_attr("policy", trial.study.user_attrs["policy"])


def _restraint(
    trial: optuna.Trial, found: FrozenTrial, spec: Spec, plan: Plan, objective: Objective
) -> Restraint:
    """Where rules only tell what they see; nowhere in a study that began when they acted on everything."""
    if trial.study.user_attrs["policy"] == policy_hash(plan.rules, objective.signals):
        return UNRESTRAINED
    restraint = Restraint(advises=spec.rules.advises(plan.rules))
    if not plan.rules or not spec.space or goes_on_from(found) is not None:
        return restraint
    every = spec.rules.controls
    return replace(
        restraint,
        searched=frozenset(spec.space),
        medians=_medians(trial, found),
        peers=_peers(trial, found, spec, objective),
        control=bool(every) and derived(spec.seed, "control", trial.number) % every == 0,
    )


def _medians(trial: optuna.Trial, found: FrozenTrial) -> dict[int, float]:
    """What ended trials were measured at when this one first began: the same in every attempt at it."""
    if (known := attributes.medians(found)) is None:
        known = medians(trial.study)
        trial.set_user_attr(attributes.MEDIANS, known)
    return known


def _peers(
    trial: optuna.Trial, found: FrozenTrial, spec: Spec, objective: Objective
) -> dict[str, dict[int, tuple[float, float]]]:
    """What sound trials were measured at when this one first began, also those of the earlier studies that it
    learns from: the same in every attempt at it."""
    if (known := attributes.peers(found)) is None:
        known = peers(trial.study, [*objective.signals, "value"], list(_alike(trial.study, spec)))
        trial.set_user_attr(attributes.PEERS, known)
    return known


def _alike(study: optuna.Study, spec: Spec) -> Iterator[tuple[optuna.Study, float]]:
    """The studies to learn from that train the same on the same recordings, and how many steps here one of
    theirs is, by the plans. One that is not there any more, or cannot be read, is passed over."""
    for name in spec.search.learn_from:
        try:
            other = load_study(name, storage_of(study))
        except StudyError:
            continue
        theirs = stored_spec(other)
        if _trained(theirs) == _trained(spec):
            yield other, spec.objective.steps / theirs.objective.steps


def _trained(spec: Spec) -> tuple[Any, ...]:
    """What it is, besides settings, that measures of two studies depend on."""
    goal = spec.objective
    return spec.corpus, spec.model, goal.use, goal.args, goal.value, goal.sentences


def _begins_with(
    trial: optuna.Trial,
    found: FrozenTrial,
    spec: Spec,
    values: Mapping[str, int | float],
    warned: Callable[[str], None],
) -> dict[str, int | float]:
    """Other values of what the search leaves as it is, where a repair of just this helped another trial;
    those that were known when this one first began."""
    if (known := attributes.begins_with(found)) is not None:
        return {name: type(values[name])(value) for name, value in known.items() if name in values}
    changed: dict[str, int | float] = {}
    if goes_on_from(found) is None:
        rows = repairs_of(rdb(trial.study).ours, trial.study.user_attrs["uid"], None)
        for name, (value, of) in begun_with(rows, values, spec.space).items():
            changed[name] = type(values[name])(value)
            warned(f"trial {trial.number} begins with {name} = {value:g}: that helped trial {of}")
    trial.set_user_attr(attributes.BEGINS_WITH, changed)
    return changed


def trained_on(plan: Plan, goes_on: GoesOn, spec: Spec, settings: Mapping[str, float]) -> Plan:
    """How the trial that goes on from a search's best one is trained: with few further measures, at multiples
    of the study's steps from one to the next."""
    every = plan.measure_every * -(-(goes_on.steps - goes_on.step) // (FURTHER_MEASURES * plan.measure_every))
    hours = float("inf") if spec.finish.hours is None else spec.finish.hours
    return replace(
        plan,
        steps=goes_on.steps,
        measure_every=every,
        searched=frozenset(),
        settings=settings,
        seconds=3600 * hours,
        patience=spec.finish.patience,
    )


def plan_of(spec: Spec, allowed: Collection[str] = ()) -> Plan:
    o = spec.objective
    return Plan(
        o.steps,
        o.measure_every,
        o.validate_every or max(1, o.measure_every // 4),
        spec.rules.chosen(allowed),
        frozenset(spec.space if spec.rules.credit == "pure" else ()),
        o.checkpoint_every,
    )
