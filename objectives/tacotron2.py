"""Tacotron 2 as an objective: a voice in the making, judged by sentences that it speaks freely."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model import training
from model.data.corpus import Corpus
from model.network import blocks
from model.network.warm_start import Weights, warm_start
from model.settings import PRECISION, Dimensions, Precision, Settings
from model.speech.audio import write_wave
from model.speech.vocoder import Vocoder
from model.speech.voice import Voice
from model.training import StepMeasures, Training, Validation
from objectives import mos
from objectives.base import NonFinite, Objective, OutOfMemory, Run
from objectives.listening import Hearing, Listener
from objectives.pictures import save_alignment, save_attention, save_mels
from objectives.progress import ALIGNMENT, MELS, SAMPLE
from objectives.quality import Judge, Judgement
from objectives.signals import MEASURES, MILESTONE, PARAMETERS, SIGNALS, VALUES, WORDS
from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Hyperparameters
from smart_tuner.repair.rules.reading import WINDOW

APART = 1.3  # times the training loss: from there on it is asked why sentences that are held out lose more
HALVINGS = 3  # of the learning rate, while a voice is finished
MOVED = (
    "goes on from a checkpoint made on {there}; here it is {here}: correct, but not bit for bit what an "
    "undisturbed run would have been"
)


@dataclass(frozen=True)
class Tacotron2(Objective):
    """Voices of one corpus.

    Args:
        weights: what every trial begins with, if not with nothing.
        sample_text: what each trial's sample says.
        text_is_used: once text_gain came so far, a run's use of its text is not measured again.
        warned: told what became of those weights, and where a run goes on elsewhere than it was saved.
        vocoder: what samples are spoken with on a device; None: Griffin-Lim.
        by: what a run's value is (VALUES).
        heard: how many of the judge's sentences are listened to beside training.
        listener: that does it; None: nobody.
        hearing: what judges where the value is by ear, and all of the judge's sentences.
        precision: what products are computed in while a voice is trained.
    """

    corpus: Corpus
    judge: Judge
    sample_text: str
    weights: Weights | None = None
    text_is_used: float = 0.0
    warned: Callable[[str], None] = lambda _: None
    vocoder: Callable[[torch.device], Vocoder | None] = lambda _: None
    by: str = "distance"
    heard: int = 0
    listener: Listener | None = None
    hearing: Hearing | None = None
    precision: Precision = PRECISION

    parameters = PARAMETERS
    signals = SIGNALS
    milestone = MILESTONE
    curves = ("unweighted_loss", "guided")
    measures = MEASURES

    @property
    def unit(self) -> str:  # type: ignore[override]
        return VALUES[self.by][0]

    @property
    def words(self) -> Mapping[str, tuple[str, str]]:  # type: ignore[override]
        unit, name = VALUES[self.by]
        own = {} if self.by == "distance" else {"unit.value": (unit, unit), "measure.value": name}
        return {**WORDS, **own}

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()

    def finishing(self, parameters: Mapping[str, int | float], step: int, steps: int) -> dict[str, int]:
        """A learning rate that is halved `HALVINGS` times in the second half, unless it falls already."""
        if step > parameters["decay_start_step"]:
            return {}
        start = (step + steps) // 2
        return {"decay_start_step": start, "decay_half_life": max(1, (steps - start) // HALVINGS)}

    def run(self, parameters: Mapping[str, int | float], seed: int, device: str) -> "Tacotron2Run":
        settings, shapes = (
            {name: parameters[name] for name, p in PARAMETERS.items() if p.setting == setting}
            for setting in (True, False)
        )
        n_symbols = len(self.corpus.front_end.symbols)
        dimensions = Dimensions(n_symbols=n_symbols, **shapes)  # type: ignore[arg-type]
        begun_with = Settings(**settings)  # type: ignore[arg-type]
        made = Training(self.corpus, dimensions, begun_with, seed, device, self.precision)
        if made.device.type == "cuda" and (why := blocks.why_not(made.device)) is not None:
            self.warned(f"{why}; so training on this GPU is some ten times slower than it could be")
        if self.weights is not None:
            told = warm_start(made.model, self.corpus.front_end, self.weights)
            kinds = {"loaded": told.loaded, "reshaped": told.reshaped, "skipped": told.skipped}
            counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
            self.warned(f"warm start: {counts} {list(told.reshaped + told.skipped)}")
        run = Tacotron2Run(made, self.judge, self.sample_text, self.text_is_used, self.vocoder(made.device))
        run.by, run.heard, run.listener, run.hearing = self.by, self.heard, self.listener, self.hearing
        run.warned = self.warned
        return run


class Tacotron2Run(Run):
    """One voice in the making (model/training.py).

    Args:
        judge: measures it, and its sentences serve the teacher-forced validations.
    """

    shows = MappingProxyType({SAMPLE: "audio/wav", ALIGNMENT: "image/png", MELS: "image/png"})
    titles = MappingProxyType({ALIGNMENT: "alignment"})

    def __init__(
        self,
        training: Training,
        judge: Judge,
        sample_text: str = "",
        text_is_used: float = 0.0,
        vocoder: Vocoder | None = None,
    ) -> None:
        self.training, self._judge, self._vocoder = training, judge, vocoder
        self._sample_text, self._text_is_used = sample_text, text_is_used
        self.n_clips = len(training.corpus.training)
        self.limits = {"n_frames_per_step": (1, training.model.dimensions.max_frames_per_step)}
        self._failed: tuple[str, ...] = ()  # clips of the batch that could not be taken
        self._seen: Validation | None = None
        self._said: Sequence[NDArray[np.float32]] = ()  # at the newest measure, to be listened to
        self.by, self.heard = "distance", 0
        self.listener: Listener | None = None
        self.hearing: Hearing | None = None
        self.warned: Callable[[str], None] = lambda _: None

    @property
    def step(self) -> int:  # type: ignore[override]
        return self.training.step

    @property
    def settings(self) -> Hyperparameters:
        return Hyperparameters(asdict(self.training.settings))

    @settings.setter
    def settings(self, values: Mapping[str, int | float]) -> None:
        self.training.settings = Settings(**values)  # type: ignore[arg-type]

    def advance(self) -> dict[str, float]:
        try:
            measures = self.training.advance(closely=self.probing)
        except training.NonFinite as fault:
            self._failed = fault.clips
            raise NonFinite(fault.step, **fault.measures) from fault
        except training.OutOfMemory as error:
            raise OutOfMemory(str(error)) from error
        self.clips, self.waited = measures.clips, measures.waited
        return step_signals(measures)

    def skip(self) -> Sequence[str]:
        bad = self.training.unsound(self._failed)
        self.training.skip()
        whole_batch = 2 * len(bad) > len(self._failed)  # then it is not the clips
        return () if whole_batch else bad

    def validate(self, health: Health) -> dict[str, float]:
        """With text_gain, which takes two more validations, until the text was once of use."""
        items = self._judge.items
        self._seen = self.training.validate(items)
        found = validation_signals(self._seen) | {"constant": self._constant}
        trained = health.values("unweighted_loss", WINDOW)
        if len(trained) and self._seen.mel_l1 > APART * float(np.median(trained)):
            found["held_out_by_batch"] = self.training.by_batch(items)
        late = self.step >= health.pace.planned // 8
        if late and health.best.get("text_gain", 0.0) < self._text_is_used:
            found["text_gain"] = self.training.text_gain(items)
        return found

    @cached_property
    def _constant(self) -> float:
        """The mel loss of the best frame, always the same: it needs no text, and no frames before."""
        mels = np.concatenate([item.mel for item in self._judge.items])
        return float(np.abs(mels - np.median(mels, axis=0)).mean())

    def measure(self) -> dict[str, Any]:
        validation = self.training.validate(self.training.corpus.held_out)
        judgement = self._judge(self.training.voice())
        found = measures(validation, judgement)
        mels = [mel if np.isfinite(mel).all() else mel[:0] for mel in judgement.mels]
        self._said = mels[: self.heard] if validation.aligned else []
        if self.hearing is None:
            return found
        recordings, texts = self._recorded(len(mels))
        # before it is aligned it is no speech yet
        by_ear = self.hearing(mels, recordings, texts) if validation.aligned else {}
        found |= by_ear | {"distance": found["value"], "value": value_by(self.by, by_ear)}
        return found | {"spread": None}  # that of the distance

    def worth(self) -> float | None:
        """By the distance; what is heard takes a recognizer, and comes with the next measure."""
        return self._judge(self.training.voice()).value if self.hearing is None else None

    @property
    def worst(self) -> float:  # type: ignore[override]
        """That of a voice which says something else."""
        return self._judge.yardstick.mismatch if self.hearing is None else value_by(self.by, {})

    def leave(self, folder: Path) -> None:
        """What was said, once the voice is aligned: before, it is no speech yet."""
        if self.listener is not None and self._said:
            self.listener.put(folder, self.step, self._said, *self._recorded(len(self._said)))

    def _recorded(self, count: int) -> tuple[list[NDArray[np.float32]], list[str]]:
        """Log-mels and texts of the judge's first sentences."""
        items = self._judge.items[:count]
        return [item.mel for item in items], [item.text for item in items]

    def later(self, folder: Path, seconds: float) -> Mapping[int, Mapping[str, Any]]:
        return {} if self.listener is None else self.listener.found(folder, seconds)

    def save(self, folder: Path) -> None:
        self.training.save(folder)

    def restore(self, folder: Path) -> None:
        here, there = self.training.origin, self.training.restore(folder)
        if there not in (None, here):
            self.warned(MOVED.format(there=there, here=here))

    def roll_back(self, folder: Path) -> None:
        """All further batches come in a new order: the same ones would lead to the same end."""
        self.training.roll_back(folder)

    def reinitialise(self, part: str) -> None:
        self.training.reinitialise(part)

    def exclude(self, clips: Collection[str]) -> None:
        self.training.exclude(clips)

    def show(self, folder: Path, title: str) -> None:
        """A spoken sample, its alignment, and a held-out sentence beside its recording."""
        voice, item = replace(self.training.voice(), vocoder=self._vocoder), self._judge.items[0]
        save_sample(voice, self._sample_text, folder / SAMPLE, title)
        spoken = voice.read([item.symbols.tolist()], [0])[0]
        save_mels(folder / MELS, item.mel, spoken.mel, f"{item.text}\n{title}")

    def draw(self, path: Path) -> None:
        """The attention of the first held-out sentence at the last validation."""
        if self._seen is not None:
            item, front_end = self._judge.items[0], self.training.corpus.front_end
            title = f"step {self._seen.step}, clip {item.id}"
            save_attention(path, self._seen.attention, item.symbols.tolist(), front_end, title)


