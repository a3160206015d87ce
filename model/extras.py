"""How what is not always installed is installed."""


class NotInstalled(ValueError):
    """A package that is needed here comes with an extra that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is needed here, and the extra {extra} is not installed.\n"
            f"What to do: {installing(extra)}"
        )


def installing(extra: str) -> str:
    """The command that installs an extra of setup.cfg, beside what is there."""
    return f".venv/bin/python -m pip install -c constraints.txt -e '.[{extra}]'"
