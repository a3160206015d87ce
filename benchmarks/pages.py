"""How soon the home page's own API answers on a study of many trials: the first time, and again.

Each time is that of one request over HTTP on loopback, with a worker's writes beside it in the same database.
"""

import secrets
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import httpx

from benchmarks.history import NAME, written
from dashboards.pages import home as home_page
from dashboards.server import InThread, Options, bound
from smart_tuner.store.storage import Storage, open_storage
from studies.report.summary import formatted

PATHS = ("/", "/api/home", *(f"/api/study/{NAME}{rest}" for rest in ("", "/trials", "/fixes", "/importance")))


def seconds(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def measured(client: httpx.Client, runs: int) -> list[dict[str, Any]]:
    rows = []
    for path in PATHS:
        first = seconds(client, path)
        again = sorted(seconds(client, path) for _ in range(runs))
        rows.append(
            {
                "path": path,
                "first_s": round(first, 3),
                "median_s": round(statistics.median(again), 3),
                "slowest_s": round(again[-1], 3),
            }
        )
    return rows


def writing(storage: Storage, over: threading.Event) -> None:
    """What a worker does to the database, four times as often."""
    while not over.wait(0.25):
        storage.set_study_user_attr(1, "beat", time.time())


@click.command(help=__doc__)
@click.option("--trials", default=1000, show_default=True)
@click.option("--runs", default=20, show_default=True)
@click.option("--port", default=5093, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(trials: int, runs: int, port: int, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        written(url, trials)
        options = Options(("home",), {"home": port})
        guard = options.guard("home", secrets.token_urlsafe())
        with closing(open_storage(url)) as storage, closing(open_storage(url)) as workers:
            app = guard.asgi(home_page.app(storage, url, Path(folder)))
            server, over = InThread(app, bound(options.host, port)), threading.Event()
            writer = threading.Thread(target=writing, args=(workers, over))
            writer.start()
            with httpx.Client(base_url=options.address("home"), timeout=60, trust_env=False) as client:
                client.get(guard.entrance, follow_redirects=True).raise_for_status()
                rows = measured(client, runs)
            over.set()
            writer.join()
            server.end()
    click.echo(formatted(rows, form))


if __name__ == "__main__":
    main()
