"""What to know of a study's best trial before it is believed: plain sentences, each only where it is true."""

import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from statistics import fmean
from typing import Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from objectives.distance import no_speech_yet
from objectives.signals import PARAMETERS
from smart_tuner.repair.health import theil_sen
from smart_tuner.store import attributes
from studies.file.distributions import contains, distribution
from studies.file.parameters import AnyParameter, Choice, FloatRange, IntRange, Number
from studies.file.sections import Asha
from studies.file.spec import Spec, SpecError
from studies.report import history
from studies.report.described import Described
from studies.search.silence import say_nothing

EDGE = 0.1  # of a range
FEWEST_VALUES = 4  # of a range: of fewer, half or more would be at an edge
FEWEST = 20  # trials at one step, before a parameter is said to show no effect
GROUPS, SMALLEST = 3, 5  # of trials that are compared, by a parameter's value, and trials in each
SEEN = 0.2  # a p-value below it is an effect that was seen: rather nothing is said than too much
LAST = 4  # measures that a falling curve is told by, or the last quarter if that is more
LONGER = 6  # times the steps of a search's trials: how far to train on, where nobody said it
Side = Literal["low", "high"]
Limits = Mapping[str, tuple[float, float]]
Values = NDArray[np.float64]


def remarks(study: optuna.Study, spec: Spec, best: FrozenTrial) -> list[str]:
    """All that is to be said, a sentence or two each."""
    trials = _searched(study)
    return [
        *_at_edges(study, spec, best),
        *_without_effect(spec, trials),
        *_judged_too_soon(study, spec, trials),
        *_still_falling(study, spec, best),
        *(_repeated(study, best) or _chosen(study, best, trials)),
    ]


