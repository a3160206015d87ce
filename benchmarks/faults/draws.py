"""Healthy runs as a search has them: settings drawn from the whole space, and seldom the recipe's."""

from dataclasses import fields, replace

import numpy as np
import optuna

from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import Stage, source_of
from benchmarks.search.table import CUBE
from model.settings import SIZES, Settings
from studies.file.space import suggest
from studies.file.spec import load

SETTINGS = {field.name for field in fields(Settings)}
SHAPES = {"small": 0.7, "tiny": 0.3}  # the sizes of network, and how often each is drawn
FRAMES = {4: 0.6, 3: 0.2, 2: 0.2}  # a decoder step
BATCHES = (8, 16)


def drawn(setup: Setup, stage: Stage, half: str, seed: int) -> Setup:
    """The settings of draw number `seed`: of the tiny stage's searches, or of the shipped study whose clips
    the half has, and there size, frames a step and batch size beside them."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    if stage.source == "made up":
        return setup.with_settings(**study.ask(dict(CUBE.sources)).params)
    spec = load(source_of(stage, half))
    random = np.random.default_rng((seed, 7))
    r, batch = int(random.choice(list(FRAMES), p=list(FRAMES.values()))), int(random.choice(BATCHES))
    size = str(random.choice(list(SHAPES), p=list(SHAPES.values())))
    found = suggest(study.ask(), spec)
    settings = {name: value for name, value in found.items() if name in SETTINGS}
    shapes = replace(SIZES[size], n_symbols=len(setup.corpus.front_end.symbols))
    setup = setup.with_settings(n_frames_per_step=r, **{"batch_size": batch, **settings})
    return replace(setup, dimensions=shapes)


def searched(stage: Stage, half: str) -> frozenset[str]:
    """What a search of these draws decides."""
    if stage.source == "made up":
        return frozenset(CUBE.sources)
    return frozenset(load(source_of(stage, half)).space)
