"""Where the files of a study's trials are: each attempt has a folder of its own name."""

from pathlib import Path


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial's newest attempt keeps its checkpoints and samples; the first one's, if there is none."""
    name = f"trial-{number:04d}"
    found = {path: _attempt_no(path) for path in (folder / name, *folder.glob(f"{name}-attempt-*"))}
    return max((path for path in found if path.is_dir()), key=found.__getitem__, default=folder / name)


def attempt_folder(folder: Path, number: int, attempt_no: int) -> Path:
    """The trial's folder, named anew: an attempt that lost its lease unknowingly finds nothing to spoil."""
    before, path = trial_folder(folder, number), folder / f"trial-{number:04d}"
    if attempt_no > 1:
        path = path.with_name(f"{path.name}-attempt-{attempt_no}")
    if before.is_dir() and before != path:
        before.rename(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _attempt_no(path: Path) -> int:
    return int(path.name.rpartition("-attempt-")[2]) if "-attempt-" in path.name else 1
