"""Lets MLflow's application be read and nothing else; requests for files are answered without it.

MLflow would read a run's files wherever the run's row in the database says that they lie.
"""

import json
import mimetypes
import os
import re
from pathlib import Path

from fastapi.responses import FileResponse, JSONResponse, Response
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    parse,
)
from graphql.language.ast import DefinitionNode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from dashboards.bodies import NO_STORE, limited, once
from dashboards.guard import ASGI, Receive, Scope, Send

FILE, LISTING, GRAPHQL = "/get-artifact", "/ajax-api/2.0/mlflow/artifacts/list", "/graphql"
# What a query may ask for; "mlflowListArtifacts" would list any folder of this machine.
QUERIES = {"mlflowGetRun", "mlflowGetExperiment", "mlflowGetMetricHistoryBulkInterval", "mlflowSearchRuns"}
RUN = re.compile("[0-9a-f]{32}")


def only_reading(mlflows: ASGI, store: Path) -> ASGI:
    """`mlflows`, of which the guard lets some paths through, without ways to other files.

    Args:
        store: where MLflow keeps files: store/EXPERIMENT/RUN/artifacts.
    """
    files = artifacts(store)

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in (FILE, LISTING):
            await files(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == GRAPHQL:
            body = (await receive())["body"]
            if not is_reading(body):
                await JSONResponse({"error": "not for reading"}, 403, NO_STORE)(scope, receive, send)
                return
            await mlflows(scope, once(body, receive), send)
        else:
            await mlflows(scope, receive, send)

    return limited(read)


def is_reading(body: bytes) -> bool:
    """Whether all queries of a GraphQL request are known to read only."""
    try:
        query = json.loads(body)["query"]
        return isinstance(query, str) and all(_reads(part) for part in parse(query).definitions)
    except (ValueError, TypeError, LookupError, GraphQLError, RecursionError):
        return False


def _reads(part: DefinitionNode) -> bool:
    if isinstance(part, FragmentDefinitionNode):
        return True  # where it is used is below a query's fields
    if not isinstance(part, OperationDefinitionNode) or part.operation != OperationType.QUERY:
        return False
    fields = part.selection_set.selections
    return all(isinstance(field, FieldNode) and field.name.value in QUERIES for field in fields)


def artifacts(store: Path) -> ASGI:
    """MLflow's two answers about a run's files, from our own store alone."""

    def place(request: Request) -> tuple[Path, Path] | None:
        """The run's folder, and what of it is asked for, wherever links lead."""
        run = request.query_params.get("run_id") or request.query_params.get("run_uuid") or ""
        if not RUN.fullmatch(run):
            return None
        try:
            root = next(store.glob(f"*/{run}/artifacts"), store).resolve()
            asked = root / request.query_params.get("path", "").lstrip("/")
            found = Path(os.path.realpath(asked, strict=True))
        except (OSError, ValueError):  # there is none, or it is no name of a file at all
            return None
        return (root, found) if store.resolve() in root.parents and found.is_relative_to(root) else None

    def file(request: Request) -> Response:
        found = place(request)
        if found is None or not found[1].is_file():
            return _none()
        kind = mimetypes.guess_type(found[1].name)[0] or "application/octet-stream"
        return FileResponse(found[1], headers=NO_STORE, media_type=kind, filename=found[1].name)

    def listing(request: Request) -> Response:
        """Below a file there is nothing; MLflow's page asks so for what it shows."""
        found = place(request)
        if found is None:
            return _none()
        root, folder = found
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        rows = [row for path in paths if (row := _row(root, path))]
        return JSONResponse({"root_uri": root.as_uri(), "files": rows}, headers=NO_STORE)

    return Starlette(routes=[Route(FILE, file), Route(LISTING, listing)])


def _row(root: Path, path: Path) -> dict[str, object] | None:
    """A file as MLflow lists it; None for one that leads out of the run's folder or was just removed."""
    try:
        found = Path(os.path.realpath(path, strict=True))
        size = found.stat().st_size
    except OSError:
        return None
    if not found.is_relative_to(root):
        return None
    row: dict[str, object] = {"path": str(path.relative_to(root)), "is_dir": found.is_dir()}
    return row if found.is_dir() else row | {"file_size": size}


def _none() -> Response:
    why = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "There is no such file of a run of ours."}
    return JSONResponse(why, 404, NO_STORE)
