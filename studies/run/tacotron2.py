"""The objective of a study of voices: its corpus, its judge and the weights to begin with, checked."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import optuna
import torch

from model.checkpoint import DamagedCheckpoint
from model.data.corpus import Corpus
from model.data.preflight import Report, by_reason
from model.data.staging import being_made
from model.extras import installing
from model.network.warm_start import WarmStartError, Weights, check_mels, read
from model.speech.text import FrontEnd
from model.speech.vocoder import vocoder_of
from model.speech.voice import DESCRIPTION, WEIGHTS
from objectives import ear, mos
from objectives.ear import EarError, recognizer_of
from objectives.listening import Hearing, Listener, Means
from objectives.quality import Judge, Yardstick, yardstick
from objectives.tacotron2 import Tacotron2
from smart_tuner.repair.rule import Rule
from smart_tuner.repair.rules.attention import TextIgnored
from smart_tuner.repair.rules.usual import unusual
from smart_tuner.store import attributes
from smart_tuner.store.optuna_private import storage_of
from smart_tuner.store.outage import first_line
from studies.file.sections import trial_named
from studies.file.spec import Spec
from studies.report.voices import export
from studies.run import data, libraries
from studies.run.artifacts import Artifacts, failed
from studies.run.study import StudyError, load_study

MOST_TIMES = 20.0  # by which the spread of mels may differ from what the network takes them to have
START = "start"  # folder, beside the trials', of the voice that they begin with
STORED = "warm_start_stored"  # attribute of a study: its digest, and the name under which the store has it


def voices(
    spec: Spec,
    study: optuna.Study,
    rules: tuple[Rule, ...],
    workdir: Path,
    progress: data.Progress,
    warned: Callable[[str], None],
    artifacts: Artifacts | None = None,
) -> Tacotron2:
    """The study's objective, once its recordings are checked and loaded.

    Raises:
        DataError, CorpusError, TextError: see there.
        StudyError: the speech data or the checkpoint to start from is another than before.
        WarmStartError, ArtifactsLost: that checkpoint cannot be used, or fetched.
    """
    libraries.choose(workdir)
    for told in unusual(spec.fixed):
        warned(told)
    # Or why not, before hours of speech are read.
    weights = begun_with(study, spec, workdir, artifacts, warned)
    corpus = data.load(spec, workdir, progress, warned)
    check_sample_text(spec, corpus.report, corpus.front_end)
    if words := corpus.front_end.in_words(spec.voice.speak):
        warned(f"the sample is spoken by rule: {words}")
    return voices_of(spec, study, rules, corpus, warned, weights)


def voices_of(
    spec: Spec,
    study: optuna.Study,
    rules: tuple[Rule, ...],
    corpus: Corpus,
    warned: Callable[[str], None],
    weights: Weights | None = None,
) -> Tacotron2:
    """The same, of a corpus that is loaded."""
    _check_corpus(study, corpus)
    _check_scale(spec, corpus)
    used = [rule.min_aligned_text_gain for rule in rules if isinstance(rule, TextIgnored)]
    vocoder = partial(vocoder_of, spec.speech.vocoder, corpus.mel_settings)
    warned(f"samples get their sound by {vocoder(torch.device('cpu')).name}")  # or why not, before a trial
    means = _means(spec, corpus)
    hearing = _hearing(spec, means)
    if means is None and recognizer_of(spec.ear.recognizer) is not None:
        warned(ear.NOT_INSTALLED)
    aside = None if means is None or hearing or not spec.ear.sentences else Listener(means, warned)
    return Tacotron2(
        corpus=corpus,
        judge=_judge(spec, study, corpus),
        sample_text=spec.voice.speak,
        weights=weights,
        text_is_used=max(used, default=0.0),
        warned=warned,
        vocoder=vocoder,
        by=spec.objective.value,
        heard=min(spec.ear.sentences, spec.objective.sentences),
        listener=aside,
        hearing=hearing,
        precision=spec.training.precision,
    )


def _means(spec: Spec, corpus: Corpus) -> Means | None:
    """What the study's voices can be heard with; None where nobody is to listen, or nothing is installed."""
    recognizer = recognizer_of(spec.ear.recognizer)
    if recognizer is None or not ear.is_installed():
        return None
    return Means(recognizer, spec.voice.corpus.language, spec.speech.vocoder, corpus.mel_settings)


def _hearing(spec: Spec, means: Means | None) -> Hearing | None:
    """What judges voices, where the study's value is by ear. Raises StudyError where there is nothing."""
    by = spec.objective.value
    if by == "distance":
        return None
    why = "No recognizer is named, or the extra ear is not installed."
    try:
        if means is not None:
            hearing = means.hearing()
            if by == "cer" or mos.is_installed():
                return hearing
            why = "DistillMOS, which predicts MOS, is not installed."
    except EarError as error:
        why = str(error)
    raise StudyError(
        f'Cannot run study "{spec.name}".\n'
        f'Its trials are compared by ear (objective.value = "{by}"). {why}\n'
        f"Install the extra ear: {installing('ear')}\n"
        f'and see that neither [ear] nor {ear.VARIABLE} says "none".'
    )


