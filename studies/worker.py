"""Claim a trial, run its objective, tell its end; until the study's budget is met."""

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import optuna
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from model.corpus import Corpus
from model.training import NonFinite, OutOfMemory, StepMeasures, Training
from model.warm_start import warm_start
from objectives.quality import Judge, Yardstick, yardstick
from objectives.tacotron2 import Interrupted, Measured, Plan, Tacotron2Objective, Unrepairable
from smart_tuner.autofix import policy_hash
from smart_tuner.repairs import Entry
from smart_tuner.stall import Watchdog
from smart_tuner.store import Storage, TrialRepairs
from studies.signals import StopSignal, start_again
from studies.space import derived, distributions, nearest_in, pruner, sampler, suggest
from studies.spec import Spec

# A trial whose worker died this often without releasing it is given up.
MAX_LOSSES = 3


class StudyError(RuntimeError):
    """A study cannot start or go on; the message says what, why and what to do."""


class StudyBusy(StudyError):
    """Another process works on the study."""


class TooManyFailures(StudyError):
    """So many trials failed in a row that going on would waste the machine."""


class Display(Protocol):
    """Who shows a person how the study goes."""

    def study(self, done: int, spec: Spec, best: float | None) -> None: ...
    def trial_started(self, number: int, params: dict[str, object], plan: Plan, step: int) -> None: ...
    def trial_ended(self, number: int, state: str, value: float | None, reason: str) -> None: ...
    def stepped(self, measures: StepMeasures) -> None: ...
    def repaired(self, entry: Entry) -> None: ...
    def measured(self, measured: Measured) -> None: ...
    def warned(self, text: str) -> None: ...


def open_study(spec: Spec, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """Create the study, or take it up when what it stored agrees with `spec`.

    Raises:
        StudyError: the stored study searches something else; says which keys differ.
    """
    study = optuna.create_study(
        study_name=spec.name,
        storage=storage,
        sampler=sampler(spec),
        pruner=pruner(spec),
        direction="minimize",
        load_if_exists=True,
    )
    stored = study.user_attrs.get("spec")
    if stored is not None and (changed := Spec.parse_json(stored).differences(spec)):
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            f"Its file changed since it began: {', '.join(changed)}.\n"
            "Undo the change, or give the study another name."
        )
    policy = policy_hash(rules) if (rules := spec.rules.chosen()) else "off"
    if study.user_attrs.get("policy", policy) != policy:
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            "The rules that repair its trials are others than when it began; its values would not compare.\n"
            "Go on with the version of the program that it began with, or start it under another name."
        )
    study.set_user_attr("policy", policy)
    study.set_user_attr("uid", study.user_attrs.get("uid", uuid.uuid4().hex))
    study.set_user_attr("spec", spec.model_dump_json())
    return study


def stored_spec(name: str, storage: optuna.storages.BaseStorage) -> Spec:
    """The spec that study `name` was started with. Raises StudyError for an unknown name."""
    study = load_study(name, storage)
    return Spec.parse_json(study.user_attrs["spec"])


def load_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """An existing study of ours, for reading. Raises StudyError for an unknown name."""
    known = optuna.get_all_study_names(storage)
    if name not in known:
        raise StudyError(
            f'There is no study "{name}".\n'
            f"The database has: {', '.join(known) or 'none yet'}.\n"
            "Run: run_study.py list   or start one: run_study.py start quickstart"
        )
    study = optuna.load_study(study_name=name, storage=storage)
    if "spec" not in study.user_attrs:
        raise StudyError(
            f'Study "{name}" was not started by run_study.py.\nIt holds no study file to go on with.\n'
            "Look at it with Optuna's own tools."
        )
    return study


