"""The arrows between modules, and what is true of every file. As a program it counts the arrows."""

import ast
import re
import runpy
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "model": set(),
    "smart_tuner": set(),
    "objectives": {"model", "smart_tuner"},
    "studies": {"model", "smart_tuner", "objectives"},
    "dashboards": {"model", "smart_tuner", "studies"},
    "run_study": {"model", "smart_tuner", "objectives", "studies", "dashboards"},
}
OURS = {*MAY_IMPORT, "benchmarks", "tests"}
# The doors of a package: they may know of everything, and nothing that is imported at once hangs on them.
DOORS = {"smart_tuner", "smart_tuner.__main__"}
BY_STRING = {"LazyModule", "import_module", "__import__"}
UNKNOWN = "?"  # an import by a name that is no constant
ANY_NAME = {"smart_tuner.lazy", "studies.file.code"}  # where that is meant


class Arrow(NamedTuple):
    """One module imports another; a late arrow is a string, which is imported when it is first used."""

    source: str
    target: str
    late: bool


class Tree:
    """The modules below a folder, by their dotted names, and the arrows between them."""

    def __init__(self, root):
        files = [
            root / "run_study.py",
            *(f for top in MAY_IMPORT for f in sorted((root / top).rglob("*.py"))),
        ]
        self.paths = {dotted(file.relative_to(root)): file for file in files if file.exists()}
        self.unread = []  # imports of ours that lead to no module
        self.arrows = {arrow for name in self.paths for arrow in self._from(name)}

    def _from(self, name):
        for target, late in imported(name, self.paths[name]):
            found = self._module(target)
            if found is None and target.partition(".")[0] in OURS | {UNKNOWN}:
                self.unread.append(f"{name} imports {target}")
            elif found not in (None, name):
                yield Arrow(name, found, late)

    def _module(self, target):
        """`package.module` and `package.module.attribute` are both of that module."""
        return next((name for name in (target, target.rpartition(".")[0]) if name in self.paths), None)

    def upwards(self):
        """Arrows that their package may not have."""
        for arrow in sorted(self.arrows):
            source, target = arrow.source.partition(".")[0], arrow.target.partition(".")[0]
            if arrow.source not in DOORS and target not in MAY_IMPORT[source] | {source}:
                yield arrow

    def circle(self):
        """Modules that import each other, one after the other; none where there is no such circle."""
        order = TopologicalSorter()
        for arrow in sorted(self.arrows):
            if not arrow.late and arrow.source not in DOORS:
                order.add(arrow.source, arrow.target)
        try:
            order.prepare()
        except CycleError as error:
            return error.args[1]
        return []

    def table(self):
        """How many arrows lead from package to package; late ones apart."""
        counts = Counter(
            (arrow.source.partition(".")[0], arrow.target.partition(".")[0], arrow.late)
            for arrow in self.arrows
        )
        pairs = sorted({pair[:2] for pair in counts if pair[0] != pair[1]})
        yield f"{'from':<12} {'to':<12} {'arrows':>6} {'late':>5}"
        for source, target in pairs:
            early, late = (counts[source, target, kind] for kind in (False, True))
            yield f"{source:<12} {target:<12} {early:>6} {late:>5}"


def dotted(path):
    return ".".join(part for part in path.with_suffix("").parts if part != "__init__")


def imported(name, path):
    """The names that a file imports, as far as they go, each with whether it is late."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            place = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{place}.{alias.name}", False) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_STRING:
            called = node.args[0]
            if isinstance(called, ast.Constant):
                yield called.value, True
            elif name not in ANY_NAME | DOORS:
                yield UNKNOWN, True


TREE = Tree(ROOT)
FILES = list(TREE.paths.values())


def relative(path):
    return str(path.relative_to(ROOT))


def test_imports_run_one_way():
    assert list(TREE.upwards()) == []


def test_no_module_imports_itself_in_a_circle():
    assert TREE.circle() == []


def test_every_import_of_ours_is_read():
    assert TREE.unread == []
    assert len(TREE.arrows) > len(TREE.paths)
    assert any(arrow.late for arrow in TREE.arrows)


HISTORY, FACTS, TRAINING = "studies/report/history.py", "studies/report/facts.py", "model/training.py"
PLANTED = [
    *(HISTORY, FACTS, TRAINING),
    *(f"{folder}/__init__.py" for folder in ("model", "smart_tuner", "studies", "studies/report")),
]


def planted(root, said):
    """A small tree in which some files say something."""
    for name, text in {**dict.fromkeys(PLANTED, ""), **said}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Tree(root)


@pytest.mark.parametrize(
    "back",
    [
        "from studies.report import history",
        "from . import history",
        "from .history import x",
        "from ..report import history",
        "import studies.report.history",
        "import studies.report.history as other",
        "from studies.report.history import x",
        "def f():\n    from studies.report import history",
    ],
)
def test_a_planted_circle_is_found(tmp_path, back):
    tree = planted(tmp_path, {HISTORY: "from studies.report import facts", FACTS: back})
    assert set(tree.circle()) == {"studies.report.history", "studies.report.facts"}
    assert tree.unread == []


@pytest.mark.parametrize(
    ("said", "late"),
    [
        ("from studies.report import history", False),
        ("from studies import report", False),
        ("def f():\n    import studies.report.history", False),
        ('x = LazyModule("studies.report.history")', True),
        ('x = importlib.import_module("studies.report.history")', True),
    ],
)
def test_a_planted_arrow_upwards_is_found(tmp_path, said, late):
    [arrow] = planted(tmp_path, {TRAINING: said}).upwards()
    assert (arrow.source, arrow.late) == ("model.training", late)
    assert arrow.target.startswith("studies.report")


@pytest.mark.parametrize(
    "said",
    ["from studies.riport import x", "import benchmarks.chaos", "x = import_module(name)", "import tests.x"],
)
def test_what_cannot_be_read_is_told(tmp_path, said):
    [unread] = planted(tmp_path, {FACTS: said}).unread
    assert unread.startswith("studies.report.facts imports ")


def test_a_door_may_know_of_what_is_above_it(tmp_path):
    door = "smart_tuner/__main__.py"
    tree = planted(tmp_path, {door: "import studies.report.history", HISTORY: "import smart_tuner.__main__"})
    assert len(tree.arrows) == 2
    assert tree.circle() == list(tree.upwards()) == []


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


DOOR = "smart_tuner.__main__"


def test_a_program_of_a_package_only_begins_the_command_line(monkeypatch, capsys):
    assert [name for name, _ in imported(DOOR, TREE.paths[DOOR])] == ["sys", "run_study.main"]
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


if __name__ == "__main__":
    print(*TREE.table(), sep="\n")
