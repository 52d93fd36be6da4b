"""Named scores: properties of the molecular graph, and of the geometry under a potential."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from ase import Atoms
from rdkit import Chem, DataStructs
from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from gendesign.errors import UserError
from gendesign.objective import physics
from gendesign.objective.transforms import Transform
from gendesign.structure.accessibility import sa_score
from gendesign.structure.identity import canonical_smiles, smiles


@dataclass(frozen=True)
class Molecule:
    """A valid candidate: its atoms and the molecule perceived from them (hydrogens explicit, with a conformer)."""

    atoms: Atoms
    mol: Chem.Mol

    @cached_property
    def smiles(self) -> str:
        """Canonical, without stereochemistry: the key of structure.identity."""
        return smiles(self.mol)

    @cached_property
    def graph(self) -> Chem.Mol:
        """The molecule read from its SMILES, hydrogens implicit, for which descriptors are defined."""
        return Chem.MolFromSmiles(self.smiles)


@dataclass(frozen=True)
class Named:
    """A named score.

    make: returns the function for a list of arguments. It takes one Molecule or, if `geometry`, all structures and the
    potential: (structures, potential) -> (n,). transform: the default; None if the user must choose one.
    """

    make: Callable[[Sequence[str]], Callable]
    transform: Transform | None = None
    arguments: str = ""
    geometry: bool = False


def fingerprint(graph: Chem.Mol) -> DataStructs.ExplicitBitVect:
    """Morgan bits of radius 2, as in screening's diversity."""
    return GetMorganGenerator(radius=2, fpSize=2048).GetFingerprint(graph)


def _without_arguments(
    function: Callable[[Chem.Mol], float], name: str, words: Sequence[str]
) -> Callable[[Molecule], float]:
    if words:
        raise UserError(f"score '{name}' takes no argument, not '{' '.join(words)}'; leave it out")
    return lambda molecule: function(molecule.graph)


def _similarity(words: Sequence[str]) -> Callable[[Molecule], float]:
    """Largest Tanimoto similarity to any of the SMILES."""
    if not words:
        raise UserError("score 'similarity' needs SMILES to compare with; write it as similarity CC(=O)O c1ccccc1")
    prints = [fingerprint(Chem.MolFromSmiles(canonical_smiles(word))) for word in words]
    return lambda molecule: max(DataStructs.BulkTanimotoSimilarity(fingerprint(molecule.graph), prints))


def _substructure(words: Sequence[str]) -> Callable[[Molecule], float]:
    """Number of matches of the pattern with different sets of atoms."""
    pattern = Chem.MolFromSmarts(words[0]) if len(words) == 1 else None
    if pattern is None:
        text = " ".join(words)
        raise UserError(f"score 'substructure': '{text}' is not one SMARTS that RDKit reads; give one such as [OX2H]")
    return lambda molecule: len(molecule.graph.GetSubstructMatches(pattern, uniquify=True))


def _physical(make: Callable[[], Callable], name: str, words: Sequence[str]) -> Callable:
    if words:
        raise UserError(f"score '{name}' takes no argument, not '{' '.join(words)}'; leave it out")
    return make()


def _strain(words: Sequence[str]) -> Callable:
    steps = words[0] if words else str(physics.STEPS)
    if len(words) > 1 or not steps.isdigit() or int(steps) < 1:
        raise UserError(f"score 'strain' takes one number of steps, not '{' '.join(words)}'; write it as strain 50")
    return partial(physics.strain, steps=int(steps))


def _of_graph(name: str, function: Callable[[Chem.Mol], float], transform: Transform | None = None) -> Named:
    return Named(partial(_without_arguments, function, name), transform)


NAMED = {
    "qed": _of_graph("qed", QED.qed, Transform()),  # Bickerton et al., Nat. Chem. 4, 90 (2012)
    "sa_score": _of_graph("sa_score", sa_score, Transform("falling", (1, 10))),
    "logp": _of_graph("logp", Crippen.MolLogP),
    "molecular_weight": _of_graph("molecular_weight", Descriptors.MolWt),  # g/mol
    "tpsa": _of_graph("tpsa", rdMolDescriptors.CalcTPSA),  # Angstrom^2
    "rings": _of_graph("rings", rdMolDescriptors.CalcNumRings),
    "rotatable_bonds": _of_graph("rotatable_bonds", rdMolDescriptors.CalcNumRotatableBonds),
    "similarity": Named(_similarity, Transform(), "SMILES ..."),
    "substructure": Named(_substructure, None, "SMARTS"),
    "energy": Named(partial(_physical, lambda: physics.energy, "energy"), geometry=True),
    "strain": Named(_strain, None, "STEPS", geometry=True),
    "uncertainty": Named(partial(_physical, physics.Uncertainty, "uncertainty"), geometry=True),
    "valid": _of_graph(
        "valid", lambda graph: 1.0, Transform()
    ),  # structures that are no molecule score 0 in any objective
}


def number(value: object) -> float:
    """The result of a score as a float; NaN for infinity. Raises TypeError unless it is a single number."""
    if isinstance(value, str | bytes) or np.size(value) != 1:
        raise TypeError(f"gave a {type(value).__name__} instead of a number")
    scalar = float(np.asarray(value).reshape(()))
    return scalar if math.isfinite(scalar) else math.nan
