"""Matrix products and dropout masks: what a step spends its time in.

torch computes float32 products on the CPU with MKL and keeps oneDNN for convolutions. oneDNN is
faster for the shapes of this network (docs/performance.md), and can lay a weight out once for many
products. Other devices and types go to torch's own product.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ONEDNN: bool = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


# From this many uses of each number on, a copy in oneDNN's order costs less than it saves (measured).
REUSE = 512


def _by_onednn(weight: Tensor) -> bool:
    return ONEDNN and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (M, K) times b (K, N); knows no gradient.

    oneDNN wants rows of a and columns of b in one piece. Copying them pays where each number of
    them is used often.
    """
    if _by_onednn(a) and min(len(a), b.shape[1]) >= REUSE:
        return _onednn(a.contiguous(), b.t().contiguous(), None)
    return a @ b


class Packed:
    """A product with one weight (N, K), laid out for `rows` rows; it does not follow later changes.

    A bfloat16 weight halves what a product must read: x and the result stay as they are.
    """

    def __init__(self, weight: Tensor, rows: int, bias: Tensor | None = None) -> None:
        self._packed, self._weight = _by_onednn(weight), weight.detach()
        self._bias = None if bias is None else bias.detach().to(weight.dtype)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight.contiguous(), rows)

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, K) to (rows, N)."""
        y = x.to(self._weight.dtype)
        y = _onednn(y, self._weight, self._bias) if self._packed else F.linear(y, self._weight, self._bias)
        return y.to(x.dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        d_x = _onednn(d_out.contiguous(), weight.t().contiguous(), None) if ctx.needs_input_grad[0] else None
        d_weight = product(d_out.t(), x) if ctx.needs_input_grad[1] else None
        return d_x, d_weight, d_out.sum(dim=0) if ctx.has_bias else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear, (..., K) to (..., N)."""
    if not _by_onednn(weight):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


def dropout_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """0 with probability p, rounded to 1/65536, else the reciprocal of what is left.

    Four elements share 64 random bits: drawing one by one takes longer than what is masked.
    """
    n = torch.Size(shape).numel()
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    dropped = round(p * 2**16)
    kept = bits.view(torch.int16)[:n] >= dropped - 2**15
    return kept.view(*shape).to(like.dtype).mul_(2**16 / (2**16 - dropped))


def dropout(x: Tensor, p: float) -> Tensor:
    return x if p == 0.0 else x * dropout_mask(x.shape, p, x)
