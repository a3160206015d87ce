"""Training a voice, step by step. Watching and judging it is for whoever calls this."""

import ctypes
import math
import platform
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.corpus import Batch, Corpus, Utterance, batches, collate
from model.device import Origin, sent, use_precision
from model.network.alignment import AlignmentMeasures, measure
from model.network.blocks import free_memory
from model.network.losses import Losses, losses, sum_of, weights_of
from model.network.probe import GroupMeasures, Probe
from model.network.products import multiplies_bfloat16, rounding
from model.network.tacotron2 import TAIL_FRAMES, Tacotron2, decoder_steps
from model.settings import PRECISION, Dimensions, Precision, Settings
from model.speech.voice import Voice, load_voice, save_voice

TRAINING_STATE = "training.pt"
# The share of held-out items whose alignment must be good before the model counts as aligned.
ALIGNED_SHARE = 0.8
# What is said, in small letters, where memory runs out: by the CPU's allocator, by CUDA, by its libraries.
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "status_alloc_failed",
    "bad_alloc",
)


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite. All is as before the step; `clips` are the batch's ids."""

    def __init__(self, step: int, loss: float, grad_norm: float, clips: tuple[str, ...]) -> None:
        super().__init__(f"step {step}: loss is {loss}, gradient norm is {grad_norm}")
        self.step, self.clips = step, clips
        self.measures = {"loss": loss, "grad_norm": grad_norm}


class OutOfMemory(MemoryError):
    """A step needs more memory than there is. All is as before the step."""


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
    waited: float  # seconds of these until the batch was read and on its device
    clips: dict[str, tuple[float, float]]  # by id: mel L1 a cell, and mean attention off the diagonal
    groups: dict[str, GroupMeasures] | None = None  # only when asked for


