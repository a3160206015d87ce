"""Hand a study's workers to a scheduler: as jobs of Slurm, or as a manifest for Kubernetes."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from smart_tuner.store.storage import read_url
from studies.file.sections import Budget
from studies.report.outputs import MANIFESTS, STDOUT, OutputFile

if TYPE_CHECKING:
    import submitit
    from submitit.helpers import DelayedSubmission

PROGRAM = Path(__file__).resolve().parents[2] / "run_study.py"
STORAGE_VARIABLE = "OPTUNA_STORAGE"
LAST_LINES = 20

SLURM_MINUTES = "240"
SAVE_SECONDS = 300  # between the word to save and the end of a job or pod
GRACE_SECONDS = 600  # how long a preempted job waits for its end
REQUEUES = 100  # how often a job is queued again at its time limit
AT_ONCE = 100_000  # submitit would let 256 jobs of an array run; how many shall is said by --jobs
OWN_SBATCH = {"array", "error", "open_mode", "output", "requeue", "signal"}

HOME_IN_POD = "/runs"
NAMES_IN_CLUSTER = {"namespace": None, "secret": "smart-tuner", "volume": "smart-tuner"}
RESOURCES = {"cpu": "2", "memory": "8Gi"}
SECRET_KEY = "storage-url"
USELESS_TO_RETRY = [2, 5]  # wrong usage, refused speech data
TOO_MANY_FAILURES = 8
SAVED_AND_RELEASED = 143
DIED_OFTEN = Budget.model_fields["retries"].default  # then it is not the machine

FLAGS = (
    click.option(
        "--launch", type=click.Choice(["slurm", "kubernetes"]), help="Let a scheduler run the workers."
    ),
    click.option("--jobs", type=click.IntRange(min=1), help="With --launch: how many; each runs one trial."),
    click.option("--image", help="With --launch kubernetes: an image that has run_study.py."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="With --launch: of sbatch, or a resource or name in the cluster; may be repeated.",
    ),
    click.option(
        "-o",
        "--output",
        type=OutputFile(MANIFESTS),
        help="With --launch kubernetes: a .yaml file for the manifest; default stdout.",
    ),
)


class LaunchError(RuntimeError):
    """The scheduler cannot be given the workers; the message says what, why and what to do."""


class WorkerFailed(RuntimeError):
    """The worker process inside a job failed; the message has its exit code and last lines."""


@dataclass(frozen=True)
class Launch:
    """What `start --launch` was asked for."""

    target: str
    jobs: int
    image: str | None
    options: Mapping[str, str]
    output: Path | None

    def check(self, url: str) -> None:
        """Before anything is stored. Raises LaunchError when workers could not share the database."""
        if read_url(url).file is not None:
            raise LaunchError(
                f"Cannot launch workers on {self.target} with an SQLite database.\n"
                "It is a file of this machine, and damaged or slow when shared over a network.\n"
                f"Set {STORAGE_VARIABLE} to one like postgresql+psycopg://user:password@host/name."
            )

    def run(self, study: str, workdir: Path, url: str, environment: Mapping[str, str], device: str) -> str:
        """Launch the workers of an existing study. Returns what is to be told.

        Args:
            environment: of every job; no secrets.
        """
        if self.target == "kubernetes":
            command = worker_command(["run_study.py"], HOME_IN_POD, study, device)
            job = manifest(command, study, self.image or "", self.jobs, self.options, environment)
            text: str = yaml.safe_dump(job)
            if self.output in (None, STDOUT):
                return text
            self.output.write_text(text, "utf-8")
            return f"{self.output}\nRun it: kubectl create -f {self.output}"
        command = worker_command([sys.executable, str(PROGRAM)], str(workdir.resolve()), study, device)
        folder = workdir.resolve() / "studies" / study / "slurm"
        options = {"job-name": f"smart-tuner-{study}", **self.options}
        jobs = slurm(command, {STORAGE_VARIABLE: url, **environment}, self.jobs, folder, options, None)
        return f"{len(jobs)} jobs: {jobs[0].job_id} to {jobs[-1].job_id}; what they say is in {folder}"


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a launch; it gets them as `launching`, None without --launch."""

    for option in reversed(FLAGS):
        command = option(command)

    @functools.wraps(command)
    def with_launch(
        *arguments: Any,
        launch: str | None,
        jobs: int | None,
        image: str | None,
        options: tuple[str, ...],
        output: Path | None,
        **others: Any,
    ) -> Any:
        asked = {"--jobs": jobs, "--image": image, "--option": options, "--output": output}
        _check_flags(launch, {name for name, value in asked.items() if value})
        launching = Launch(launch, jobs or 0, image, _pairs(options), output) if launch else None
        return command(*arguments, launching=launching, **others)

    return with_launch


