"""Every public name of the package has a docstring, and no public signature annotates a potential as `Any`."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gendesign"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED_DUNDERS = {"__call__"}


def is_public(name: str) -> bool:
    """Whether a name is public. Of the dunder methods only `__call__` needs a docstring of its own."""
    return name in DOCUMENTED_DUNDERS or not name.startswith("_")


def is_overload_or_setter(node: ast.AST) -> bool:
    """Whether a function is a typing overload or the setter of a documented property."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in getattr(node, "decorator_list", [])}
    return bool(names & {"overload", "setter"})


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Dotted name and node of every public class, function and method of a module or class body."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from public_definitions([*node.body, *node.orelse], prefix)
        if not isinstance(node, (ast.ClassDef, *FUNCTIONS)) or not is_public(node.name):
            continue
        yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body, f"{prefix}{node.name}.")


def base_names(node: ast.ClassDef) -> list[str]:
    """Last part of the name of each base class."""
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


class Package:
    """The parsed modules of the package and the documented methods of its classes.

    Parameters
    ----------
    root : Path
        Folder of the package.
    """

    def __init__(self, root: Path):
        self.modules = {
            path.relative_to(root.parent): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))
        }
        self.classes = {
            node.name: node
            for tree in self.modules.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def is_documented_in_a_base(self, owner: str, method: str, seen: frozenset = frozenset()) -> bool:
        """Whether a base class of the package documents the method. Classes are matched by their bare names."""
        for base in base_names(self.classes[owner]):
            if base not in self.classes or base in seen:
                continue
            methods = [node for node in self.classes[base].body if isinstance(node, FUNCTIONS) and node.name == method]
            if any(map(ast.get_docstring, methods)) or self.is_documented_in_a_base(base, method, seen | {owner}):
                return True
        return False

    def undocumented(self) -> list[str]:
        """Public modules and definitions without a docstring. An override of a documented method needs none."""
        missing = []
        for path, tree in self.modules.items():
            if tree.body and not ast.get_docstring(tree):
                missing.append(f"{path}: module")
            for name, node in public_definitions(tree.body):
                owner, _, method = name.rpartition(".")
                if ast.get_docstring(node) or is_overload_or_setter(node):
                    continue
                if not (owner and self.is_documented_in_a_base(owner.rpartition(".")[2], method)):
                    missing.append(f"{path}:{node.lineno} {name}")
        return missing

    def untyped_potentials(self) -> list[str]:
        """Public functions and dataclass fields that annotate a potential as bare `Any`."""
        wrong = []
        for path, tree in self.modules.items():
            for name, node in public_definitions(tree.body):
                for label, annotation in annotations(node):
                    if is_potential(label) and annotation is not None and ast.unparse(annotation) in {"Any", "object"}:
                        wrong.append(f"{path}:{node.lineno} {name}({label})")
        return wrong


def annotations(node: ast.AST) -> list[tuple[str, ast.expr | None]]:
    """Name and annotation of the arguments of a function, or of its constructor and fields for a class."""
    if isinstance(node, ast.ClassDef):
        fields = [
            (item.target.id, item.annotation)
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        constructors = [item for item in node.body if isinstance(item, FUNCTIONS) and item.name == "__init__"]
        return fields + [pair for item in constructors for pair in annotations(item)]
    arguments = node.args
    return [(item.arg, item.annotation) for item in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]


def is_potential(name: str) -> bool:
    """Whether an argument is a potential, by its name."""
    return name in {"potential", "base", "teacher"} or name.endswith("_potential")


def test_every_public_name_has_a_docstring():
    assert not Package(PACKAGE).undocumented()


def test_no_public_signature_hides_a_potential():
    assert not Package(PACKAGE).untyped_potentials()


def test_the_walk_finds_missing_docstrings(tmp_path):
    root = tmp_path / "toy"
    root.mkdir()
    (root / "module.py").write_text(
        '"""A module."""\n'
        "class Base:\n    'A base.'\n    def run(self):\n        'Run.'\n    def _hidden(self): ...\n"
        "class Child(Base):\n    'A child.'\n    def run(self): ...\n    def stop(self): ...\n"
        "def bare(potential: Any): ...\n"
    )
    package = Package(root)
    assert package.undocumented() == ["toy/module.py:10 Child.stop", "toy/module.py:11 bare"]
    assert package.untyped_potentials() == ["toy/module.py:11 bare(potential)"]
