"""Imports point downward only, and the command line imports nothing heavy before its arguments are checked."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gendesign"
FLOORS = [
    {"cli", "app"},
    {"campaign", "benchmark"},
    {"run"},
    {"generate", "screening", "train", "validation"},
    {"objective"},
    {"relaxation", "dynamics"},
    {"potential"},
    {"structure"},
    {"processes"},
    {"fields", "randomness", "lazy", "imports"},
    {"errors"},
]
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


def test_the_command_line_starts_light():
    code = "import sys, gendesign.cli; print([m for m in ('torch', 'mace', 'rdkit', 'ase') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    import gendesign

    for name in gendesign.__all__:
        assert getattr(gendesign, name) is not None
