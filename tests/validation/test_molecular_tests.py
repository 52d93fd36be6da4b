"""Every molecular test against something independent: ASE's vibrations, a harmonic oscillator, known answers."""

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.vibrations import Vibrations
from toy import ToyPotential

from gendesign.validation import dimers, dynamics, errors, geometries, softening, torsions, vibrations
from gendesign.validation.methods import Answer, OneByOne, Relaxed

EMTS = OneByOne(lambda atoms: EMT(), "EMT")
BUTANE = "trans-butane"


class Held:
    """A method whose relaxation leaves everything in place, around another one's energies."""

    name = "held"

    def __init__(self, evaluate):
        self.evaluate = evaluate

    def relax(self, structures, **_):
        return [Relaxed(Atoms(a.numbers, a.positions), True) for a in structures]


class Twist(Calculator):
    """1 + cos 3 phi about the torsion of atoms 0 1 2 3, times a height."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, torsion, height):
        super().__init__()
        self.torsion, self.height = torsion, height

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        angle = np.deg2rad(self.atoms.get_dihedral(*self.torsion))
        self.results = {"energy": self.height * (1 + np.cos(3 * angle)), "forces": np.zeros((len(self.atoms), 3))}


@pytest.mark.parametrize(("name", "rigid"), [("H2O", 6), ("CO2", 5), ("N2", 5)])
def test_frequencies_agree_with_ase(name, rigid, tmp_path):
    (end,) = EMTS.relax([molecule(name)], fmax=1e-4)
    (hessian,) = vibrations.hessians([end.atoms], EMTS)
    found = vibrations.frequencies(end.atoms, hessian)
    assert len(found) == 3 * len(end.atoms) - rigid
    atoms = end.atoms.copy()
    atoms.calc = EMT()
    known = Vibrations(atoms, name=str(tmp_path / "vib"), delta=vibrations.STEP)
    known.run()
    expected = np.sort([f.real - f.imag for f in known.get_frequencies()])
    real = expected[expected > 100]
    assert np.allclose(found[found > 100], real, atol=1.0)


def test_frequencies_of_a_spring_and_no_rigid_motion():
    atoms = Atoms("H2", [[0.3, 0, 0], [0.3, 0.5, 0.6]])
    axis = (atoms.positions[1] - atoms.positions[0]) / atoms.get_distance(0, 1)
    stiff = 30.0 * np.kron([[1, -1], [-1, 1]], np.outer(axis, axis))
    (found,) = vibrations.frequencies(atoms, stiff)
    # omega = sqrt(k / mu); 1 eV/A^2/amu is 521.47 1/cm
    assert found == pytest.approx(521.47 * np.sqrt(30.0 * 2 / atoms.get_masses()[0]), rel=1e-4)


def test_equal_methods_have_no_error():
    ends = [end.atoms for end in EMTS.relax([molecule("H2O"), molecule("CH4")], fmax=0.01)]
    held = Held(EMTS.evaluate)
    rows = {row.name: row for row in vibrations.rows(vibrations.measure(held, ends, held))}
    assert rows[vibrations.FREQUENCY_MAE].value == 0 and rows[vibrations.FREQUENCY_MAE].n == 2
    rows = {row.name: row.value for row in geometries.rows(geometries.measure(held, ends))}
    assert rows[geometries.GRAPH_KEPT] == 1 and rows[geometries.MEDIAN_RMSD] == pytest.approx(0, abs=1e-6)


def test_rmsd_ignores_rotation_and_sees_displacement():
    first = molecule("CH3CH2OH")
    second = first.copy()
    second.rotate(70, (1, 2, 3))
    second.translate([3, 2, 1])
    assert geometries.heavy_rmsd(first, second) == pytest.approx(0, abs=1e-6)
    stretched = molecule("CO")
    stretched.set_distance(0, 1, stretched.get_distance(0, 1) + 0.2)
    assert geometries.heavy_rmsd(molecule("CO"), stretched) == pytest.approx(0.1)


def test_torsion_barriers():
    butane = molecule(BUTANE)
    (torsion,) = torsions.rotatable(butane)
    assert {butane.symbols[i] for i in torsion} == {"C"} and torsions.rotatable(molecule("C6H6")) == []
    before = butane.get_dihedral(*torsion)
    turned = torsions.rotated(butane, torsion, np.array([60.0]))[0]
    assert (turned.get_dihedral(*torsion) - before) % 360 == pytest.approx(60)
    kcal = torsions.KCAL_PER_MOL
    low, high = (Held(OneByOne(lambda a, h=h: Twist(torsion, h * kcal)).evaluate) for h in (1.5, 2.0))
    found = torsions.measure(low, [butane], high)
    rows = {row.name: row.value for row in torsions.rows(found)}
    assert rows[torsions.BARRIER_MAE] == pytest.approx(1.0, abs=1e-4)
    assert found["torsions"][0]["barriers"] == pytest.approx([3.0, 4.0], abs=1e-4)


def test_errors_and_slope():
    frames, answers = [], []
    for kind, factor in (("stiff", 1.0), ("soft", 0.8)):
        atoms = tiny.rattled("CH3OH")
        forces = np.random.default_rng(0).normal(size=(6, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=forces)
        atoms.info["kind"] = kind
        frames.append(atoms)
        answers.append(Answer(-1.0 + 0.06 * (kind == "soft"), factor * forces))
    table = errors.measure(frames, answers, together=("soft", "missing"))["classes"]
    assert table["stiff"]["force_mae_mev_a"] == 0 and table["combined"] == table["soft"]
    assert table["soft"]["energy_mae_mev_atom"] == pytest.approx(10)
    assert table["soft"]["force_rmse_mev_a"] == pytest.approx(0.2 * table["soft"]["force_rms_mev_a"])
    slopes = softening.measure(frames, answers)
    assert slopes["soft"]["slope"] == pytest.approx(0.8) and slopes[errors.ALL]["slope"] == pytest.approx(0.9)
    assert errors.picture(errors.measure(frames, answers)).axes and softening.picture(slopes).axes


def test_attraction_is_found():
    class Pull(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            if len(self.atoms) == 1:
                self.results = {"energy": -2.0, "forces": np.zeros((1, 3))}
                return
            r = self.atoms.get_distance(0, 1)
            push = -(2 * r - 1.6)  # energy (r - 0.8)^2 has its minimum at 0.8 Angstrom
            self.results = {"energy": (r - 0.8) ** 2 - 4.0, "forces": np.array([[0, 0, -push], [0, 0, push]])}

    method = OneByOne(lambda atoms: Pull())
    wrong = dimers.attraction(method, ("C", "C"), method)
    assert wrong == {"from": 0.81, "to": 1.22, "teacher_too": True} or wrong["from"] == pytest.approx(0.8)
    found = dimers.measure(method, ("H", "C"), method, longest=3.0)
    assert set(found["pairs"]) == {"H-H", "H-C", "C-C"} and found["pairs"]["H-H"]["attractive"] is None
    assert dimers.isolated(method, ["C"]) == {"C": -2.0}
    assert found["pairs"]["H-C"]["energy"][6] == found["pairs"]["H-C"]["reference"][2] == pytest.approx(0.0, abs=1e-9)
    rows = {row.name: row.value for row in dimers.rows(found)}
    assert rows[dimers.NOT_REPULSIVE] >= 1 and rows[dimers.ALONE] == 0


def test_energy_is_conserved_and_heat_breaks_bonds():
    pair = Atoms("N2", [[0, 0, 0], [1.5, 0, 0]])
    toy = ToyPotential("morse")
    calm = dynamics.drift([pair, pair], toy, temperature=300, timestep=0.5, time=0.3)
    rows = {row.name: row.value for row in dynamics.drift_rows(calm)}
    assert rows["NVE energy drift, largest"] < 1.0 and rows["NVE trajectories that broke off"] == 0
    coarse = dynamics.drift([pair, pair], toy, temperature=300, timestep=2.0, time=0.3)
    assert calm["structures"][0]["fluctuation"] < coarse["structures"][0]["fluctuation"] / 4
    ends = dynamics.explosions([molecule("N2")], toy, temperature=30000, time=0.4, seed=1)
    assert ends[0] is not None and 0 < ends[0] <= 0.4
    assert dynamics.explosions([molecule("N2")], ToyPotential("morse", poison=7, after=3), time=0.05)[0] is not None
