"""What can be wrong with a machine, an installation or a database, looked at one by one."""

import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import click
import optuna
from optuna.trial import TrialState
from packaging.requirements import Requirement

from smart_tuner.lazy import LazyModule
from smart_tuner.store.attributes import is_ours
from smart_tuner.store.outage import first_line
from smart_tuner.store.storage import Storage, StoreError
from studies.callbacks import dashboard
from studies.commands import notify
from studies.commands.place import FORMATS, Place
from studies.report.summary import formatted

if TYPE_CHECKING:
    import torch

    from model.network import blocks, products
else:
    torch, products = LazyModule("torch"), LazyModule("model.network.products")
    blocks = LazyModule("model.network.blocks")

DISTRIBUTION = "smart-tuner"
DRIVER = Path("/proc/driver/nvidia/version")
LEAST_FREE_GIGABYTES = 2.0
SIDE = 256  # of the square that each GPU multiplies
Finding = dict[str, str]


def examine(workdir: Path, open_storage: Callable[[], Storage], fix: bool) -> list[Finding]:
    """Findings with check, state ("ok" or "FAULT") and detail.

    Args:
        fix: mend what can be mended, and say so.
    """
    return [
        {"check": check, "state": "ok" if sound else "FAULT", "detail": detail}
        for check, sound, detail in (*_machine(workdir), *_packages(), *_database(workdir, open_storage, fix))
    ]


def _machine(workdir: Path) -> Iterator[tuple[str, bool, str]]:
    yield "python", sys.version_info >= (3, 11), platform.python_version() + " (3.11 or newer is needed)"
    yield from _devices()
    place = next(parent for parent in (workdir.absolute(), *workdir.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    yield "disk", free >= LEAST_FREE_GIGABYTES, f"{free:.1f} GB free ({LEAST_FREE_GIGABYTES} are needed)"
    yield "home", _writable(workdir), str(workdir)


def _devices() -> Iterator[tuple[str, bool, str]]:
    """The CPU, and each GPU after it has multiplied something."""
    gpus, driver = torch.cuda.device_count(), _driver()
    none = "" if gpus else "; no GPU: trains on the CPU"
    if driver and not gpus:
        none += f". The NVIDIA driver {driver} is there, but torch {torch.__version__} finds no GPU by it"
    yield "devices", True, f"cpu ({torch.get_num_threads()} threads){none}"
    yield "products", True, _products()
    for index in range(gpus):
        yield f"gpu {index}", *_gpu(index, driver)


def _products() -> str:
    """Which library multiplies float32 numbers faster on this CPU, as measured now."""
    if not products.ONEDNN:
        return "by torch's own library: this torch has no oneDNN"
    rows = " and ".join(map(str, products.faster_by_torch()))
    bfloat16 = "itself" if products.multiplies_bfloat16(torch.device("cpu")) else "not itself"
    return f"by oneDNN{f', of {rows} rows by torch' if rows else ''}; it multiplies bfloat16 {bfloat16}"


def _gpu(index: int, driver: str | None) -> tuple[bool, str]:
    """Whether it multiplies, and what it is, or why it does not."""
    try:
        ones = torch.ones(SIDE, SIDE, device=f"cuda:{index}")
        sound = bool((ones @ ones == SIDE).all())
        about = torch.cuda.get_device_properties(index)
        why = blocks.why_not(torch.device("cuda", index))
    except (RuntimeError, AssertionError) as error:  # torch knows no common one
        return False, f"cannot multiply: {first_line(error)}"
    detail = (
        f"{about.name}, {about.total_memory / 2**30:.0f} GiB, "
        f"compute capability {about.major}.{about.minor}, "
        f"CUDA {torch.version.cuda}, driver {driver or 'not told'}"
        + (f"; trains some ten times slower than it could: {why}" if why else "")
    )
    return sound, detail if sound else f"{detail}: multiplies wrongly"


def _driver() -> str | None:
    """The version of NVIDIA's driver, as Linux tells it."""
    try:
        found = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", DRIVER.read_text())
    except OSError:
        return None
    return found[1] if found else None


def _writable(workdir: Path) -> bool:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=workdir).close()
    except OSError:
        return False
    return True


def _packages() -> Iterator[tuple[str, bool, str]]:
    try:
        needed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        detail = "is not installed as a package, so that what it needs is not known: ./install.sh setup"
        yield DISTRIBUTION, False, detail
        return
    for line in needed:
        wanted = Requirement(line)
        extra = wanted.marker is not None and not wanted.marker.evaluate({"extra": "espeak"})
        if extra:
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield wanted.name, False, f"missing ({wanted.specifier} is needed): ./install.sh setup"
        else:
            yield wanted.name, wanted.specifier.contains(found), f"{found} ({wanted.specifier} is needed)"


def _database(
    workdir: Path, open_storage: Callable[[], Storage], fix: bool
) -> Iterator[tuple[str, bool, str]]:
    try:
        storage = open_storage()
    except StoreError as error:
        yield "database", False, str(error).replace("\n", " ")
        return
    yield "telegram", *notify.examine(storage)
    summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    yield "database", True, f"{len(summaries)} studies"
    for summary in summaries:
        if not is_ours(summary.user_attrs):
            continue
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        open_trials = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        if open_trials:
            detail = f"{open_trials} unfinished; go on with: run_study.py resume {summary.study_name}"
            yield f"study {summary.study_name}", True, detail
    if not (found := dashboard.unmatched(storage, workdir)):
        yield "artifacts", True, "each has its row and its file"
    elif fix:
        yield "artifacts", True, dashboard.mend(storage, workdir, found)
    else:
        yield "artifacts", False, f"{found}; mend them with: run_study.py doctor --fix"


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@FORMATS
@click.pass_obj
def doctor(place: Place, fix: bool, form: str) -> None:
    """Check this machine, the installation and the database."""
    findings = examine(place.workdir, place.storage, fix)
    click.echo(formatted(findings, form))
    if any(finding["state"] == "FAULT" for finding in findings):
        raise click.exceptions.Exit(3)