def _searched(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of the search that came to an end, and were measured here."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [t for t in trials if attributes.measures(t) and attributes.is_of_the_search(t)]


# Edges of ranges


def _at_edges(study: optuna.Study, spec: Spec, best: FrozenTrial) -> Iterator[str]:
    for name, side, end in wider_ends(study, spec, best):
        source, value = spec.space[name], best.params[name]
        assert not isinstance(source, Choice)
        where = f"the {'upper' if side == 'high' else 'lower'} end of its range"
        yield (
            f"{name} = {value:.4g} lies within a tenth of {where}, {source.low:g} to {source.high:g}: "
            f"better values may lie beyond. run_study.py {resume(spec)} --widen searches there, too: "
            f"[space.{name}] {side} = {end!r}"
        )


def wider_ends(study: optuna.Study, spec: Spec, best: FrozenTrial) -> Iterator[tuple[str, Side, Number]]:
    """The ends, half as long again, of the ranges at whose ends the best trial's values lie."""
    known = _limits(study, spec)
    for name, source in spec.space.items():
        value, limits = _kept(best, name, source), known.get(name)
        side = None if value is None else edge(source, value)
        if side is None or limits is None or isinstance(source, Choice):
            continue
        end = wider(source, side, *limits)
        if end is not None and _may_be(spec, name, side, end):
            yield name, side, end


def edge(source: AnyParameter, value: Number) -> Side | None:
    """The end of its range within a tenth of which a value lies, on the scale on which it is searched.

    Choices have no range, and one of few values has no middle: None of those.
    """
    if isinstance(source, Choice) or source.low >= source.high:
        return None
    step = source.step or (1 if isinstance(source, IntRange) else None)
    if step is not None and round((source.high - source.low) / step) + 1 < FEWEST_VALUES:
        return None
    low, high, at = (math.log(x) if source.log else x for x in (source.low, source.high, value))
    part = (at - low) / (high - low)
    return "low" if part <= EDGE else "high" if part >= 1 - EDGE else None


def wider(source: FloatRange | IntRange, side: Side, least: float, most: float) -> Number | None:
    """That end of a range which is half as long again; None where the parameter can have no value beyond.

    Args:
        least, most: the parameter's smallest and largest possible value.
    """
    sign, end, limit = (1, source.high, most) if side == "high" else (-1, source.low, least)
    if source.log:
        target = end * (source.high / source.low) ** (sign / 2)
    else:
        target = end + sign * (source.high - source.low) / 2
    grid = _grid(source)
    if source.log and isinstance(source, IntRange):
        limit = max(limit, 1)
    if grid is None:
        return _rounded(min(target, limit) if sign > 0 else max(target, limit), end, limit, sign)
    room = min((limit - end) * sign / grid, 2**53)
    count = min(max(1, round((target - end) * sign / grid)), math.floor(room))
    return type(end)(Fraction(str(end)) + sign * count * Fraction(str(grid))) if count > 0 else None


def _grid(source: FloatRange | IntRange) -> Number | None:
    """By what an end can be moved; of whole numbers an even one, as some must stay odd or even."""
    if isinstance(source, FloatRange):
        return source.step
    step = source.step or 1
    return step * (1 + step % 2)


def _rounded(target: float, end: float, limit: float, sign: int) -> float | None:
    """With two digits, or as many as it takes to lie beyond the end and not beyond the limit."""
    shorter = (float(f"{target:.{digits}g}") for digits in range(2, 18))
    return next((x for x in shorter if (x - end) * sign > 0 and (limit - x) * sign >= 0), None)


def _limits(study: optuna.Study, spec: Spec) -> Limits:
    """The smallest and largest value that each parameter may ever have."""
    if spec.objective.use is None:
        return {name: (parameter.low, parameter.high) for name, parameter in PARAMETERS.items()}
    return Described.of(study).limits


def _may_be(spec: Spec, name: str, side: Side, end: Number) -> bool:
    """Whether the study file would be taken with this end of a range; no code of the user's is asked."""
    data = spec.model_dump(mode="json", exclude={"rules", "callbacks", "sampler", "pruner"})
    data["space"][name][side] = end
    try:
        Spec.parse(data, spec.name)
    except SpecError:
        return False
    return True


def _kept(trial: FrozenTrial, name: str, source: AnyParameter) -> Number | None:
    """What was drawn for a parameter; None where it was not, or where a repair made it another value."""
    value = trial.params.get(name)
    if value is None or not contains(distribution(source), value):
        return None
    return None if attributes.effective(trial).get(name, value) != value else value


# Effects of parameters


def _without_effect(spec: Spec, trials: list[FrozenTrial]) -> Iterator[str]:
    for name, source in spec.space.items():
        drawn = {t.number: x for t in trials if (x := _kept(t, name, source)) is not None}
        compared = [
            found
            for step, values in _by_step(trials).items()
            if (found := _compared(source, step, {n: (drawn[n], v) for n, v in values.items() if n in drawn}))
        ]
        if compared and all(p >= SEEN for _, _, p in compared):
            steps, most = [step for step, _, _ in compared], max(count for _, count, _ in compared)
            at = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
            yield f"No effect of {name} on the value was seen in {most} trials, compared at {at}."


def _judged_too_soon(study: optuna.Study, spec: Spec, trials: list[FrozenTrial]) -> Iterator[str]:
    mismatch, values = attributes.yardstick(study).get("mismatch", math.inf), _by_step(trials)
    silent = {step for step, found in values.items() if say_nothing(found.values(), mismatch)}
    judged = [t for t in trials if t.state == TrialState.PRUNED and attributes.ended_by(t) is None]
    pruned = [trial.last_step for trial in judged if trial.last_step in silent]
    if not pruned or spec.freezes:
        return
    spoken = [
        step for step in values.keys() - silent if not no_speech_yet(min(values[step].values()), mismatch)
    ]
    line = f": [pruner] min_resource = {min(spoken)}" if spoken and isinstance(spec.pruner, Asha) else ""
    does = f"After {min(spoken)} steps one does{line}." if spoken else "They need longer trials."
    yield (
        f"At step {min(pruned)}, where trials were pruned ({len(pruned)}), not even the best voices say "
        f"anything yet: which of them become good is hardly told there. {does}"
    )


def _by_step(trials: Iterable[FrozenTrial]) -> dict[int, dict[int, float]]:
    """For each step, the values there by the numbers of trials; an infinite one counts as the worst."""
    found: dict[int, dict[int, float]] = {}
    for trial in trials:
        for step, value in trial.intermediate_values.items():
            if not math.isnan(value):
                found.setdefault(step, {})[trial.number] = value
    return {step: found[step] for step in sorted(found)}


def _compared(
    source: AnyParameter, step: int, pairs: Mapping[int, tuple[Number, float]]
) -> tuple[int, int, float] | None:
    """The step, how many trials were compared there, and the p-value; None where they are too few.

    Args:
        pairs: the parameter and the measured value of each trial.
    """
    drawn, values = np.array(list(pairs.values()), float).reshape(-1, 2).T
    groups = [values[mine] for mine in _groups(source, drawn) if mine.sum() >= SMALLEST]
    count = sum(map(len, groups))
    if count < FEWEST or len(groups) < 2 or len({v for group in groups for v in group}) < 2:
        return None
    p = kruskal(groups)
    return step, count, p if isinstance(source, Choice) else min(p, spearman(drawn, values))


def _groups(source: AnyParameter, drawn: Values) -> Iterator[NDArray[np.bool_]]:
    """Which trials belong together: those of equal values, or, of many values, each third of them."""
    labels = drawn
    if not isinstance(source, Choice) and len(np.unique(drawn)) > GROUPS:
        labels = np.floor((ranks(drawn) - 0.5) * GROUPS / len(drawn))
    yield from (labels == label for label in np.unique(labels))


def ranks(values: Values) -> Values:
    """From 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Values = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return shared


def kruskal(groups: list[Values]) -> float:
    """The p-value of Kruskal and Wallis (1952), by its chi-squared approximation. Not all may be equal.

    Without scipy, which takes a second to load: this is also asked by commands that only read.
    """
    ranked = ranks(np.concatenate(groups))
    n, counts = len(ranked), np.unique(ranked, return_counts=True)[1].astype(float)
    parts = np.split(ranked, np.cumsum([len(group) for group in groups])[:-1])
    h = 12 / (n * (n + 1)) * sum(len(part) * part.mean() ** 2 for part in parts) - 3 * (n + 1)
    return _chi_squared_tail(float(h / (1 - (counts**3 - counts).sum() / (n**3 - n))), len(groups) - 1)


def spearman(drawn: Values, values: Values) -> float:
    """The p-value of Spearman's rank correlation, by its normal approximation. Neither may be all equal."""
    rho = np.corrcoef(ranks(drawn), ranks(values))[0, 1]
    return math.erfc(abs(float(rho)) * math.sqrt((len(drawn) - 1) / 2))


def _chi_squared_tail(x: float, freedom: int) -> float:
    """How likely a chi-squared value beyond x is: Abramowitz and Stegun, 26.4.4 and 26.4.5."""
    if x / 2 <= 0:
        return 1.0
    of, tail = (1, math.erfc(math.sqrt(x / 2))) if freedom % 2 else (2, math.exp(-x / 2))
    for half in (k / 2 for k in range(of, freedom, 2)):
        tail += math.exp(half * math.log(x / 2) - x / 2 - math.lgamma(half + 1))
    return tail


# The curve's end, and chance


def _still_falling(study: optuna.Study, spec: Spec, best: FrozenTrial) -> Iterator[str]:
    """Not where it is trained on anyway, or was in vain."""
    in_vain = any(on.trial == best.number for on in history.going_on(study).values())
    if in_vain or history.to_train_on(study, spec) is not None or not falls(curve := _curve(best)):
        return
    shown, first = Described.of(study).shown, curve[-_tail(curve)]
    went = f"from {shown(first[1])} at step {first[0]} to {shown(curve[-1][1])} at step {curve[-1][0]}"
    command = f"run_study.py {resume(spec)} --finish {longer(spec, best)}"
    yield f"The curve of trial {best.number} still fell when it ended, {went}. {command} trains it on."


def _curve(trial: FrozenTrial) -> list[tuple[int, float]]:
    """Steps and values of a trial's measures, in the order of their steps."""
    return sorted({row["step"]: row["value"] for row in attributes.measures(trial)}.items())


def _tail(curve: list[tuple[int, float]]) -> int:
    return max(LAST, len(curve) // 4)


def falls(curve: list[tuple[int, float]]) -> bool:
    """Whether a curve surely falls at its end: by the 95 % interval of its slope there."""
    if len(curve) < LAST:
        return False
    steps, values = (np.array(row, float) for row in zip(*curve[-_tail(curve) :], strict=True))
    return theil_sen(steps, values).high < 0


def longer(spec: Spec, best: FrozenTrial) -> int:
    """How many steps in all are worth a try."""
    return max(LONGER * spec.objective.steps, 2 * _curve(best)[-1][0])


def resume(spec: Spec) -> str:
    """The command that goes on with a study, with the flags without which its own code is not imported."""
    return "".join([f"resume {spec.name}", *(f" --use {named}" for named in spec.code)])


def repeats(study: optuna.Study, best: FrozenTrial) -> tuple[int, list[float]]:
    """How often the settings of the best trial were tried again, and the values that came of it."""
    first, trials = history.first_of_line(study, best.number), study.get_trials(deepcopy=False)
    ended = [t for t in trials if attributes.repeats(t) == first and t.state.is_finished()]
    values = [t.value for t in ended if t.state == TrialState.COMPLETE and attributes.is_number(t.value)]
    return len(ended), [value for value in values if value is not None]


def _repeated(study: optuna.Study, best: FrozenTrial) -> list[str]:
    """What the settings are worth without the luck of one seed."""
    count, values = repeats(study, best)
    if not count:
        return []
    first, shown = history.first_of_line(study, best.number), Described.of(study).shown
    own = study.get_trials(deepcopy=False)[first].value
    often = "once with another seed" if count == 1 else f"{count} times with other seeds"
    came = f"came out at {shown(fmean(values))}" if values else "did not come to a value"
    if len(values) > 1:
        came += f" on average ({shown(min(values))} to {shown(max(values))})"
    if 0 < len(values) < count:
        came += f", {count - len(values)} of them without a value"
    return [f"Repeated {often}, the settings of trial {first} {came}, beside its own {shown(own or 0.0)}."]


def _chosen(study: optuna.Study, best: FrozenTrial, trials: list[FrozenTrial]) -> Iterator[str]:
    """The best of many is good by its settings and by luck; the luck does not come again."""
    first = history.first_of_line(study, best.number)
    chosen = next((trial for trial in trials if trial.number == first), None)
    if chosen is None or chosen.value is None or len(trials) < 2:
        return
    if any(t.params == chosen.params for t in trials if t is not chosen):
        return
    value = Described.of(study).shown(chosen.value)
    yield (
        f"Trial {first} was chosen as the best of {len(trials)}, and not repeated: "
        f"trained again with another seed, its settings would rather come out worse than {value}."
    )
