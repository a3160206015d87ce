"""Every route of the four pages, and what a neighbour on the same machine and their owner get from each.

.venv/bin/python tests/page_routes.py HOME    prints that of the pages that HOME's owner serves now;
                                              as root, the neighbour is the user nobody
"""

import json
import os
import re
import sys
import tempfile
import warnings
from contextlib import closing
from importlib import import_module
from pathlib import Path

import httpx
from fastapi.routing import iter_route_contexts

from dashboards import programs, state
from dashboards.pages import home as home_page
from smart_tuner.store.storage import open_storage

READING = ("GET", "HEAD")
ALL_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
NOBODY = 65534


def example(rule):
    """A path that matches a rule as FastAPI, Flask or Bottle writes it."""
    rule = re.sub(r"<(path:\w+|\w+:path)>|\{\w+:path\}", "a/b", rule)
    return re.sub(r"<:re:\(/\.\*\)\?>", "/studies/1", re.sub(r"<\w+(:re:[^>]+|:\w+)?>|\{\w+\}", "1", rule))


def mlflow_routes():
    """Those of the served application: FastAPI's, and of the Flask application in it."""
    os.environ.setdefault("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{tempfile.mkdtemp()}/mlflow.db")
    served = import_module("mlflow.server.fastapi_app").app
    flask = import_module("mlflow.server").app
    found = {
        (m, r.path) for r in iter_route_contexts(served.routes) for m in getattr(r, "methods", None) or ()
    }
    return found | {(method, rule.rule) for rule in flask.url_map.iter_rules() for method in rule.methods}


def home_routes(web):
    return {(method, route.path) for route in web.routes for method in route.methods}


def routes(folder):
    """All (method, rule) that each page's program answers to."""
    with (
        warnings.catch_warnings(action="ignore"),
        closing(open_storage(f"sqlite:///{folder}/study.db")) as storage,
    ):
        board = programs.tensorboard(folder)
        optuna = {(route.method, route.rule) for route in programs.optuna_board(storage, folder).routes}
        workdir = home_routes(home_page.app(storage, f"sqlite:///{folder}/study.db", folder))
        mlflow = mlflow_routes()
    return {
        "mlflow": mlflow,
        "tensorboard": {(method, path) for path in board.exact_routes for method in ("GET", "POST")},
        "optuna": optuna,
        "home": workdir,
    }


def asked(bound, rows, auth=None, methods=ALL_METHODS):
    """The status of each (method, rule) at an address, where the method is one of `methods`."""
    with httpx.Client(base_url=bound, auth=auth, timeout=60, trust_env=False) as client:
        return [
            client.request(method, example(rule)).status_code if method in methods else "not sent"
            for method, rule in rows
        ]


def statuses(bound, rows, key, as_other):
    """What a neighbour gets of each (method, rule), and the owner. The pages are in use: whoever they let in
    only reads.

    Args:
        key: the page's; empty: it lets everybody in.
        as_other: runs a task as the neighbour.
    """
    theirs = as_other(lambda: asked(bound, rows, methods=ALL_METHODS if key else READING))
    return theirs, asked(bound, rows, httpx.BasicAuth("", key) if key else None, READING)


def as_neighbour(task):
    """What `task` returns in a child process of another user."""
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(theirs, json.dumps([os.getuid(), task()]).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        uid, found = json.load(pipe)
    os.waitpid(child, 0)
    assert uid == NOBODY
    return found


def main(workdir):
    running = state.running(workdir)
    with tempfile.TemporaryDirectory() as folder:
        table = routes(Path(folder))
    print("The owner, who could change something, sends only GET and HEAD.\n")
    print("| page | method | route | a neighbour | the owner |\n|---|---|---|---|---|")
    for page, rows in table.items():
        rows = sorted(rows, key=lambda row: row[::-1])
        bound, key = running.bound[page], running.addresses[page].partition("key=")[2]
        theirs, owners = statuses(bound, rows, key, as_neighbour)
        for (method, rule), neighbour, owner in zip(rows, theirs, owners, strict=True):
            print(f"| {page} | {method} | `{rule}` | {neighbour} | {owner} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
