"""The decoder's recurrences on a GPU: blocks of decoder steps, each one CUDA graph of Triton kernels.

A GPU computes a decoder step in far less time than a host takes to launch its operations one by one, so
the operations of BLOCK steps are recorded once and then replayed. A graph works on tensors that stay where
they are: a block's part of the inputs is copied in, and what it made is copied out. What is computed, and
what each tensor means, is told in recurrence.py, which is also the reference and serves where there is no
GPU or no Triton.
"""

import functools
import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from subprocess import SubprocessError
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.network.products import Dropout, linear_gradients, weight_gradient

BLOCK = 16  # decoder steps
ROWS = 32  # symbols that one program of a kernel takes; texts are padded to a multiple
FEWER_ROWS = 16  # where a program also reads the whole context of its symbols
MOST_SYMBOLS = 1024  # the softmax of longer texts does not fit into one program
CELLS = 256  # of a hidden state, for one program
WIDTH = 32  # of a context, likewise
MORE_WIDTH = 128  # where the rows are fewer
RECORDED = 16  # shapes of batches whose graphs are kept

HAS_TRITON = importlib.util.find_spec("triton") is not None


@functools.cache
def _kernels() -> Any:
    """Imported where they are used: Triton takes a while."""
    return importlib.import_module("model.network.kernels")


def serves(inputs: Tensor, attention_dim: int = 16, symbols: int = 1) -> bool:
    """Whether these recurrences can be computed here."""
    fits = attention_dim >= 16 and attention_dim & (attention_dim - 1) == 0 and symbols <= MOST_SYMBOLS
    return inputs.is_cuda and inputs.dtype == torch.float32 and fits and why_not(inputs.device) is None


@functools.cache
def why_not(device: torch.device) -> str | None:
    """What keeps the kernels from running on this device, or None once one has run. Triton compiles them
    where they run, and needs a C compiler for that."""
    if not HAS_TRITON:
        return "Triton is not installed"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than Ampere"
    try:
        Cells(Shape(device, precise=True, batch=1, hidden=16), 16).step(0)
    except _failures() as error:
        return f"Triton cannot run its kernels: {error}".splitlines()[0]
    return None


def _failures() -> tuple[type[Exception], ...]:
    """What Triton, its compilers and the driver raise."""
    common = RuntimeError, OSError, ImportError, SubprocessError
    with suppress(ImportError):
        return *common, importlib.import_module("triton.errors").TritonError
    return common


class Shape(NamedTuple):
    """What a graph is recorded for. L is a multiple of ROWS, or 0 without attention."""

    device: torch.device
    precise: bool  # float32 products in full, not as TF32
    batch: int
    hidden: int
    symbols: int = 0
    attention: int = 0
    context: int = 0
    n_taps: int = 0


def recorded(run: Callable[[], None], device: torch.device) -> Callable[[], object]:
    """`run` as one CUDA graph; it is run twice. On a CPU, where Triton interprets its kernels: itself."""
    if device.type != "cuda":
        return run
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):  # kernels are compiled, and cuBLAS takes its memory, before a recording
        run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph.replay


@functools.lru_cache(maxsize=8)
def _weight(device: torch.device, rows: int, columns: int) -> Tensor:
    """Where a weight lies for all graphs: each batch copies its own there."""
    return torch.zeros(rows, columns, device=device)


Pairs = Iterable[
    tuple[Tensor, Tensor | None]
]  # a block's tensor, and that of all steps; None: nothing to copy


def _by_blocks(replay: Callable[[], object], starts: Iterable[int], given: Pairs, made: Pairs) -> None:
    """Replay the graph for one block after another, between copies of what it is given and what it made.

    Beyond the last step a block is given zeros, which change nothing.
    """
    given, made = tuple(given), tuple(made)
    for start in starts:
        for into, whole in given:
            if whole is not None:
                part = whole[start : start + len(into)]
                into[: len(part)].copy_(part)
                if len(part) < len(into):
                    into[len(part) :].zero_()
        replay()
        for found, whole in made:
            if whole is not None:
                part = whole[start : start + len(found)]
                part.copy_(found[: len(part)])