def work(
    spec: Spec, study: optuna.Study, corpus: Corpus, folder: Path, device: str, display: Display
) -> None:
    """Run trials until the budget is met.

    Raises:
        Interrupted: a signal came; the running trial is checkpointed and can go on.
        StudyBusy, TooManyFailures, StudyError: see there.
    """
    _check_corpus(study, corpus)
    judge = _judge(spec, study, corpus)
    plan = plan_of(spec, device)
    objective = Tacotron2Objective(corpus, judge, plan, display)
    stop = StopSignal(display.warned)
    with _lock(folder), stop.listening():
        while True:
            display.study(started(study), spec, best_value(study))
            trial = _claim(study, spec, display)
            if trial is None:
                return
            params = suggest(trial, spec)
            with Watchdog(start_again) as watchdog:
                stop.beat = watchdog.beat
                _run(spec, trial, params, objective, corpus, folder, plan, display, stop)
            _check_failures(study, spec)


def plan_of(spec: Spec, device: str) -> Plan:
    o = spec.objective
    return Plan(
        o.steps,
        o.measure_every,
        o.validate_every or max(1, o.measure_every // 4),
        spec.rules.chosen(),
        frozenset(spec.space if spec.rules.credit == "pure" else ()),
        o.checkpoint_every,
        o.speak,
        device,
    )


def started(study: optuna.Study) -> int:
    """Trials that count against the budget: every number that was ever started."""
    return sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))


