"""What a perovskite is compared with: salts and metal halides built here, in balance with the composition."""

import numpy as np
import pytest
from ionic import Ionic

from gendesign.generate.perovskite import comparison, precursors
from gendesign.generate.perovskite.cation import read_cation
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.settings import Composition
from gendesign.relaxation import Relaxation
from gendesign.structure.perovskite import cation_fault


@pytest.fixture
def quick(monkeypatch):
    for name in ("ROUGH", "FINAL"):
        monkeypatch.setattr(comparison, name, Relaxation("fire", 0.1, 2, cell=True))


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [("CCCC[NH3+]", "C8H24I2N2"), ("[NH3+]CCCC[NH3+]", "C8H28I4N4"), ("[NH3+]CCc1ccccc1", "C16H24I2N2")],
)
def test_salts_are_neutral_crystals_of_whole_cations(smiles, formula):
    atoms = precursors.salt_start(np.random.default_rng(0), read_cation(smiles), "I")
    assert atoms.get_chemical_formula("hill") == formula and atoms.pbc.all()
    assert cation_fault(atoms, atoms.info["cations"]) == ""


def test_metal_halides_have_their_shells():
    layered, dense = precursors.metal_halide_starts("Pb", "I")
    distances = layered.get_all_distances(mic=True)
    assert str(layered.symbols) == "PbI2" and distances[0, 1] == pytest.approx(3.2, abs=1e-6)
    assert dense.get_chemical_formula("hill") == "I8Pb4" and dense.get_all_distances(mic=True)[:4, 4:].min() > 2.9


def test_precursors_balance_the_composition(quick, monkeypatch):
    energies = {"MX2": -10.0, "salt": -4.0}
    monkeypatch.setattr(
        precursors, "lowest", lambda crystals, *_, **__: energies["MX2" if len(crystals) == 2 else "salt"]
    )
    of = lambda **settings: precursors.precursors_energy(compose(Composition(**settings)), Ionic(), 1)  # noqa: E731
    assert of(cation="CCCC[NH3+]") == -18.0
    assert of(cation="[NH3+]CCCC[NH3+]") == -14.0
    assert of(cation="CCCC[NH3+]", thickness=3) == 2 * -4.0 + 2 * -4.0 + 3 * -10.0
    assert of(cation="MA", thickness="3d") == -14.0
    assert of(cation="CCCC[NH3+]", halide="I2Br2") is None


def test_an_ion_without_nitrogen_has_no_salt_here(quick):
    oxonium = compose(Composition("[OH3+]", thickness="3d"))
    assert precursors.salt_starts(oxonium.cation, "I", 2) == []
    assert precursors.precursors_energy(oxonium, Ionic(), 1) is None


def test_the_lowest_intact_crystal_counts(quick):
    starts = precursors.salt_starts(read_cation("C[NH3+]"), "I", 2)
    single = [comparison.lowest([atoms.copy()], Ionic()) for atoms in starts]
    again = precursors.salt_starts(read_cation("C[NH3+]"), "I", 2)
    assert comparison.lowest(again, Ionic()) == pytest.approx(min(single))
    assert comparison.lowest(precursors.salt_starts(read_cation("Cs"), "Br", 3), Ionic()) is not None
