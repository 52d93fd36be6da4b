"""How good sampled molecules are before anything is done to them: EDM's stability, strict validity, uniqueness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from rdkit import Chem

from gendesign.structure.bonds import connectivity, edm_stable_atoms, perceive


@dataclass(frozen=True)
class Quality:
    """Shares of n molecules.

    atoms_stable, molecules_stable: by EDM's bond lengths and valences (arXiv 2203.17003). valid: one neutral
    closed-shell molecule without radicals, which is stricter than EDM's validity. unique: valid and not a copy.
    fragments: mean number of pieces.
    """

    n: int
    atoms_stable: float
    molecules_stable: float
    valid: float
    unique: float
    fragments: float
    smiles: tuple[str | None, ...]


def quality(molecules: Sequence[Atoms]) -> Quality:
    """The shares of `molecules`; those without atoms count as broken."""
    stable = [edm_stable_atoms(a) if len(a) else np.zeros(1, bool) for a in molecules]
    smiles = [smiles_of(a) for a in molecules]
    valid = [s for s in smiles if s is not None]
    n = max(1, len(molecules))
    return Quality(
        len(molecules),
        float(np.concatenate(stable).mean()) if stable else 0.0,
        sum(bool(s.all()) for s in stable) / n,
        len(valid) / n,
        len(set(valid)) / n,
        float(np.mean([pieces(a) for a in molecules])) if molecules else 0.0,
        tuple(smiles),
    )


def smiles_of(atoms: Atoms) -> str | None:
    """SMILES of a strictly valid molecule, else None."""
    mol = perceive(atoms).mol if len(atoms) else None
    return None if mol is None else Chem.MolToSmiles(Chem.RemoveHs(mol))


def pieces(atoms: Atoms) -> int:
    """Number of bonded pieces, 0 of no atoms."""
    if not len(atoms) or not np.isfinite(atoms.positions).all():
        return 0
    label = list(range(len(atoms)))

    def root(k: int) -> int:
        while label[k] != k:
            k = label[k]
        return k

    for i, j in connectivity(atoms):
        label[root(i)] = root(j)
    return len({root(k) for k in range(len(atoms))})


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of `scores` (n,) for `positive` (n,) of bool; nan where one class is missing."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores
    rank = np.empty(len(scores))
    rank[order] = middle[inverse]
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * m))
