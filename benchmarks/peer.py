"""tacotron2-model of PyPI, NVIDIA's published Tacotron 2 as a package: what this project is measured against.

It is changed at run time only where it asks for CUDA, and where both must see the same dropout masks.
It makes one frame a step.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any
from unittest.mock import patch

import tacotron2_model
import torch
from tacotron2_model import model as public
from torch import Tensor, nn

from model.data.corpus import Batch
from model.network.layers import true_positions
from model.settings import Dimensions

# Of this project alone: the peer has one frame a step and takes mels as they are.
OUR_DIMENSIONS = {"max_frames_per_step", "mel_mean", "mel_scale"}

public.get_mask_from_lengths = lambda lengths: true_positions(lengths, int(lengths.max()))


def build(dimensions: Dimensions, **settings: Any) -> nn.Module:
    """The peer's network with these dimensions. Its encoder is as wide as its embeddings."""
    shapes = {f.name: getattr(dimensions, f.name) for f in fields(dimensions) if f.name not in OUR_DIMENSIONS}
    network: nn.Module = tacotron2_model.Tacotron2(**shapes, **settings)
    return network


@contextmanager
def prenet_masks(masks: Iterable[Tensor]) -> Iterator[None]:
    """Within it, each call of the peer's prenet takes the next two masks instead of drawing its own."""
    rest = iter(masks)

    def forward(prenet: nn.Module, x: Tensor) -> Tensor:
        for layer, mask in zip(prenet.get_submodule("layers").children(), next(rest), strict=True):
            x = torch.relu(layer(x)) * mask
        return x

    with patch.object(public.Prenet, "forward", forward):
        yield


def train_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, clip: float) -> float:
    """One step as its own scripts take it; returns the loss."""
    length = int(batch.text_lengths.max())
    text_lengths, mel_lengths = (x.to(batch.mels.device) for x in (batch.text_lengths, batch.mel_lengths))
    inputs = (batch.text, text_lengths, batch.mels.transpose(1, 2), length, mel_lengths)
    gates = (~true_positions(mel_lengths - 1, batch.mels.shape[1])).float()
    loss = tacotron2_model.Tacotron2Loss()(network(inputs), (inputs[2], gates))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()
    return float(loss.detach())
