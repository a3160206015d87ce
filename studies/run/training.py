"""One trial of a study as a training: from its parameters to the value that the objective gives it."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Protocol

import optuna
import torch

from model.data.corpus import Corpus
from model.data.preflight import Report, by_reason
from model.network.warm_start import PublicWeights, check_mels, read, warm_start
from model.speech.text import FRONT_ENDS
from model.training import StepMeasures, Training
from objectives.quality import Judge, Yardstick, yardstick
from objectives.tacotron2 import Attempt, Measured, Plan, Tacotron2Objective
from smart_tuner.repair.rule import Entry
from smart_tuner.store import attributes
from smart_tuner.store.optuna_private import id_of, latest, storage_of
from smart_tuner.store.outage import first_line
from studies.file.space import check_given, derived, suggest
from studies.file.spec import Spec
from studies.run.study import StudyError

# Runs a trial to its value, or raises what ends it.
Job = Callable[[Attempt], float]


class Display(Protocol):
    """Who shows a person how the study goes."""

    def study(self, done: int, spec: Spec, best: float | None) -> None: ...
    def trial_started(self, number: int, params: dict[str, object], plan: Plan, step: int) -> None: ...
    def trial_ended(self, number: int, state: str, value: float | None, reason: str) -> None: ...
    def stepped(self, measures: StepMeasures) -> None: ...
    def repaired(self, entry: Entry) -> None: ...
    def measured(self, measured: Measured) -> None: ...
    def saving(self, step: int) -> None: ...
    def sampled(self, step: int) -> None: ...
    def warned(self, text: str) -> None: ...


def check_device(device: str) -> None:
    """Compute something there. Raises StudyError: no trial is to be taken for nothing."""
    try:
        square = torch.ones(2, 2, device=device)
        (square @ square).sum().item()
    except (RuntimeError, AssertionError, ImportError) as error:  # torch knows no common one
        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise StudyError(
            f'Cannot use the device "{device}".\n{first_line(error)}\n'
            f"Give --device one of those that work here: {', '.join(found)}."
        ) from error


def trainings(spec: Spec, study: optuna.Study, corpus: Corpus, device: str, display: Display) -> Job:
    """What a worker does with each trial.

    Raises:
        StudyError: the speech data or the checkpoint to start from is another than before.
        WarmStartError: that checkpoint cannot be used.
    """
    _check_corpus(study, corpus)
    public = public_weights(study, spec)
    plan = plan_of(spec, device)
    objective = Tacotron2Objective(corpus, _judge(spec, study, corpus), plan, display)

    def run(attempt: Attempt) -> float:
        trial = attempt.trial
        params = attempt.outage.wait_for(lambda: _suggested(trial, spec))
        settings = spec.settings(params)
        seed = derived(spec.seed, "training", trial.number)
        dimensions = spec.dimensions(params, len(corpus.front_end.symbols))
        training = Training(corpus, dimensions, settings, seed, device)
        if public is not None:
            _warm_start(training, public, display)
        attempt.outage.wait_for(lambda: _note_start(trial, asdict(settings)))
        last = attempt.outage.wait_for(lambda: storage_of(trial.study).get_trial(id_of(trial)).last_step)
        display.trial_started(trial.number, params, plan, last or 0)
        return objective(attempt, training)

    return run


def _suggested(trial: optuna.Trial, spec: Spec) -> dict[str, object]:
    check_given(latest(trial), spec)
    try:
        return suggest(trial, spec)
    except ValueError as error:
        raise StudyError(
            f'Cannot draw parameters in study "{trial.study.study_name}".\n{error}\n'
            "Trials that were added from elsewhere use a parameter's name for something else: "
            "start the study anew under another name."
        ) from error


def _note_start(trial: optuna.Trial, settings: dict[str, float]) -> None:
    trial.set_user_attr("settings", settings)
    trial.set_user_attr("policy", trial.study.user_attrs["policy"])


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


def public_weights(study: optuna.Study, spec: Spec) -> PublicWeights | None:
    """What every trial of the study begins with, if not with nothing.

    Raises:
        StudyError: it is another checkpoint than before.
        WarmStartError: it cannot be read, or is of another kind than the study's network.
    """
    if spec.model.warm_start is None:
        return None
    path = Path(spec.model.warm_start).absolute()
    check_mels(spec.dimensions({}, 1), path)
    public = read(path)
    known = study.user_attrs.get("warm_start", public.sha256)
    if known != public.sha256:
        raise StudyError(
            f'Cannot continue study "{study.study_name}".\n'
            f"{public.path} is another checkpoint than that which it began with.\n"
            "Put the first one back, or start a study under another name."
        )
    study.set_user_attr("warm_start", known)
    return public


def _warm_start(training: Training, public: PublicWeights, display: Display) -> None:
    """What a checkpoint of the trial itself holds comes later, and replaces this."""
    told = warm_start(training.model, training.corpus.front_end, public)
    kinds = {"loaded": told.loaded, "reshaped": told.reshaped, "skipped": told.skipped}
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
    display.warned(f"warm start: {counts} {list(told.reshaped + told.skipped)}")


def check_sample_text(spec: Spec, report: Report) -> None:
    """The sample must be readable, and never have been trained on. Raises TextError or StudyError.

    Args:
        report: of the check of the corpus.
    """
    text, front_end = spec.objective.speak, FRONT_ENDS[spec.corpus.language]
    symbols = front_end.encode(text)
    if any(symbols == front_end.encode(row.text) for row in report.training()):
        raise StudyError(
            f'Cannot use "{text}" as the sample.\nThe voice is trained on it, so it would prove nothing.\n'
            "Give objective.speak another sentence."
        )


def _check_corpus(study: optuna.Study, corpus: Corpus) -> None:
    known = study.user_attrs.get("corpus")
    if known is None:
        study.set_user_attr("corpus", corpus.fingerprint)
        if problems := corpus.report.problems:
            study.set_user_attr("skipped", f"{by_reason(problems)}, of {corpus.report.total} clips")
    elif known != corpus.fingerprint:
        raise StudyError(
            f'Cannot continue study "{study.study_name}".\n'
            "The speech data changed since it began: its trials could not be compared.\n"
            "Put the recordings back as they were, or start a study under another name."
        )


def _judge(spec: Spec, study: optuna.Study, corpus: Corpus) -> Judge:
    items = corpus.held_out[: spec.objective.sentences]
    known = _known_yardstick(study)
    stick = known or yardstick(items, corpus.mel_settings)
    if known is None:
        study.set_user_attr("yardstick", asdict(stick))
    return Judge(items, spec.objective.draws, spec.seed, stick)


def _known_yardstick(study: optuna.Study) -> Yardstick | None:
    known = attributes.yardstick(study)
    complete = known.keys() == {field.name for field in fields(Yardstick)}
    return Yardstick(**known) if complete else None
