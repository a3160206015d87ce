"""What a voice is trained to make small: length-masked, so padding never counts."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.layers import true_positions
from model.settings import Settings
from model.tacotron2 import TAIL_FRAMES, Prediction, decoder_steps


@dataclass(frozen=True)
class Losses:
    """Unweighted terms, scalars. Mel terms are in units of Dimensions.mel_scale, summed over the
    spectrograms before and after the postnet."""

    mel_l1: Tensor
    mel_l2: Tensor
    gate: Tensor
    guided: Tensor

    def total(self, s: Settings) -> Tensor:
        return (
            s.mel_l1_weight * self.mel_l1
            + s.mel_l2_weight * self.mel_l2
            + s.gate_weight * self.gate
            + s.guided_attention_weight * self.guided
        )


def losses(
    prediction: Prediction,
    mels: Tensor,  # (B, F', 80)
    mel_lengths: Tensor,  # (B,)
    text_lengths: Tensor,  # (B,)
    settings: Settings,
    mel_scale: float,
) -> Losses:
    r = settings.n_frames_per_step
    steps = decoder_steps(mel_lengths, r)
    l1, l2 = _mel_losses(prediction, mels, mel_lengths, mel_scale)
    return Losses(
        l1,
        l2,
        gate_loss(prediction.gates, steps, r, settings.gate_positive_weight),
        guided_attention_loss(prediction.alignments, steps, text_lengths, settings.guided_attention_sigma),
    )


def _mel_losses(
    prediction: Prediction, mels: Tensor, mel_lengths: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    length = mels.shape[1]
    mask = true_positions(mel_lengths, length).unsqueeze(2)
    cells = mel_lengths.sum() * mels.shape[2]
    errors = [
        (m[:, :length] - mels).masked_fill(~mask, 0.0) / scale
        for m in (prediction.mels_before, prediction.mels)
    ]
    l1 = sum((e.abs().sum() for e in errors), start=mels.new_zeros(()))
    l2 = sum((e.square().sum() for e in errors), start=mels.new_zeros(()))
    return l1 / cells, l2 / cells


def gate_loss(gates: Tensor, steps: Tensor, r: int, positive_weight: float) -> Tensor:
    """Binary cross-entropy over true steps and a tail, (B, T) logits; the target is 1 from step S on."""
    ended = ~true_positions(steps, gates.shape[1])
    counted = true_positions(steps + -(-TAIL_FRAMES // r), gates.shape[1])
    each = F.binary_cross_entropy_with_logits(
        gates, ended.to(gates.dtype), pos_weight=gates.new_tensor(positive_weight), reduction="none"
    )
    return each.masked_fill(~counted, 0.0).sum() / counted.sum()


def guided_attention_loss(alignments: Tensor, steps: Tensor, text_lengths: Tensor, sigma: float) -> Tensor:
    """Mean weight off the diagonal (Tachibana et al. 2018, arXiv 1710.08969), (B, T, L) -> scalar.

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
    return (weighted.masked_fill(~true, 0.0).sum(dim=1) / steps).mean()
