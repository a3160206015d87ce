"""Linear, convolution and masked batch normalisation under the names of the public state dict."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.device import sent
from model.network.products import Dropout, draw_dropout, linear, rounded


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
        """(B, L, C) to (B, L, C').

        As a picture one row high whose channels come last, x need not be transposed, nor the result.
        """
        weight, edge = rounded(self.conv.weight.unsqueeze(2)), self.conv.kernel_size[0] // 2
        picture = rounded(x.transpose(1, 2).unsqueeze(2))
        bias = None if self.conv.bias is None else rounded(self.conv.bias)
        y = torch.conv2d(picture, weight, bias, padding=(0, edge))
        return y.squeeze(2).transpose(1, 2).to(x.dtype)


def _gain(name: str) -> float:
    return nn.init.calculate_gain(name)  # type: ignore[arg-type]


def true_positions(lengths: Tensor, length: int) -> Tensor:
    """(B, length) bool: True up to each item's length."""
    return torch.arange(length, device=lengths.device) < lengths.unsqueeze(1)


class NormalisedActivation(torch.autograd.Function):
    """Batch normalisation, activation φ and dropout m of the true rows; all others become zero.

        o = m∘φ(γ x̂ + β),  x̂ = (y - μ) / σ,  d_z = m∘φ'∘d_o,  d_y = γ/σ (d_z - mean d_z - x̂ mean d_z∘x̂)

    φ' follows from φ = o / m, for tanh 1 - φ². So y, o and m as bool are all that is kept, and o is kept
    anyway, by the convolution behind: autograd would keep φ, a float m and both kinds of rows, too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,  # (N, C)
        weight: Tensor,  # γ
        bias: Tensor,  # β
        norm: nn.BatchNorm1d,
        activation: str,
        rows: Tensor,  # indices of the true rows
        dropout: Dropout | None,  # of them
    ) -> Tensor:
        n_rows, y, statistics = len(y), y[rows], (norm.running_mean, norm.running_var)
        if norm.training:
            if len(y) == 1:
                raise ValueError("one position has no variance to normalise by")
            norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        ctx.settings = norm.training, norm.eps, activation
        z, *batch_statistics = torch.native_batch_norm(
            y, weight, bias, *statistics, norm.training, norm.momentum or 0.0, norm.eps
        )
        if activation != "linear":
            z = getattr(torch, f"{activation}_")(z)
        kept, ctx.scale = dropout or (None, 1.0)
        if kept is not None:
            z.mul_(kept).mul_(ctx.scale)
        o = z.new_zeros(n_rows, z.shape[1]).index_copy_(0, rows, z)
        statistics = (None, None) if norm.training else statistics  # of use to the eval mode only
        ctx.save_for_backward(y, weight, rows, kept, o, *statistics, *batch_statistics)
        return o

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_o: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, rows, kept, o, *statistics = ctx.saved_tensors
        training, eps, activation = ctx.settings
        d_z = d_o[rows]
        if kept is not None:
            d_z.mul_(kept).mul_(ctx.scale)
        if activation != "linear":
            d_z = ACTIVATION_GRADIENTS[activation](d_z, o[rows].div_(ctx.scale))
        d_rows, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            d_z, y, weight, *statistics, training, eps, [True, True, True]
        )
        d_y = torch.zeros_like(d_o).index_copy_(0, rows, d_rows)
        return d_y, d_weight, d_bias, None, None, None, None


def _relu_gradient(d_out: Tensor, out: Tensor) -> Tensor:
    return d_out.masked_fill_(out <= 0.0, 0.0)


# Of an activation's input, from the gradient of its result and the result.
ACTIVATION_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tanh": torch.ops.aten.tanh_backward,
    "relu": _relu_gradient,
}


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
        """x: (B, L, C) with zeros at padding; mask: (B, L) on the host, True where x is real.

        Returns (B, L, C').
        """
        rows = sent(mask.flatten().nonzero().squeeze(1), x.device)
        for layer, activation in zip(self, self.activations, strict=True):
            conv, norm = layer.children()
            y = conv(x).flatten(0, 1)
            dropped = self.training and p_dropout > 0.0
            dropout = draw_dropout((len(rows), y.shape[1]), p_dropout, y.device) if dropped else None
            o = NormalisedActivation.apply(  # type: ignore[no-untyped-call]
                y, norm.weight, norm.bias, norm, activation, rows, dropout
            )
            x = o.view(*mask.shape, -1)
        return x
