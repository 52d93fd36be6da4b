"""PySCF and CP2K as teachers: forces against differences of energies, and what is said where a program is missing."""

import importlib.util
import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from gendesign.errors import UserError
from gendesign.train.teacher import label
from gendesign.train.teachers.cp2k import Cp2k
from gendesign.train.teachers.molecular import Pyscf

NEEDS_PYSCF = pytest.mark.skipif(importlib.util.find_spec("pyscf") is None, reason="pyscf is not installed")
OUTPUT = """
 *** SCF run converged in    13 steps ***
 ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]              -48.000000000000
      1      1      Cs          0.00000000      0.00000000      0.00100000
      2      2      I           0.00000000      0.00000000     -0.00100000
 STRESS| Analytical stress tensor [GPa]
 STRESS|                        x                   y                   z
 STRESS|      x        1.0    0.0    0.0
 STRESS|      y        0.0    2.0    0.0
 STRESS|      z        0.0    0.0    3.0
"""


@NEEDS_PYSCF
def test_forces_of_pyscf_are_derivatives_of_its_energy():
    teacher = Pyscf(functional="pbe", basis="sto-3g", grid=2)
    water = molecule("H2O")
    water.positions[0] += [0.05, 0.02, 0.0]
    teacher.check(frozenset("HO"))
    force = label(teacher, water).arrays["forces"][0, 0]
    energies = []
    for shift in (-0.005, 0.005):
        moved = water.copy()
        moved.positions[0, 0] += shift
        energies.append(label(teacher, moved).info["energy"])
    assert force == pytest.approx(-(energies[1] - energies[0]) / 0.01, abs=5e-3)
    radical = label(teacher, molecule("OH"))
    assert radical.info["multiplicity"] == 2 and radical.info["energy"] > label(teacher, water).info["energy"]


@NEEDS_PYSCF
@pytest.mark.parametrize(
    ("keys", "said"), [({"functional": "b99lyp"}, "unknown to PySCF"), ({"basis": "none"}, "has no")]
)
def test_a_functional_or_basis_that_pyscf_has_not_is_named(keys, said):
    with pytest.raises(UserError, match=said):
        Pyscf(**keys).check(frozenset("H"))


def test_missing_programs_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install pyscf"):
        Pyscf().check(frozenset("H"))
    with pytest.raises(UserError, match="apt install cp2k"):
        Cp2k(command="no-such-cp2k").check(frozenset({"Pb"}))
    with pytest.raises(UserError, match="CP2K does not know Fe"):
        Cp2k(command=sys.executable).check(frozenset({"Fe"}))
    assert "crystals only" in Cp2k().refuse(molecule("H2O"))


def test_a_label_of_cp2k_is_what_its_output_says(tmp_path):
    program = tmp_path / "cp2k"
    program.write_text(f"#!{sys.executable}\nimport pathlib\npathlib.Path('label.out').write_text({OUTPUT!r})\n")
    program.chmod(0o755)
    salt = Atoms("CsI", positions=[[0, 0, 0], [2.3, 2.3, 2.3]], cell=[4.6, 4.6, 4.6], pbc=True)
    done = label(Cp2k(command=str(program)), salt)
    assert done.info["energy"] == pytest.approx(-48.0 * units.Hartree)
    np.testing.assert_allclose(done.arrays["forces"][:, 2], np.array([1e-3, -1e-3]) * units.Hartree / units.Bohr)
    np.testing.assert_allclose(done.info["stress"], -np.array([1, 2, 3, 0, 0, 0]) * units.GPa)
    program.write_text("#!/bin/sh\necho no licence\n")
    assert done.info["teacher"].startswith("CP2K(") and "failure" in label(Cp2k(command=str(program)), salt).info