def begun_with(
    study: optuna.Study,
    spec: Spec,
    workdir: Path,
    artifacts: Artifacts | None = None,
    warned: Callable[[str], None] = lambda _: None,
) -> Weights | None:
    """What every trial of the study begins with, if not with nothing.

    Args:
        artifacts: where it is put, too, for workers that have it nowhere else.

    Raises:
        StudyError: it is another voice than that which the study began with, or there is none.
        WarmStartError: it cannot be read, or is of another kind than the study's network.
        ArtifactsLost: it is only in the store, which cannot be reached.
    """
    if (given := spec.voice.model.warm_start) is None:
        return None
    known: str | None = study.user_attrs.get("warm_start")
    folder, of = workdir / "studies" / spec.name, trial_named(given)
    here = Path(given).absolute() if of is None else folder / START
    found = read(here) if here.exists() else None
    if known is not None and artifacts is not None and (found is None or found.sha256 != known):
        found = _fetched(study, folder / f"{START}-{known[:12]}", known, artifacts) or found
    if found is None:
        if of is not None:
            _copy(study, spec, of, workdir, here, artifacts)
        found = read(here)
    check_mels(spec.voice.dimensions(1), found)
    if known not in (None, found.sha256):
        raise StudyError(
            f'Cannot continue study "{study.study_name}".\n'
            f"{found.path} is another voice than that which it began with.\n"
            "Put the first one back, give the --artifacts that has it, or start a study under another name."
        )
    study.set_user_attr("warm_start", found.sha256)
    if artifacts is not None:
        _keep(study, found, artifacts, warned)
    return found


def _fetched(study: optuna.Study, kept: Path, known: str, artifacts: Artifacts) -> Weights | None:
    """The voice from the store, put into a folder of its own; None where the store has not this one."""
    sha256, name = study.user_attrs.get(STORED, (None, None))
    if sha256 != known:
        return None
    if not kept.is_dir():
        try:
            with being_made(kept) as made:
                with artifacts.reached("fetch the voice that the study begins with from the artifact store"):
                    artifacts.unpack(name, made, START)
                if read(_inside(made)).sha256 != known:
                    raise DamagedCheckpoint(f"{START} holds another voice than was stored (sha256)")
                with suppress(OSError):  # another worker has just put it there
                    made.rename(kept)
        except (DamagedCheckpoint, WarmStartError) as error:
            raise StudyError(
                f'Cannot continue study "{study.study_name}".\n'
                f"The voice that it begins with cannot be had from the artifact store: {first_line(error)}\n"
                f"Give another --artifacts, or copy {kept.parent / START} from a machine that has it."
            ) from error
    return read(_inside(kept))


def _inside(folder: Path) -> Path:
    """A voice, or the only file of a public checkpoint."""
    files = sorted(folder.iterdir())
    return files[0] if len(files) == 1 else folder


def _keep(study: optuna.Study, start: Weights, artifacts: Artifacts, warned: Callable[[str], None]) -> None:
    """Have it in the store, under a name that the study knows once all of it is there."""
    if study.user_attrs.get(STORED, (None,))[0] == start.sha256:
        return
    name, path = f"{study.user_attrs['uid']}-{START}-{uuid4().hex}.tar", start.path
    try:
        artifacts.keep(name, [path / WEIGHTS, path / DESCRIPTION] if path.is_dir() else [path])
    except artifacts.failures as error:
        warned(f"the voice that the study begins with is only here, {failed(error)}; going on")
    else:
        study.set_user_attr(STORED, (start.sha256, name))


def _copy(
    study: optuna.Study,
    spec: Spec,
    of: tuple[str, int | None],
    workdir: Path,
    here: Path,
    artifacts: Artifacts | None,
) -> None:
    """Keep a copy of another study's voice: its best may change.

    Args:
        of: that study, and its trial if not its best one.
    """
    name, number = of
    what = "best voice" if number is None else f"voice of trial {number}"
    to_do = f"Run first: run_study.py start {name}   or leave warm_start out"
    try:
        source = load_study(name, storage_of(study))
        to_do = "Give the --home or --artifacts that has it, or begin with another one."
        export(source, number, workdir / "studies" / name, here, artifacts)
    except (StudyError, OSError, DamagedCheckpoint) as error:
        if not here.is_dir():  # another worker has just made it
            raise StudyError(
                f'Cannot run study "{spec.name}".\n'
                f'It begins with the {what} of study "{name}" (model.warm_start). {first_line(error)}\n'
                + to_do
            ) from error


def check_sample_text(spec: Spec, report: Report, front_end: FrontEnd) -> None:
    """The sample must be readable, and never have been trained on. Raises TextError or StudyError.

    Args:
        report: of the check of the corpus.
        front_end: what reads its texts.
    """
    text = spec.voice.speak
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


def _check_scale(spec: Spec, corpus: Corpus) -> None:
    """The network must see mels of about its own size, or none of its first weights fits them."""
    seen = spec.voice.dimensions(1)
    mels = np.concatenate([item.mel for item in corpus.held_out])
    middle, spread = float(mels.mean()), float(mels.std())
    times, away = spread / seen.mel_scale, abs(middle - seen.mel_mean) / seen.mel_scale
    if 1 / MOST_TIMES <= times <= MOST_TIMES and away <= MOST_TIMES:
        return
    raise StudyError(
        f'Cannot run study "{spec.name}".\n'
        f"Its network takes mels to have a mean of {seen.mel_mean:g} (mel_mean) and a spread of "
        f"{seen.mel_scale:g} (mel_scale); those of the recordings have {middle:.1f} and {spread:.1f}.\n"
        "Leave both out of [model], or give about these numbers."
    )


def _judge(spec: Spec, study: optuna.Study, corpus: Corpus) -> Judge:
    items = corpus.held_out[: spec.objective.sentences]
    known = _known_yardstick(study)
    stick = known or yardstick(items, corpus.mel_settings)
    if known is None:
        study.set_user_attr("yardstick", asdict(stick))
    return Judge(items, spec.objective.draws, spec.seed, stick)


def _known_yardstick(study: optuna.Study) -> Yardstick | None:
    known = attributes.distances(study)
    complete = known.keys() == {field.name for field in fields(Yardstick)}
    return Yardstick(**known) if complete else None
