"""Matrix products and dropout masks: what a step spends its time in.

torch computes float32 products on the CPU with MKL and keeps oneDNN for convolutions. oneDNN is
faster for the shapes of this network (docs/performance.md), and can lay a weight out once for many
products. On other CPUs few rows are multiplied faster by torch's own product: `faster_by_torch` measures it.
Other devices and types go to torch's own product.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ONEDNN: bool = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
BFLOAT16: bool = ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # by this CPU

GRADIENT_ROWS = 1024  # of a weight's gradient, made at once

FEW_ROWS = (1, 16)  # of which it is measured by which library they are multiplied faster
MANY_ROWS = 256  # from here on oneDNN was never the slower one
CLEARLY = 1.2  # how much faster torch's own product must be to be preferred
SMALL = 1 << 21  # multiplications of a product that takes less time than oneDNN needs to begin

_left_to_torch: frozenset[int] = frozenset()  # of FEW_ROWS
_operands = torch.float32  # what float32 operands are rounded to; `rounding` sets it


@contextmanager
def rounding(operands: torch.dtype) -> Iterator[None]:
    """Within it, products and convolutions round their float32 operands so; sums and results stay float32."""
    global _operands
    before, _operands = _operands, operands
    try:
        yield
    finally:
        _operands = before


def leave_to_torch(rows: Iterable[int]) -> None:
    """Let torch's own library multiply these of FEW_ROWS from now on.

    A product of r rows goes as the largest of them that is not larger. Each library rounds in its own way.
    """
    global _left_to_torch
    _left_to_torch = frozenset(rows) & frozenset(FEW_ROWS)


def left_to_torch() -> list[int]:
    return sorted(_left_to_torch)


def faster_by_torch() -> list[int]:
    """Those of FEW_ROWS that torch's own library multiplies clearly faster on this CPU; both are tried.

    On one thread: several would wait for each other wherever another process has a core.
    """
    if not ONEDNN:
        return []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [rows for rows in FEW_ROWS if _torch_is_faster(rows)]
    finally:
        torch.set_num_threads(threads)


def _torch_is_faster(rows: int) -> bool:
    random = torch.Generator().manual_seed(0)  # nobody else's numbers change
    x, weight = (torch.randn(n, 1024, generator=random) for n in (rows, 4096))  # of a full-size LSTM
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    sides = partial(_onednn, x, packed, None), partial(F.linear, x, weight)
    for run in sides:
        run()  # the first allocates
    times = [[_seconds(run) for run in sides] for _ in range(9)]
    by_onednn, by_torch = (median(column) for column in zip(*times, strict=True))
    return bool(by_onednn > CLEARLY * by_torch)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def rounded(x: Tensor) -> Tensor:
    return x.to(_operands) if x.dtype == torch.float32 else x


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it does so itself: elsewhere bfloat16 is slower than float32."""
    if device.type == "cpu":
        return ONEDNN and torch.cpu._is_avx512_bf16_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _by_onednn(weight: Tensor) -> bool:
    known = weight.dtype == torch.float32 or (BFLOAT16 and weight.dtype == torch.bfloat16)
    return ONEDNN and weight.device.type == "cpu" and known


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def input_gradient(d_out: Tensor, weight: Tensor) -> Tensor:
    """The gradient (M, K) of x, where out = x weightᵀ; d_out is (M, N), weight (N, K)."""
    d, w = rounded(d_out), rounded(weight)
    if _by_onednn(w):
        return _onednn(d.contiguous(), w.t().contiguous(), None).to(
            d_out.dtype
        )  # other strides are very slow
    return (d @ w).to(d_out.dtype)


def weight_gradient(d_out: Tensor, x: Tensor) -> Tensor:
    """The gradient (N, K) of the weight, where out = x weightᵀ; d_out is (M, N), x (M, K)."""
    gradient, d_out, x = x.new_empty(d_out.shape[1], x.shape[1]), rounded(d_out), rounded(x)
    if not _by_onednn(x):
        return (d_out.t() @ x).to(gradient.dtype)
    # oneDNN copies what it is given, twice: a part at a time keeps that small.
    backward = torch.ops.aten.mkldnn_linear_backward_weights
    parts, x = torch.split(d_out, GRADIENT_ROWS, dim=1), x.to_mkldnn()
    for d, part in zip(parts, torch.split(gradient, GRADIENT_ROWS), strict=True):
        part.copy_(backward(d.to_mkldnn(), x, part, False)[0])
    return gradient


