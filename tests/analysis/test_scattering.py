"""Structure factors against sums over pairs and Bragg positions, and comparison with measured curves."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gendesign.analysis.compare import Measured, agreement, read_curve
from gendesign.analysis.distributions import radial_distribution
from gendesign.analysis.scattering import form_factor, neutron_length
from gendesign.analysis.structure_factor import concentrations, direct, first_peak, from_radial
from gendesign.errors import UserError


def liquid(n: int = 600, edge: float = 20.0, apart: float = 1.9) -> Atoms:
    """Spheres placed one after the other where there is room."""
    rng = np.random.default_rng(5)
    places = np.empty((0, 3))
    while len(places) < n:
        one = rng.random(3) * edge
        away = places - one
        away -= edge * np.rint(away / edge)
        if not len(places) or (away**2).sum(1).min() > apart**2:
            places = np.concatenate([places, one[None]])
    return Atoms("SiO" * (n // 2), positions=places, cell=[edge] * 3, pbc=True)


def test_tables():
    assert form_factor("Si", np.zeros(1))[0] == pytest.approx(14)
    assert form_factor("O", np.array([4 * np.pi * 0.5]))[0] == pytest.approx(2.338, abs=0.03)  # Int. Tables C, s 0.5
    assert neutron_length("Si") == pytest.approx(4.1491) and neutron_length("O") == pytest.approx(5.803)


def test_direct_sum_is_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    atoms = Atoms("Si3O5", positions=rng.random((8, 3)) * 6, cell=[6, 7, 8], pbc=True)
    one = direct(atoms, 2.0, 1e-4, per_shell=1000)
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    scatter = np.where(atoms.numbers == 14, 4.1491, 5.803)
    k = 0
    q = reciprocal[k]
    amplitude = (scatter * np.exp(1j * atoms.positions @ q)).sum()
    expected = (abs(amplitude) ** 2 / 8 - (scatter**2).mean() + scatter.mean() ** 2) / scatter.mean() ** 2
    at = np.argmin(np.abs(one.q - np.linalg.norm(q)))
    assert one.waves[at] == 1 and one.total("neutron")[at] == pytest.approx(expected)


def test_a_crystal_scatters_at_its_bragg_positions_only():
    atoms = bulk("Si", cubic=True).repeat(4)
    one = direct(atoms, 4.0, 0.01, per_shell=10_000)
    strong = one.q[one.partial["Si", "Si"] > 1]
    rule = 2 * np.pi / 5.43 * np.sqrt([3, 8, 11])
    assert all(np.abs(strong - line).min() < 0.01 for line in rule)
    assert all(np.abs(rule - q).min() < 0.01 for q in strong)


def test_ideal_gas_scatters_evenly():
    atoms = Atoms("Ar2000", positions=np.random.default_rng(2).random((2000, 3)) * 30, cell=[30] * 3, pbc=True)
    one = direct(atoms, 6.0, 0.5, per_shell=400)
    assert one.partial["Ar", "Ar"] == pytest.approx(np.ones(len(one.q)), abs=0.2)


def test_both_ways_agree_for_a_liquid():
    atoms = liquid()
    one = direct(atoms, 8.0, 0.25, per_shell=300)
    other = from_radial(radial_distribution(atoms, 10.0, 0.02), concentrations(atoms), one.q, "lorch")
    far = one.q > 1.0
    assert np.ptp(one.total("neutron")) > 0.8  # there is a structure to agree on
    for kind in ("neutron", "xray"):
        difference = one.total(kind)[far] - other.total(kind)[far]
        assert abs(difference.mean()) < 0.02 and difference.std() < 0.08


def test_first_peak_is_recovered():
    q = np.arange(0.3, 8, 0.05)
    s = 0.4 + 1.1 / (1 + ((q - 1.53) / 0.17) ** 2) + 0.9 / (1 + ((q - 2.9) / 0.2) ** 2)
    peak = first_peak(q, s)
    assert peak.position == pytest.approx(1.53, abs=0.02)
    assert peak.width == pytest.approx(0.34, abs=0.05) and peak.height == pytest.approx(1.53, abs=0.1)
    assert first_peak(q, np.full_like(q, 0.5)) is None


def test_agreement_with_a_measured_curve(tmp_path):
    x = np.linspace(1, 10, 200)
    y = np.sin(x) + 2
    assert agreement(x, y, Measured(x[20:100], y[20:100])).r_factor == pytest.approx(0, abs=1e-12)
    scaled = agreement(x, y, Measured(x, 1.1 * y), fit_scale=True)
    assert scaled.scale == pytest.approx(1.1) and scaled.r_factor == pytest.approx(0, abs=1e-12)
    assert agreement(x, y, Measured(x, 1.1 * y)).r_factor == pytest.approx(0.1 / 1.1)
    file = tmp_path / "sq.dat"
    file.write_text("# q S(q) error\nq, S\n" + "\n".join(f"{a:.4f}, {b:.4f}, 0.1" for a, b in zip(x, y, strict=True)))
    assert len(read_curve(file).x) == 200
    with pytest.raises(UserError, match="fewer than 5 points"):
        agreement(x + 50, y, read_curve(file))
    file.write_text("nothing")
    with pytest.raises(UserError, match="two columns"):
        read_curve(file)
