"""What the page asks for and what takes no run: files read, SMILES, hydrogens, the cloud of a prior.

These functions run in a process of their own (warm.py), which may be ended at any time, and return JSON.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from gendesign.errors import UserError
from gendesign.generate.simgen.hydrogen import components, saturate, unsaturable
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.run.build import make
from gendesign.run.settings import resolve
from gendesign.structure.clouds import MESHES, PLAIN, read_cloud, read_mesh
from gendesign.structure.files import read_structures
from gendesign.view.structures import to_atoms, to_json

MOST_FRAMES = 200  # structures that are taken from one file
MOST_ATOMS = 60_000
BONDED = 1.3  # Angstrom from a hydrogen to its atom
USUAL_SIZE = 9

RDLogger.DisableLog("rdApp.*")


def read_file(path: str, name: str) -> dict[str, Any]:
    """What is in a file: `structures`, or the `points` (points, 3) of a mesh or a cloud."""
    suffix = Path(path).suffix.lower()
    if suffix in MESHES:
        return {"kind": "mesh", "points": read_mesh(path).vertices[:5000].round(3).tolist()}
    if suffix in PLAIN:
        return {"kind": "cloud", "points": read_cloud(path)[:5000].round(3).tolist()}
    candidates = read_structures([path], strict=False, hydrogens="ignore", chargeless=None)
    usable = [candidate for candidate in candidates if len(candidate.atoms)][:MOST_FRAMES]
    if not usable:
        reason = candidates[0].failure if candidates else "it holds no structure"
        raise UserError(f"{name}: {reason}")
    if sum(len(candidate.atoms) for candidate in usable) > MOST_ATOMS:
        raise UserError(f"{name} holds more than {MOST_ATOMS} atoms; give fewer structures, or the part that matters")
    notes = [f"{name}, structure {c.index + 1}: {c.failure}" for c in candidates if c.failure]
    names = [name if len(usable) == 1 else f"{name} {k + 1}" for k in range(len(usable))]
    structures = [to_json(c.atoms, title) for c, title in zip(usable, names, strict=True)]
    return {
        "kind": "structures",
        "structures": structures,
        "notes": notes[:3],
        "left_out": len(candidates) - len(usable),
    }


def from_smiles(smiles: str) -> dict[str, Any]:
    """A conformer of a SMILES around the origin."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise UserError(f"'{smiles[:60]}' is no SMILES; mend it")
    if molecule.GetNumAtoms() > 150:
        raise UserError(f"{molecule.GetNumAtoms()} heavy atoms are too many for a conformer; drop a file instead")
    full = Chem.AddHs(molecule)
    if rdDistGeom.EmbedMolecule(full, randomSeed=7) != 0:
        raise UserError(f"RDKit makes no conformer of '{smiles[:60]}'; drop a file instead")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
        rdForceFieldHelpers.MMFFOptimizeMolecule(full)
    positions = full.GetConformer().GetPositions()
    atoms = Atoms([atom.GetSymbol() for atom in full.GetAtoms()], positions - positions.mean(0))
    return to_json(atoms, smiles[:60])


def hydrogenate(structure: Mapping[str, Any], chosen: Sequence[int] = ()) -> dict[str, Any]:
    """The structure with the hydrogens that its heavy atoms lack, or that those `chosen` lack alone.

    Hydrogens of the other atoms stay. `kept` of the answer are the old numbers of the atoms that stay; they come first,
    in their order. Raises UserError where no bond orders satisfy every valence.
    """
    atoms = to_atoms(structure)
    heavy, hydrogens = np.flatnonzero(atoms.numbers > 1), np.flatnonzero(atoms.numbers == 1)
    if not len(heavy) or atoms.pbc.any():
        raise UserError("hydrogens are added to molecules; this structure has no heavy atom or is periodic")
    wanted = set(chosen) or set(heavy.tolist())
    kept = [h for h in hydrogens if _parent(atoms, int(h), heavy) not in wanted]
    added = Atoms()
    for piece in components(atoms.numbers[heavy], atoms.positions[heavy]):
        of_piece = heavy[piece]
        options = saturate(atoms.numbers[of_piece], atoms.positions[of_piece], alternatives=1)
        if not options:
            reason = unsaturable(atoms.numbers[of_piece], atoms.positions[of_piece])
            raise UserError(f"no hydrogens can be added: {reason}")
        whole = options[0].atoms
        for h in range(len(of_piece), len(whole)):
            if _parent(whole, h, np.arange(len(of_piece)), of_piece) in wanted:
                added += whole[[h]]
    staying = sorted({*heavy.tolist(), *map(int, kept)})
    return {**to_json(atoms[staying] + added, str(structure.get("name", ""))), "kept": staying}


def _parent(atoms: Atoms, hydrogen: int, heavy: np.ndarray, names: np.ndarray | None = None) -> int:
    """The heavy atom nearest to a hydrogen, by its name."""
    nearest = int(np.linalg.norm(atoms.positions[heavy] - atoms.positions[hydrogen], axis=1).argmin())
    return int((heavy if names is None else names)[nearest])


def prior_points(words: Sequence[str]) -> dict[str, Any]:
    """The cloud (points, 3) of the prior that the words of a command choose, and the heavy atoms it is sized for."""
    config = resolve("generate", words)
    prior = make(config.generator.prior)
    low, _, high = str(config.generator.n_heavy_atoms).partition("-")
    n = int(high or low) if (high or low).isdecimal() else USUAL_SIZE
    if isinstance(prior, ShapePrior):
        return {"points": np.asarray(prior.shape.points(n)).round(3)[:3000].tolist(), "n": n}
    covariance = getattr(prior, "gaussian", prior).covariance
    shape = np.eye(3) if covariance is None else np.asarray(covariance, float)
    root = np.linalg.cholesky(shape / np.linalg.det(shape) ** (1 / 3))
    noise = np.random.default_rng(0).normal(size=(400, 3))
    return {"points": (noise @ root.T * n ** (1 / 3) * 0.7).round(3).tolist(), "n": n}