class Cells:
    """An LSTM's gates, cells and masks for a block of steps."""

    def __init__(self, shape: Shape, fed_back: int) -> None:
        self.shape = shape
        new = functools.partial(torch.zeros, device=shape.device)
        batch, hidden = shape.batch, shape.hidden
        self.weight = _weight(shape.device, 4 * hidden, fed_back)
        self.gates = new(BLOCK, batch, 4 * hidden)
        self.product = new(batch, 4 * hidden)
        self.kept = new(BLOCK, batch, hidden, dtype=torch.uint8)
        self.scale = new(1)
        self.cells = new(BLOCK + 1, batch, hidden)  # the first is what the block before left
        self.states = new(BLOCK + 1, batch, fed_back)  # what is fed back, likewise
        self.d_states = new(BLOCK, batch, fed_back)  # from outside
        self.carried, self.d_cell = new(batch, fed_back), new(batch, hidden)
        self.grid = batch, -(-hidden // CELLS)

    @functools.cached_property
    def forward(self) -> Callable[[], object]:
        return recorded(self._forward, self.shape.device)

    @functools.cached_property
    def backward(self) -> Callable[[], object]:
        return recorded(self._backward, self.shape.device)

    def begin(self, weight: Tensor, dropout: Dropout | None) -> None:
        self.weight.copy_(weight)
        self.scale.fill_(1.0 if dropout is None else dropout.scale)
        if dropout is None:
            self.kept.fill_(1)

    def _forward(self) -> None:
        for t in range(BLOCK):
            self.step(t)
        self.pass_on()

    def step(self, t: int) -> None:
        torch.mm(self.states[t], self.weight.t(), out=self.product)
        _kernels().lstm_cell[self.grid](
            *(self.gates[t], self.product, self.kept[t], self.scale, self.cells[t], self.cells[t + 1]),
            *(self.states[t + 1], self.states.stride(1)),
            H=self.shape.hidden,
            WIDTH=CELLS,
        )

    def pass_on(self) -> None:
        """The last step's state to the next block."""
        for states in (self.cells, self.states):
            states[0].copy_(states[BLOCK])

    def _backward(self) -> None:
        for t in reversed(range(BLOCK)):
            self.step_back(t)

    def step_back(self, t: int, from_query: Tensor | None = None) -> None:
        _kernels().lstm_cell_gradient[self.grid](
            *(self.gates[t], self.kept[t], self.scale, self.cells[t], self.cells[t + 1], self.d_states[t]),
            *(self.carried, self.carried if from_query is None else from_query, self.d_cell),
            *(self.d_states.stride(1), self.carried.stride(0)),
            H=self.shape.hidden,
            WIDTH=CELLS,
            QUERIED=from_query is not None,
        )
        torch.mm(self.gates[t], self.weight, out=self.carried)


class Attention(Cells):
    """And the attention over a text, for a block of steps."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape.hidden + shape.context)
        new = functools.partial(torch.zeros, device=shape.device)
        batch, length, width = shape.batch, shape.symbols, shape.attention
        self.parts = length // ROWS
        self.n_taps = shape.n_taps
        self.taps = 1 << max(4, (self.n_taps - 1).bit_length())
        self.v, self.kernel = new(width), new(2 * self.taps, width)
        self.query = _weight(shape.device, width, shape.hidden)
        # A part's gradient of the query times the same weight: their sum comes with the product.
        self.queries = new(self.parts * width, shape.hidden)
        self.keys, self.memory = new(batch, length, width), new(batch, length, shape.context)
        self.padding = new(batch, length, dtype=torch.uint8)
        self.weights = new(BLOCK + 1, batch, 2, length)  # last and summed; the first as above
        self.asked = new(BLOCK, batch, width)  # h Qᵀ
        self.energies, self.d_weights, self.to_summed = new(3, batch, length)
        self.d_alphas = new(BLOCK, batch, length)  # from outside
        self.d_contexts = new(BLOCK, batch, shape.context)
        self.d_asked = new(BLOCK, batch, self.parts, width)
        self.d_z = new(BLOCK, batch, length, width)
        self.to_windows = new(batch, length, 2 * self.taps)
        self.from_query = new(batch, shape.hidden)
        self.d_keys, self.d_v = new(batch, length, width), new(batch, self.parts, width)
        self.d_kernel = new(batch, self.parts, 2 * self.taps, width)
        self.size = {"A": width, "N_TAPS": self.n_taps, "TAPS": self.taps, "ROWS": ROWS}
        self.of_text = batch, self.parts
        # Three products of TF32 parts are as exact as one of float32, which does not fit into registers.
        self.precision = {"PRECISION": "tf32x3" if shape.precise else "tf32"}
        longest = 1 << (length - 1).bit_length()
        self.length, self.warps = {"LENGTH": longest}, {"num_warps": min(16, max(4, longest // 32))}
        # With 4, gradients of the full-size attention do not fit into the registers (benchmarks/kernels.py).
        self.of_gradients = {"num_warps": 8 if width > 64 else 4}

    def begin_text(self, query: Tensor, keys: Tensor, memory: Tensor, kernel: Tensor, v: Tensor) -> None:
        length = keys.shape[1]
        self.query.copy_(query)
        self.v.copy_(v)
        self.kernel.view(2, self.taps, -1)[:, : self.n_taps].copy_(kernel.permute(1, 2, 0))
        for into, whole in ((self.keys, keys), (self.memory, memory)):
            into[:, :length].copy_(whole)
            into[:, length:].zero_()

    def begin_padding(self, padding: Tensor) -> None:
        length = padding.shape[1]
        self.padding[:, :length].copy_(padding)
        self.padding[:, length:].fill_(1)

    def step(self, t: int) -> None:
        super().step(t)
        torch.mm(self.states[t + 1, :, : self.shape.hidden], self.query.t(), out=self.asked[t])
        _kernels().energies[self.of_text](
            *(self.weights[t], self.asked[t], self.keys, self.kernel, self.v, self.padding, self.energies),
            self.shape.symbols,
            **self.size,
            **self.precision,
        )
        _kernels().attend[self.shape.batch, -(-self.shape.context // WIDTH)](
            *(self.energies, self.weights[t], self.memory, self.weights[t + 1]),
            self.states[t + 1, :, self.shape.hidden :],
            *(self.shape.symbols, self.states.stride(1)),
            E=self.shape.context,
            WIDTH=WIDTH,
            **self.length,
            **self.warps,
        )

    def pass_on(self) -> None:
        super().pass_on()
        self.weights[0].copy_(self.weights[BLOCK])

    def _backward(self) -> None:
        self.queries.view(self.parts, *self.query.shape).copy_(self.query.expand(self.parts, -1, -1))
        for t in reversed(range(BLOCK)):
            _kernels().weights_gradient[self.shape.batch, self.shape.symbols // FEWER_ROWS](
                self.d_states[t, :, self.shape.hidden :],
                self.carried[:, self.shape.hidden :],
                *(self.memory, self.d_alphas[t], self.to_windows, self.to_summed),
                *(self.d_contexts[t], self.d_weights, self.shape.symbols),
                *(self.d_states.stride(1), self.carried.stride(0)),
                E=self.shape.context,
                N_TAPS=self.n_taps,
                TAPS=self.taps,
                ROWS=FEWER_ROWS,
                WIDTH=MORE_WIDTH,
            )
            _kernels().energies_gradient[self.of_text](
                *(self.weights[t], self.weights[t + 1], self.asked[t], self.keys, self.kernel, self.v),
                *(self.d_weights, self.d_z[t], self.to_windows, self.d_asked[t], self.d_v),
                self.shape.symbols,
                **self.size,
                **self.length,
                **self.precision,
                **self.of_gradients,
            )
            torch.mm(self.d_asked[t].flatten(1), self.queries, out=self.from_query)
            self.step_back(t, self.from_query)
        _kernels().keys_gradient[self.of_text](
            *(self.weights, self.d_z, self.d_keys, self.d_kernel, self.shape.symbols),
            **self.size,
            **self.precision,
            **self.of_gradients,
            STEPS=BLOCK,
        )


_kept: OrderedDict[Shape, Cells] = OrderedDict()


def _block(shape: Shape) -> Any:
    if shape not in _kept:
        _kept[shape] = Attention(shape) if shape.symbols else Cells(shape, shape.hidden)
    _kept.move_to_end(shape)
    while len(_kept) > RECORDED:
        _kept.popitem(last=False)
    return _kept[shape]


def free_memory() -> None:
    """Give back to the GPU what graphs and freed tensors hold; graphs are recorded anew where needed."""
    _kept.clear()
    _weight.cache_clear()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _precise() -> bool:
    return not torch.backends.cuda.matmul.allow_tf32


def _zero(*states: Tensor) -> None:
    for state in states:
        state.zero_()


class RecurrentLSTM(torch.autograd.Function):
    """As recurrence.RecurrentLSTM."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        given: Tensor,
        bias: Tensor,
        weight: Tensor,
        passed: int,
        dropout: Dropout | None,
    ) -> Tensor:
        (n, batch, _), width = inputs.shape, weight.shape[1]
        gates = torch.addmm(bias, inputs.flatten(0, 1), given.t()).view(n, batch, -1)
        cells = inputs.new_zeros(n + 1, batch, width)
        states = inputs.new_zeros(n + 1, batch, width + passed)
        states[1:, :, width:] = inputs[:, :, inputs.shape[2] - passed :]
        block = _block(Shape(inputs.device, _precise(), batch, width))
        block.begin(weight, dropout)
        kept, ctx.scale = dropout or (None, 1.0)
        replay = block.forward
        _zero(block.cells[0], block.states[0])
        given_to = (block.gates, gates), (block.kept, kept)
        made = (block.gates, gates), (block.cells[1:], cells[1:]), (block.states[1:], states[1:, :, :width])
        _by_blocks(replay, range(0, n, BLOCK), given_to, made)
        ctx.save_for_backward(inputs, given, weight, kept, gates, cells, states)
        ctx.block = block
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, kept, gates, cells, states = ctx.saved_tensors
        width, block = weight.shape[1], ctx.block
        d_hidden, d_passed = d_out.tensor_split([width], dim=2)
        block.begin(weight, None if kept is None else Dropout(kept, ctx.scale))
        replay = block.backward
        _zero(block.carried, block.d_cell)
        given_to = (block.gates, gates), (block.cells, cells), (block.d_states, d_hidden), (block.kept, kept)
        _by_blocks(replay, _backwards(len(gates)), given_to, [(block.gates, gates)])
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1, :, :width].flatten(0, 1))
        d_inputs, *d_given = linear_gradients(gates, inputs, given)
        d_inputs[:, :, inputs.shape[2] - d_passed.shape[2] :] += d_passed
        return d_inputs, *d_given, d_weight, None, None


