"""Energies above crystals, elastic constants, vibrations and diffusion against literature and analytic results."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.units import fs
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si as SW

from gendesign.analysis.diffusion import diffusion, unwrapped
from gendesign.analysis.elastic import elastic_constants
from gendesign.analysis.energetics import crystal_energies, diamond, energy_above, reference_for, relaxed
from gendesign.analysis.vibrations import MOST_ATOMS, from_dynamical_matrix, from_velocities
from gendesign.errors import UserError


@pytest.fixture(scope="module")
def sw():
    return Manybody(**StillingerWeber(SW))


@pytest.fixture(scope="module")
def silicon(sw):
    return relaxed(diamond(), sw, fmax=1e-4)


def with_energy(formula: str, energy: float) -> Atoms:
    atoms = Atoms(formula)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def test_energy_above_a_crystal(silicon, sw):
    assert silicon.cell.lengths() == pytest.approx([5.43095] * 3, abs=1e-3)  # Stillinger and Weber 1985
    atoms = silicon.repeat(2)
    atoms.rattle(0.1, seed=1)
    atoms.calc = sw
    energy = atoms.get_potential_energy()
    above = energy_above(atoms, energy, [silicon])
    assert above == pytest.approx(energy / 64 + 4.3366, abs=1e-4) and above > 0


def test_suboxides_lie_on_the_line_of_silicon_and_quartz():
    crystals = [with_energy("Si8", -8.0), with_energy("Si3O6", -30.0)]
    assert reference_for(Atoms("Si2O2"), crystals).energy == pytest.approx(-11.0)  # Si + SiO2
    assert reference_for(Atoms("Si4O8"), crystals).energy == pytest.approx(-40.0)
    assert reference_for(Atoms("Si5"), crystals).name == "Si"
    with pytest.raises(UserError, match="no mixture of the crystals Si, O2Si"):
        reference_for(Atoms("SiO3"), crystals)
    with pytest.raises(UserError, match="no reference crystal for C-O"):
        crystal_energies(["C", "O"], LennardJones())


def test_elastic_constants_of_stillinger_weber_silicon(silicon, sw):
    elastic = elastic_constants(silicon, sw, strain=1e-3, fmax=1e-5)
    c = elastic.stiffness
    # Cowley, Phys. Rev. Lett. 60, 2379 (1988): 151.4, 76.4, 56.4 GPa
    assert [c[0, 0], c[0, 1], c[3, 3]] == pytest.approx([151.4, 76.4, 56.4], abs=0.15)
    assert elastic.asymmetry < 0.01 and elastic.bulk[2] == pytest.approx((151.4 + 2 * 76.4) / 3, abs=0.15)
    anisotropic = (elastic.shear[0] - elastic.shear[1]) / elastic.shear[2]
    assert 0 < anisotropic < 0.1 and 0.25 < elastic.poisson < 0.32


def test_modes_of_a_dimer():
    atoms = Atoms("Ar2", positions=[[5, 5, 5], [5 + 2 ** (1 / 6), 5, 5]], cell=[20] * 3, pbc=True)
    result = from_dynamical_matrix(atoms, LennardJones(rc=8.0), distance=1e-3)
    # V'' = 72 / 2^(1/3) at the minimum; the reduced mass is half a mass
    stiffness, mass = 72 / 2 ** (1 / 3), 39.95 / 2
    expected = np.sqrt(stiffness * 1.602176634e-19 / 1e-20 / (mass * 1.66053906660e-27)) / (2 * np.pi) / 1e12
    assert result.modes.max() == pytest.approx(expected, rel=1e-3)
    assert np.abs(result.modes[:5]).max() < 0.1 and result.participation[-1] == pytest.approx(1)


def test_both_densities_of_states_of_silicon_agree(silicon, sw):
    small = silicon.repeat((2, 1, 1))
    exact = from_dynamical_matrix(small, sw)
    assert np.trapezoid(exact.density, exact.frequency) == pytest.approx(1)
    assert np.abs(np.sort(np.abs(exact.modes))[:3]).max() < 1e-3
    atoms = small.copy()
    atoms.calc = sw
    MaxwellBoltzmannDistribution(atoms, temperature_K=30, rng=np.random.default_rng(0))
    Stationary(atoms)
    frames: list[Atoms] = []
    dynamics = VelocityVerlet(atoms, 2 * fs)
    dynamics.attach(lambda: frames.append(atoms.copy()), interval=2)
    dynamics.run(3000)
    measured = from_velocities(frames, 4.0)
    assert np.trapezoid(measured.density, measured.frequency) == pytest.approx(1)
    assert measured.frequency[np.argmax(measured.density)] < 20
    # a harmonic crystal has all its frequencies in the spectrum of its velocities, whatever their weights are
    strong = measured.frequency[measured.density > 0.1 * measured.density.max()]
    assert all(np.abs(exact.modes - f).min() < 1.0 for f in strong)
    assert diffusion(frames, 4.0)[0].coefficient < 1e-7


def test_random_walk():
    rng = np.random.default_rng(1)
    place, frames = rng.random((1500, 3)) * 20, []
    for _ in range(300):
        frames.append(Atoms("Ar1500", positions=place % 20, cell=[20] * 3, pbc=True))
        place = place + rng.normal(scale=0.1, size=place.shape)
    found = diffusion(frames, 2.0)[0]
    assert found.coefficient == pytest.approx(0.1**2 / 2 / 2.0 * 0.1, rel=0.05)  # sigma^2 / (2 dt), in cm^2/s
    assert found.exponent == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(unwrapped(frames), axis=0)).max() < 1


def test_refusals_are_one_line():
    atoms = Atoms("Si2", cell=[5] * 3, pbc=True)
    for refused in (
        lambda: diffusion([atoms] * 3, 1.0),
        lambda: from_velocities([atoms] * 3, 1.0),
        lambda: from_velocities([atoms] * 20, 1.0),
        lambda: from_dynamical_matrix(Atoms(f"Si{MOST_ATOMS + 1}"), LennardJones()),
    ):
        with pytest.raises(UserError) as error:
            refused()
        assert "\n" not in str(error.value)
