"""Workers as jobs of Slurm, which submitit hands to sbatch."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from model.extras import installing
from studies.commands.scheduler import SAVE_SECONDS, SAVED_AND_RELEASED, LaunchError

if TYPE_CHECKING:
    import submitit
    from submitit.helpers import DelayedSubmission

LAST_LINES = 20
MINUTES = "240"
GRACE_SECONDS = 600  # how long a preempted job waits for its end
REQUEUES = 100  # how often a job is queued again at its time limit
AT_ONCE = 100_000  # submitit would let 256 jobs of an array run; how many shall is said by --jobs
OWN_SBATCH = {"array", "error", "open_mode", "output", "requeue", "signal"}


class WorkerFailed(RuntimeError):
    """The worker process inside a job failed; the message has its exit code and last lines."""


def submit(
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
    executor = executor or executor_of(folder, options)
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


def executor_of(folder: Path, options: Mapping[str, str]) -> "submitit.SlurmExecutor":
    """What submits to Slurm with sbatch's own long options, such as {"partition": "gpu", "time": "240"}.

    Beside them: SIGUSR2 some minutes before the time limit, and a requeue after preemption.
    """
    try:
        import submitit
    except ImportError as error:
        raise LaunchError(
            "Cannot submit jobs to Slurm.\nThe package submitit is not installed.\n"
            f"Run: {installing('slurm')}"
        ) from error
    settings = {key.replace("-", "_"): value for key, value in options.items()}
    if own := sorted(OWN_SBATCH & settings.keys()):
        raise LaunchError(
            f"Cannot set {', '.join(own)} for jobs of Slurm.\nSaving and requeueing depend on it.\n"
            "Leave it out; docs/scaling.md says what it is set to."
        )
    minutes = settings.pop("time", MINUTES)
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
