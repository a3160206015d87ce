"""Where a voice is trained, what its products are computed in there, and how tensors come there."""

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from model.network.products import left_to_torch
from model.settings import Precision

# With these its products repeat bit by bit; read when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
CPU_INFO = Path("/proc/cpuinfo")  # of Linux


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint was made; it goes on bit for bit where all that is compared is the same.

    Args:
        kind: of the device, such as "cpu" or "cuda".
        name: of the GPU's model; or of the CPU's, with the threads among which sums are divided, and with
            what is left to torch's own products.
        torch_version: with how it was built, such as +cpu.
        precision: of the study, which keeps it.
    """

    kind: str
    name: str
    torch_version: str
    precision: Precision = field(compare=False)

    @classmethod
    def here(cls, device: torch.device, precision: Precision) -> "Origin":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
        return cls(device.type, name, str(torch.__version__), precision)

    def __str__(self) -> str:
        return f"{self.name} with torch {self.torch_version}"


def use_precision(precision: Precision) -> None:
    """Let this process's GPUs multiply and convolve float32 numbers so from now on, and alike in every run.

    cuDNN's fastest kernels add in any order: a run would not repeat, nor go on, bit for bit.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on `device`. Neither waits for the other: a GPU fetches it from pinned memory."""
    return x if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def _cpu() -> str:
    """The CPU's model, or its kind where that is not told, and how many of its threads torch uses."""
    told = None
    with suppress(OSError):
        told = re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(errors="replace"), re.MULTILINE)
    model, threads = told[1].strip() if told else platform.machine(), torch.get_num_threads()
    left = f", torch multiplies {' and '.join(map(str, rows))} rows" if (rows := left_to_torch()) else ""
    return f"CPU {model} ({threads} thread{'' if threads == 1 else 's'}{left})"
