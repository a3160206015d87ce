"""Which library multiplies what on this machine: measured once, and kept in the workdir.

Each library rounds sums in its own way, so all that train in a workdir on one kind of machine share a choice.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch

from model.data.split import sha256
from model.device import Origin
from model.network.products import FEW_ROWS, faster_by_torch, leave_to_torch
from model.settings import PRECISION


def choose(workdir: Path) -> None:
    """Multiply with the library that was measured to be the faster one here.

    Where nothing can be written the choice is that of this process alone.
    """
    leave_to_torch(())  # so that the machine has one name
    machine = str(Origin.here(torch.device("cpu"), PRECISION))
    path = workdir / "cache" / "products" / f"{sha256(machine)[:16]}.json"
    chosen = _kept(path)
    if chosen is None:
        chosen = faster_by_torch()
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _keep(path, machine, chosen)
            chosen = _kept(path) or ()  # another worker may have been first
    leave_to_torch(chosen)


def _kept(path: Path) -> Sequence[int] | None:
    """None if nothing is kept, or not whole: what can be measured again is no error."""
    try:
        rows = json.loads(path.read_text("utf-8"))["rows by torch"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return rows if isinstance(rows, list) and all(n in FEW_ROWS for n in rows) else None


def _keep(path: Path, machine: str, rows: Sequence[int]) -> None:
    """Write it, whole or not at all, unless somebody else did."""
    if path.exists() and _kept(path) is None:
        path.unlink(missing_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
        json.dump({"machine": machine, "rows by torch": list(rows)}, file)
    try:
        os.link(file.name, path)
    except FileExistsError:
        pass
    except OSError:  # a disk without hard links
        os.replace(file.name, path)
    finally:
        Path(file.name).unlink(missing_ok=True)
