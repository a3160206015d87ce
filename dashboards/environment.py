"""Which variables of the environment the pages' processes get: those on a list, so that no secret is."""

import os
import re
from collections.abc import Mapping

from smart_tuner.store.storage import read_url

PASSWORD = "SMART_TUNER_PAGES_PASSWORD"
STORAGE = "OPTUNA_STORAGE"
KEPT = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|NO_COLOR|COLUMNS|VIRTUAL_ENV"
    "|PYTHON[A-Z]*|LD_LIBRARY_PATH|XDG_CACHE_HOME|MPLCONFIGDIR|CUDA_VISIBLE_DEVICES|ESPEAK_DATA_PATH"
    "|(OMP|MKL|ONEDNN|DNNL|OPENBLAS|NUMBA|TORCH)_[A-Z_]+|SMART_TUNER_(HOME|PARENT|PORTS|TRACKING|VOCODER|EAR)"
)
POSTGRESQL = re.compile("PG[A-Z]+")


def bare(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of `environment` that runs a program, and opens the database at `url`."""
    on_server = read_url(url).file is None
    return {
        name: value
        for name, value in environment.items()
        if KEPT.fullmatch(name) or (on_server and POSTGRESQL.fullmatch(name))
    }


def of_pages(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What `run_study.py pages` needs to begin, when another process starts it."""
    own = {name: environment[name] for name in (PASSWORD, STORAGE) if name in environment}
    return bare(url, environment) | own


def shed(url: str) -> None:
    """Take all other variables out of this process, and so out of children that it starts from now on."""
    for name in os.environ.keys() - bare(url, os.environ).keys():
        del os.environ[name]
