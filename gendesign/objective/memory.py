"""A memory of what was found, which lowers the score of what is found too often (REINVENT's diversity filter)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem.Scaffolds import MurckoScaffold

from gendesign.errors import UserError
from gendesign.objective.scores import Molecule, fingerprint

KINDS, FALLS = ("scaffold", "cluster", "molecule"), ("step", "linear")


@dataclass
class Memory:
    """Counts hits per group of molecules; after Blaschke et al., J. Cheminform. 12, 68 (2020).

    `kind`: scaffold (Murcko; a molecule without rings is its own), cluster (Tanimoto similarity of Morgan bits to
    a first member of at least `similarity`, the nearest of them) or molecule (each its own); `bucket`: hits that a
    group may have; `least`: total below which a molecule is neither counted nor lowered; `fall`: how the total falls
    with the hits, step (0 once the bucket is full) or linear (1 - hits/bucket).
    """

    kind: str = "scaffold"
    bucket: int = 25
    least: float = 0.4
    similarity: float = 0.6
    fall: str = "step"
    hits: dict[str, int] = field(default_factory=dict, init=False)  # by SMILES of the scaffold or first member
    _prints: list = field(default_factory=list, init=False, repr=False, compare=False)  # of first members, in order

    def __post_init__(self) -> None:
        for key, allowed in (("kind", KINDS), ("fall", FALLS)):
            if getattr(self, key) not in allowed:
                raise UserError(f"memory.{key}={getattr(self, key)} is unknown; allowed are {', '.join(allowed)}")
        if not isinstance(self.bucket, int) or self.bucket < 1:
            raise UserError(f"memory.bucket={self.bucket} is too small; give a whole number of 1 or more")
        for key in ("least", "similarity"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"memory.{key}={getattr(self, key)} is out of range; give a number from 0 to 1")

    def __call__(self, molecules: Sequence[Molecule], totals: np.ndarray, remember: bool = True) -> np.ndarray:
        """Factors (n,) by which to multiply `totals` (n,), one molecule after the other; counts them if `remember`."""
        factors = np.ones(len(molecules))
        for i, (molecule, total) in enumerate(zip(molecules, totals, strict=True)):
            if total < self.least:
                continue
            key = self._key(molecule)
            share = self.hits.get(key, 0) / self.bucket
            factors[i] = float(share < 1) if self.fall == "step" else max(0.0, 1 - share)
            if remember:
                if key not in self.hits and self.kind == "cluster":
                    self._prints.append(fingerprint(molecule.graph))
                self.hits[key] = self.hits.get(key, 0) + 1
        return factors

    def _key(self, molecule: Molecule) -> str:
        if self.kind == "molecule":
            return molecule.smiles
        if self.kind == "scaffold":
            return MurckoScaffold.MurckoScaffoldSmiles(mol=molecule.graph) or molecule.smiles
        near = DataStructs.BulkTanimotoSimilarity(fingerprint(molecule.graph), self._prints)
        best = int(np.argmax(near)) if near else -1
        return list(self.hits)[best] if near and near[best] >= self.similarity else molecule.smiles

    def state_dict(self) -> dict[str, Any]:
        """Plain values that `load_state_dict` takes, in order; JSON keeps them exactly."""
        return {"kind": self.kind, "similarity": self.similarity, "hits": dict(self.hits)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises UserError for the state of a memory that groups in another way."""
        for key in ("kind", "similarity") if self.kind == "cluster" else ("kind",):
            if state[key] != getattr(self, key):
                raise UserError(f"the memory was kept with {key} {state[key]}, but {key} is {getattr(self, key)} now")
        self.hits = {str(key): int(count) for key, count in state["hits"].items()}
        if self.kind == "cluster":
            self._prints = [fingerprint(Chem.MolFromSmiles(key)) for key in self.hits]
