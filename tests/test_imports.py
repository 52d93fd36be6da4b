"""Imports point downward only, and the command line imports nothing heavy before its arguments are checked."""

import ast
import subprocess
import sys
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gendesign"
FLOORS = [
    {"__main__"},
    {"cli"},
    {"benchmark", "view"},
    {"campaign"},
    {"run"},
    {"generate", "screening", "train", "validation", "distil"},
    {"objective", "analysis"},
    {"relaxation", "dynamics"},
    {"potential"},
    {"lammps"},
    {"structure"},
    {"processes"},
    {"fields", "randomness", "lazy", "imports", "packages"},
    {"errors"},
]
LONGEST_FUNCTION, LONGEST_FILE = 60, 400  # lines
DATA_TABLES = {"scripts/hoip/cations.py"}  # lists of data, not code
HEIGHT = {room: -level for level, floor in enumerate(FLOORS) for room in floor}
# What needs no torch may be read from anywhere above: how a command line finds and checks its settings.
LIGHT = {"__init__"}


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a module imports, relative imports resolved."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            home = ".".join(filter(None, [base, node.module]))
            names = [home, *(f"{home}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("gendesign.")}
    return found & HEIGHT.keys()


def test_arrows_point_downward():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in LIGHT:
            continue
        assert room in HEIGHT, f"{room} stands on no floor: name its floor here and in docs/architecture.md"
        for other in imported_rooms(path) - {room}:
            if HEIGHT[other] >= HEIGHT[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong


def module_names() -> dict[str, Path]:
    """Dotted name and file of every module of the package."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run, or are type-checked, on import: all but bodies of functions and of `__main__` guards."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            continue
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            yield from module_level(getattr(node, part, []))


def imported_modules(path: Path, modules: Container[str]) -> set[str]:
    """Modules of the package that a file imports at module level, TYPE_CHECKING blocks included."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    names: set[str] = set()
    for node in module_level(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            home = ".".join(filter(None, [base, node.module]))
            members = {alias.name: f"{home}.{alias.name}" for alias in node.names}
            names |= {member if member in modules else home for member in members.values()}
    return {name for name in names if name in modules}


def test_no_import_circle():
    modules = module_names()
    graph = {name: imported_modules(path, modules) - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules of a circle


def test_functions_and_files_are_short():
    root, long = PACKAGE.parent, []
    for path in sorted([*PACKAGE.rglob("*.py"), *(root / "scripts").rglob("*.py")]):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        if name not in DATA_TABLES and (lines := len(text.splitlines())) > LONGEST_FILE:
            long.append(f"{name}: {lines} lines, at most {LONGEST_FILE}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{name}: {node.name} has {lines} lines, at most {LONGEST_FUNCTION}")
    assert not long


def test_the_command_line_starts_light():
    code = "import sys, gendesign.cli; print([m for m in ('torch', 'mace', 'rdkit', 'ase') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    import gendesign

    for name in gendesign.__all__:
        assert getattr(gendesign, name) is not None
