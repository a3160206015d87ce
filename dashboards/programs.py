"""The programs of others that are pages in this process: TensorBoard and optuna-dashboard."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore
from tensorboard import program

from smart_tuner.store import Storage
from studies.attachments import attached

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# optuna-dashboard's notes may be edited; what deletes, renames or tells may not, unless asked for.
NOTES = (r"PUT /api/studies/\d+/note", r"PUT /api/studies/\d+/\d+/note")
OPTUNA_ARTIFACTS = ("/artifacts/",)


class _Kept:
    """In place of TensorBoard's own server: only keeps the application."""

    def __init__(self, app: WSGI, _: object) -> None:
        self.app = app

    def serve_forever(self) -> None: ...

    def get_url(self) -> str:
        return ""


def tensorboard(home: Path) -> WSGI:
    """Serves the folder that trials write into."""
    folder = home / "tensorboard"
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


def optuna_board(storage: Storage, home: Path) -> WSGI:
    """Serves our own storage object: a URL would be opened another way, and shown by ps."""
    attached(home).mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(attached(home)))
    app: WSGI = optuna_dashboard.wsgi(storage, artifact_store=store)
    return app