def speaking_weights(device: torch.device) -> torch.dtype:
    """The type of weights with which one text is spoken fastest: bfloat16 where the CPU multiplies it itself.

    One text's speed is that of reading the weights from memory.
    """
    native = device.type == "cpu" and multiplies_bfloat16(device)
    return torch.bfloat16 if native else torch.float32


class Packed:
    """A product with one weight (N, K), laid out for `rows` rows; it does not follow later changes.

    A bfloat16 weight halves what a product must read: x and the result stay as they are. Operands of a small
    product are not rounded.
    """

    def __init__(self, weight: Tensor, rows: int, bias: Tensor | None = None) -> None:
        small = rows * weight.numel() <= SMALL
        self._weight = weight.detach() if small else rounded(weight.detach())
        self._bias = None if bias is None else bias.detach().to(self._weight.dtype)
        self._multiply: Callable[[Tensor, Tensor, Tensor | None], Tensor] = F.linear
        few = rows < MANY_ROWS and max((n for n in FEW_ROWS if n <= rows), default=0) in _left_to_torch
        left = self._weight.dtype == torch.float32 and (small or few)
        if _by_onednn(self._weight) and not left:
            self._multiply = _onednn
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight.contiguous(), rows)

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, K) to (rows, N)."""
        if x.dtype == self._weight.dtype:
            return self._multiply(x, self._weight, self._bias)
        return self._multiply(x.to(self._weight.dtype), self._weight, self._bias).to(x.dtype)


def linear_gradients(d_out: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x (..., K), weight (N, K) and bias (N), where out (..., N) = x weightᵀ + bias."""
    rows = d_out.reshape(-1, d_out.shape[-1])
    d_weight = weight_gradient(rows, x.reshape(-1, x.shape[-1]))
    return input_gradient(rows, weight).view(x.shape), d_weight, rows.sum(dim=0)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        rows, w = rounded(x.reshape(-1, x.shape[-1])), rounded(weight.contiguous())
        multiply = _onednn if _by_onednn(w) else F.linear
        if w.dtype == x.dtype:
            y = multiply(rows, w, bias)
        else:  # the sum with the bias is float32's
            y = multiply(rows, w, None).to(x.dtype)
            y = y if bias is None else y.add_(bias)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        d_x, d_weight, d_bias = linear_gradients(d_out, *ctx.saved_tensors)
        return d_x, d_weight, d_bias if ctx.has_bias else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear, (..., K) to (..., N)."""
    if not _by_onednn(weight) and _operands == torch.float32:
        return F.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class Dropout(NamedTuple):
    """A mask in a quarter of its memory: which elements are kept, and what to multiply these by."""

    kept: Tensor  # bool
    scale: float

    def mask(self, dtype: torch.dtype) -> Tensor:
        return self.kept.to(dtype).mul_(self.scale)

    def split(self, steps: int) -> list["Dropout"]:
        return [Dropout(kept, self.scale) for kept in torch.split(self.kept, steps)]


def draw_dropout(shape: Sequence[int], p: float, device: torch.device) -> Dropout:
    """Elements are dropped with probability p, rounded to 1/65536.

    Four of them share 64 random bits: drawing one by one takes longer than what is masked.
    """
    n, dropped = torch.Size(shape).numel(), round(p * 2**16)
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:n] >= dropped - 2**15
    return Dropout(kept.view(*shape), 2**16 / (2**16 - dropped))


class _DroppedRelu(torch.autograd.Function):
    """o = m∘max(x, 0); its gradient is m where o > 0, so o is all that is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: Dropout) -> Tensor:
        o, ctx.scale = torch.relu(x).mul_(dropout.kept).mul_(dropout.scale), dropout.scale
        ctx.save_for_backward(o)
        return o

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_o: Tensor) -> tuple[Tensor, None]:
        (o,) = ctx.saved_tensors
        return (d_o * (o > 0.0)).mul_(ctx.scale), None


def dropped_relu(x: Tensor, p: float) -> Tensor:
    if p == 0.0:
        return torch.relu(x)
    o: Tensor = _DroppedRelu.apply(x, draw_dropout(x.shape, p, x.device))  # type: ignore[no-untyped-call]
    return o
