"""A pretended GPU for machines that have none: real numbers on the CPU, the rules of CUDA.

A tensor that is moved to DEVICE becomes a Pretended one. It is computed with on the CPU, so that the code
runs to its end with true values, and a dispatch mode looks at every operation as a GPU would see it:

- `mixed`     operations on tensors of both devices, which CUDA refuses
- `waits`     places where the host waits for the device: a copy to the host, .item(), nonzero(), and a copy
              to the device that blocks or whose source is not pinned
- `launches`  operations that start at least one kernel; views and allocations start none. A lower bound:
              one operation may start several

    with PretendedCuda() as gpu:
        training = Training(corpus, dimensions, settings, seed, str(DEVICE))
        with gpu.part("step"):
            training.advance()
    gpu.launches["step"], gpu.waits["step"], gpu.mixed

It cannot see a GPU's rounding, memory, time and randomness, nor the limits of cuDNN and cuBLAS.
"""

import sys
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
import torch._dynamo  # before anything is patched
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"  # torch lets no other backend be named "cuda"
ROOT = Path(__file__).parent.parent
aten = torch.ops.aten

# Start no kernel, though their schemas do not call them views.
FREE = {
    "_local_scalar_dense",
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "chunk",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "set_",
    "split",
    "split_with_sizes",
    "tensor_split",
    "unbind",
}
# Take indices, lengths or values from the host on purpose.
MAY_MIX = {
    "_index_put_impl_",
    "_pack_padded_sequence",
    "_to_copy",
    "copy_",
    "index",
    "index_put_",
}
# Need to know on the host what the device found.
WAIT = {
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_dim",
}
RANDOM = {
    "bernoulli",
    "bernoulli_",
    "exponential_",
    "normal_",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randperm",
}
RANDOM |= {"random_", "uniform_"}


class _Module(_DummyBackendModule):
    """Stands where torch looks for torch.cuda, by the device's name."""

    random = torch.Generator().manual_seed(0)

    def get_rng_state(self, device):
        return self.random.get_state()

    def set_rng_state(self, state, device):
        self.random.set_state(state)


MODULE = _Module()
_setup_privateuseone_for_python_backend(NAME, MODULE)
DEVICE = torch.device(NAME, 0)


class Pretended(torch.Tensor):
    """Says that it lies on DEVICE; `inner` has its values."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} ran outside of PretendedCuda")

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, **_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def __repr__(self):
        return f"Pretended({self.inner!r})"


def inner(x):
    return x.inner if isinstance(x, Pretended) else x


def pretended(found):
    return tree_map(lambda x: Pretended(x) if isinstance(x, torch.Tensor) else x, found)


def on_device(device):
    return device is not None and torch.device(device).type == NAME


class _Kind(type):
    """What torch.Generator is meanwhile: one of DEVICE draws on the CPU."""

    real = torch.Generator

    def __call__(cls, device="cpu"):
        return cls.real() if on_device(device) else cls.real(device)

    def __instancecheck__(cls, x):
        return isinstance(x, cls.real)


class Generator(metaclass=_Kind):
    pass


def pinned(x):
    x = x.clone()
    x.is_pinned_here = True
    return x


class PretendedCuda(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self._part, self._patches = "", ExitStack()
        self.launches = defaultdict(Counter)  # part -> operation -> count
        self.waits = defaultdict(Counter)  # part -> "operation at file:line" -> count
        self.mixed = []  # "operation at file:line"

    @contextmanager
    def part(self, name):
        """What runs in here is counted under `name`."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def __enter__(self):
        types = [*_foreach_utils._foreach_supported_types, Pretended]
        patches = [
            (torch, "Generator", Generator),
            (torch.Tensor, "pin_memory", pinned),
            (torch.nn.LSTM, "forward", _lstm(torch.nn.LSTM.forward, self)),
            *(
                (module, "_foreach_supported_types", types)
                for name, module in list(sys.modules.items())
                if name.startswith("torch.") and "_foreach_supported_types" in vars(module)
            ),
        ]
        for target, name, new in patches:
            self._patches.enter_context(patch.object(target, name, new))
        # x.new_tensor(value) is then a tensor of the host and its copy, as on a GPU.
        self._patches.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error):
        try:
            return super().__exit__(*error)
        finally:
            self._patches.close()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.name().removeprefix("aten::").split(".")[0]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        here = any(isinstance(x, Pretended) for x in tensors)
        if not here and not on_device(kwargs.get("device")):
            return func(*args, **kwargs)  # of the host alone
        if here and name not in MAY_MIX and any(x.dim() and not isinstance(x, Pretended) for x in tensors):
            self.mixed.append(f"{name} at {_place()}")
        self._count(func, name, args, kwargs)
        to_host = name == "_to_copy" and kwargs.get("device") and not on_device(kwargs["device"])
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        if name in RANDOM:
            func, args = (aten.rand.generator, [args[0].shape]) if name == "rand_like" else (func, args)
            kwargs = {k: v for k, v in kwargs.items() if k != "memory_format"} | {"generator": MODULE.random}
        found = CUDA_ONLY.get(func, func)(*tree_map(inner, args), **tree_map(inner, kwargs))
        if name == "_local_scalar_dense" or to_host:
            return found
        if name == "_pack_padded_sequence":
            return Pretended(found[0]), found[1]  # sizes of batches stay on the host
        written = _written(func, args, kwargs)
        if not written:
            return pretended(found)
        return written[0] if len(written) == 1 else tuple(written)

    def _count(self, func, name, args, kwargs):
        if name in ("_to_copy", "copy_"):
            source = args[name == "copy_"]
            known = on_device(kwargs["device"]) if kwargs.get("device") else isinstance(source, Pretended)
            to_device = isinstance(args[0], Pretended) if name == "copy_" else known
            if isinstance(source, Pretended) != to_device:
                name = f"copy to the {'device' if to_device else 'host'}"
                free = to_device and hasattr(source, "is_pinned_here")
                non_blocking = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
                if not (free and non_blocking):
                    self.waits[self._part][f"{name} at {_place()}"] += 1
        indices = tree_leaves(args[1:2]) if name in ("index", "index_put_") else []
        if name in WAIT or any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in indices):
            self.waits[self._part][f"{name} at {_place()}"] += 1
        if not (func.is_view or name in FREE):
            self.launches[self._part][name] += 1


