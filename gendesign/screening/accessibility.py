"""How easy a molecule is to make (structure/accessibility.py), and whether it would survive (structure/unstable.py)."""

from rdkit import Chem

from gendesign.structure.accessibility import sa_score
from gendesign.structure.bonds import Perceived
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate, Verdict
from gendesign.structure.unstable import unstable_groups


def accessibility(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`sa_score`: 1 (easy to make) to 10 (hard); `unstable_groups`: how many, their names as the reason."""
    if perceived.mol is None:
        return [Verdict(candidate.index, name, None, reason="not valid") for name in ("sa_score", "unstable_groups")]
    groups = unstable_groups(perceived.mol)
    return [
        Verdict(candidate.index, "sa_score", None, sa_score(Chem.MolFromSmiles(smiles(perceived.mol)))),
        Verdict(candidate.index, "unstable_groups", None, float(sum(groups.values())), reason=", ".join(groups)),
    ]
