"""Diversity filter: lowers the score of molecules whose group was rewarded often (Blaschke et al., REINVENT)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem.Scaffolds import MurckoScaffold

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.objective.scores import Molecule, fingerprint

KINDS, PENALTIES = ("scaffold", "cluster", "molecule"), ("step", "linear")


@dataclass
class DiversityFilter:
    """Counts molecules by group and lowers the total of further ones (Blaschke et al., J. Cheminform. 12, 68, 2020).

    Groups are Murcko scaffolds (a molecule without rings is a group of its own), clusters (the nearest first member by
    Tanimoto similarity of Morgan fingerprints) or single molecules. `hits` holds the counts by SMILES of the scaffold,
    the first member or the molecule.
    """

    kind: str = setting("scaffold", "how molecules are grouped", allowed=KINDS)
    bucket_size: int = setting(25, "molecules of a group that are rewarded", least=1)
    min_score: float = setting(0.4, "total below which a molecule is neither counted nor lowered", least=0, most=1)
    min_similarity: float = setting(0.6, "Tanimoto similarity to the first member of a cluster", least=0, most=1)
    penalty: str = setting(
        "step", "step: factor 0 once the bucket is full; linear: factor 1 - hits / bucket_size", allowed=PENALTIES
    )
    hits: dict[str, int] = field(default_factory=dict, init=False)
    _fingerprints: list = field(default_factory=list, init=False, repr=False, compare=False)  # of first members

    def __post_init__(self) -> None:
        check_bounds(self, "diversity_filter")
        if not isinstance(self.bucket_size, int):
            raise UserError(f"diversity_filter.bucket_size={self.bucket_size}: give a whole number of 1 or more")

    def __call__(self, molecules: Sequence[Molecule], totals: np.ndarray, remember: bool = True) -> np.ndarray:
        """Factors (n,) by which to multiply `totals` (n,), in the order of `molecules`; counted if `remember`."""
        factors = np.ones(len(molecules))
        for i, (molecule, total) in enumerate(zip(molecules, totals, strict=True)):
            if total < self.min_score:
                continue
            group = self._group(molecule)
            share = self.hits.get(group, 0) / self.bucket_size
            factors[i] = float(share < 1) if self.penalty == "step" else max(0.0, 1 - share)
            if remember:
                if group not in self.hits and self.kind == "cluster":
                    self._fingerprints.append(fingerprint(molecule.graph))
                self.hits[group] = self.hits.get(group, 0) + 1
        return factors

    def _group(self, molecule: Molecule) -> str:
        if self.kind == "molecule":
            return molecule.smiles
        if self.kind == "scaffold":
            return MurckoScaffold.MurckoScaffoldSmiles(mol=molecule.graph) or molecule.smiles
        similarities = DataStructs.BulkTanimotoSimilarity(fingerprint(molecule.graph), self._fingerprints)
        nearest = int(np.argmax(similarities)) if similarities else -1
        if similarities and similarities[nearest] >= self.min_similarity:
            return list(self.hits)[nearest]
        return molecule.smiles

    def state_dict(self) -> dict[str, Any]:
        """The counts as plain values, in order; JSON keeps them exactly."""
        return {"kind": self.kind, "min_similarity": self.min_similarity, "hits": dict(self.hits)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts of `state_dict`. Raises UserError for the state of a filter with other groups."""
        for key in ("kind", "min_similarity") if self.kind == "cluster" else ("kind",):
            if state[key] != getattr(self, key):
                raise UserError(
                    f"the saved diversity filter has {key}={state[key]}, this one {key}={getattr(self, key)}; "
                    "use the saved value, or start a new folder"
                )
        self.hits = {str(group): int(count) for group, count in state["hits"].items()}
        if self.kind == "cluster":
            self._fingerprints = [fingerprint(Chem.MolFromSmiles(group)) for group in self.hits]
