"""The bundled potential `hoip` on crystals whose lattices are known from experiment, and on a start of a search."""

import numpy as np
import pytest

from gendesign import Perovskite, load_potential, relax
from gendesign.benchmark.lattices import CUBIC, CUBIC_LIMITS, cubic_start
from gendesign.generate.perovskite import Composition, RandomStarts
from gendesign.relaxation import Relaxation
from gendesign.structure.perovskite import cation_fault, layer_spacing, network_fault


@pytest.mark.parametrize("formula", CUBIC)
def test_cubic_lattices_are_those_of_experiment(formula):
    (done,) = relax([cubic_start(formula)], load_potential("hoip"), CUBIC_LIMITS)
    assert done.info["converged"]
    assert np.cbrt(done.atoms.get_volume()) == pytest.approx(CUBIC[formula], rel=0.03)


def test_a_start_becomes_an_intact_layered_crystal():
    potential = load_potential("hoip")
    start = Perovskite(potential, Composition("CC[NH3+]"), RandomStarts(cells="1")).build_start(0, seed=3)
    (done,) = relax([start], potential, Relaxation("lbfgs", 0.05, 120, cell=True))
    assert done.info["energy"] / 2 < potential.evaluate([start.atoms]).energy[0] / 2 - 0.5
    assert network_fault(done.atoms, 1) == "" and cation_fault(done.atoms, done.info["cations"]) == ""
    assert 9.0 < layer_spacing(done.atoms, 1) < 12.5  # (ethylammonium)2PbI4 has 11.0 Angstrom
