"""The four naive rules (shared design, healing.md section 1), as their first author had them: all at once.

Every measure is taken as it was: the global gradient norm, the mean of A[i, i], the share of right gate
frames, the raw variance of the loss. Nothing waits, nothing is judged, nothing is taken back. The variance's
bound was never written down; it is ours.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from model.data.corpus import Utterance, collate
from model.network.layers import true_positions
from model.network.tacotron2 import decoder_steps
from model.settings import LIMITS, Settings
from model.training import Training
from objectives.base import Step

SMALLEST_NORM, LEAST_DIAGONAL, LEAST_GATE, MOST_VARIANCE = 1e-8, 0.3, 0.7, 0.5


@dataclass(frozen=True)
class Seen:
    grad_norm: float
    diagonal: float  # mean of A[i, i]
    gate: float  # share of right frames
    variance: float  # of the loss


def repaired(settings: Settings, seen: Seen) -> Settings:
    changes: dict[str, float] = {}
    if seen.grad_norm < SMALLEST_NORM:  # "scale the loss"
        changes |= {name: 10 * getattr(settings, name) for name in ("mel_l1_weight", "mel_l2_weight")}
    if seen.diagonal < LEAST_DIAGONAL:
        changes["guided_attention_weight"] = 2 * settings.guided_attention_weight
    if seen.gate < LEAST_GATE:
        changes |= {"gate_weight": 1.5 * settings.gate_weight, "learning_rate": settings.learning_rate / 2}
    if seen.variance > MOST_VARIANCE:
        changes["batch_size"] = settings.batch_size // 2
    kept = {name: min(max(value, LIMITS[name][0]), LIMITS[name][1]) for name, value in changes.items()}
    return replace(settings, **{name: type(getattr(settings, name))(v) for name, v in kept.items()})


class Naive:
    """Is called at every step, and judges when a validation is due."""

    def __init__(self, items: Sequence[Utterance], every: int) -> None:
        self._items, self._every = items, every
        self._losses: deque[float] = deque(maxlen=20)
        self.changes = 0
        self.first: int | None = None  # step of the first change

    def __call__(self, training: Training, done: Step) -> None:
        self._losses.append(done.signals["loss"])
        if training.step % self._every:
            return
        diagonal, gate = self._look(training)
        before = training.settings
        seen = Seen(done.signals["grad_norm"], diagonal, gate, float(np.var(self._losses)))
        training.settings = repaired(before, seen)
        if training.settings != before:
            self.changes += 1
            self.first = self.first or training.step

    @torch.no_grad()
    def _look(self, training: Training) -> tuple[float, float]:
        s, batch, model = training.settings, collate(self._items), training.model
        random = torch.random.get_rng_state()
        model.eval()
        found = model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s)
        model.train()
        torch.random.set_rng_state(random)
        size = min(found.alignments.shape[1:])
        steps = decoder_steps(batch.mel_lengths, s.n_frames_per_step)
        ended = ~true_positions(steps, found.gates.shape[1])
        diagonal = torch.diagonal(found.alignments[:, :size, :size], dim1=1, dim2=2).mean()
        return float(diagonal), float(((found.gates > 0) == ended).float().mean())
