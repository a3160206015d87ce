"""What Telegram costs a training while its server hangs: the same steps with messages and without, in turns.

The server takes connections and never answers. A block with messages holds the row of a repair and runs
beside the process that sends and hears, which is stopped during the other blocks. The median counts.
"""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from rich.console import Console
from rich.progress import track

import run_study
from benchmarks.train_step import CASES, timed, training
from smart_tuner.repair.rule import Entry
from smart_tuner.store.storage import open_storage
from studies.callbacks.telegram import Telegram
from studies.file.spec import load
from studies.run.study import open_study

BLOCK = 50  # steps
SEEN = Entry(
    "repair", 100, "stuck_attention", 5, 7, "rests", {"dwell": 0.75, "focus": 0.9}, action="guide_harder"
)


def compare(blocks: int) -> dict[str, Any]:
    plain, other = training(CASES["quickstart"]), training(CASES["quickstart"])
    ratios, steps = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as place, hanging_server() as base:
        workdir, url = Path(place), f"sqlite:///{place}/study.db"
        with closing(open_storage(url)) as storage, sender(workdir, url, base) as process:
            spec = load("quickstart")
            chat = Telegram(open_study(spec, storage), workdir)
            begun: Any = SimpleNamespace(attempt=SimpleNamespace(trial=SimpleNamespace(number=0)))
            chat.started(begun)
            for number in track(range(blocks + 1), "blocks", console=Console(stderr=True), transient=True):
                os.kill(process.pid, signal.SIGSTOP)
                alone = sum(timed(plain.advance) for _ in range(BLOCK))
                os.kill(process.pid, signal.SIGCONT)
                told = sum(timed(other.advance) for _ in range(BLOCK))
                told += timed(lambda: chat.repaired(replace(SEEN, seq=number + 1)))  # noqa: B023
                ratios.append(told / alone)
                steps.append(alone / BLOCK)
    del ratios[0], steps[0]  # the first allocate
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "step_ms": round(1000 * statistics.median(steps), 1),
        "telling": f"{statistics.median(ratios) - 1:+.2%}",
        "quartiles": f"{quarters[0] - 1:+.2%} to {quarters[2] - 1:+.2%}",
        "blocks": blocks,
    }


@contextmanager
def hanging_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def sender(workdir: Path, url: str, base: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that runs beside workers, once it has begun to send."""
    telegram = {"TELEGRAM_BOT_TOKEN": "1:a", "TELEGRAM_CHAT_ID": "1", "TELEGRAM_ALLOWED_IDS": "1"}
    environment = {**os.environ, **telegram, "TELEGRAM_API_BASE": base}
    command = [sys.executable, run_study.__file__, "--home", str(workdir), "--storage", url]
    process = subprocess.Popen([*command, "track", "--follow", "--no-tracking"], env=environment)
    try:
        while not (workdir / "track.lock").exists():
            time.sleep(0.1)
        time.sleep(5.0)
        yield process
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()


@click.command(help=__doc__)
@click.option("--blocks", default=15, show_default=True)
def main(blocks: int) -> None:
    found = compare(blocks)
    click.echo("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
