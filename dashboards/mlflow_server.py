"""MLflow's server behind our guard: how it is started, and the application that it finds."""

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dashboards.guard import ASGI, Guard
from smart_tuner.store import mlflow_url

GUARD = "SMART_TUNER_GUARD"  # environment of the child: its guard
ARTIFACTS = (r"/get-artifact", r"/model-versions/get-artifact", r"/(ajax-)?api/.*artifact")


def app() -> ASGI:
    """MLflow's own application reads its environment when it is imported."""
    guard = guard_from(os.environ)
    mlflows: ASGI = import_module("mlflow.server.fastapi_app").app
    return guard.asgi(mlflows)


def guard_from(environment: Mapping[str, str]) -> Guard:
    """What `environment` wrote. Raises RuntimeError without it: MLflow is never served unguarded."""
    if GUARD not in environment:
        raise RuntimeError("this app is started by: run_study.py pages")
    found: dict[str, Any] = json.loads(environment[GUARD])
    return Guard(frozenset(found["hosts"]), found["password"], artifacts=ARTIFACTS)


def command(home: Path, host: str, port: int, guard: Guard) -> list[str]:
    destination = home.resolve() / "artifacts" / "mlflow"
    destination.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "smart-tuner", "--workers", "1"),
        *("--host", host, "--port", str(port)),
        *("--allowed-hosts", ",".join(sorted(guard.hosts))),
        *("--cors-allowed-origins", ",".join(f"http://{name}" for name in sorted(guard.hosts))),
        *("--artifacts-destination", str(destination)),
    ]


def environment(url: str, guard: Guard) -> dict[str, str]:
    """With the database's address and the password, which a command line would show to everybody."""
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": mlflow_url(url),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        GUARD: json.dumps({"hosts": sorted(guard.hosts), "password": guard.password}),
    }
