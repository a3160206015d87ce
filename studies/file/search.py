"""Who draws the values of a study's trials, and who prunes them."""

import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, GridSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.pruning import SuccessiveHalving
from smart_tuner.store.optuna_private import id_of, stops, storage_of, study_id_of
from studies.file.named import Named, Recipe, Unbuildable, pruner_recipe, sampler_recipe
from studies.file.sections import Asha, Random
from studies.file.space import derived, distributions
from studies.file.spec import Spec, SpecError
from studies.search.freeze_thaw import FreezeThawSampler

JOINTLY = "smart_tuner:jointly"  # system attribute of a trial: what was drawn for it at once
EXHAUSTED = "smart_tuner:exhausted"  # system attribute of a study: its sampler has nothing left to try
ONE_SEQUENCE = (GridSampler, QMCSampler)  # whose seed decides on the order of all trials' points


class SeededPerTrial(BaseSampler):
    """A sampler built anew for each trial, and seeded by the study's seed and the trial's number.

    Optuna keeps no sampler in its storage, so that a resumed study would draw its first points again
    (optuna issue 3255). Here a draw depends only on the seed and on the trials before it. What is drawn
    jointly is kept with the trial: one that was killed between two draws goes on with the same second draw.

    Args:
        build: makes it, from a seed.
        ranges: that values are drawn from now. Where one became wider, samplers that draw jointly keep to the
            old one: such a parameter is drawn by itself. None: they never change.
    """

    def __init__(
        self,
        seed: int,
        build: Callable[[int], BaseSampler],
        ranges: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self._seed, self._build, self._ranges = seed, build, ranges

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._build(derived(self._seed, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if (kept := trial.system_attrs.get(JOINTLY)) is not None:
            return {name: json_to_distribution(source) for name, (source, _) in kept.items()}
        found = self._sampler.infer_relative_search_space(study, trial)
        ranges = found if self._ranges is None else self._ranges
        return {name: source for name, source in found.items() if source == ranges.get(name)}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if (kept := trial.system_attrs.get(JOINTLY)) is not None:
            return {name: search_space[name].to_external_repr(value) for name, (_, value) in kept.items()}
        jointly = self._sampler.sample_relative(study, trial, search_space)
        if drawn := {name: value for name, value in jointly.items() if name in search_space}:
            sources = {name: search_space[name] for name in drawn}
            kept = {n: [distribution_to_json(s), s.to_internal_repr(drawn[n])] for n, s in sources.items()}
            storage_of(study).set_trial_system_attr(id_of(trial), JOINTLY, kept)
        return drawn

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        # Seeded by the name too: a trial killed between two draws goes on with the same second draw.
        sampler = self._build(derived(self._seed, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """What was enqueued with its values is no business of the sampler: Optuna's grid falls over it."""
        sampler = self._build(derived(self._seed, trial.number))
        if "fixed_params" not in trial.system_attrs and stops(
            lambda: sampler.after_trial(study, trial, state, values)
        ):
            storage_of(study).set_study_system_attr(study_id_of(study), EXHAUSTED, True)


def sampler(spec: Spec, allowed: Collection[str] = ()) -> BaseSampler:
    """Args: allowed: code that the local user named. Raises SpecError where the study's cannot be used."""
    chosen = spec.sampler
    seeded = partial(SeededPerTrial, spec.seed, ranges=distributions(spec))
    if spec.freezes:
        return seeded(lambda seed: FreezeThawSampler(spec, seed))
    if isinstance(chosen, Named):
        try:
            found, given = sampler_recipe(chosen, spec.space, allowed)
        except Unbuildable as error:
            raise _refusal(spec, error) from error
        if issubclass(found.made, ONE_SEQUENCE):
            return seeded(lambda _: found.make({**given, "seed": derived(spec.seed)}))
        return seeded(lambda seed: found.make({**given, "seed": seed}))
    if isinstance(chosen, Random):
        return seeded(RandomSampler)
    startup = chosen.n_startup_trials
    if any(parameter.when for parameter in spec.space.values()):
        return seeded(lambda seed: _grouped_tpe(startup, seed))
    return seeded(lambda seed: TPESampler(n_startup_trials=startup, multivariate=True, seed=seed))


def _grouped_tpe(n_startup_trials: int, seed: int) -> BaseSampler:
    """TPE that also models jointly what is drawn under a condition, one group of trials each."""
    with warnings.catch_warnings():
        # The only sampler of Optuna that does; its interface may change, so its version is bounded.
        warnings.filterwarnings("ignore", "Argument ``group``", ExperimentalWarning)
        return TPESampler(n_startup_trials=n_startup_trials, multivariate=True, group=True, seed=seed)


def pruner(spec: Spec, allowed: Collection[str] = ()) -> BasePruner:
    """As `sampler`. Of a class that takes them, the first and last step that count are the study's."""
    chosen = spec.pruner
    plan = spec.objective
    if spec.freezes:
        return NopPruner()
    if isinstance(chosen, Named):
        try:
            found = pruner_recipe(chosen, allowed)
        except Unbuildable as error:
            raise _refusal(spec, error) from error
        return _made(spec, found, {"min_resource": plan.measure_every, "max_resource": plan.steps})
    if isinstance(chosen, Asha):
        return SuccessiveHalving(chosen.min_resource or plan.measure_every, chosen.reduction_factor)
    return NopPruner()


def _made(spec: Spec, found: Recipe, given: dict[str, Any]) -> BasePruner:
    """Raises SpecError: what it took when the file was checked does not go with the study's plan."""
    try:
        made: BasePruner = found.make(given)
    except Exception as error:  # whatever its class makes of it
        fault = ("pruner", "args"), f"{found.made.__name__} refuses them with {given}: {error!r}"
        raise _refusal(spec, Unbuildable([fault])) from error
    return made


def _refusal(spec: Spec, error: Unbuildable) -> SpecError:
    return SpecError(
        f'Cannot search in study "{spec.name}" as its file says.\n{error}\n'
        "Install what is missing, or start it under another name without this."
    )
