"""TensorBoard and optuna-dashboard, as pages that this process serves, and the requests that they take."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore
from tensorboard import program

from dashboards.guard import STATIC, Guard
from smart_tuner.store.storage import Storage
from studies.callbacks.dashboard import attached

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# Only what the two are for: whatever else they, or a later version, answer to is refused. TensorBoard's
# projector, for one, reads files by any path that a file in the served folder names.
DATA = "(/experiment/defaultExperimentId)?/data"
TENSORBOARD = Guard(
    "tensorboard",
    allowed=(
        r"GET /((index\.html|index\.js|chart_worker\.js|icon_bundle\.svg|favicon\.ico)?)",
        rf"GET /(font-roboto|tf-imports)/{STATIC}",
        rf"GET {DATA}/(environment|experiments|experiment_runs|notifications|plugins_listing|runs)",
        rf"GET {DATA}/(window_properties|plugin_entry\.html)",
        rf"GET {DATA}/plugin/(audio|images|scalars|text|timeseries)/tags",
        rf"GET {DATA}/plugin/audio/(audio|individualAudio)",
        rf"GET {DATA}/plugin/images/(images|individualImage)",
        rf"GET {DATA}/plugin/(scalars/scalars|text/text|timeseries/imageData)",
        rf"POST {DATA}/plugin/(scalars/scalars_multirun|timeseries/timeSeries)",
        rf"POST {DATA}/plugin/hparams/(experiment|session_groups)",  # its list of runs
    ),
)
OPTUNA = Guard(
    "optuna",
    allowed=(
        r"GET /(dashboard(/.*)?|favicon\.ico)?",
        rf"GET /static/{STATIC}",
        r"GET /api/(meta|studies(/\d+(/param_importances|/plot/\w+)?)?)",
        r"GET /csv/\d+",
        r"GET /artifacts/\d+/(\d+/)?[0-9a-fA-F-]+",
        r"PUT /api/studies/\d+/(\d+/)?note",
    ),
    artifacts=("/artifacts/",),
)
EDITS = (
    r"POST /api/studies(/\d+/(rename|preference|preference/\w+|\d+/skip))?",
    r"PUT /api/studies/\d+/preference_feedback_component",
    r"DELETE /api/studies/\d+(/preference/\w+)?",
    r"POST /api/trials/\d+/(tell|user-attrs)",
    r"POST /api/artifacts/\d+(/\d+)?",
    r"DELETE /api/artifacts/\d+/(\d+/)?[0-9a-fA-F-]+",
)
OPTUNA_EDITED = replace(OPTUNA, allowed=(*(OPTUNA.allowed or ()), *EDITS))


class _Kept:
    """Stands for TensorBoard's own server, and only keeps the application."""

    def __init__(self, app: WSGI, _: object) -> None:
        self.app = app

    def serve_forever(self) -> None: ...

    def get_url(self) -> str:
        return ""


def tensorboard(workdir: Path) -> WSGI:
    """TensorBoard's application, on the folder that trials write into."""
    folder = workdir / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[_Kept] = []

    def keep(app: WSGI, flags: object) -> _Kept:
        kept.append(_Kept(app, flags))
        return kept[0]

    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    board = program.TensorBoard(server_class=keep)
    board.configure(logdir=str(folder), load_fast="false", reload_interval=10, host="127.0.0.1")
    board.launch()
    return kept[0].app


def optuna_board(storage: Storage, workdir: Path) -> WSGI:
    """optuna-dashboard's application, on our own storage: a URL would be shown by `ps`."""
    attached(workdir).mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(attached(workdir)))
    app: WSGI = optuna_dashboard.wsgi(storage, artifact_store=store)
    return app
