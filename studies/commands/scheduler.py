"""What the schedulers share: a job's command, how it ends, and the error that says why there is no job."""

from collections.abc import Sequence

STORAGE_VARIABLE = "OPTUNA_STORAGE"
SAVE_SECONDS = 300  # between the word to save and the end of a job or pod
SAVED_AND_RELEASED = 143


class LaunchError(RuntimeError):
    """The scheduler cannot be given the workers; the message says what, why and what to do."""


def worker_command(program: Sequence[str], workdir: str, study: str, device: str) -> list[str]:
    """A stateless worker of one trial. The storage URL may hold a password: it goes by the environment."""
    return [*program, "--home", workdir, "worker", study, "--max-trials", "1", "--device", device]