def _check_flags(launch: str | None, given: set[str]) -> None:
    needed = {None: set(), "slurm": {"--jobs"}, "kubernetes": {"--jobs", "--image"}}[launch]
    allowed = {None: set(), "slurm": {"--option"}, "kubernetes": {"--option", "--output"}}[launch]
    if missing := sorted(needed - given):
        raise click.UsageError(f"--launch {launch} needs {' and '.join(missing)}.")
    if extra := sorted(given - needed - allowed):
        kind = f"with --launch {launch}" if launch else "without --launch"
        raise click.UsageError(f"{' and '.join(extra)} cannot be used {kind}.")


def _pairs(options: Sequence[str]) -> dict[str, str]:
    for option in options:
        if not re.fullmatch(r"[^=]+=.+", option):
            raise click.UsageError(f'--option "{option}" is not KEY=VALUE.')
    return dict(option.split("=", 1) for option in options)


def worker_command(program: Sequence[str], workdir: str, study: str, device: str) -> list[str]:
    """A stateless worker of one trial. The storage URL may hold a password: it goes by the environment."""
    return [*program, "--home", workdir, "worker", study, "--max-trials", "1", "--device", device]


def slurm(
    command: Sequence[str],
    environment: Mapping[str, str],
    jobs: int,
    folder: Path,
    options: Mapping[str, str],
    executor: "submitit.Executor | None",
) -> "list[submitit.Job[None]]":
    """Submit an array of `jobs` jobs that each run `command`; what they say goes to `folder`.

    `environment` reaches them as part of this process's own, as sbatch hands it on: it is written neither to
    a command line nor to `folder`.

    Raises:
        LaunchError: Slurm or submitit is not here, an option is wrong, or Slurm refused the jobs.
    """
    executor = executor or slurm_executor(folder, options)
    from submitit.core.utils import FailedJobError
    from submitit.helpers import environment_variables

    try:
        with environment_variables(**environment), executor.batch():
            submitted = [executor.submit(WorkerJob(command)) for _ in range(jobs)]
    except FailedJobError as error:
        raise LaunchError(
            f"Slurm refused the jobs.\n{error}\nGive other options of sbatch: --option KEY=VALUE."
        ) from error
    return submitted


def slurm_executor(folder: Path, options: Mapping[str, str]) -> "submitit.SlurmExecutor":
    """What submits to Slurm with sbatch's own long options, such as {"partition": "gpu", "time": "240"}.

    Beside them: SIGUSR2 some minutes before the time limit, and a requeue after preemption.
    """
    try:
        import submitit
    except ImportError as error:
        raise LaunchError(
            "Cannot submit jobs to Slurm.\nThe package submitit is not installed.\n"
            "Run: pip install smart-tuner[slurm]"
        ) from error
    settings = {key.replace("-", "_"): value for key, value in options.items()}
    if own := sorted(OWN_SBATCH & settings.keys()):
        raise LaunchError(
            f"Cannot set {', '.join(own)} for jobs of Slurm.\nSaving and requeueing depend on it.\n"
            "Leave it out; docs/scaling.md says what it is set to."
        )
    minutes = settings.pop("time", SLURM_MINUTES)
    if not re.fullmatch(r"[1-9]\d*", minutes):
        raise LaunchError(
            f'Cannot use "{minutes}" as the time limit of a job.\nIt is not a whole number of minutes.\n'
            "Give one like --option time=240."
        )
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    except RuntimeError as error:
        raise LaunchError(
            f"Cannot submit jobs to Slurm.\n{error}\nRun this on a login node of the cluster."
        ) from error
    executor.update_parameters(
        time=int(minutes),
        signal_delay_s=min(SAVE_SECONDS, int(minutes) * 30),
        array_parallelism=AT_ONCE,
        additional_parameters={"requeue": True, **settings},
    )
    return executor