def save_sample(voice: Voice, text: str, path: Path, title: str) -> str:
    """Speak `text` into a WAV, with a picture of its alignment beside it; returns why it stopped."""
    speech, symbols = voice.speak(text), voice.front_end.encode(text)
    temporary = path.with_suffix(".tmp.wav")
    write_wave(temporary, voice.sound(speech), voice.mel_settings.sample_rate)
    os.replace(temporary, path)
    save_alignment(path.with_suffix(".png"), speech, symbols, voice.front_end, f"{text}\n{title}")
    return speech.stop


def value_by(by: str, heard: Mapping[str, float]) -> float:
    """What is heard as a value of which smaller is better; the worst there is where nothing was heard.

    "cer": the share of wrong letters; "mos": what is missing to a MOS of 5, 0 to 4; "heard": the first, and a
    hundredth of the second. Words come first there: all of MOS, 0.04, weighs as much as 4 letters of 100.
    """
    cer, lack = heard.get("cer", 1.0), mos.BEST - heard.get("mos", mos.WORST)
    return {"cer": cer, "mos": lack, "heard": cer + lack / 100}[by]


def measures(validation: Validation, judgement: Judgement) -> dict[str, Any]:
    """A measure of a voice: its value in dB (objectives/quality.py), and what else is known of it."""
    ratios = [score.length_ratio for score in judgement.scores]
    return {
        "value": judgement.value,
        "spread": judgement.spread,
        "failure_share": judgement.failure_share,
        "failures": judgement.failures,
        "shortest": min(ratios),  # of all sentences, spoken length over recorded length
        "longest": max(ratios),
        "aligned_share": validation.aligned_share,  # teacher-forced, held-out
        "diagonal_score": validation.diagonal_score,
        "gate_accuracy": validation.gate_accuracy,
        "mel_l1": validation.mel_l1,
    }


