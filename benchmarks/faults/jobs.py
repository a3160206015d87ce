"""The benchmark as an Optuna study: a trial is one case, half, severity and seed under all arms."""

import datetime
import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

from benchmarks.faults.case import Case, files
from benchmarks.faults.course import ADVISING
from benchmarks.faults.figures import BASE
from benchmarks.faults.search import MODES, PAIRED_SEEDS
from benchmarks.faults.search import SEEDS as SEARCH_SEEDS
from benchmarks.faults.stage import Stage
from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import policy_hash
from smart_tuner.repair.rules import RULES
from smart_tuner.store.storage import open_storage

SEEDS = {"development": range(5), "held_out": range(10, 15)}  # of faults
SPEECH_SEEDS = {"development": range(10, 12), "held_out": range(10, 12)}
SOUND_SEEDS = {"development": range(4), "held_out": range(4)}  # of the base recipe, on speech
HELD_OUT_FROM = 47  # kinds of faults on speech that came after the rules: odd numbers, too
NEW_KINDS = 79  # from this number on no rule was made on a kind, or mended
DRAWN_SEEDS = {"tiny": {"held_out": 300}, "speech": {"development": 20, "held_out": 60}}
# Held out: from 100 on, less those of a stopped run after which a rule was mended (notes.md).
HEALTHY_SEEDS = {"development": range(50, 60), "held_out": range(107, 132)}
FORGOTTEN = datetime.timedelta(hours=1)  # a job of another machine that runs so long died
RESULT, WORKER = "result", "worker"


@dataclass(frozen=True)
class Job:
    case: str
    half: str
    severity: int
    seed: int


def is_new(case: str) -> bool:
    return int(case[1:]) >= NEW_KINDS


def seeds_of(case: Case, half: str, stage: Stage) -> range:
    """On speech, kinds of faults with odd numbers are for development, and even ones are held out, as are
    those that came after the rules."""
    if case.drawn:
        return range(DRAWN_SEEDS[stage.name].get(half, 0))
    if stage.name != "speech":
        return (SEEDS if case.is_fault else HEALTHY_SEEDS)[half]
    if not case.is_fault:
        return SOUND_SEEDS[half] if case.name == BASE else range(0)
    number = int(case.name[1:])
    held_out = number % 2 == 0 or number >= HELD_OUT_FROM
    return SPEECH_SEEDS[half] if held_out == (half == "held_out") else range(0)


def jobs(cases: Sequence[Case], half: str, stage: Stage) -> list[Job]:
    """Seed by seed, so that whatever is done first covers every case."""
    found = []
    for case in cases:
        seeds = seeds_of(case, half, stage)
        severities = 1 if case.drawn else len(case.severities[half])
        for severity in range(0 if case.missing else severities):
            found += [(i / len(seeds), Job(case.name, half, severity, seed)) for i, seed in enumerate(seeds)]
    return [job for _, job in sorted(found, key=lambda pair: pair[0])]


def searches() -> list[Job]:
    """Whole studies, which are jobs like any other."""
    pairs = [name for name in MODES if name.startswith("D-")]
    single = [search_job(mode, seed) for seed in SEARCH_SEEDS for mode in MODES if mode not in pairs]
    return single + [search_job(mode, seed) for seed in PAIRED_SEEDS for mode in pairs]


def search_job(mode: str, seed: int) -> Job:
    return Job(mode, "held_out", 0, seed)


def ground(stage: Stage) -> str:
    """A hash of cases and stage: all, besides the code, that runs and studies without rules depend on."""
    cases = b"".join(path.read_bytes() for path in files(stage))
    return hashlib.sha256(repr(stage).encode() + cases).hexdigest()[:8]


def identity(stage: Stage) -> str:
    """A short hash of rules, cases and stage: results of others do not mix with these."""
    return hashlib.sha256((ground(stage) + policy_hash(RULES, SIGNALS, ADVISING)).encode()).hexdigest()[:8]


def open_study(stage: Stage, url: str) -> optuna.Study:
    return optuna.create_study(
        storage=open_storage(url), study_name=f"faults-{stage.name}-{identity(stage)}", load_if_exists=True
    )


def job_of(trial: optuna.trial.FrozenTrial) -> Job | None:
    """The job that a trial was enqueued with; None for a trial that found nothing to do."""
    params = trial.system_attrs.get("fixed_params")
    return None if params is None else Job(**params)


def enqueue(study: optuna.Study, wanted: Sequence[Job]) -> None:
    """Those that are neither done, nor under way, nor waiting."""
    gone = {TrialState.FAIL, TrialState.PRUNED}
    known = {job_of(t) for t in study.get_trials(deepcopy=False) if t.state not in gone}
    for job in wanted:
        if job not in known:
            study.enqueue_trial(asdict(job))


def recover(study: optuna.Study) -> None:
    """Give back the jobs of workers that died."""
    now = datetime.datetime.now()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, _, pid = trial.user_attrs.get(WORKER, "::").partition(":")
        here = host == socket.gethostname()
        started = trial.datetime_start or now
        if (here and not psutil.pid_exists(int(pid))) or now - started > FORGOTTEN:
            study.tell(trial.number, state=TrialState.FAIL)


def claimed(study: optuna.Study) -> Iterator[tuple[optuna.Trial, Job]]:
    """One waiting job after another, until none is left."""
    while any(study.get_trials(deepcopy=False, states=(TrialState.WAITING,))):
        trial = study.ask()
        trial.set_user_attr(WORKER, f"{socket.gethostname()}:{os.getpid()}")
        job = job_of(trial._cached_frozen_trial)
        if job is None:  # another worker took the last one
            study.tell(trial, state=TrialState.FAIL)
            return
        yield trial, job


def results(study: optuna.Study) -> dict[Job, dict[str, Any]]:
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return {job: trial.user_attrs[RESULT] for trial in done if (job := job_of(trial))}
