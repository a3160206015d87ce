"""How large the runs of a benchmark are: corpus, network, plan and measure."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import median

import click

import model.network.products
from benchmarks.faults.language import BANDS, HELD_OUT, MELS, Shape, Spoken, speak
from model.data.corpus import Corpus
from model.settings import SIZES, Dimensions, Settings
from objectives.distance import mel_cepstral_distance
from objectives.quality import Judge, Yardstick
from smart_tuner.repair.health import Pace
from studies.file.spec import load
from studies.run import data


@dataclass(frozen=True)
class Stage:
    """All step counts of cases are of this plan."""

    name: str
    planned: int  # optimizer steps
    validate_every: int
    measure_every: int
    checkpoint_every: int
    settings: Settings  # of the base recipe
    source: str = "made up"  # of its clips
    most: float = 1.3  # times the planned steps that a spoilt run may consume

    @property
    def pace(self) -> Pace:
        return Pace(self.planned, self.validate_every)

    @property
    def budget(self) -> int:
        """Consumed steps of a spoilt run, under any arm."""
        return round(self.most * self.planned)


TINY = Stage(
    "tiny",
    planned=240,
    validate_every=10,
    measure_every=60,
    checkpoint_every=20,
    settings=Settings(learning_rate=4e-3, warmup_steps=20, batch_size=12, n_frames_per_step=3),
)
SPEECH = Stage(  # a minute or two a run, to where a voice begins to speak
    "speech",
    planned=480,
    validate_every=20,
    measure_every=80,
    checkpoint_every=20,
    settings=Settings(learning_rate=4e-3, batch_size=16, n_frames_per_step=4, guided_attention_weight=2.0),
    source="quickstart",
)
STAGES = {stage.name: stage for stage in (TINY, SPEECH)}
HELD_OUT_SOURCES = {"quickstart": "russian"}  # whose clips the held-out half has: recorded speech
HOME = Path("runs")  # where the clips of shipped studies are made, or found
LONGEST = 260  # frames, 3 seconds: a longer clip would cost all others of its batch


def prepare(stage: Stage = TINY) -> None:
    """oneDNN is made for larger products: the tiny ones take two thirds of the time without it."""
    model.network.products.ONEDNN = model.network.products.ONEDNN and stage is not TINY


@cache
def spoken(shape: Shape) -> Spoken:
    if shape.source == "made up":
        return speak(shape)
    spec = load(shape.source)
    assert spec.corpus is not None
    as_written = spec.corpus.model_copy(update={"normalise": False, "stress": False})  # as results so far are
    spec = spec.model_copy(update={"corpus": as_written})
    corpus = data.load(spec, HOME, lambda *_: None, lambda text: click.echo(text, err=True))
    training, held_out = (
        tuple(item for item in items if len(item.mel) <= LONGEST)
        for items in (corpus.training, corpus.held_out)
    )
    return Spoken(replace(corpus, training=training, held_out=held_out), {})


def source_of(stage: Stage, half: str) -> str:
    """The clips of a half: a made-up language, or the corpus of a shipped study, by its name."""
    return HELD_OUT_SOURCES.get(stage.source, stage.source) if half == "held_out" else stage.source


def dimensions(corpus: Corpus) -> Dimensions:
    if corpus.mel_settings != MELS:
        return load("quickstart").voice.dimensions(len(corpus.front_end.symbols))
    return replace(
        SIZES["tiny"],
        n_symbols=len(corpus.front_end.symbols),
        n_mel_channels=BANDS,
        symbols_embedding_dim=32,
        encoder_n_convolutions=1,
        encoder_embedding_dim=32,
        attention_rnn_dim=80,
        attention_dim=24,
        decoder_rnn_dim=80,
        postnet_embedding_dim=24,
        postnet_n_convolutions=2,
    )


@cache
def judge(shape: Shape) -> Judge:
    """Free-running, on the sound clips that no run is trained on."""
    items = spoken(shape).corpus.held_out[:HELD_OUT]
    mismatch = median(mel_cepstral_distance(a.mel, b.mel) for a, b in combinations(items, 2))
    return Judge(items, 1, 1, Yardstick(mismatch, 0.0))
