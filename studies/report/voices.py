"""The voice of a trial: found through its study, made to speak, handed out."""

import io
import json
import os
import shutil
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import soundfile

from model import checkpoint
from model.data.staging import being_made
from model.speech.text import GIVEN
from model.speech.vocoder import vocoder_of
from model.speech.voice import DESCRIPTION, WEIGHTS, Speech, Voice, load_voice
from objectives.ear import Ear, EarError, Transcription, recognizer_of
from objectives.misreading import Attended, Misreading, attended, misreading, word_ends
from objectives.pictures import save_alignment
from smart_tuner.notify.telegram.voice_note import as_opus
from smart_tuner.store import attributes
from studies.file.spec import Spec
from studies.report.history import best_trial
from studies.report.outputs import SOUNDS, STDOUT
from studies.report.summary import untrained
from studies.run.artifacts import Artifacts, TrialArtifacts
from studies.run.folders import trial_folder
from studies.run.study import StudyError, rdb, stored_spec

READINGS = 4
MOST_CER = 0.5  # of a reading that says its text: another text has some 0.85, an accent may cost 0.3
BLOCK = 2**16  # samples written at once: more of them overflow the stack of some encoders


def best_checkpoint(
    study: optuna.Study, number: int | None, folder: Path, artifacts: Artifacts | None = None
) -> tuple[int, Path]:
    """Number and best checkpoint of a trial; without a number of the best trial.

    Args:
        artifacts: where it is fetched from if it is not in the study's `folder`.

    Raises:
        StudyError: no such trial, nothing measured yet, its files are not on this machine, or are no voice's.
        DamagedCheckpoint: the files were changed.
        ArtifactsLost: the store cannot be reached.
    """
    if number is None:
        best = best_trial(study)
        if best is None:
            why = untrained(study) or "Nothing was chosen as best."
            raise StudyError(
                f'Study "{study.study_name}" has no completed trial with a voice yet.\n{why}\n'
                "Name one with --trial N, or go on: run_study.py resume " + study.study_name
            )
        number = best.number
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise StudyError(
            f'Study "{study.study_name}" has no trial {number}.\nIt has {len(trials)}, from 0.\n'
            f"Run: run_study.py trials {study.study_name}"
        )
    measured = attributes.best_measure(trials[number])
    if measured is None:
        best = best_trial(study)
        other = f"The best that has one is trial {best.number}." if best else "No other one has completed."
        raise StudyError(f"Trial {number} was never measured here.\nIt has no voice to speak with.\n{other}")
    step: int = measured["step"]
    path = checkpoint.at(trial_folder(folder, number), step)
    if artifacts is not None and not path.is_dir():
        engine, uid = rdb(study).ours, study.user_attrs["uid"]
        TrialArtifacts(artifacts, engine, uid, number, path.parent, lambda _: None).bring(step)
    if not path.is_dir():
        raise StudyError(
            f"The checkpoint of trial {number} is not here.\nExpected: {path}\n"
            "Run this where the study ran, or give its folder with --home, or its store with --artifacts."
        )
    checkpoint.verify(path)
    return number, path


def voice_checkpoint(
    study: optuna.Study, number: int | None, folder: Path, artifacts: Artifacts | None = None
) -> tuple[int, Path]:
    """The same, of a trial that trained a voice. Raises StudyError, too, where it trained something else."""
    number, path = best_checkpoint(study, number, folder, artifacts)
    if not (path / DESCRIPTION).is_file():
        raise StudyError(
            f'Study "{study.study_name}" trains no voice.\n'
            f"The checkpoint of trial {number} is of another model.\n"
            f"See what it measured: run_study.py report {study.study_name}"
        )
    return number, path


def voice_of(
    study: optuna.Study, number: int | None, folder: Path, device: str, artifacts: Artifacts | None = None
) -> tuple[int, Voice]:
    number, path = voice_checkpoint(study, number, folder, artifacts)
    return number, with_sound(load_voice(path, device), study)


def with_sound(voice: Voice, study: optuna.Study) -> Voice:
    """The voice with the vocoder that its study asks for. Raises VocoderError."""
    chosen = stored_spec(study).speech.vocoder
    return replace(voice, vocoder=vocoder_of(chosen, voice.mel_settings, voice.device))


@lru_cache
def _ear(recognizer: str, language: str) -> Ear | None:
    try:
        return Ear(recognizer, language, fetch=False)
    except EarError:
        return None


