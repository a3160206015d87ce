"""MLflow's server behind our guard: the command that starts it, and the application that it serves."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from dashboards.environment import bare
from dashboards.guard import ASGI, STATIC, Guard
from smart_tuner.store.storage import mlflow_files, mlflow_url

GUARD = "SMART_TUNER_GUARD"  # environment of the child: its guard, and where files of runs are

# A reading room: what MLflow's page asks for to show experiments, runs, curves and files. All else is
# refused, and what later versions add: its assistant runs commands, its API writes where an experiment says.
RULE = Guard(
    "mlflow",
    allowed=(
        r"GET /",
        rf"GET /static-files/{STATIC}",
        r"GET /get-artifact",
        r"GET /ajax-api/2\.0/mlflow/artifacts/list",
        r"GET /ajax-api/2\.0/mlflow/experiments/(get|get-by-name|search)",
        r"POST /ajax-api/2\.0/mlflow/experiments/(search|search-datasets)",
        r"GET /ajax-api/2\.0/mlflow/metrics/get-history(-bulk|-bulk-interval)?",
        r"GET /ajax-api/2\.0/mlflow/runs/get",
        r"POST /ajax-api/2\.0/mlflow/(runs|logged-models)/search",
        r"GET /ajax-api/2\.0/mlflow/(model-versions|registered-models)/search",
        r"GET /ajax-api/2\.0/mlflow/users/current",
        r"GET /ajax-api/3\.0/mlflow/server-info",
        r"POST /graphql",
    ),
    artifacts=("/get-artifact",),
)


def app() -> ASGI:
    """The application that `mlflow server` serves. MLflow's own reads its environment when it is imported."""
    guard, store = told(os.environ)
    from dashboards.reading import only_reading

    mlflows: ASGI = import_module("mlflow.server.fastapi_app").app
    return guard.asgi(only_reading(mlflows, store))


def told(environment: Mapping[str, str]) -> tuple[Guard, Path]:
    """The guard that `environment` was written with, and where files of runs are.

    Raises:
        RuntimeError: there is none: MLflow is never served unguarded.
    """
    if GUARD not in environment:
        raise RuntimeError("this app is started by: run_study.py pages")
    found: dict[str, Any] = json.loads(environment[GUARD])
    hosts, store = frozenset(found.pop("hosts")), Path(found.pop("store"))
    return replace(RULE, hosts=hosts, **found), store


def command(workdir: Path, guard: Guard) -> list[str]:
    """The command that starts the server. It listens on standard input, which MLflow hands on to its uvicorn.

    MLflow checks Host and Origin in its own way, too. No list of requests is kept: they hold keys.
    """
    mlflow_files(workdir).mkdir(parents=True, exist_ok=True)
    here = ("localhost", "127.0.0.1", "[::1]", "localhost:*", "127.0.0.1:*", "[[]::1]:*")
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "smart-tuner", "--workers", "1"),
        *("--uvicorn-opts", "--no-access-log --fd 0"),
        *("--allowed-hosts", ",".join((*here, *sorted(guard.hosts)))),
        *("--cors-allowed-origins", ",".join(f"http://{name}" for name in sorted(guard.hosts))),
        *("--artifacts-destination", str(mlflow_files(workdir))),
    ]


def environment(url: str, workdir: Path, guard: Guard) -> dict[str, str]:
    """The server's environment, with the URL, key and password that a command line would show."""
    kept = {"key": guard.key, "password": guard.password, "store": str(mlflow_files(workdir))}
    return {
        **bare(url),
        "MLFLOW_BACKEND_STORE_URI": mlflow_url(url),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        GUARD: json.dumps({"hosts": sorted(guard.hosts), **kept}),
    }
