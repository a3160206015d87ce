"""What the GPU kernels of the recurrences take of a card of which there is none here.

Each is compiled for it as the recurrences launch it, at full size and for a small voice. What does not fit
into a thread's registers is spilled: it goes through memory. Run it without TRITON_INTERPRET.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
import torch
import triton  # type: ignore[import-untyped]
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
from triton.compiler import ASTSource  # type: ignore[import-untyped]

from benchmarks.faults.proof import markdown_table
from model.network import blocks, kernels
from model.settings import SIZES, Dimensions

TYPES = {torch.float32: "*fp32", torch.uint8: "*u8"}
ALIGNED = 16  # bytes of a pointer, or parts of a number, for which code is made anew
SYMBOLS, CLIPS = 160, 2
Launch = tuple[str, tuple[Any, ...], dict[str, Any]]


class Launches:
    """Stands in the place of model/network/kernels.py, and notes what would be launched."""

    def __init__(self) -> None:
        self.found: dict[str, Launch] = {}

    def __getattr__(self, name: str) -> Mapping[Any, Callable[..., None]]:
        def launch(*given: Any, **chosen: Any) -> None:
            self.found.setdefault(f"{name} {sorted(chosen.items())}", (name, given, chosen))

        class Grids(dict[Any, Callable[..., None]]):
            def __missing__(self, _: Any) -> Callable[..., None]:
                return launch

        return Grids()


def launches(size: Dimensions, precise: bool) -> Iterator[Launch]:
    """All kernels of a block of decoder steps, forward and backward, each once."""
    seen, kept = Launches(), blocks._kernels
    blocks._kernels = lambda: seen  # type: ignore[assignment]
    try:
        of_text = SYMBOLS, size.attention_dim, size.encoder_embedding_dim, size.attention_location_kernel_size
        shape = blocks.Shape(torch.device("cpu"), precise, CLIPS, size.attention_rnn_dim, *of_text)
        for cells in (blocks.Attention(shape), blocks.Cells(shape, size.decoder_rnn_dim)):
            cells._forward()
            cells._backward()
    finally:
        blocks._kernels = kept
    yield from seen.found.values()


def warps(launch: Launch) -> int:
    return int(launch[2].get("num_warps", 4))  # Triton's own default


def compiled(launch: Launch, target: GPUTarget) -> dict[str, int]:
    """What one kernel takes, as NVIDIA's cuobjdump tells it: registers of a thread, and bytes."""
    name, given, chosen = launch
    kernel = getattr(kernels, name)
    types, aligned = dict.fromkeys(kernel.arg_names, "constexpr"), {}
    for place, (argument, value) in enumerate(zip(kernel.arg_names, given, strict=False)):
        is_tensor = isinstance(value, torch.Tensor)
        types[argument] = TYPES[value.dtype] if is_tensor else "i32"
        if (value.data_ptr() if is_tensor else value) % ALIGNED == 0:
            aligned[(place,)] = [["tt.divisibility", ALIGNED]]
    constants = {(place,): chosen[key] for place, key in enumerate(kernel.arg_names) if key in chosen}
    source = ASTSource(kernel, types, constants, aligned)
    found = triton.compile(source, target=target, options={"num_warps": warps(launch)})
    tool = next(Path(triton.__file__).parent.rglob("bin/cuobjdump"))
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(found.asm["cubin"])
        file.flush()
        shown = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True)
    line = next(line for line in shown.stdout.splitlines() if " REG:" in line)
    told = dict(part.split(":") for part in line.split())
    spilled = int(told["STACK"]) + int(told["LOCAL"])
    return {"registers": int(told["REG"]), "spilled": spilled, "shared": found.metadata.shared}


@click.command(help=__doc__)
@click.option("--capability", default=90, show_default=True, help="The card's compute capability, times ten.")
def main(capability: int) -> None:
    rows = [
        {
            "network": size,
            "float32 products": "in full" if precise else "as TF32",
            "kernel": launch[0],
            "warps": warps(launch),
            **compiled(launch, GPUTarget("cuda", capability, 32)),
        }
        for size in ("full", "small")
        for precise in (True, False)
        for launch in launches(SIZES[size], precise)
    ]
    click.echo(markdown_table(rows))


if __name__ == "__main__":
    main()
