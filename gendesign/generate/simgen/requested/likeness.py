"""Similarity to the user's own references."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from ase import Atoms
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from gendesign.generate.simgen import kernel
from gendesign.generate.simgen.problem import Problem
from gendesign.structure.bonds import perceive
from gendesign.structure.conditions import Condition, Finding, Subject


def conditions(problem: Problem) -> list[Condition]:
    """The similarity of graphs and of environments."""
    if not problem.requested_references:
        return []
    nearest = Nearest(problem.references.molecules)
    title = "median log-similarity of an atom to the references"
    return [
        Condition("likeness", "median Tanimoto to the nearest reference", nearest, "", False, needs_molecule=True),
        Condition("likeness_kernel", title, partial(_log_similarity, problem), "", False),
    ]


@dataclass
class Nearest:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits) to the nearest of some molecules."""

    molecules: Sequence[Atoms]
    _fingerprints: list[DataStructs.ExplicitBitVect] | None = field(default=None, init=False, repr=False)

    def __call__(self, subject: Subject) -> Finding:
        """The largest similarity of the molecule of `subject` to the references, as a measurement."""
        if self._fingerprints is None:
            mols = [perceive(Atoms(a.numbers, a.positions)).mol for a in self.molecules]
            self._fingerprints = [_fingerprint(mol) for mol in mols if mol is not None]
        if not self._fingerprints:
            return Finding(None, None, "the references hold no valid molecule")
        similarities = DataStructs.BulkTanimotoSimilarity(_fingerprint(subject.mol), self._fingerprints)
        return Finding(None, float(max(similarities)))


def _fingerprint(mol: Chem.Mol) -> DataStructs.ExplicitBitVect:
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    return maker.GetFingerprint(Chem.MolFromSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))))


def _log_similarity(problem: Problem, subject: Subject) -> Finding:
    """Value: mean log k over the heavy atoms, as in the sampler at its last noise level."""
    skeleton = subject.atoms[np.isin(subject.atoms.numbers, problem.numbers)]
    if not len(skeleton):
        return Finding(None, None, "no heavy atoms")
    potential, references = problem.potential, problem.score.references
    numbers = torch.as_tensor(skeleton.numbers, device=potential.device)
    with torch.no_grad():
        raw = potential.descriptors([skeleton], shortest=kernel.SHORTEST)
        energies = kernel.energies(references.whitened(raw, numbers), numbers, references, 0.0)
    return Finding(None, -float(energies.mean()))
