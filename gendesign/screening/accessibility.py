"""Synthetic accessibility by the score of Ertl and Schuffenhauer (J. Cheminform. 1, 8, 2009)."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig

from gendesign.structure.bonds import Perceived
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate, UserError, Verdict


@cache
def _scorer() -> ModuleType:
    """RDKit ships the score as a script beside the package, not as a module of it."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    if not path.is_file():
        raise UserError(f"this rdkit has no {path}; install rdkit from PyPI or leave accessibility out of the checks")
    spec = importlib.util.spec_from_file_location("gendesign_sascorer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def accessibility(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`sa_score`: 1 (easy to make) to 10 (hard)."""
    if perceived.mol is None:
        return [Verdict(candidate.index, "sa_score", None, reason="not valid")]
    score = _scorer().calculateScore(Chem.MolFromSmiles(smiles(perceived.mol)))
    return [Verdict(candidate.index, "sa_score", None, float(score))]
