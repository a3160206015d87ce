"""Whole studies of tiny trainings: what repairs are worth to a search, and what our search is worth."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.faults.arms import ENDS, quick
from benchmarks.faults.case import Case
from benchmarks.faults.course import ADVISING, Course, Detected, MemoryLedger, stop
from benchmarks.faults.language import Shape
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import TINY, Stage, judge
from benchmarks.search.table import CUBE, Array
from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import GivenUp
from smart_tuner.repair.pruning import GRACE, SuccessiveHalving, medians, peers, should_prune
from smart_tuner.repair.rule import UNRESTRAINED, Entry, Restraint
from smart_tuner.repair.rules import RULES
from smart_tuner.store.records import begun_with
from studies.file.search import SeededPerTrial
from studies.file.sections import Tpe
from studies.search.freeze_thaw import Curve, FreezeThaw

TRIALS, FAULTY = 30, 9  # of a study: 30 % of its trials are spoilt
SEEDS = range(5)
MOST_TRIALS = 200  # where only steps are counted
PAIRED_SEEDS = range(10)
PAIRED = 16  # whole trials' steps of the studies that show what rules are worth
MILD = frozenset({"F10", "F13"})  # without rules, the best value of such a trial is less than 1 dB worse
LASTING: tuple[dict[str, float], ...] = (  # settings that a study has wrong in all its trials, one a seed
    {"gate_weight": 0.003},
    {"adam_eps": 5e-3},
    {"warmup_steps": 10_000},
    {"guided_attention_sigma": 0.03},
    {"p_decoder_dropout": 0.85},
)


def our_sampler(seed: int, startup: int = 4) -> BaseSampler:
    """As studies/file/search.py builds it for "tpe"; start-up trials as the quickstart has them."""
    return SeededPerTrial(seed, lambda s: TPESampler(n_startup_trials=startup, multivariate=True, seed=s))


def our_pruner(stage: Stage) -> BasePruner:
    return SuccessiveHalving(min_resource=stage.measure_every, reduction_factor=3)


@dataclass(frozen=True)
class Mode:
    """How a study searches, and what its rules may do."""

    what: str
    spoilt: bool
    rules: str  # "off", "prune", "full", or "policy": of a study that begins now
    sampler: Callable[[int], BaseSampler]
    pruner: Callable[[Stage], BasePruner]
    share: float = FAULTY / TRIALS  # of the trials that are spoilt
    lasting: bool = False  # one fault of the surroundings, in every trial
    steps: int = TRIALS  # of so many whole trials


def doctored(what: str, share: float, rules: str, lasting: bool = False) -> Mode:
    """One of a pair of studies of equal steps, with rules as they ship and without any."""
    return Mode(f"{what}, rules {rules}", True, rules, our_sampler, our_pruner, share, lasting, PAIRED)


MODES = {
    "S-off": Mode("30 % faults, rules off", True, "off", our_sampler, our_pruner),
    "S-prune": Mode("30 % faults, rules only prune", True, "prune", our_sampler, our_pruner),
    "S-full": Mode("30 % faults, rules repair", True, "full", our_sampler, our_pruner),
    "S-random": Mode("healthy, random search", False, "off", RandomSampler, lambda _: NopPruner()),
    "S-optuna": Mode(
        "healthy, Optuna's TPE and median pruner",
        False,
        "off",
        lambda seed: TPESampler(seed=seed),
        lambda _: MedianPruner(),
    ),
    "S-freeze": Mode("healthy, ours, freeze-thaw", False, "policy", RandomSampler, lambda _: NopPruner()),
    "S-ours": Mode("healthy, ours", False, "full", our_sampler, our_pruner),
    "S-default": Mode(
        f"healthy, ours with {Tpe().n_startup_trials} start-up trials, as a file has that says nothing",
        False,
        "full",
        lambda seed: our_sampler(seed, Tpe().n_startup_trials),
        our_pruner,
    ),
}


MODES |= {
    f"D-{name}-{rules}": doctored(what, share, rules, lasting)
    for name, what, share, lasting in (
        ("0", "no faults", 0.0, False),
        ("30", "30 % faults", 0.3, False),
        ("100", "faults in every trial", 1.0, False),
        ("lasting", "one lasting fault", 0.0, True),
    )
    for rules in ("off", "policy")
}


def suggested(trial: optuna.Trial, setup: Setup) -> Setup:
    return setup.with_settings(
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 2e-2, log=True),
        guided_attention_weight=trial.suggest_float("guided_attention_weight", 0.0, 4.0, step=0.5),
        gate_positive_weight=trial.suggest_float("gate_positive_weight", 1.0, 20.0, log=True),
        p_attention_dropout=trial.suggest_float("p_attention_dropout", 0.0, 0.3),
        batch_size=trial.suggest_categorical("batch_size", [6, 12, 24]),
    )


def faults_of(cases: dict[str, Case], seed: int, share: float | None = None) -> dict[int, tuple[str, int]]:
    """Which trials of a study are spoilt, by which held-out severity: the same in every mode.

    Args:
        share: of however many trials there will be; None: of `TRIALS`. Each fault then spoils a trial's
            value, and none overwrites a setting that the search draws: rules leave draws to the search.
    """
    drawn = random.Random(seed)
    known = [
        (case.name, severity)
        for case in cases.values()
        if case.is_fault and case.repairable and not case.missing
        for severity in range(len(case.severities["held_out"]))
        if share is None or (case.name not in MILD and not draws(case, severity))
    ]
    if share is not None:
        drawings = [(drawn.random() < share, drawn.choice(known)) for _ in range(MOST_TRIALS)]
        return {number: fault for number, (is_spoilt, fault) in enumerate(drawings) if is_spoilt}
    return {number: drawn.choice(known) for number in sorted(drawn.sample(range(TRIALS), FAULTY))}


def draws(case: Case, severity: int) -> set[str]:
    """The settings of the search that a fault overwrites."""
    sound = case.sound(TINY)
    spoilt = case.spoil(sound, "held_out", severity)
    return {n for n in CUBE.sources if getattr(spoilt.settings, n) != getattr(sound.settings, n)}


def search(stage: Stage, cases: dict[str, Case], name: str, seed: int) -> dict[str, Any]:
    """One study; its best value so far, by consumed steps."""
    if name == "S-freeze":
        with TemporaryDirectory(dir=quick()) as place:
            return {"trials": list(paused_search(stage, seed, Path(place)))}
    mode, consumed, best = MODES[name], 0, float("inf")
    searched = optuna.create_study(sampler=mode.sampler(seed), pruner=mode.pruner(stage))
    paired = mode.steps != TRIALS
    faults = faults_of(cases, seed, mode.share if paired else None) if mode.spoilt else {}
    told: list[tuple[int, Entry]] = []  # what rules did so far
    trials: list[list[Any]] = []
    by_steps, budget = paired or not mode.spoilt, mode.steps * stage.planned
    while len(trials) < (MOST_TRIALS if by_steps else TRIALS) and (not by_steps or consumed < budget):
        trial = searched.ask()
        setup, onset = suggested(trial, Setup.of(stage, Shape())), 0
        if mode.lasting:
            setup = setup.with_settings(**LASTING[seed % len(LASTING)])
        if fault := faults.get(trial.number):
            case = cases[fault[0]]
            onset = case.onset
            setup = case.spoil(setup, "held_out", fault[1])
        with TemporaryDirectory(dir=quick()) as place:
            steps, value, state = one(stage, trial, setup, onset, mode.rules, 1000 * seed, Path(place), told)
        if state == "COMPLETE" and value is not None:
            searched.tell(trial, value)
        else:
            failed = optuna.trial.TrialState.FAIL if state == "FAIL" else optuna.trial.TrialState.PRUNED
            searched.tell(trial, state=failed)
        consumed += steps
        best = min(best, value if value is not None and state != "FAIL" else best)
        shown = None if best == float("inf") else round(best, 4)
        trials.append([consumed, shown, state, fault[0] if fault else None])
    return {"trials": trials}


def paused_search(stage: Stage, seed: int, folder: Path) -> Iterator[list[Any]]:
    """One study by studies/search/freeze_thaw.py, its trials kept in memory; a row for each measure."""
    quantum, mismatch = stage.measure_every / stage.planned, judge(Shape()).yardstick.mismatch
    restraint = Restraint(frozenset(CUBE.sources), ADVISING)
    courses: list[Course] = []
    points: list[Array] = []
    over = set[int]()
    while (consumed := sum(course.consumed for course in courses)) < TRIALS * stage.planned:
        curves = [
            Curve(
                point,
                tuple(min(1.0, m.step / stage.planned) for m in course.curve),
                tuple(m.value for m in course.curve),
                waits=number not in over,
            )
            for number, (point, course) in enumerate(zip(points, courses, strict=True))
        ]
        chosen = FreezeThaw(CUBE, quantum, mismatch).choice(curves, np.random.default_rng([seed, consumed]))
        number = len(courses) if isinstance(chosen, dict) else chosen
        if isinstance(chosen, dict):
            setup = Setup.of(stage, Shape()).with_settings(**chosen)
            training, place = setup.training(1000 * seed + number), folder / str(number)
            place.mkdir()
            courses.append(Course(stage, setup, 0, training, place, MemoryLedger()).watch(RULES, restraint))
            points.append(CUBE.point(chosen))
        course, state = courses[number], "PAUSED"
        end = stage.planned + course.watched.redone
        try:
            course.train(min(end, course.training.step + stage.measure_every))
            state = "COMPLETE" if course.training.step >= end else state
        except ENDS as ended:
            state = getattr(ended, "state", "FAIL")
        if state != "PAUSED":
            over.add(number)
        best = min((m.value for course in courses for m in course.curve), default=None)
        shown = None if best is None else round(best, 4)
        yield [sum(course.consumed for course in courses), shown, state, None]
    yield from [[consumed, shown, "PRUNED", None]] * (len(courses) - len(over))


def as_a_study_has_it(trial: optuna.Trial) -> Restraint:
    """What the rules of a trial that begins now leave to the search, and hold it against."""
    study = trial.study
    return Restraint(frozenset(CUBE.sources), ADVISING, medians(study), peers(study, SIGNALS))


def one(
    stage: Stage,
    trial: optuna.Trial,
    setup: Setup,
    onset: int,
    rules: str,
    seed: int,
    folder: Path,
    told: list[tuple[int, Entry]],
) -> tuple[int, float | None, str]:
    """Consumed steps, best value and end of a trial, as the objective has them. Args: told: what rules did in
    the trials before, to which this one's is added."""
    ledger = MemoryLedger(stop) if rules == "prune" else MemoryLedger()
    restraint = UNRESTRAINED
    if rules == "policy":
        restraint = as_a_study_has_it(trial)
        helped = begun_with(told, asdict(setup.settings), restraint.searched)
        setup = setup.with_settings(**{name: value for name, (value, _) in helped.items()})
    course = Course(stage, setup, onset, setup.training(seed + trial.number), folder, ledger)
    course.watch(() if rules == "off" else RULES, restraint)
    state, every, training = "COMPLETE", stage.measure_every, course.training
    try:
        while training.step < (end := stage.planned + course.watched.redone):
            course.train(min(end, training.step // every * every + every))
            trial.report(course.curve[-1].value, training.step)
            trial.set_user_attr(GRACE, course.watched.grace_until)
            if training.step < stage.planned + course.watched.redone and should_prune(trial):
                state = "PRUNED"
                break
    except Detected:
        state = "PRUNED"
    except ENDS as ended:
        state = getattr(ended, "state", "FAIL")
        if isinstance(ended, GivenUp):
            trial.set_user_attr("ended_by", {"rule": ended.entry.rule})
    trial.set_user_attr("measures", [asdict(measured) for measured in course.curve])
    if repairs := len(course.watched.repairs()):
        trial.set_user_attr("repairs", repairs)
    told += [(trial.number, entry) for entry in ledger.entries]
    value = min((m.value for m in course.curve), default=None)
    return course.consumed, value, state


def rows_of(
    studies: Sequence[tuple[str, int, list[list[Any]], str | None]], stage: Stage
) -> list[dict[str, Any]]:
    """By mode: the best value after parts of the budget, mean over seeds, and what it took.

    Args:
        studies: each its mode, seed, trials and the rules and cases by which it was run, if by any.
    """
    rows = []
    for name, mode in MODES.items():
        mine = [trials for case, _, trials, _ in studies if case == name]
        if not mine:
            continue
        by = sorted({rules for case, _, _, rules in studies if case == name and rules})
        row: dict[str, Any] = {"study": mode.what, "rules": ", ".join(by), "seeds": len(mine)}
        for part in (0.25, 0.5, 1.0):
            best = [best_at(trials, part * mode.steps * stage.planned) for trials in mine]
            known = [b for b in best if b is not None]
            row[f"best dB after {part:.0%} of the steps"] = (
                f"{sum(known) / len(known):.2f} ({min(known):.2f} to {max(known):.2f})" if known else ""
            )
        row["steps"] = round(sum(trials[-1][0] for trials in mine) / len(mine))
        row["trials"] = round(sum(t[2] != "PAUSED" for trials in mine for t in trials) / len(mine), 1)
        row["failed"] = round(sum(t[2] == "FAIL" for trials in mine for t in trials) / len(mine), 1)
        rows.append(row)
    return rows


def best_at(trials: list[list[Any]], steps: float) -> float | None:
    """The best value that was known after so many consumed steps."""
    known = [best for consumed, best, *_ in trials if consumed <= steps and best is not None]
    return known[-1] if known else None