@dataclass(frozen=True)
class Validation:
    """Teacher-forced measures of held-out items under fixed prenet masks."""

    step: int
    mel_l1: float
    mel_l2: float
    gate: float
    gate_accuracy: float  # share of items whose gate opens within 10 frames of their end
    gate_late: float  # share whose gate opens later than that, or never
    dead: float  # share of the units of a layer of the prenet that no frame makes larger than zero
    in_training: float  # share of the network's modules that were left in the mode of training
    alignments: tuple[AlignmentMeasures, ...]
    attention: NDArray[np.float32] = field(compare=False)  # (decoder steps, symbols) of the first item

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
        self,
        corpus: Corpus,
        dimensions: Dimensions,
        settings: Settings,
        seed: int,
        device: str = "cpu",
        precision: Precision = PRECISION,
    ) -> None:
        _keep_freed_memory()
        use_precision(precision)
        self.corpus, self.settings, self.device = corpus, settings, torch.device(device)
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)  # Triton and graphs know no other than the current one
        self.origin = Origin.here(self.device, precision)
        bfloat16 = precision == "bf16" and multiplies_bfloat16(self.device)
        self._operands = torch.bfloat16 if bfloat16 else torch.float32
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all attempts
        self._waited = 0.0  # of the newest step, for its batch
        self._seed, self._epoch, self._position = seed, 0, 0
        self._branch = 0  # how often the order was drawn anew
        self.excluded: frozenset[str] = frozenset()  # clips that are not trained on
        self._drawn: tuple[object, list[list[int]]] = (None, [])
        self._random = self._generators(seed)
        with self._own_randomness():
            self.model = Tacotron2(dimensions).to(self.device)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate, fused=True)

    def advance(self, closely: bool = False) -> StepMeasures:
        """One optimizer step; `closely` measures every part of the network, too, and changes nothing else.

        Raises:
            NonFinite: loss or gradient is NaN or infinite.
            OutOfMemory: the batch does not fit; more micro_batches need less.
            After either, weights, optimizer, running statistics and random generators are as before,
            and the next step takes the same batch, unless skip() is called.
        """
        started, s = time.monotonic(), self.settings
        self._waited = 0.0
        items, buffers, random = self._items(), self._buffers(), dict(self._random)
        with self._fitting(buffers, random):
            terms, norm = self._gradients(items)
        measured = (terms.total(s), terms.mel_l1, terms.mel_l2, terms.gate, terms.guided, norm)
        # All is read at once: the host waits for the device here, and nowhere else in a step.
        read = torch.cat((torch.stack(measured), terms.clips.flatten())).tolist()
        total, l1, l2, gate, guided, length = read[:6]
        if not math.isfinite(total + length):
            self._undo(buffers, random)
            raise NonFinite(self.step + 1, total, length, tuple(item.id for item in items))
        before = Probe(self.model.groups()) if closely else None
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        rate = learning_rate_at(self.step, s)
        with self._fitting(buffers, random):
            torch.nn.utils.clip_grads_with_norm_(parameters, s.grad_clip_thresh, norm)
            self._step_optimizer(rate)
        self.step += 1
        self.skip()
        seconds = time.monotonic() - started
        self.seconds += seconds
        by_clip = zip(read[6::2], read[7::2], strict=True)
        clips = dict(zip((item.id for item in items), by_clip, strict=True))
        groups = None if before is None else before.compared()
        spent = seconds, self._waited
        return StepMeasures(self.step, total, l1, l2, gate, guided, length, rate, *spent, clips, groups)

    def _gradients(self, items: Sequence[Utterance]) -> tuple[Losses, Tensor]:
        """Losses of a batch, detached, and the norm of their gradients, which the weights then hold.

        Micro-batches add up to the gradients of the whole, save that batch normalisation sees each alone.
        """
        s, scale = self.settings, self.model.dimensions.mel_scale
        self._optimizer.zero_grad(set_to_none=True)
        count = min(s.micro_batches, len(items))
        parts = [items[i * len(items) // count : (i + 1) * len(items) // count] for i in range(count)]
        whole = weights_of(items, s)
        found = []
        self.model.train()
        for part in parts:
            began = time.monotonic()
            batch = collate(part).to(self.device)
            self._waited += time.monotonic() - began
            with rounding(self._operands):
                with self._own_randomness():
                    prediction = self.model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s)
                terms = losses(prediction, batch.mels, batch.mel_lengths, batch.text_lengths, s, scale)
                terms = terms.shared(weights_of(part, s), whole)
                terms.total(s).backward()  # type: ignore[no-untyped-call]
            found.append(terms.detached())
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return sum_of(found), torch.nn.utils.get_total_norm(gradients)

    @contextmanager
    def _fitting(self, buffers: list[Tensor], random: dict[str, Tensor]) -> Iterator[None]:
        """Raises OutOfMemory where memory runs out; all is then as before the step, Adam's state included."""
        known = set(self._optimizer.state)
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            for parameter in set(self._optimizer.state) - known:
                del self._optimizer.state[parameter]
            self._undo(buffers, random)
            # The frames of the failed step would keep all that it made for as long as the error is kept.
            traceback.clear_frames(error.__traceback__)
            free_memory()
            raise OutOfMemory(f"step {self.step + 1} does not fit into memory: {error}") from error

    def _undo(self, buffers: list[Tensor], random: dict[str, Tensor]) -> None:
        """Leave a failed step as if it had not begun."""
        self._optimizer.zero_grad(set_to_none=True)
        torch._foreach_copy_(list(self.model.buffers()), buffers)
        self._random = random

    def _step_optimizer(self, rate: float) -> None:
        s = self.settings
        for group in self._optimizer.param_groups:  # settings own these, whatever a resume restored
            group.update(lr=rate, betas=(0.9, s.adam_beta2), eps=s.adam_eps, weight_decay=s.weight_decay)
        self._optimizer.step()

    def skip(self) -> None:
        """Leave this step's batch behind; no step is counted."""
        self._position += 1

    def exclude(self, clips: Collection[str]) -> None:
        """Leave clips out of training from now on. Raises ValueError for unknown ones, or if none is left."""
        excluded = self.excluded | set(clips)
        left = {item.id for item in self.corpus.training} - excluded
        if unknown := excluded - {item.id for item in self.corpus.training}:
            raise ValueError(f"no training clips: {', '.join(sorted(unknown))}")
        if not left:
            raise ValueError("every training clip would be left out")
        self.excluded = excluded

    def unsound(self, clips: Collection[str]) -> tuple[str, ...]:
        """Those of the training clips whose own loss is not finite; nothing is changed."""
        items = [item for item in self.corpus.training if item.id in set(clips)]
        return tuple(item.id for item in items if not math.isfinite(self.validate([item]).mel_l2))

    def roll_back(self, folder: Path) -> None:
        """Take weights, running statistics and Adam's state from what `save` wrote into `folder`.

        Consumed steps stay counted, and all further batches come in a new order: the same ones would
        lead to the same end.
        """
        self._take(folder)
        self._branch += 1

    def reinitialise(self, group: str) -> None:
        """Give a part of the network new weights, as at a start, and forget what Adam knew of the old."""
        with self._own_randomness(), torch.no_grad():
            fresh = Tacotron2(self.model.dimensions).to(self.device)
            for p, new in zip(self.model.groups()[group], fresh.groups()[group], strict=True):
                p.copy_(new)
                self._optimizer.state.pop(p, None)

    def _items(self) -> list[Utterance]:
        """The items of this step's batch."""
        if self._position >= len(self._order()):
            self._epoch, self._position = self._epoch + 1, 0
        return [self.corpus.training[i] for i in self._order()[self._position]]

    def _buffers(self) -> list[Tensor]:
        """Copies of the running statistics: one bad forward pass would stay in them for good."""
        return [buffer.clone() for buffer in self.model.buffers()]

    def _order(self) -> list[list[int]]:
        """The batches of this epoch, drawn again only when one of these changes."""
        key = (self._epoch, self.settings.batch_size, self._branch, self.excluded)
        if self._drawn[0] != key:
            kept = [i for i, item in enumerate(self.corpus.training) if item.id not in self.excluded]
            lengths = [len(self.corpus.training[i].mel) for i in kept]
            drawn = batches(lengths, key[1], self._seed + (self._branch << 64), self._epoch)
            self._drawn = key, [[kept[i] for i in batch] for batch in drawn]
        return self._drawn[1]

    def _generators(self, seed: int) -> dict[str, Tensor]:
        """States of fresh generators, by the kind of device: the CPU, and the device if it is another."""
        devices = {device.type: device for device in (torch.device("cpu"), self.device)}
        return {kind: torch.Generator(on).manual_seed(seed).get_state() for kind, on in devices.items()}

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Draw from this training's own generators, so nothing else in the process disturbs them."""
        kind, module = self.device.type, torch.get_device_module(self.device)
        others = [self.device] if kind != "cpu" else []
        with torch.random.fork_rng(devices=others, device_type="cuda" if kind == "cpu" else kind):
            torch.random.set_rng_state(self._random["cpu"])
            for device in others:
                module.set_rng_state(self._random[kind], device)
            yield
            self._random["cpu"] = torch.random.get_rng_state()
            for device in others:
                self._random[kind] = module.get_rng_state(device)

    def voice(self) -> Voice:
        """This training's network as a voice; it shares the weights."""
        return Voice(self.model, self.corpus.front_end, self.corpus.mel_settings, self.settings)

    @torch.no_grad()
    def validate(self, items: Sequence[Utterance], own_statistics: bool = False) -> Validation:
        """Teacher-forced measures of `items`; the weights and the training's randomness stay as they are.

        Args:
            own_statistics: they are normalised by those of `items`, which then change the running ones.
        """
        s, host = self.settings, collate(items)
        batch = host.to(self.device)
        self.model.eval()
        in_training = fmean(module.training for module in self.model.modules())
        for module in self.model.modules() if own_statistics else ():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.train()
        steps = int(decoder_steps(batch.mel_lengths, s.n_frames_per_step).max())
        shape = (
            2,
            steps - (-TAIL_FRAMES // s.n_frames_per_step),
            len(items),
            self.model.dimensions.prenet_dim,
        )
        kept = torch.rand(shape, generator=torch.Generator().manual_seed(0)) >= s.p_prenet_dropout
        masks = sent(kept.float() / (1.0 - s.p_prenet_dropout), self.device)
        prediction = self.model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s, masks)
        self.model.train()
        scale = self.model.dimensions.mel_scale
        terms = losses(prediction, batch.mels, batch.mel_lengths, batch.text_lengths, s, scale)
        silent = self.model.decoder.prenet.dead(self.model.normalised(batch.mels))
        l1, l2, gate, dead = torch.stack((terms.mel_l1, terms.mel_l2, terms.gate, silent)).tolist()
        gates, alignments = prediction.gates.cpu(), prediction.alignments.cpu()
        return Validation(
            self.step,
            l1,
            l2,
            gate,
            gate_accuracy(gates, host.mel_lengths, s.n_frames_per_step),
            gate_late(gates, host.mel_lengths, s.n_frames_per_step),
            dead,
            in_training,
            tuple(self._alignments(alignments, host)),
            self._attention_of_first(alignments, host),
        )

    def by_batch(self, items: Sequence[Utterance]) -> float:
        """The mel loss of `items`, normalised by their own statistics instead of the running ones, as in
        training; the running ones stay as they are."""
        running = self._buffers()
        try:
            return self.validate(items, own_statistics=True).mel_l1
        finally:
            torch._foreach_copy_(list(self.model.buffers()), running)

    def text_gain(self, items: Sequence[Utterance]) -> float:
        """By how much the mel loss rises, in parts, when every item gets its neighbour's text; about 0 when
        the text is ignored. Needs two items."""
        swapped = [replace(item, symbols=items[i - 1].symbols) for i, item in enumerate(items)]
        return self.validate(swapped).mel_l1 / self.validate(items).mel_l1 - 1

    def _attention_of_first(self, alignments: Tensor, batch: Batch) -> NDArray[np.float32]:
        n_steps = int(decoder_steps(batch.mel_lengths[0], self.settings.n_frames_per_step))
        return alignments[0, :n_steps, : int(batch.text_lengths[0])].float().numpy()

    def _alignments(self, alignments: Tensor, batch: Batch) -> Iterator[AlignmentMeasures]:
        spoken = self.corpus.front_end.spoken()
        steps = decoder_steps(batch.mel_lengths, self.settings.n_frames_per_step)
        for a, n_steps, text, length in zip(
            alignments, steps.tolist(), batch.text.tolist(), batch.text_lengths.tolist(), strict=True
        ):
            is_spoken = np.array([symbol in spoken for symbol in text[:length]])
            yield measure(a[:n_steps, :length].double().numpy(), is_spoken)

    def save(self, folder: Path) -> None:
        """Write all that a bit-identical continuation needs, and the voice, into `folder`. Raises OSError."""
        save_voice(self.voice(), folder)
        state = {
            "optimizer": self._optimizer.state_dict(),
            "random": self._random,
            "step": self.step,
            "seconds": self.seconds,
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "branch": self._branch,
            "excluded": sorted(self.excluded),
            "origin": asdict(self.origin),
        }
        _write(state, folder / TRAINING_STATE)

    def restore(self, folder: Path) -> Origin | None:
        """Go on from what `save` wrote. Raises ValueError when it is of another network or seed.

        Returns where that was; None of a checkpoint from before that was kept.
        """
        voice, state = self._take(folder)
        fresh = self._generators(self._seed + state["step"])  # where another kind of device saved it
        self._random = {kind: state["random"].get(kind, new).cpu() for kind, new in fresh.items()}
        self.settings, self.step, self.seconds = voice.settings, state["step"], state["seconds"]
        self._epoch, self._position = state["epoch"], state["position"]
        self._branch, self.excluded = state.get("branch", 0), frozenset(state.get("excluded", ()))
        return Origin(**state["origin"]) if "origin" in state else None

    def _take(self, folder: Path) -> tuple[Voice, dict[str, Any]]:
        voice = load_voice(folder, str(self.device))
        state: dict[str, Any] = torch.load(folder / TRAINING_STATE, map_location="cpu", weights_only=True)
        if voice.model.dimensions != self.model.dimensions or state["seed"] != self._seed:
            raise ValueError(f"{folder.name} is of another network or seed than this training")
        self.model.load_state_dict(voice.model.state_dict())
        self._optimizer.load_state_dict(state["optimizer"])
        return voice, state


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. torch has a type of its own only for CUDA's allocator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in NO_MEMORY)


def _write(state: dict[str, Any], path: Path) -> None:
    """Write `state`. Raises OSError where the disk is full, of which torch's RuntimeError says nothing."""
    with path.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def gate_errors(gates: Tensor, mel_lengths: Tensor, r: int) -> Tensor:
    """(B,) steps from each item's end to where its gate (B, T) first opens; large where it never does."""
    opened = torch.sigmoid(gates) >= 0.5
    first = torch.where(opened.any(dim=1), opened.int().argmax(dim=1), gates.shape[1] + 10_000)
    return first - decoder_steps(mel_lengths, r)


def gate_accuracy(gates: Tensor, mel_lengths: Tensor, r: int) -> float:
    """Share of items whose gate (B, T) first opens within 10 frames of their true end."""
    return float((gate_errors(gates, mel_lengths, r).abs() <= -(-10 // r)).double().mean())


def gate_late(gates: Tensor, mel_lengths: Tensor, r: int) -> float:
    """Share of items whose gate (B, T) opens more than 10 frames after their true end, or never."""
    return float((gate_errors(gates, mel_lengths, r) > -(-10 // r)).double().mean())
