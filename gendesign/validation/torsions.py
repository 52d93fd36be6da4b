"""Relaxed torsion profiles of rotatable bonds, compared with the reference."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms
from matplotlib.figure import Figure
from rdkit import Chem
from scipy.sparse.csgraph import connected_components

from gendesign.structure.bonds import connectivity, perceive
from gendesign.structure.types import Row
from gendesign.validation.methods import Method
from gendesign.validation.picture import OWN, REFERENCE, grid

# a single bond outside rings between two atoms that each have a further neighbour, not next to a triple bond
ROTATABLE = Chem.MolFromSmarts("[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]")
KCAL_PER_MOL = units.kcal / units.mol  # in eV
FMAX, STEPS = 0.03, 150  # eV/Angstrom
BARRIER_MAE = "torsion barriers MAE"

Torsion = tuple[int, int, int, int]


def rotatable(atoms: Atoms) -> list[Torsion]:
    """Atoms i-j-k-l of each rotatable bond j-k, with heavy end atoms if possible; empty for an invalid molecule."""
    mol = perceive(atoms).mol
    if mol is None:
        return []
    heavy = Chem.RemoveHs(mol)  # without hydrogens a methyl group does not count as rotatable
    names = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    if heavy.GetNumAtoms() != len(names):
        return []
    bonds = []
    for j, k in heavy.GetSubstructMatches(ROTATABLE):
        j, k = names[j], names[k]
        i, last = (
            min(
                (n.GetIdx() for n in mol.GetAtomWithIdx(centre).GetNeighbors() if n.GetIdx() != other),
                key=lambda idx: (atoms.numbers[idx] == 1, idx),
            )
            for centre, other in ((j, k), (k, j))
        )
        bonds.append((i, j, k, last))
    return bonds


def rotated(atoms: Atoms, torsion: Torsion, angles: np.ndarray) -> list[Atoms]:
    """Copies with the part behind the bond rotated by each of `angles` (degrees); the four torsion atoms are fixed."""
    bonds = np.zeros((len(atoms), len(atoms)), dtype=bool)
    for bond in connectivity(atoms) - {tuple(sorted(torsion[1:3]))}:
        bonds[bond] = True
    part = connected_components(bonds, directed=False)[1]
    side = np.flatnonzero(part == part[torsion[2]])
    out = []
    for angle in angles:
        copy = Atoms(atoms.numbers, atoms.positions)
        copy.rotate_dihedral(*torsion, angle, indices=side)
        copy.set_constraint(FixAtoms(list(torsion)))
        out.append(copy)
    return out


def profiles(method: Method, starts: Sequence[Sequence[Atoms]]) -> list[np.ndarray]:
    """Energy (kcal/mol) of every start after relaxation at fixed torsion, one array per torsion.

    The energies are total energies, NaN where the method fails or the bond graph changes. All starts relax together.
    """
    flat = [atoms for group in starts for atoms in group]
    ends = method.relax(flat, fmax=FMAX, steps=STEPS)
    kept = [
        k
        for k, (before, after) in enumerate(zip(flat, ends, strict=True))
        if after is not None and connectivity(before) == connectivity(after.atoms)
    ]
    energies = np.full(len(flat), np.nan)
    for k, answer in zip(kept, method.evaluate([ends[k].atoms for k in kept]), strict=True):
        energies[k] = np.nan if answer is None else answer.energy / KCAL_PER_MOL
    return np.split(energies, np.cumsum([len(group) for group in starts])[:-1])


def choose(minima: Sequence[Atoms], most: int) -> list[tuple[Atoms, Torsion]]:
    """Up to `most` torsions: the first bond of every molecule, then the second bond of every molecule, and so on."""
    torsions = [[(atoms, torsion) for torsion in rotatable(atoms)] for atoms in minima]
    ordered = [pair for rank in zip_longest(*torsions) for pair in rank if pair is not None]
    return ordered[:most]


def measure(
    method: Method, minima: Sequence[Atoms], reference: Method, most: int = 10, points: int = 12
) -> dict[str, Any]:
    """Profiles of up to `most` rotatable bonds at `points` angles, relative to the lowest point of each profile."""
    angles = np.linspace(0, 360, points, endpoint=False)
    chosen = choose(minima, most)
    starts = [rotated(atoms, torsion, angles) for atoms, torsion in chosen]
    if not starts:
        return {"angles": angles.tolist(), "torsions": []}
    results = []
    pairs = zip(profiles(method, starts), profiles(reference, starts), strict=True)
    for (atoms, torsion), pair in zip(chosen, pairs, strict=True):
        both = np.isfinite(pair[0]) & np.isfinite(pair[1])
        predicted, expected = (np.where(both, e - np.min(e[both], initial=np.inf), np.nan) for e in pair)
        results.append(
            {
                "name": f"{atoms.get_chemical_formula()} {'-'.join(atoms.symbols[i] for i in torsion)}",
                "torsion": [int(i) for i in torsion],
                "energy": _plain(predicted),
                "reference": _plain(expected),
                "barriers": [float(np.max(e[both])) for e in (predicted, expected)] if both.sum() > 1 else None,
            }
        )
    return {"angles": angles.tolist(), "torsions": results}


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(v), 5) if np.isfinite(v) else None for v in values]


def rows(results: dict[str, Any]) -> list[Row]:
    """Errors of the barriers (highest minus lowest point) and of the complete profiles."""
    barriers = np.array([t["barriers"] for t in results["torsions"] if t["barriers"]])
    profile = [
        abs(a - b)
        for t in results["torsions"]
        for a, b in zip(t["energy"], t["reference"], strict=True)
        if a is not None and b is not None
    ]
    error = np.abs(barriers[:, 0] - barriers[:, 1]) if len(barriers) else np.array([])
    return [
        Row(BARRIER_MAE, float(error.mean()) if len(error) else None, "kcal/mol", len(error)),
        Row("torsion barriers, largest error", float(error.max()) if len(error) else None, "kcal/mol", len(error)),
        Row("torsion profiles MAE", float(np.mean(profile)) if profile else None, "kcal/mol", len(profile)),
    ]


def picture(results: dict[str, Any]) -> Figure | None:
    """Every profile: the potential as a line, the reference as points."""
    if not results["torsions"]:
        return None
    figure, panels = grid(len(results["torsions"]), columns=5, size=(2.4, 1.9), sharex=True)
    for panel, torsion in zip(panels, results["torsions"], strict=True):
        panel.plot(results["angles"], np.array(torsion["energy"], float), color=OWN, lw=1.4)
        panel.plot(results["angles"], np.array(torsion["reference"], float), "o", color=REFERENCE, ms=3)
        panel.set_title(torsion["name"], fontsize=8, pad=2)
    figure.supxlabel("turned by (degrees)", fontsize=9)
    figure.supylabel("energy (kcal/mol)", fontsize=9)
    return figure
