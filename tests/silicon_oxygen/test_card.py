"""Properties on the card against the published ones of the Stillinger-Weber potential, and its tables."""

import json

import numpy as np
import pytest
from ase import Atoms
from matscipy.neighbours import neighbour_list
from pairs import Silicon

from scripts.silicon_oxygen import card, card_table, properties

EDGE = 5.4309  # Angstrom, of diamond by Stillinger-Weber
WELL = 2.16826  # eV of a bond, its only scale of energy


@pytest.fixture(scope="module")
def stillinger_weber():
    """Stillinger-Weber silicon by matscipy."""
    return Silicon()


def test_diamond(stillinger_weber):
    """Two bonds an atom; the lattice constant to which the potential was fitted."""
    row = properties.crystal_table(stillinger_weber, ("diamond",))["diamond"]
    assert row["energy"] == pytest.approx(-2 * WELL, abs=2e-4)
    assert row["a"] == pytest.approx(EDGE, abs=2e-3)
    assert row["bulk modulus"] == pytest.approx(101.4, rel=0.01)


def test_elastic_constants(stillinger_weber):
    """Cowley, Phys. Rev. Lett. 60, 2379 (1988): 151.4, 76.4 and 56.4 GPa; 117.2 without relaxation of the atoms."""
    found = properties.elastic(stillinger_weber, EDGE)
    for name, known in (("C11", 151.4), ("C12", 76.4), ("C44", 56.4)):
        assert found[name]["value"] == pytest.approx(known, abs=0.3), name
        assert found[name]["error"] < 0.1


def test_phonons_are_those_of_the_dynamical_matrix_by_hand(stillinger_weber):
    """At Gamma from the force on one sublattice moved against the other."""
    from ase import units
    from ase.build import bulk

    frequencies = properties.phonons(stillinger_weber, EDGE)
    atoms = bulk("Si", "diamond", a=EDGE)
    atoms.positions[0, 0] += 0.001
    constant = -stillinger_weber.evaluate([atoms]).forces[0, 0].item() / 0.001
    omega = np.sqrt(2 * constant / atoms.get_masses()[0])  # both atoms move
    thz = omega / (2 * np.pi) * (1000 * units.fs)
    assert frequencies["Gamma"][5] == pytest.approx(thz, rel=5e-3)
    assert frequencies["X"][0] == pytest.approx(frequencies["X"][1], rel=1e-6)
    assert np.abs(frequencies["Gamma"][:3]).max() < 1e-3


def test_surface_of_broken_bonds(stillinger_weber):
    """(111): one broken bond for an atom of the surface, and nothing moves in a potential of nearest neighbours."""
    found = properties.surfaces(stillinger_weber, EDGE)
    per_atom = EDGE**2 * np.sqrt(3) / 4
    assert found["111"] == pytest.approx(WELL / 2 / per_atom / properties.ANGSTROM2, rel=0.01)
    assert 0.5 < found["100"] / found["111"] < 1.3


def test_slabs():
    counts = np.bincount(neighbour_list("i", properties.cut(5.43), 2.6))
    assert sorted(counts) == [3, 3] + [4] * (len(counts) - 2)
    slab = properties.dimerised(5.43)
    lengths = neighbour_list("d", slab, 2.7)
    assert len(slab) == 24 and 2.2 < lengths.min() < 2.5


def test_vacancy_of_frozen_bonds(stillinger_weber):
    """Four broken bonds of two atoms each lose 2 WELL if nothing moves; a relaxation cannot raise it."""
    assert properties.vacancy(stillinger_weber, EDGE) < 2 * WELL + 0.01


def test_force_errors():
    true = np.array([[1.0, 0, 0], [0, -2.0, 0]])
    row = properties.force_errors([(0.9 * true, true)])
    assert row["slope"] == pytest.approx(0.9)
    assert row["mae"] == pytest.approx(0.3 / 6) and row["rmse"] == pytest.approx(np.sqrt(0.05 / 6))


def test_families():
    made = {kind: card.family(Atoms(symbols, info={"kind": kind})) for kind, symbols in
            (("silicon melt", "Si2"), ("suboxide melt", "Si2O"), ("cluster", "Si3"))}  # fmt: skip
    assert made == {"silicon melt": "Si", "suboxide melt": "SiO_x", "cluster": "clusters"}


def test_parts_are_measured_once(tmp_path, monkeypatch):
    class Stub:
        weights_hash = "abcdef0123"

    monkeypatch.setattr(card, "KEPT", tmp_path)
    calls = []
    for _ in range(2):
        assert card.kept("some/model", Stub(), "part", lambda p: calls.append(p) or {"x": 1.0}) == {"x": 1.0}
    assert len(calls) == 1 and json.loads((tmp_path / "model-abcdef01" / "part.json").read_text())["cpu"] >= 0


def stand_in(scale: float) -> dict:
    """Results of a potential whose elastic constants and energies are `scale` times some numbers."""
    energies = {"diamond": 0, "beta-tin": 300, "sc": 310, "bcc": 500, "fcc": 510, "quartz": 0, "cristobalite": 5,
                "coesite": 30, "stishovite": 400}  # fmt: skip
    return {
        "crystals": {k: {"a": 5.4, "b": 5.4, "c": 5.4, "bulk modulus": 100.0, "volume": 20.0, "above": scale * e}
                     for k, e in energies.items()},
        "elastic": {k: {"value": 100 * scale, "least": 1.0, "most": 2.0} for k in ("C11", "C12", "C44")},
        "held_out": {"Si": {"n": 7, "rmse": 0.08, "rms": 1.0, "slope": 0.99, "energy_mae": 0.004}},
    }  # fmt: skip


def test_rows_and_tables():
    results = {"mine": stand_in(1.05), "diep": stand_in(1.0), "other": stand_in(1.2)}
    del results["diep"]["held_out"], results["other"]["held_out"]
    results["mine"]["crystals"]["sc"]["above"] = 290.0  # below beta-tin: one pair of sixteen in another order
    rows = {row.name: row for row in card_table.rows("mine", results, "diep")}
    assert rows["mine: force RMSE, held out, Si"].met and rows["mine: energy MAE, held out, Si"].value == pytest.approx(
        4
    )
    assert rows["mine: largest deviation of C11, C12, C44 from diep"].value == pytest.approx(0.05)
    assert rows["mine: pairs of polymorphs in the order of diep"].value == pytest.approx(15 / 16)
    assert rows["mine: phonon X, TA"].value is None  # not measured, and said so
    text = card_table.tables(results, "diep")
    assert "| C11 | GPa | 105 | 100 | 120 | 166 |" in text
    assert "mine: errors on held-out" in text and "diep: errors on held-out" not in text