def best_value(study: optuna.Study) -> float | None:
    values = [t.value for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    return min((value for value in values if value is not None), default=None)


def consumed(study: optuna.Study) -> tuple[int, float]:
    """Optimizer steps and hours of training that the study's trials took so far, as measured."""
    measures = [
        t.user_attrs["measures"] for t in study.get_trials(deepcopy=False) if "measures" in t.user_attrs
    ]
    return sum(m[-1]["step"] for m in measures), sum(m[-1]["seconds"] for m in measures) / 3600


def budget_left(study: optuna.Study, spec: Spec) -> bool:
    steps, hours = consumed(study)
    budget = spec.budget
    return (
        started(study) < budget.trials
        and (budget.consumed_steps is None or steps < budget.consumed_steps)
        and (budget.hours is None or hours < budget.hours)
    )


def _claim(study: optuna.Study, spec: Spec, display: Display) -> optuna.Trial | None:
    """An interrupted trial first, as the same trial; else a new one while the budget lasts."""
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        trial = optuna.trial.Trial(study, frozen._trial_id)
        losses = frozen.user_attrs.get("losses", 0) + (not frozen.user_attrs.get("released", False))
        trial.set_user_attr("losses", losses)
        trial.set_user_attr("released", False)
        if losses <= MAX_LOSSES:
            return trial
        _fail(trial, f"its worker died {losses} times", display)
    return study.ask() if budget_left(study, spec) else None


def _run(
    spec: Spec,
    trial: optuna.Trial,
    params: dict[str, object],
    objective: Tacotron2Objective,
    corpus: Corpus,
    folder: Path,
    plan: Plan,
    display: Display,
    stop: StopSignal,
) -> None:
    """Every end of a trial is told; what is neither an end nor a signal breaks the run and shows."""
    dimensions = spec.dimensions(params, len(corpus.front_end.symbols))
    settings = spec.settings(params)
    trial.set_user_attr("settings", asdict(settings))
    trial.set_user_attr("policy", trial.study.user_attrs["policy"])
    training = Training(
        corpus, dimensions, settings, derived(spec.seed, "training", trial.number), plan.device
    )
    _warm_start(training, spec, display)
    display.trial_started(trial.number, params, plan, trial.study.trials[trial.number].last_step or 0)
    ledger = repairs_of_trial(trial.study, trial.number)
    path = trial_folder(folder, trial.number)
    try:
        value = objective(trial, training, path, ledger, stop.asked)
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("reason", str(pruned))
        ended = trial.study.tell(trial, state=TrialState.PRUNED)
        display.trial_ended(trial.number, "PRUNED", ended.value, str(pruned))
    except (NonFinite, OutOfMemory, Unrepairable) as fault:
        _fail(trial, str(fault), display)
    except Interrupted:
        trial.set_user_attr("released", True)
        raise
    else:
        trial.study.tell(trial, value)
        display.trial_ended(trial.number, "COMPLETE", value, "")
        _enqueue_fresh(trial.study, spec, trial.number)


def repairs_of_trial(study: optuna.Study, number: int) -> TrialRepairs:
    storage = study._storage
    while isinstance(storage, _CachedStorage):
        storage = storage._backend
    assert isinstance(storage, Storage)
    return TrialRepairs(storage, study.user_attrs["uid"], number, study.user_attrs["policy"])


def _enqueue_fresh(study: optuna.Study, spec: Spec, number: int) -> None:
    """Let a new trial begin with the values that repairs led to: only then are they known to be good."""
    trial, trials = study.trials[number], study.get_trials(deepcopy=False)
    effective = trial.user_attrs.get("effective", {})
    known = distributions(spec)
    repaired = {name: nearest_in(known[name], value) for name, value in effective.items() if name in known}
    params = {**trial.params, **repaired}
    fresh = sum("fresh_of" in t.user_attrs for t in trials)
    if params != trial.params and fresh < spec.rules.fresh_share * spec.budget.trials:
        study.enqueue_trial(params, user_attrs={"fresh_of": number}, skip_if_exists=True)


def _warm_start(training: Training, spec: Spec, display: Display) -> None:
    """What a checkpoint of the trial itself holds comes later, and replaces this."""
    if spec.model.warm_start is not None:
        told = warm_start(training.model, training.corpus.front_end, Path(spec.model.warm_start))
        kinds = {"loaded": told.loaded, "reshaped": told.reshaped, "skipped": told.skipped}
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
        display.warned(f"warm start: {counts} {list(told.reshaped + told.skipped)}")


def _fail(trial: optuna.Trial, reason: str, display: Display) -> None:
    trial.set_user_attr("reason", reason)
    trial.study.tell(trial, state=TrialState.FAIL)
    display.trial_ended(trial.number, "FAIL", None, reason)


def _check_failures(study: optuna.Study, spec: Spec) -> None:
    limit = spec.budget.failures
    ended: list[FrozenTrial] = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    last = ended[-limit:]
    if len(last) == limit and all(t.state == TrialState.FAIL for t in last):
        raise TooManyFailures(
            f'Study "{spec.name}" stopped: its last {limit} trials failed.\n'
            f"The last one: {last[-1].user_attrs.get('reason', 'unknown')}.\n"
            "Narrow the search space, or raise budget.failures in the study file."
        )


def trial_folder(folder: Path, number: int) -> Path:
    path = folder / f"trial-{number:04d}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_sample_text(spec: Spec, corpus: Corpus) -> None:
    """The sample must be readable, and never have been trained on. Raises TextError or StudyError."""
    text, front_end = spec.objective.speak, corpus.front_end
    symbols = front_end.encode(text)
    if any(symbols == item.symbols.tolist() for item in corpus.training):
        raise StudyError(
            f'Cannot use "{text}" as the sample.\nThe voice is trained on it, so it would prove nothing.\n'
            "Give objective.speak another sentence."
        )


def _check_corpus(study: optuna.Study, corpus: Corpus) -> None:
    known = study.user_attrs.get("corpus")
    if known is None:
        study.set_user_attr("corpus", corpus.fingerprint)
    elif known != corpus.fingerprint:
        raise StudyError(
            f'Cannot continue study "{study.study_name}".\n'
            "The speech data changed since it began: its trials could not be compared.\n"
            "Put the recordings back as they were, or start a study under another name."
        )


def _judge(spec: Spec, study: optuna.Study, corpus: Corpus) -> Judge:
    items = corpus.held_out[: spec.objective.sentences]
    known = study.user_attrs.get("yardstick")
    stick = Yardstick(**known) if known else yardstick(items, corpus.mel_settings)
    if not known:
        study.set_user_attr("yardstick", asdict(stick))
    return Judge(items, spec.objective.draws, spec.seed, stick)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process a study: a second one would take up the trial that the first is running."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyBusy(
                f'Study "{folder.name}" is being worked on by another process.\n'
                "Two would run the same trial.\nWait for it, or stop it with Ctrl-C in its terminal."
            ) from error
        yield
