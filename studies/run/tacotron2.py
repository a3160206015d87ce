"""The objective of a study of voices: its corpus, its judge and the weights to begin with, checked."""

from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch

from model.data.corpus import Corpus
from model.data.preflight import Report, by_reason
from model.extras import installing
from model.network.warm_start import Weights, check_mels, read
from model.speech.text import FrontEnd
from model.speech.vocoder import vocoder_of
from objectives import ear, mos
from objectives.ear import EarError, recognizer_of
from objectives.listening import Hearing, Listener, Means
from objectives.quality import Judge, Yardstick, yardstick
from objectives.tacotron2 import Tacotron2
from smart_tuner.repair.rule import Rule
from smart_tuner.repair.rules.attention import TextIgnored
from smart_tuner.store import attributes
from smart_tuner.store.optuna_private import storage_of
from smart_tuner.store.outage import first_line
from studies.file.spec import OF_STUDY, Spec
from studies.report.voices import export
from studies.run import data, libraries
from studies.run.study import StudyError, load_study

MOST_TIMES = 20.0  # by which the spread of mels may differ from what the network takes them to have
START = "start"  # folder, beside the trials', of the voice that they begin with


def voices(
    spec: Spec,
    study: optuna.Study,
    rules: tuple[Rule, ...],
    workdir: Path,
    progress: data.Progress,
    warned: Callable[[str], None],
) -> Tacotron2:
    """The study's objective, once its recordings are checked and loaded.

    Raises:
        DataError, CorpusError, TextError: see there.
        StudyError: the speech data or the checkpoint to start from is another than before.
        WarmStartError: that checkpoint cannot be used.
    """
    libraries.choose(workdir)
    weights = begun_with(study, spec, workdir)  # or why not, before hours of speech are read
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


def begun_with(study: optuna.Study, spec: Spec, workdir: Path) -> Weights | None:
    """What every trial of the study begins with, if not with nothing.

    Raises:
        StudyError: it is another voice than that which the study began with, or there is none.
        WarmStartError: it cannot be read, or is of another kind than the study's network.
    """
    if (path := _start(study, spec, workdir)) is None:
        return None
    found = read(path)
    check_mels(spec.voice.dimensions(1), found)
    known = study.user_attrs.get("warm_start", found.sha256)
    if known != found.sha256:
        raise StudyError(
            f'Cannot continue study "{study.study_name}".\n'
            f"{found.path} is another voice than that which it began with.\n"
            "Put the first one back, or start a study under another name."
        )
    study.set_user_attr("warm_start", known)
    return found


def _start(study: optuna.Study, spec: Spec, workdir: Path) -> Path | None:
    """Where the voice to begin with is. Of another study's the study keeps a copy: its best may change."""
    given = spec.voice.model.warm_start
    if given is None or not given.startswith(OF_STUDY):
        return None if given is None else Path(given).absolute()
    kept, name = workdir / "studies" / spec.name / START, given.removeprefix(OF_STUDY)
    try:
        if not kept.is_dir():
            export(load_study(name, storage_of(study)), None, workdir / "studies" / name, kept)
    except (StudyError, OSError) as error:
        if not kept.is_dir():  # another worker has just made it
            raise StudyError(
                f'Cannot run study "{spec.name}".\n'
                f'It begins with the best voice of study "{name}" (model.warm_start). {first_line(error)}\n'
                f"Run first: run_study.py start {name}   or leave warm_start out"
            ) from error
    return kept


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
