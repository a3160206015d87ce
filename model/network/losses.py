"""What a voice is trained to make small: length-masked, so padding never counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.data.corpus import Utterance
from model.device import sent
from model.network.layers import true_positions
from model.network.tacotron2 import TAIL_FRAMES, Prediction, decoder_steps
from model.settings import Settings

TERMS = ("mel_l1", "mel_l2", "gate", "guided")
Weights = tuple[int, int, int]


@dataclass(frozen=True)
class Losses:
    """Unweighted terms, scalars. Mel terms are in units of Dimensions.mel_scale, summed over the
    spectrograms before and after the postnet."""

    mel_l1: Tensor
    mel_l2: Tensor
    gate: Tensor
    guided: Tensor
    clips: Tensor  # (B, 2) detached, by item: mel L1 behind the postnet, and `guided`

    def total(self, s: Settings) -> Tensor:
        return (
            s.mel_l1_weight * self.mel_l1
            + s.mel_l2_weight * self.mel_l2
            + s.gate_weight * self.gate
            + s.guided_attention_weight * self.guided
        )

    def shared(self, part: Weights, whole: Weights) -> "Losses":
        """What a part of a batch adds to the losses of the whole."""
        mel, gate, guided = (a / b for a, b in zip(part, whole, strict=True))
        return Losses(
            self.mel_l1 * mel, self.mel_l2 * mel, self.gate * gate, self.guided * guided, self.clips
        )

    def detached(self) -> "Losses":
        return replace(self, **{name: getattr(self, name).detach() for name in TERMS})


def weights_of(items: Sequence[Utterance], settings: Settings) -> Weights:
    """By how much `items` count in mel, gate and guided losses: frames, decoder steps, clips."""
    r = settings.n_frames_per_step
    steps = sum(-(-len(item.mel) // r) - (-TAIL_FRAMES // r) for item in items)
    return sum(len(item.mel) for item in items), steps, len(items)


def sum_of(parts: Sequence[Losses]) -> Losses:
    """The losses of a batch from those of its parts, each as `shared` gives it."""
    mel_l1, mel_l2, gate, guided = (torch.stack([getattr(p, name) for p in parts]).sum(0) for name in TERMS)
    return Losses(mel_l1, mel_l2, gate, guided, torch.cat([p.clips for p in parts]))


def losses(
    prediction: Prediction,
    mels: Tensor,  # (B, F', 80)
    mel_lengths: Tensor,  # (B,) on the host
    text_lengths: Tensor,  # (B,) on the host
    settings: Settings,
    mel_scale: float,
) -> Losses:
    r = settings.n_frames_per_step
    mel_lengths, text_lengths = sent(mel_lengths, mels.device), sent(text_lengths, mels.device)
    steps = decoder_steps(mel_lengths, r)
    l1, l2, clip_l1 = _mel_losses(prediction, mels, mel_lengths, mel_scale)
    gate = gate_loss(prediction.gates, steps, r, settings.gate_positive_weight)
    away = off_diagonal(prediction.alignments, steps, text_lengths, settings.guided_attention_sigma)
    return Losses(l1, l2, gate, away.mean(), torch.stack((clip_l1, away.detach()), dim=1))


def _mel_losses(
    prediction: Prediction, mels: Tensor, mel_lengths: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """L1 and L2, scalars, and the L1 of each item behind the postnet (B,), detached."""
    length = mels.shape[1]
    mask = true_positions(mel_lengths, length).unsqueeze(2)
    cells = mel_lengths * mels.shape[2]
    before, after = (
        (m[:, :length] - mels).masked_fill(~mask, 0.0) / scale
        for m in (prediction.mels_before, prediction.mels)
    )
    after_l1 = after.abs().sum(dim=(1, 2))
    l1 = before.abs().sum() + after_l1.sum()
    l2 = before.square().sum() + after.square().sum()
    return l1 / cells.sum(), l2 / cells.sum(), after_l1.detach() / cells


def gate_loss(gates: Tensor, steps: Tensor, r: int, positive_weight: float) -> Tensor:
    """Binary cross-entropy over true steps and a tail, (B, T) logits; the target is 1 from step S on."""
    ended = ~true_positions(steps, gates.shape[1])
    counted = true_positions(steps + -(-TAIL_FRAMES // r), gates.shape[1])
    each = F.binary_cross_entropy_with_logits(
        gates, ended.to(gates.dtype), pos_weight=gates.new_full((), positive_weight), reduction="none"
    )
    return each.masked_fill(~counted, 0.0).sum() / counted.sum()


def off_diagonal(alignments: Tensor, steps: Tensor, text_lengths: Tensor, sigma: float) -> Tensor:
    """Each item's mean weight off the diagonal, (B, T, L) -> (B,); its mean is the guided attention loss
    (Tachibana et al. 2018, arXiv 1710.08969).

    Per decoder step and with every item's own lengths, so it depends neither on padding nor on the
    text's length; uniform attention scores 0.58 at sigma 0.2.
    """
    _, n_steps, n_symbols = alignments.shape
    t = torch.arange(n_steps, device=alignments.device).view(1, -1, 1) + 0.5
    n = torch.arange(n_symbols, device=alignments.device).view(1, 1, -1) + 0.5
    s, length = steps.view(-1, 1, 1), text_lengths.view(-1, 1, 1)
    away = 1.0 - torch.exp(-((n / length - t / s) ** 2) / (2.0 * sigma**2))
    weighted = (alignments * away.to(alignments.dtype)).sum(dim=2)  # (B, T)
    true = true_positions(steps, n_steps)
    return weighted.masked_fill(~true, 0.0).sum(dim=1) / steps
