import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixedLine, FixedPlane, FixScaled

from gendesign.errors import UserError
from gendesign.structure.constraints import fixed_components, set_fixed

HEXAGONAL = [[2.46, 0, 0], [-1.23, 2.1304, 0], [0, 0, 6.7]]


@pytest.mark.parametrize(
    ("constraint", "fixed"),
    [
        (FixAtoms([1]), [True, True, True]),
        (FixCartesian([1], mask=(True, False, True)), [True, False, True]),
        (FixScaled([1], (False, False, True)), [False, False, True]),  # T T F of a POSCAR in a hexagonal cell
        (FixScaled([1], (True, True, False)), [True, True, False]),
        (FixScaled([1], (True, True, True)), [True, True, True]),
        (FixedPlane([1], (0, 0, 2.0)), [False, False, True]),
        (FixedLine([1], (0, 3.0, 0)), [True, False, True]),
    ],
)
def test_components_that_constraints_fix(constraint, fixed):
    atoms = Atoms("C2", [[0, 0, 0], [0, 1.4, 0]], cell=HEXAGONAL, pbc=True, constraint=constraint)
    assert fixed_components(atoms).tolist() == [[False] * 3, fixed]
    set_fixed(atoms, fixed_components(atoms))
    assert fixed_components(atoms).tolist() == [[False] * 3, fixed]


def test_what_is_no_cartesian_component_is_refused():
    slanted = Atoms("C2", [[0, 0, 0], [0, 1.4, 0]], cell=HEXAGONAL, pbc=True)
    slanted.set_constraint(FixScaled([0], (True, False, True)))
    with pytest.raises(UserError, match="FixScaled along directions that are no Cartesian axes"):
        fixed_components(slanted)
    bound = molecule("H2O")
    bound.set_constraint(FixBondLength(0, 1))
    with pytest.raises(UserError, match=r"FixBondLengths?; only fixed atoms"):
        fixed_components(bound)


def test_no_constraint_where_nothing_is_fixed():
    atoms = bulk("Cu")
    atoms.set_constraint(FixAtoms([0]))
    set_fixed(atoms, np.zeros((1, 3), dtype=bool))
    assert atoms.constraints == []
