"""A few candidates of every generator stay what they are (scripts/golden.py), within tolerances."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from scripts import golden

ENERGY, LENGTH = 1e-3, 2e-3  # eV, Angstrom


def difference(before: Atoms, after: Atoms) -> str:
    """What distinguishes two candidates, nothing where they agree within the tolerances."""
    for key in ("index", "failure"):
        if before.info.get(key) != after.info.get(key):
            return key
    if sorted(before.symbols) != sorted(after.symbols):
        return "formula"
    if not np.allclose(distances(before), distances(after), rtol=0, atol=LENGTH):
        return "distances"
    if before.calc is not None and abs(before.get_potential_energy() - after.get_potential_energy()) > ENERGY:
        return "energy"
    return ""


def distances(atoms: Atoms) -> np.ndarray:
    """All distances in Angstrom by size, which no rotation and no order of the atoms changes."""
    return np.sort(atoms.get_all_distances(mic=atoms.pbc.any()), axis=None)


@pytest.mark.parametrize("name", golden.CASES)
def test_candidates_stay_what_they_are(name, tmp_path):
    known, now = ase.io.read(golden.GOLDEN / f"{name}.extxyz", ":"), golden.made(name, tmp_path / "run")
    assert len(now) == len(known)
    assert [difference(before, after) for before, after in zip(known, now, strict=True)] == [""] * len(known)


def test_a_change_is_seen():
    atoms = ase.io.read(golden.GOLDEN / "agent.extxyz", 0)
    moved = atoms.copy()
    moved.calc = atoms.calc
    assert difference(atoms, moved) == ""
    moved.positions[0] += 0.01
    assert difference(atoms, moved) == "distances"
    moved.info["failure"] = "broken"
    assert difference(atoms, moved) == "failure"