class WorkerJob:
    """One worker process inside a job. At the time limit it is let save, and the job is queued again.

    submitit calls `checkpoint` when the scheduler's SIGUSR2 announces the limit.
    """

    def __init__(self, command: Sequence[str], grace: float = GRACE_SECONDS) -> None:
        self.command, self.grace = list(command), grace

    def __call__(self) -> None:
        # Slurm signals every process of a job, and SIGUSR2 would end the worker before it saved.
        self.process = subprocess.Popen(self.command, preexec_fn=_ignore_announcement)
        code = self.process.wait()
        if code == SAVED_AND_RELEASED:
            time.sleep(self.grace)  # Slurm queues a preempted job again only when it has to end it itself
        if code:
            raise WorkerFailed(_told(code))

    def checkpoint(self) -> "DelayedSubmission":
        """The interrupted call is inside `process.wait` and holds its lock: so `waitid`."""
        from submitit.helpers import DelayedSubmission

        self.process.terminate()
        with suppress(ChildProcessError):  # it had ended by itself
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(WorkerJob(self.command, self.grace))


def _ignore_announcement() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _told(code: int) -> str:
    import submitit

    path = submitit.JobEnvironment().paths.stderr
    last = path.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
    ended = f"exit code {code}" if code > 0 else f"signal {-code}"
    return "\n".join(
        [f"The worker ended with {ended}.", "Its last lines:", *last, f"All that it said: {path}"]
    )


def manifest(
    command: Sequence[str],
    study: str,
    image: str,
    jobs: int,
    options: Mapping[str, str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """An Indexed Job of Kubernetes 1.33 or newer, each of whose pods runs `command`.

    `options` are resources of a pod (cpu, memory, nvidia.com/gpu, …) and NAMES_IN_CLUSTER: the namespace, the
    Secret with the storage URL, and the PersistentVolumeClaim of the home folder. `environment` is no secret.

    Raises LaunchError for another key.
    """
    names = {key: options.get(key, default) for key, default in NAMES_IN_CLUSTER.items()}
    metadata = {"generateName": f"smart-tuner-{_label(study)}-", "namespace": names["namespace"]}
    container = _container(command, image, names["secret"], _resources(options), environment)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {key: value for key, value in metadata.items() if value is not None},
        "spec": {
            "completions": jobs,
            "parallelism": jobs,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": DIED_OFTEN,
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": SAVE_SECONDS,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": names["volume"]}}],
                }
            },
        },
    }


def _label(study: str) -> str:
    """The study's name as far as Kubernetes allows it in the names of pods."""
    return re.sub(r"[^a-z0-9]+", "-", study.lower())[:30].strip("-") or "study"


def _failure_rules() -> list[dict[str, Any]]:
    """A worker that saved, or whose node went, is replaced and does not count; a hopeless one is not."""

    def on_codes(action: str, codes: list[int]) -> dict[str, Any]:
        return {
            "action": action,
            "onExitCodes": {"containerName": "worker", "operator": "In", "values": codes},
        }

    return [
        on_codes("Ignore", [SAVED_AND_RELEASED]),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        on_codes("FailIndex", USELESS_TO_RETRY),
        on_codes("FailJob", [TOO_MANY_FAILURES]),
    ]


def _resources(options: Mapping[str, str]) -> dict[str, str]:
    given = {key: value for key, value in options.items() if key not in NAMES_IN_CLUSTER}
    known = {*RESOURCES, "ephemeral-storage"}
    if unknown := sorted(key for key in given if key not in known and "/" not in key):
        raise LaunchError(
            f"Cannot use --option {', '.join(unknown)} for Kubernetes.\n"
            f"Known are: {', '.join(sorted(known | NAMES_IN_CLUSTER.keys()))}, nvidia.com/gpu and its like.\n"
            "Correct it, or edit the manifest."
        )
    return {**RESOURCES, **given}


def _container(
    command: Sequence[str],
    image: str,
    secret: str | None,
    resources: dict[str, str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    url = {"secretKeyRef": {"name": secret, "key": SECRET_KEY}}
    # without it, PyTorch starts as many threads as the node has cores
    threads = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    return {
        "name": "worker",
        "image": image,
        "command": list(command),
        "env": [
            {"name": STORAGE_VARIABLE, "valueFrom": url},
            {"name": "OMP_NUM_THREADS", "valueFrom": threads},
            *({"name": name, "value": value} for name, value in environment.items()),
        ],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "home", "mountPath": HOME_IN_POD}],
    }
