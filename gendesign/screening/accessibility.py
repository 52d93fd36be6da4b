"""How easy a molecule is to make (structure/accessibility.py)."""

from rdkit import Chem

from gendesign.structure.accessibility import sa_score
from gendesign.structure.bonds import Perceived
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate, Verdict


def accessibility(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`sa_score`: 1 (easy to make) to 10 (hard)."""
    if perceived.mol is None:
        return [Verdict(candidate.index, "sa_score", None, reason="not valid")]
    return [Verdict(candidate.index, "sa_score", None, sa_score(Chem.MolFromSmiles(smiles(perceived.mol))))]