@dataclass(frozen=True)
class Reading:
    """A text as a voice spoke it, and what was heard of it."""

    speech: Speech
    heard: Transcription
    misreading: Misreading

    @property
    def is_sound(self) -> bool:
        return not self.misreading and self.heard.cer <= MOST_CER

    def told(self) -> dict[str, Any]:
        """Letters that were understood, of 100, and the words that are wrong."""
        return {
            "letters": round(100 * (1 - self.heard.cer)),
            "lost": self.misreading.lost,
            "repeated": self.misreading.repeated,
        }

    @property
    def faults(self) -> tuple[bool, int, float]:
        """To be compared: whether it is another text, how many words are wrong, and how well it is heard."""
        wrong = len(self.misreading.lost) + len(self.misreading.repeated)
        return self.heard.cer > MOST_CER, wrong, self.heard.cer


def attention_of(voice: Voice, speech: Speech, text: str) -> list[Attended] | None:
    """None where the places of words in the text are not known: some of it was given as phonemes."""
    symbols = speech.alignment.shape[1] - 1  # without the end
    ends = [] if GIVEN.search(text) else word_ends(voice.front_end, text, symbols)
    return attended(speech.alignment.argmax(1), ends) if ends else None


def checked(voice: Voice, text: str, ear: Ear) -> tuple[Reading, int]:
    """The best reading of a text, of at most four with other masks; the first sound one will do.

    Returns how many were spoken, too.
    """
    found: list[Reading] = []
    while len(found) < READINGS and not any(reading.is_sound for reading in found):
        speech = voice.speak(text, seed=len(found))
        wave, rate = voice.sound(speech), voice.mel_settings.sample_rate
        heard = ear([wave], rate, [text])
        said = misreading(ear, wave, rate, text, heard.texts[0], attention_of(voice, speech, text))
        found.append(Reading(speech, heard, said))
    return min(found, key=lambda reading: reading.faults), len(found)


def heard_at_once(study: optuna.Study, voice: Voice, text: str) -> tuple[Speech, dict[str, Any] | None]:
    """A text as `checked` reads it, and what was heard of it, if the study's recognizer is here: nothing is
    fetched. Else its first reading, and None."""
    recognizer = recognizer_of(stored_spec(study).ear.recognizer)
    ear = _ear(recognizer, voice.front_end.name) if recognizer else None
    if ear is None:
        return voice.speak(text), None
    reading, readings = checked(voice, text, ear)
    return reading.speech, {**reading.told(), "readings": readings}


def encoded(voice: Voice, speech: Speech, ending: str) -> bytes:
    """The sound of a speech, as a file whose name has one of the endings in SOUNDS."""
    form, subtype = SOUNDS[ending]
    rate, sound, file = voice.mel_settings.sample_rate, voice.sound(speech).clip(-1.0, 1.0), io.BytesIO()
    if subtype == "OPUS":
        soundfile.write(file, sound, rate, format="WAV", subtype="FLOAT")
        file.seek(0)
        return as_opus(file)
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format=form) as writer:
        for first in range(0, len(sound), BLOCK):
            writer.write(sound[first : first + BLOCK])
    return file.getvalue()


def draw(voice: Voice, speech: Speech, text: str, path: Path, title: str) -> None:
    """A picture of the alignment, as PNG."""
    save_alignment(path, speech, voice.front_end.encode(text), voice.front_end, title)


def export(
    study: optuna.Study, number: int | None, folder: Path, target: Path, artifacts: Artifacts | None = None
) -> Path:
    """Copy a trial's voice into a new folder with all that is needed to speak, and where it is from."""
    if os.path.lexists(target) or target == STDOUT:
        why = "A voice is several files" if target == STDOUT else "It exists already"
        raise StudyError(f"Cannot export to {target}.\n{why}.\nGive a new folder with -o.")
    with being_made(target) as part:
        number, path = voice_checkpoint(study, number, folder, artifacts)
        _fill(part, study, number, path)
        part.rename(target)
    return target


def _fill(target: Path, study: optuna.Study, number: int, path: Path) -> None:
    for name in (WEIGHTS, DESCRIPTION):
        shutil.copyfile(path / name, target / name)
    trial = study.get_trials(deepcopy=False)[number]
    spec = Spec.parse_json(study.user_attrs["spec"]).with_paths(
        lambda path: Path(path).name
    )  # a voice is given away
    origin = {
        "study": study.study_name,
        "trial": number,
        "params": trial.params,
        "measures": attributes.measures(trial),
        "yardstick": attributes.yardstick(study),
        "corpus_fingerprint": study.user_attrs.get("corpus"),
        "licence": "The voice inherits the terms of the recordings that it was trained on.",
        "spec": spec.model_dump(mode="json"),
    }
    (target / "origin.json").write_text(json.dumps(origin, indent=1, ensure_ascii=False), "utf-8")