def _written(func, args, kwargs):
    """The arguments that `func` writes and returns, in place or as out=; none if it returns new tensors."""
    given = {}
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name, args[i] if i < len(args) else None)
            given |= {tag: value for tag in argument.alias_info.before_set}
    returns = [x.alias_info for x in func._schema.returns]
    if not all(alias is not None and alias.is_write for alias in returns):
        return []
    return [given[next(iter(alias.before_set))] for alias in returns]


def _place():
    """The line of this project that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and path != __file__ and "/.venv/" not in path:
            return f"{path.removeprefix(f'{ROOT}/')}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def _lstm_cell(input_gates, hidden_gates, cell, input_bias=None, hidden_bias=None):
    gates = input_gates + hidden_gates
    if input_bias is not None:
        gates = gates + input_bias + hidden_bias
    i, f, n, o = gates.chunk(4, 1)
    i, f, n, o = i.sigmoid(), f.sigmoid(), n.tanh(), o.sigmoid()
    after = f * cell + i * n
    return o * after.tanh(), after, torch.cat((i, f, n, o), 1)


def _lstm_cell_backward(d_hidden, d_after, cell, after, gates, has_bias):
    i, f, n, o = gates.chunk(4, 1)
    d_hidden = torch.zeros_like(cell) if d_hidden is None else d_hidden
    tau = after.tanh()
    d_cell = d_hidden * o * (1 - tau * tau) + (0 if d_after is None else d_after)
    d_i, d_f, d_n = d_cell * n * i * (1 - i), d_cell * cell * f * (1 - f), d_cell * i * (1 - n * n)
    d_gates = torch.cat((d_i, d_f, d_n, d_hidden * tau * o * (1 - o)), 1)
    return d_gates, d_cell * f, d_gates.sum(0) if has_bias else None


# What the CPU has no kernel for.
CUDA_ONLY = {
    aten._thnn_fused_lstm_cell.default: _lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
}


def _lstm(real, mode):
    """cuDNN's LSTM as one operation forward and one backward: the CPU's would count each of its steps."""

    class Lstm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, module, batch_sizes, data, *weights):
            mode.launches[mode._part]["cudnn_rnn"] += 1
            with torch.enable_grad():
                leaves = [inner(x).detach().requires_grad_() for x in (data, *weights)]
                h = leaves[0].new_zeros(2, int(batch_sizes[0]), module.hidden_size)
                shape = module.bias, 1, 0.0, module.training, module.bidirectional
                out, *_ = torch._VF.lstm(leaves[0], batch_sizes, (h, h), leaves[1:], *shape)
            ctx.leaves, ctx.out = leaves, out
            return Pretended(out.detach())

        @staticmethod
        def backward(ctx, d_out):
            mode.launches[mode._part]["cudnn_rnn_backward"] += 1
            grads = torch.autograd.grad(ctx.out, ctx.leaves, inner(d_out))
            return None, None, *map(Pretended, grads)

    def forward(self, packed, hx=None):
        if not isinstance(packed.data, Pretended):
            return real(self, packed, hx)
        out = Lstm.apply(self, packed.batch_sizes, packed.data, *self._flat_weights)
        return packed._replace(data=out), None

    return forward