def step_signals(m: StepMeasures) -> dict[str, float]:
    """By the names that rules know them by; those of the network's parts where they were measured."""
    found = {
        "loss": m.loss,
        "unweighted_loss": m.mel_l1,
        "gate": m.gate,
        "guided": m.guided,
        "grad_norm": m.grad_norm,
        "learning_rate": m.learning_rate,
    }
    kinds = {"gradient": "gradient_rms", "update": "update", "silent": "silent", "unchanged": "unchanged"}
    for part, group in (m.groups or {}).items():
        found |= {f"{kind}/{part}": float(getattr(group, name)) for kind, name in kinds.items()}
    return found


def validation_signals(v: Validation) -> dict[str, float]:
    """Means over the items; a measure that no item has is left out."""
    found = {
        "aligned": float(v.aligned),
        "diagonal_score": v.diagonal_score,
        "gate_accuracy": v.gate_accuracy,
        "gate_late": v.gate_late,
        "held_out": v.mel_l1,
        "dead": v.dead,
        "in_training": v.in_training,
    }
    rows = [asdict(alignment) for alignment in v.alignments]
    for name in ("penalty", "corr", "coverage", "back", "leap", "dwell", "focus"):
        values = [row[name] for row in rows if row[name] is not None]
        if values:
            found[name] = fmean(values)
    return found
