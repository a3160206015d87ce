"""Start, resume and look at studies that train Tacotron 2 voices.

\b
    run_study.py start quickstart                 create a study, or go on with it
    run_study.py best quickstart                  its best trial
    run_study.py speak quickstart "Hello" -o a.wav
"""

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from dashboards import commands as pages
from dashboards.state import PagesError
from model.checkpoint import DamagedCheckpoint
from model.data.corpora import CorpusError
from model.data.preflight import DataError
from model.settings import GRIFFIN_LIM, VOCODER
from model.speech.text import TextError
from objectives.base import ObjectiveError
from smart_tuner.lazy import LazyModule
from smart_tuner.notify.telegram.client import ChatError
from smart_tuner.store.outage import UNREACHABLE, DatabaseGone, StorageLost, in_short
from smart_tuner.store.storage import ForeignTables, SchemaError, StoreError
from studies.commands import data, doctor, first_study, notify, reading, show, storage, voice, work
from studies.commands.place import Place, WorkdirError
from studies.commands.scheduler import LaunchError
from studies.file.code import CodeError
from studies.file.spec import SpecError
from studies.report.outputs import UserPath
from studies.run import caches
from studies.run.signals import aside
from studies.run.study import StudyError, StudyGone, TooManyFailures

if TYPE_CHECKING:
    from model.network import warm_start
    from model.speech import hifigan
    from objectives import ear, trial
    from studies.run import artifacts
    from studies.run import ending as blame
else:  # they load torch, which takes longer than all that a command needs which only reads
    warm_start, trial = LazyModule("model.network.warm_start"), LazyModule("objectives.trial")
    hifigan, ear = LazyModule("model.speech.hifigan"), LazyModule("objectives.ear")
    artifacts, blame = LazyModule("studies.run.artifacts"), LazyModule("studies.run.ending")


VERBS = {
    "new": first_study.new,
    "start": work.start,
    "resume": work.resume,
    "worker": work.join,
    "pause": work.pause,
    "stop": work.stop,
    "train": work.train,
    "list": show.list_studies,
    "status": show.status,
    "trials": show.trials,
    "best": show.best,
    "fixes": show.show_fixes,
    "rules": show.show_rules,
    "report": show.write_report,
    "read": reading.read,
    "speak": voice.speak,
    "export": voice.export,
    "pages": pages.show_pages,
    "track": pages.track,
    "notify": notify.notify_group,
    "data": data.data_group,
    "storage": storage.storage_group,
    "doctor": doctor.doctor,
}


@click.group(
    help=__doc__,
    commands=VERBS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--storage", envvar="OPTUNA_STORAGE", help="SQLAlchemy URL; default sqlite:///HOME/study.db.")
@click.option(
    "--home",
    "workdir",
    envvar="SMART_TUNER_HOME",
    default="runs",
    show_default=True,
    type=UserPath(file_okay=False),
    help="Folder for corpora, checkpoints and samples.",
)
@click.option(
    "--artifacts",
    "store",
    envvar="SMART_TUNER_ARTIFACTS",
    help="Keep checkpoints there, too: s3://bucket/prefix or file:///folder.",
)
@click.option(
    "--vocoder",
    envvar=VOCODER,
    metavar="FILE",
    help="A HiFi-GAN checkpoint, with its config.json beside it, or griffin-lim; default: the installed one.",
)
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
@click.option("--debug", is_flag=True, help="Show the trace of an error.")
@click.version_option(package_name="smart-tuner")
@click.pass_context
def cli(
    context: click.Context,
    storage: str | None,
    workdir: Path,
    store: str | None,
    vocoder: str | None,
    no_color: bool,
    debug: bool,
) -> None:
    caches.keep_in(workdir)
    if vocoder is not None:  # for child processes, too
        given = vocoder == GRIFFIN_LIM
        os.environ[VOCODER] = vocoder if given else os.path.abspath(os.path.expanduser(vocoder))
    console = Console(file=aside(sys.stderr), no_color=no_color or None)  # else as NO_COLOR says
    context.obj = Place(workdir, storage or f"sqlite:///{workdir / 'study.db'}", console, store, pages.beside)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


EXIT_CODES: dict[type[Exception], int] = {
    PagesError: 2,
    ChatError: 2,
    StudyGone: 1,
    TooManyFailures: 8,
    StudyError: 2,
    SpecError: 2,
    CodeError: 2,
    LaunchError: 2,
    ObjectiveError: 2,
    TextError: 2,
    DamagedCheckpoint: 1,
    ForeignTables: 2,
    SchemaError: 7,
    StoreError: 4,
    StorageLost: 4,
    DatabaseGone: 4,
    **dict.fromkeys(UNREACHABLE, 4),
    DataError: 5,
    CorpusError: 5,
    WorkdirError: 6,
}
EXPECTED: tuple[type[Exception], ...] = (*EXIT_CODES, OSError)
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (docs/commands.md, "Exit codes")."""
    try:
        result = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except EXPECTED as error:
        return _told(error, _exit_code(error), arguments)
    except trial.Interrupted as interrupted:
        return 128 + interrupted.signal if interrupted.signal else 0
    except (warm_start.WarmStartError, artifacts.ArtifactsError, hifigan.VocoderError, ear.EarError) as error:
        return _told(error, 2, arguments)
    except artifacts.ArtifactsLost as error:
        return _told(error, 4, arguments)
    except blame.MachineFault as error:
        return _told(error, 1, arguments)
    except (MemoryError, RuntimeError) as error:
        if (fault := blame.no_memory(error)) is None:
            raise
        return _told(fault, 1, arguments)
    return result if isinstance(result, int) else 0


def _told(error: Exception, code: int, arguments: list[str] | None) -> int:
    if "--debug" in (arguments or sys.argv):
        raise error
    if isinstance(error, OSError) and code == 6:
        text = (
            f"Cannot write {error.filename or 'on this disk'}.\n{error.strerror}.\n"
            "What was saved before is kept: make room, or allow it, and go on as before."
        )
    elif isinstance(error, UNREACHABLE):
        text = f"The database does not do what it should.\n{in_short(error)}\nTry again when it does."
    else:
        text = str(error)
    click.echo(text, aside(sys.stderr))
    return code


def _exit_code(error: Exception) -> int:
    if isinstance(error, OSError):
        return 6 if error.errno in DISK else 1
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


if __name__ == "__main__":
    sys.exit(main())
