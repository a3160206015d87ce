"""Every row of the menu runs the command that its words promise (--dry-run, in a folder of its own)."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from documents import text_of_all

ROOT = Path(__file__).parent.parent
SETUP = [
    "-m venv .venv",
    ".venv/bin/python -m pip install --quiet --disable-pip-version-check "
    "-c constraints.txt -e .[ear,espeak,russian,vocoder]",
]
PROGRAM = ".venv/bin/python run_study.py"


@pytest.fixture
def fresh(tmp_path):
    for name in ("install.sh", "setup.cfg", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*arguments, code=0, typed=None):
        done = subprocess.run(
            ["./install.sh", *arguments], cwd=tmp_path, capture_output=True, text=True, input=typed
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["constraints.txt", "install.sh", "setup.cfg"]
        return done

    return run


@pytest.mark.parametrize(
    ("item", "command"),
    [
        (["1"], None),
        (["setup"], None),
        (["2"], "data prepare festvox-ru"),
        (["data", "my_voice"], "data check my_voice"),
        (["3"], "start quickstart"),
        (["study"], "start quickstart"),
        (["study", "russian", "--n-trials", "1"], "start russian --n-trials 1"),
        (["4"], "train quickstart"),
        (["train", "russian"], "train russian"),
        (["5"], "pages"),
        (["pages", "--only", "home"], "pages --only home"),
        (["10"], "fixes quickstart --explain"),
        (["6"], "list"),
        (["status", "quickstart"], "status quickstart"),
        (["7", "quickstart", "two words"], "speak quickstart two words"),
        (["9"], "doctor"),
    ],
)
def test_an_item_sets_up_and_runs_its_command(fresh, item, command):
    said = fresh("--dry-run", *item).stdout.splitlines()
    assert said[0].endswith(SETUP[0])
    assert said[1:] == [SETUP[1], *([f"{PROGRAM} {command}"] if command else [])]


def test_the_tests_are_set_up_with_what_they_need(fresh):
    said = fresh("--dry-run", "test", "-x").stdout.splitlines()
    assert said[1].endswith("-e .[ear,espeak,russian,vocoder,dev]")
    assert said[2:] == [".venv/bin/python -m pytest -x"]


def test_before_all_tests_the_code_is_checked(fresh):
    said = fresh("--dry-run", "test").stdout.splitlines()
    checks = [".venv/bin/ruff check .", ".venv/bin/ruff format --check .", ".venv/bin/mypy"]
    assert said[2:] == [*checks, ".venv/bin/python -m pytest"]


def test_an_unknown_item_shows_the_known_ones(fresh):
    refused = fresh("--dry-run", "stduy", code=2)
    assert refused.stdout == ""
    assert "Unknown item: stduy" in refused.stderr
    assert "study" in refused.stderr


def test_without_a_terminal_the_menu_is_only_shown(fresh):
    assert "doctor" in fresh(code=2, typed="").stderr


def test_the_pages_list_the_menu():
    menu = re.findall(r'^  "\d+\|(\w+)\|', (ROOT / "install.sh").read_text(), re.MULTILINE)
    table = re.findall(r"^\| `\./install\.sh (\w+)", text_of_all(), re.MULTILINE)
    assert table == [word for word in menu if word != "quit"]


def test_nothing_of_the_users_is_removed_or_stopped():
    words = set(re.findall(r"[\w-]+", (ROOT / "install.sh").read_text()))
    assert not words & {"rm", "kill", "pkill", "killall", "sudo", "truncate"}
