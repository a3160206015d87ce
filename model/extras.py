"""How what is not always installed is installed."""


def installing(extra: str) -> str:
    """The command that installs an extra of setup.cfg, beside what is there."""
    return f".venv/bin/python -m pip install -c constraints.txt -e '.[{extra}]'"
