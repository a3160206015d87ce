"""The arrows between packages, and what is true of every file."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "smart_tuner", "objectives", "studies", "dashboards")
MAY_IMPORT = {
    "model": set(),
    "smart_tuner": set(),
    "objectives": {"model", "smart_tuner"},
    "studies": {"model", "smart_tuner", "objectives"},
    "dashboards": {"model", "smart_tuner", "studies"},
}
PROGRAMS = [ROOT / "run_study.py", ROOT / "smart_tuner" / "__main__.py"]  # which may import everything
FILES = [
    ROOT / "run_study.py",
    *(file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))),
]


def relative(path):
    return str(path.relative_to(ROOT))


def imported(path):
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    for path in set((ROOT / package).rglob("*.py")) - set(PROGRAMS):
        found = {module.split(".")[0] for module in imported(path)} & {*PACKAGES, "dashboards", "run_study"}
        forbidden = found - MAY_IMPORT[package] - {package}
        assert not forbidden, f"{relative(path)} may not import {sorted(forbidden)}"


def test_no_module_imports_itself_in_a_circle():
    names = {relative(path).removesuffix(".py").replace("/", "."): path for path in FILES}
    arrows = {name: {m for m in imported(path) if m in names} for name, path in names.items()}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"in a circle: {sorted(arrows)}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_file_says_its_one_reason_first(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_goes_on_after_an_unnamed_exception(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            reraises = any(isinstance(n, ast.Raise) for n in ast.walk(node))
            assert reraises or caught not in ("", "Exception", "BaseException"), f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_database_is_opened_in_one_place(path):
    opens = re.search(r"\b(RDBStorage|create_engine)\(", path.read_text("utf-8"))
    assert not opens or path.name == "storage.py"


def test_a_program_of_a_package_only_begins_the_command_line(monkeypatch, capsys):
    assert list(imported(PROGRAMS[1])) == ["sys", "run_study"]
    monkeypatch.setattr(sys, "argv", ["smart_tuner", "rules", "no-such-study"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("smart_tuner", run_name="__main__", alter_sys=True)
    assert end.value.code == 2
    assert 'Cannot find the study "no-such-study"' in capsys.readouterr().err


def test_no_file_is_named_for_nothing():
    for path in FILES:
        assert not re.search(r"manager|handler|helper|utils|common|engine|enhanced|_v2", path.stem)


def test_the_network_knows_no_study():
    """model/ could be published alone: it imports without Optuna."""
    modules = "model.training, model.speech.voice, model.data.preflight"
    code = f"import sys; sys.modules['optuna'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
