"""Linear, convolution and masked batch normalisation under the names of the public state dict."""

import torch
from torch import Tensor, nn

from model.products import dropout, linear


class LinearNorm(nn.Module):
    """A linear layer with Xavier initialisation for the non-linearity behind it."""

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True, gain: str = "linear") -> None:
        super().__init__()
        self.linear_layer = nn.Linear(in_dim, out_dim, bias=bias)
        nn.init.xavier_uniform_(self.linear_layer.weight, gain=_gain(gain))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.linear_layer.weight, self.linear_layer.bias)


class ConvNorm(nn.Module):
    """A same-length convolution with Xavier initialisation for the non-linearity behind it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        gain: str = "linear",
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel size is {kernel_size}, but must be odd to keep the length")
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        nn.init.xavier_uniform_(self.conv.weight, gain=_gain(gain))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


def _gain(name: str) -> float:
    return nn.init.calculate_gain(name)  # type: ignore[arg-type]


def true_positions(lengths: Tensor, length: int) -> Tensor:
    """(B, length) bool: True up to each item's length."""
    return torch.arange(length, device=lengths.device) < lengths.unsqueeze(1)


class ConvStack(nn.ModuleList):
    """Convolution, batch normalisation, activation, dropout, over and over; padding never leaks in.

    Positions beyond an item's length are zero before every convolution, and the statistics of the
    normalisation are those of the true positions, so an item's output does not depend on the padding.
    """

    def __init__(self, channels: list[int], kernel_size: int, activations: list[str]) -> None:
        super().__init__(
            nn.Sequential(ConvNorm(n_in, n_out, kernel_size, gain=activation), nn.BatchNorm1d(n_out))
            for n_in, n_out, activation in zip(channels[:-1], channels[1:], activations, strict=True)
        )
        self.activations = activations

    def forward(self, x: Tensor, mask: Tensor, p_dropout: float) -> Tensor:
        """x: (B, L, C) with zeros at padding; mask: (B, L), True where x is real. Returns (B, L, C')."""
        shape, rows = mask.shape, mask.flatten().nonzero().squeeze(1)
        for layer, activation in zip(self, self.activations, strict=True):
            conv, norm = layer.children()
            y: Tensor = conv(x.transpose(1, 2)).transpose(1, 2).flatten(0, 1)  # (B·L, C)
            y = norm(y[rows])
            if activation != "linear":
                y = getattr(torch, activation)(y)
            y = dropout(y, p_dropout) if self.training else y
            x = y.new_zeros(mask.numel(), y.shape[1]).index_copy(0, rows, y).view(*shape, -1)
        return x
