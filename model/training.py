"""Training: one voice in the making. It only advances; watching and judging are its caller's."""

import ctypes
import math
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.alignment import AlignmentMeasures, measure
from model.corpus import Batch, Corpus, Utterance, batches, collate
from model.losses import losses
from model.settings import Dimensions, Settings
from model.tacotron2 import TAIL_FRAMES, Tacotron2, decoder_steps
from model.voice import Voice, load_voice, save_voice

TRAINING_STATE = "training.pt"
# The share of held-out items whose alignment must be good before the model counts as aligned.
ALIGNED_SHARE = 0.8


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite; the weights were not touched by it."""


@dataclass(frozen=True)
class StepMeasures:
    """What one optimizer step already computed. Losses are unweighted but for `loss`."""

    step: int  # consumed optimizer steps, this one included
    loss: float
    mel_l1: float
    mel_l2: float
    gate: float
    guided: float
    grad_norm: float  # before clipping
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Validation:
    """Teacher-forced measures of held-out items under fixed prenet masks."""

    step: int
    mel_l1: float
    mel_l2: float
    gate: float
    gate_accuracy: float  # share of items whose gate opens within 10 frames of their end
    alignments: tuple[AlignmentMeasures, ...]

    @property
    def diagonal_score(self) -> float:
        return float(np.mean([a.diagonal_score for a in self.alignments]))

    @property
    def aligned_share(self) -> float:
        return float(np.mean([a.aligned for a in self.alignments]))

    @property
    def aligned(self) -> bool:
        return self.aligned_share >= ALIGNED_SHARE


def learning_rate_at(step: int, s: Settings) -> float:
    """Linear warm-up, then constant, then halved every decay_half_life steps."""
    warmth = min(1.0, (step + 1) / s.warmup_steps)
    halvings = max(0, step - s.decay_start_step) / s.decay_half_life
    return s.learning_rate * warmth * math.pow(0.5, halvings)


def _keep_freed_memory() -> None:
    """Make glibc keep what tensors leave for the next ones.

    It would give every large one back and have the system clear new pages for the next: a tenth of
    a full-size step (docs/performance.md).
    """
    if platform.libc_ver()[0] == "glibc":
        libc, m_trim_threshold, m_mmap_threshold = ctypes.CDLL(None), -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


class Training:
    """Trains on corpus.training. `settings` may be replaced between steps and is read at every one."""

    def __init__(
        self, corpus: Corpus, dimensions: Dimensions, settings: Settings, seed: int, device: str = "cpu"
    ) -> None:
        _keep_freed_memory()
        self.corpus, self.settings, self.device = corpus, settings, torch.device(device)
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all attempts
        self._seed, self._epoch, self._position = seed, 0, 0
        self._lengths = [len(item.mel) for item in corpus.training]
        self._drawn: tuple[tuple[int, int], list[list[int]]] = ((-1, -1), [])
        self._random = {"cpu": torch.Generator().manual_seed(seed).get_state()}
        if self.device.type == "cuda":
            self._random["cuda"] = torch.Generator(self.device).manual_seed(seed).get_state()
        with self._own_randomness():
            self.model = Tacotron2(dimensions).to(self.device)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate, fused=True)

    def advance(self) -> StepMeasures:
        """One optimizer step.

        Raises:
            NonFinite: loss or gradient is NaN or infinite; weights and optimizer are as before.
        """
        started, s = time.monotonic(), self.settings
        batch = self._next_batch()
        self._optimizer.zero_grad(set_to_none=True)
        with self._own_randomness():
            self.model.train()
            prediction = self.model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s)
        scale = self.model.dimensions.mel_scale
        terms = losses(prediction, batch.mels, batch.mel_lengths, batch.text_lengths, s, scale)
        loss = terms.total(s)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        measured = (loss, terms.mel_l1, terms.mel_l2, terms.gate, terms.guided, norm)
        total, l1, l2, gate, guided, length = torch.stack(measured).tolist()
        if not math.isfinite(total + length):
            self._optimizer.zero_grad(set_to_none=True)
            raise NonFinite(f"step {self.step + 1}: loss is {total}, gradient norm is {length}")
        torch.nn.utils.clip_grads_with_norm_(parameters, s.grad_clip_thresh, norm)
        rate = learning_rate_at(self.step, s)
        self._step_optimizer(rate)
        self.step += 1
        seconds = time.monotonic() - started
        self.seconds += seconds
        return StepMeasures(self.step, total, l1, l2, gate, guided, length, rate, seconds)

    def _step_optimizer(self, rate: float) -> None:
        s = self.settings
        for group in self._optimizer.param_groups:  # settings own these, whatever a resume restored
            group.update(lr=rate, betas=(0.9, s.adam_beta2), eps=s.adam_eps, weight_decay=s.weight_decay)
        self._optimizer.step()

    def _next_batch(self) -> Batch:
        if self._position >= len(self._order()):
            self._epoch, self._position = self._epoch + 1, 0
        items = [self.corpus.training[i] for i in self._order()[self._position]]
        self._position += 1
        return collate(items).to(self.device)

    def _order(self) -> list[list[int]]:
        """The batches of this epoch, drawn again only when the epoch or the batch size changes."""
        key = (self._epoch, self.settings.batch_size)
        if self._drawn[0] != key:
            self._drawn = key, batches(self._lengths, key[1], self._seed, self._epoch)
        return self._drawn[1]

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Draw from this training's own generators, so nothing else in the process disturbs them."""
        cuda = [self.device] if "cuda" in self._random else []
        with torch.random.fork_rng(devices=cuda):
            torch.random.set_rng_state(self._random["cpu"])
            if cuda:
                torch.cuda.set_rng_state(self._random["cuda"], self.device)
            yield
            self._random["cpu"] = torch.random.get_rng_state()
            if cuda:
                self._random["cuda"] = torch.cuda.get_rng_state(self.device)

    def voice(self) -> Voice:
        """This training's network as a voice; it shares the weights."""
        return Voice(self.model, self.corpus.front_end, self.corpus.mel_settings, self.settings)

    @torch.no_grad()
    def validate(self, items: Sequence[Utterance]) -> Validation:
        """Teacher-forced measures of `items`; the weights and the training's randomness stay as they are."""
        s, batch = self.settings, collate(items).to(self.device)
        self.model.eval()
        steps = int(decoder_steps(batch.mel_lengths, s.n_frames_per_step).max())
        shape = (
            2,
            steps - (-TAIL_FRAMES // s.n_frames_per_step),
            len(items),
            self.model.dimensions.prenet_dim,
        )
        kept = torch.rand(shape, generator=torch.Generator().manual_seed(0)) >= s.p_prenet_dropout
        masks = (kept.float() / (1.0 - s.p_prenet_dropout)).to(self.device)
        prediction = self.model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s, masks)
        self.model.train()
        scale = self.model.dimensions.mel_scale
        terms = losses(prediction, batch.mels, batch.mel_lengths, batch.text_lengths, s, scale)
        return Validation(
            self.step,
            float(terms.mel_l1),
            float(terms.mel_l2),
            float(terms.gate),
            gate_accuracy(prediction.gates, batch.mel_lengths, s.n_frames_per_step),
            tuple(self._alignments(prediction.alignments, batch)),
        )

    def _alignments(self, alignments: Tensor, batch: Batch) -> Iterator[AlignmentMeasures]:
        spoken = self.corpus.front_end.spoken()
        steps = decoder_steps(batch.mel_lengths, self.settings.n_frames_per_step)
        for a, n_steps, text, length in zip(
            alignments.cpu(), steps.tolist(), batch.text.tolist(), batch.text_lengths.tolist(), strict=True
        ):
            is_spoken = np.array([symbol in spoken for symbol in text[:length]])
            yield measure(a[:n_steps, :length].double().numpy(), is_spoken)

    def save(self, folder: Path) -> None:
        """Write all that a bit-identical continuation needs, and the voice, into `folder`."""
        save_voice(self.voice(), folder)
        state = {
            "optimizer": self._optimizer.state_dict(),
            "random": self._random,
            "step": self.step,
            "seconds": self.seconds,
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
        }
        torch.save(state, folder / TRAINING_STATE)

    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote. Raises ValueError when it is of another network or seed."""
        voice = load_voice(folder, str(self.device))
        state: dict[str, Any] = torch.load(
            folder / TRAINING_STATE, map_location=self.device, weights_only=True
        )
        if voice.model.dimensions != self.model.dimensions or state["seed"] != self._seed:
            raise ValueError(f"{folder.name} is of another network or seed than this training")
        self.model.load_state_dict(voice.model.state_dict())
        self._optimizer.load_state_dict(state["optimizer"])
        self._random = {name: value.cpu() for name, value in state["random"].items()}
        self.settings, self.step, self.seconds = voice.settings, state["step"], state["seconds"]
        self._epoch, self._position = state["epoch"], state["position"]


def gate_accuracy(gates: Tensor, mel_lengths: Tensor, r: int) -> float:
    """Share of items whose gate (B, T) first opens within 10 frames of their true end."""
    opened = torch.sigmoid(gates) >= 0.5
    first = torch.where(opened.any(dim=1), opened.int().argmax(dim=1), gates.shape[1] + 10_000)
    return float(((first - decoder_steps(mel_lengths, r)).abs() <= -(-10 // r)).double().mean())
