"""Checks of single candidates by their coordinates: stability by EDM's table, strict validity, formula, SMILES."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from gendesign.structure.bonds import VALENCES, Perceived, edm_stable_atoms, perceive
from gendesign.structure.files import stated_charge
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate, Verdict

EDM = "EDM's table of bond lengths, which knows no aromatic bonds and no S=O"
PERIODIC = "periodic"  # the reason of checks of molecules that do not apply to a structure
CLOSE = 0.5  # of the sum of two covalent radii; no bond is that short (H2: 1.19, N2: 0.77)


def is_periodic(candidate: Candidate) -> bool:
    """Whether the candidate has a periodic direction."""
    return bool(candidate.atoms.pbc.any())


def perceive_candidate(candidate: Candidate, zwitterions: bool = False) -> Perceived:
    """The molecule of a candidate, or why it has none: its failure, a charge, or its bonds.

    zwitterions: neutral molecules with formal charges anywhere count as valid.
    """
    if candidate.failure is not None:
        return Perceived(None, candidate.failure)
    charge = charge_of(candidate)
    if charge:
        return Perceived(None, f"charged molecule ({charge:+g}): the potential has no charges; give a neutral one")
    perceived = perceive(candidate.atoms, zwitterions=zwitterions)
    if perceived.mol is None and perceived.zwitterion:
        return replace(perceived, reason=f"{perceived.reason}; screening.zwitterions=true accepts it")
    return perceived


def charge_of(candidate: Candidate) -> float:
    """The charge in the candidate's info, 0 without one."""
    return stated_charge(candidate.info) or stated_charge(candidate.atoms.info)


def unusable(candidate: Candidate) -> str:
    """Why there is no structure to measure; empty where there is one."""
    if candidate.failure is not None:
        return candidate.failure
    if len(candidate.atoms) == 0:
        return "no atoms"
    return "" if np.isfinite(candidate.atoms.positions).all() else "positions are not finite"


def validity(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`valid`: strict validity, see structure.bonds.perceive."""
    return [Verdict(candidate.index, "valid", perceived.mol is not None, reason=perceived.reason)]


def identity(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`formula` of all atoms; `smiles` and `smiles_stereo` of a valid molecule."""
    index, mol = candidate.index, perceived.mol
    formula = candidate.atoms.get_chemical_formula("hill") or None
    return [
        Verdict(index, "formula", None, formula),
        Verdict(index, "smiles", None, mol and smiles(mol), reason=perceived.reason),
        Verdict(index, "smiles_stereo", None, mol and smiles(mol, stereo=True), reason=perceived.reason),
    ]


def stability(candidate: Candidate) -> list[Verdict]:
    """`edm_atoms`: share of atoms with exact valence by EDM's bond table; `edm_molecule`: whether all have it.

    It is a published metric, which sound molecules can fail: the table has no aromatic bonds and no S=O. Molecules with
    elements that are not in it, such as B and Si, are not judged.
    """
    index, atoms = candidate.index, candidate.atoms
    reason = unusable(candidate)
    if reason:
        share = Verdict(index, "edm_atoms", None, 0.0, reason=reason)
        return [share, Verdict(index, "edm_molecule", False, reason=reason)]
    if unknown := sorted(set(atoms.get_chemical_symbols()) - set(VALENCES)):
        reason = f"{EDM} has no {', '.join(unknown)}"
        return [Verdict(index, check, None, reason=reason) for check in ("edm_atoms", "edm_molecule")]
    stable = edm_stable_atoms(atoms)
    wrong = ", ".join(f"{atoms.symbols[i]}{i}" for i in np.flatnonzero(~stable)[:8])
    reason = f"{EDM}: other valences at {wrong}" if wrong else ""
    return [
        Verdict(index, "edm_atoms", None, float(stable.mean()), reason=reason),
        Verdict(index, "edm_molecule", bool(stable.all()), reason=reason),
    ]


def distances(candidate: Candidate) -> list[Verdict]:
    """`distances`: the shortest distance relative to the sum of covalent radii, at least 0.5; periodic images count."""
    index, atoms = candidate.index, candidate.atoms
    reason = unusable(candidate)
    if reason:
        return [Verdict(index, "distances", False, reason=reason)]
    ratio = shortest_distance(atoms)
    reason = "" if ratio >= CLOSE else f"two atoms at {ratio:.2f} of the sum of their covalent radii, below {CLOSE}"
    return [Verdict(index, "distances", ratio >= CLOSE, min(ratio, 2.0), reason=reason)]


def shortest_distance(atoms: Atoms) -> float:
    """The smallest ratio of a distance to the sum of two covalent radii; infinite if all are above 2."""
    radii = covalent_radii[atoms.numbers]
    i, j, d = neighbor_list("ijd", atoms, list(2 * radii))
    return float((d / (radii[i] + radii[j])).min()) if len(d) else np.inf


def convergence(candidate: Candidate) -> list[Verdict]:
    """`converged` and the largest force, as the relaxation stored them; None without a relaxation."""
    index, info = candidate.index, candidate.info
    if candidate.failure is not None:
        return [Verdict(index, "converged", False, reason=candidate.failure)]
    if "converged" not in info:
        return [Verdict(index, "converged", None, reason="not relaxed")]
    passed, fmax = bool(info["converged"]), info.get("fmax")
    reason = "" if passed else "forces above the threshold when relaxation stopped"
    return [Verdict(index, "converged", passed, None if fmax is None else float(fmax), "eV/Angstrom", reason)]
