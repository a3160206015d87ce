"""What strikes a run in mid-training: state that is lost, mixed up or spoilt, and sound that is read anew."""

from dataclasses import replace

import numpy as np
import torch

from benchmarks.faults.setup import Setup, Strike
from model.network.tacotron2 import Tacotron2
from model.training import Training

FOREIGN_GATES = (0, 2, 1, 3)  # TensorFlow's order of an LSTM's gates (i, g, f, o), in torch's (i, f, g, o)


def foreign_gates(setup: Setup, _: float) -> Setup:
    """A resume from weights of TensorFlow: the gates of every LSTM come in another order."""

    def hit(training: Training) -> None:
        with torch.no_grad():
            for name, parameter in training.model.named_parameters():
                if "_ih" in name or "_hh" in name:
                    gates = parameter.chunk(4)
                    parameter.copy_(torch.cat([gates[i] for i in FOREIGN_GATES]))

    return setup.with_strikes(Strike(hit))


def overflown_statistics(setup: Setup, variance: float) -> Setup:
    """A batch overflowed: batch normalisation remembers this variance, and uses it where it speaks."""

    def hit(training: Training) -> None:
        for module in training.model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.get_buffer("running_var").fill_(variance)

    return setup.with_strikes(Strike(hit))


def averaged_processes(setup: Setup, share: float) -> Setup:
    """All weights are averaged with such a share of those of a process that began anew."""

    def hit(training: Training) -> None:
        with training._own_randomness(), torch.no_grad():
            other = Tacotron2(training.model.dimensions)
            for parameter, new in zip(training.model.parameters(), other.parameters(), strict=True):
                parameter.lerp_(new, share)

    return setup.with_strikes(Strike(hit))


def undivided_waves(setup: Setup, scale: float) -> Setup:
    """From now on waves are read as integers, and not divided by their largest value."""
    louder = np.float32(np.log(scale))

    def hit(training: Training) -> None:
        items = training._items
        training._items = lambda: [  # type: ignore[method-assign]
            replace(item, mel=item.mel + louder) for item in items()
        ]

    return setup.with_strikes(Strike(hit, lasting=True))


STRIKES = (foreign_gates, overflown_statistics, averaged_processes, undivided_waves)
