"""HiFi-GAN's generator, a trained vocoder: Kong, Kim and Bae, 2020, arXiv:2010.05646.

Public checkpoints fit: their weights have the same names, with the two factors of weight normalisation
multiplied when they are read.
"""

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.products import speaking_weights
from model.speech.audio import MelSettings

SLOPE, LAST_SLOPE = 0.1, 0.01  # of the leaky rectifiers: within the network, and before its last layer
MEL_KEYS = {  # of a config.json, by our names
    "sample_rate": "sampling_rate",
    "filter_length": "n_fft",
    "hop_length": "hop_size",
    "win_length": "win_size",
    "n_mel_channels": "num_mels",
    "mel_fmin": "fmin",
    "mel_fmax": "fmax",
}


class VocoderError(ValueError):
    """A vocoder that cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Shape:
    """The generator's, in the names of a config.json."""

    resblock: str
    upsample_rates: Sequence[int]
    upsample_kernel_sizes: Sequence[int]
    upsample_initial_channel: int
    resblock_kernel_sizes: Sequence[int]
    resblock_dilation_sizes: Sequence[Sequence[int]]


class _Residual(nn.Module):
    """Convolutions of one kernel and growing dilations, each added to what it got; "1" has a second one,
    without dilation, after each."""

    def __init__(self, kind: str, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()

        def convolutions(rates: Sequence[int]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(channels, channels, kernel, dilation=rate, padding=rate * (kernel - 1) // 2)
                for rate in rates
            )

        self._two = kind == "1"
        if self._two:
            self.convs1, self.convs2 = convolutions(dilations), convolutions([1] * len(dilations))
        else:
            self.convs = convolutions(dilations)

    def forward(self, x: Tensor) -> Tensor:
        if not self._two:
            for conv in self.convs:
                x = x + conv(F.leaky_relu(x, SLOPE))
            return x
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class Generator(nn.Module):
    """Log-mels (B, n_mels, F) to waves (B, 1, F * hop)."""

    def __init__(self, shape: Shape, n_mels: int) -> None:
        super().__init__()
        channels, kernels = shape.upsample_initial_channel, shape.resblock_kernel_sizes
        self._each = len(kernels)
        self.conv_pre = nn.Conv1d(n_mels, channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(shape.upsample_rates, shape.upsample_kernel_sizes, strict=True):
            half = channels // 2
            self.ups.append(nn.ConvTranspose1d(channels, half, kernel, rate, padding=(kernel - rate) // 2))
            channels = half
            for size, dilations in zip(kernels, shape.resblock_dilation_sizes, strict=True):
                self.resblocks.append(_Residual(shape.resblock, channels, size, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mels: Tensor) -> Tensor:
        x = self.conv_pre(mels)
        for number, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = list(self.resblocks)[number * self._each : (number + 1) * self._each]
            x = sum(block(x) for block in blocks) / self._each
        return torch.tanh(self.conv_post(F.leaky_relu(x, LAST_SLOPE)))


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without weight normalisation: direction v times length g / |v|, over all but the first axis."""
    found = {}
    for name, value in weights.items():
        if name.endswith("weight_v"):
            axes = tuple(range(1, value.dim()))
            length = value.norm(dim=axes, keepdim=True)
            found[name.removesuffix("_v")] = value * (weights[f"{name[:-1]}g"] / length)
        elif not name.endswith("weight_g"):
            found[name] = value
    return found


@dataclass(frozen=True)
class HifiGan:
    """A vocoder: log-mels (F, n_mels) to waves of as many frames.

    Its frames begin where ours have their middle, so that the first half of a hop is left out.

    Args:
        hop: samples of a frame.
        name: what it is called where it spoke.
    """

    generator: Generator
    hop: int
    name: str

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(mel):
            return np.zeros(0, np.float32)
        weight = self.generator.conv_pre.weight
        with torch.inference_mode():
            waves = self.generator(torch.from_numpy(mel.T.copy()).to(weight)[None])
        found: NDArray[np.float32] = waves[0, 0, self.hop // 2 :].float().cpu().numpy()
        return found


def load_hifigan(path: Path, settings: MelSettings, device: torch.device) -> HifiGan:
    """A public checkpoint, with its config.json beside it.

    Its weights become bfloat16 where that is fast (docs/performance.md).

    Args:
        settings: of the mels that it is to speak.

    Raises:
        VocoderError: a file is missing or no such checkpoint, or it was made for other mels.
    """
    described = path.parent / "config.json"
    try:
        config = json.loads(described.read_text("utf-8"))
        shape = Shape(**{field.name: config[field.name] for field in fields(Shape)})
        theirs = {name: config[key] for name, key in MEL_KEYS.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VocoderError(
            f"Cannot use the vocoder {path}.\n{described} does not describe a HiFi-GAN: {error}.\n"
            "Give the weights of a public checkpoint, with its own config.json in the same folder."
        ) from error
    ours = asdict(settings)
    if math.prod(shape.upsample_rates) != theirs["hop_length"]:
        raise VocoderError(
            f"Cannot use the vocoder {path}.\nIts layers make other frames than {described} says."
        )
    if differing := [name for name in ours if theirs[name] != ours[name]]:
        lines = "\n".join(f"  {name}: {theirs[name]} there, {ours[name]} here" for name in differing)
        raise VocoderError(
            f"Cannot use the vocoder {path}.\nIt was made for other mel spectrograms:\n{lines}\n"
            "Give one that was made for these, or none."
        )
    generator = Generator(shape, settings.n_mel_channels)
    try:
        generator.load_state_dict(folded(_weights(path)))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise VocoderError(
            f"Cannot use the vocoder {path}.\nIt holds no weights that its config.json describes: "
            f"{str(error).splitlines()[0]}\nGive the generator's weights, as torch or safetensors saved them."
        ) from error
    spoken_with = generator.to(device, speaking_weights(device)).eval()
    return HifiGan(spoken_with, settings.hop_length, f"HiFi-GAN ({path.name})")


def _weights(path: Path) -> Mapping[str, Tensor]:
    """Only tensors are read: a checkpoint runs no code."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise ValueError("it is no table of weights")
    return found.get("generator", found)  # type: ignore[no-any-return]