class AttentionRecurrence(torch.autograd.Function):
    """As recurrence.AttentionRecurrence."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        given: Tensor,
        bias: Tensor,
        weight: Tensor,
        query: Tensor,
        keys: Tensor,
        memory: Tensor,
        kernel: Tensor,
        v: Tensor,
        padding: Tensor,
        dropout: Dropout | None,
    ) -> tuple[Tensor, Tensor]:
        (n, batch, _), (length, width) = inputs.shape, keys.shape[1:]
        gates = torch.addmm(bias, inputs.flatten(0, 1), given.t()).view(n, batch, -1)
        sizes = query.shape[1], -(-length // ROWS) * ROWS, width, memory.shape[2], kernel.shape[2]
        block = _block(Shape(inputs.device, _precise(), batch, *sizes))
        cells = inputs.new_zeros(n + 1, batch, sizes[0])
        states = inputs.new_zeros(n + 1, batch, weight.shape[1])
        weights = inputs.new_zeros(n + 1, batch, 2, sizes[1])
        asked = inputs.new_empty(n, batch, width)
        block.begin(weight, dropout)
        block.begin_text(query, keys, memory, kernel, v)
        block.begin_padding(padding)
        kept, ctx.scale = dropout or (None, 1.0)
        replay = block.forward
        _zero(block.cells[0], block.states[0], block.weights[0])
        after = (block.cells, cells), (block.states, states), (block.weights, weights)
        made = (block.gates, gates), (block.asked, asked), *((own[1:], whole[1:]) for own, whole in after)
        _by_blocks(replay, range(0, n, BLOCK), [(block.gates, gates), (block.kept, kept)], made)
        ctx.save_for_backward(
            *(inputs, given, weight, query, keys, memory, kernel, v, kept),
            *(gates, cells, states, weights, asked),
        )
        ctx.block = block
        return states[1:], weights[1:, :, 0, :length]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_features: Tensor, d_alpha: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, query, keys, memory, kernel, v, kept = ctx.saved_tensors[:9]
        gates, cells, states, weights, asked = ctx.saved_tensors[9:]
        (n, batch, width), length, block = asked.shape, keys.shape[1], ctx.block
        d_contexts = memory.new_empty(n, batch, memory.shape[2])
        d_asked = memory.new_empty(n, batch, block.parts, width)
        block.begin(weight, None if kept is None else Dropout(kept, ctx.scale))
        block.begin_text(query, keys, memory, kernel, v)
        replay = block.backward
        _zero(block.carried, block.d_cell, block.to_windows, block.to_summed)
        _zero(block.d_keys, block.d_v, block.d_kernel, block.d_alphas)
        given_to = (
            *((block.gates, gates), (block.cells, cells), (block.weights, weights), (block.asked, asked)),
            *((block.d_states, d_features), (block.d_alphas[:, :, :length], d_alpha), (block.kept, kept)),
        )
        made = (block.gates, gates), (block.d_contexts, d_contexts), (block.d_asked, d_asked)
        _by_blocks(replay, _backwards(n), given_to, made)
        d_queries = d_asked.sum(dim=2)
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1].flatten(0, 1))
        d_query = weight_gradient(d_queries.flatten(0, 1), states[1:, :, : query.shape[1]].flatten(0, 1))
        alphas = weights[1:, :, 0, :length]
        d_memory = torch.bmm(alphas.permute(1, 2, 0), d_contexts.transpose(0, 1))
        d_kernel = block.d_kernel.sum(dim=(0, 1)).view(2, block.taps, width)[:, : block.n_taps]
        return (
            *linear_gradients(gates, inputs, given),
            d_weight,
            d_query,
            block.d_keys[:, :length].clone(),
            d_memory,
            d_kernel.permute(2, 0, 1).contiguous(),
            block.d_v.sum(dim=(0, 1)),
            None,
            None,
        )


def _backwards(n: int) -> Iterable[int]:
    """Where blocks begin, the last one first."""
    return reversed(range(0, n, BLOCK))
