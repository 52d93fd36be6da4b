"""Synthetic accessibility by the score of Ertl and Schuffenhauer (J. Cheminform. 1, 8, 2009)."""

from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig

from gendesign.errors import UserError


@cache
def _scorer() -> ModuleType:
    """RDKit's module `sascorer`. RDKit ships it as a script outside the package, so it is loaded from its file."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    if not path.is_file():
        raise UserError(f"this rdkit has no {path}; install rdkit from PyPI or leave synthetic accessibility out")
    loader = SourceFileLoader("gendesign_sascorer", str(path))
    module = ModuleType(loader.name)
    module.__file__ = str(path)  # the script looks for its data in this folder
    loader.exec_module(module)
    return module


def sa_score(graph: Chem.Mol) -> float:
    """Synthetic accessibility, from 1 (easy to make) to 10 (hard), of a molecule with implicit hydrogens."""
    return float(_scorer().calculateScore(graph))
