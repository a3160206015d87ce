"""Listen to a study's best voice, once its trials are done: what of it would be understood."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import optuna

from model.checkpoint import DamagedCheckpoint
from model.speech.voice import Voice
from objectives.ear import Ear, EarError, recognizer_of
from objectives.listening import Hearing
from objectives.mos import predictor
from objectives.similarity import speaker_encoder
from objectives.tacotron2 import Tacotron2
from smart_tuner.store import attributes
from smart_tuner.store.attributes import Heard
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import UNREACHABLE
from studies.file.spec import Spec
from studies.report import history
from studies.report.voices import voice_of
from studies.run.artifacts import Artifacts
from studies.run.study import StudyError, rdb

MOST_SENTENCES = 32  # that are listened to at the end, if so many are held out: a minute on one core


def hear_best(
    study: optuna.Study,
    spec: Spec,
    objective: Tacotron2,
    folder: Path,
    device: str,
    artifacts: Artifacts | None,
    warned: Callable[[str], None],
) -> None:
    """Keep what was understood of the best trial's voice as the study's attribute "heard", unless others
    still work on the study, or it is known."""
    best, leases = history.best_trial(study), Leases(rdb(study).ours, study.user_attrs["uid"]).counts()
    over = not history.left_to_do(study, spec, leases) and not history.is_worked_on(leases)
    recognizer = recognizer_of(spec.ear.recognizer)
    if best is None or not over or recognizer is None or attributes.heard(study, best):
        return
    try:
        ear = Ear(recognizer, spec.voice.corpus.language, device)
        _, voice = voice_of(study, best.number, folder, device, artifacts)
        found = heard_of(voice, objective, ear, best.number)
    except (EarError, StudyError, DamagedCheckpoint) as error:
        warned(str(error))
        return
    with suppress(*UNREACHABLE):  # else the next worker listens
        study.set_user_attr("heard", {**asdict(found), "recognizer": recognizer, "vocoder": voice.sounds_by})


def heard_of(voice: Voice, objective: Tacotron2, ear: Ear, trial: int) -> Heard:
    """What is understood of held-out sentences, and of their recordings through the same vocoder."""
    items = objective.corpus.held_out[:MOST_SENTENCES]
    texts, rate = [item.text for item in items], voice.mel_settings.sample_rate
    speeches = voice.read([item.symbols.tolist() for item in items], range(len(items)))
    hearing = Hearing(ear, predictor(), speaker_encoder(), voice.vocoded, rate)
    return Heard(trial, **hearing([s.mel for s in speeches], [item.mel for item in items], texts))
