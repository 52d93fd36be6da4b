"""Compositions, packings and other starts."""

import numpy as np
import pytest
from ase.io import write
from ase.neighborlist import neighbor_list

from gendesign.errors import UserError
from gendesign.generate.amorphous.composition import counts, cubic_edge, usual_density
from gendesign.generate.amorphous.packing import Distances, pack
from gendesign.generate.amorphous.starts import PROTOTYPES, Starts
from gendesign.randomness import Purpose, stream
from gendesign.structure.cells import density


@pytest.mark.parametrize(
    ("formula", "n_atoms", "expected"),
    [
        ("SiO2", 648, {"Si": 216, "O": 432}),
        ("SiO2", None, {"Si": 72, "O": 144}),
        ("Si2O3", 100, {"Si": 40, "O": 60}),
        ("Si:O=1:1.5", 101, {"Si": 40, "O": 61}),
        ("Si:O=3:1", 7, {"Si": 5, "O": 2}),
        ("Si", 64, {"Si": 64}),
    ],
)
def test_counts(formula, n_atoms, expected):
    assert counts(formula, n_atoms) == expected


@pytest.mark.parametrize(
    ("formula", "n_atoms", "said"),
    [
        ("SiO2", 650, "give 648 or 651"),
        ("Si:O=1", 10, "write a formula"),
        ("Si:O=1:0", 10, "above 0"),
        ("Si:Si=1:1", 10, "write a formula"),
        ("Xq", 10, "not a chemical formula"),
        ("Si:O=1:1000", 10, "too few"),
    ],
)
def test_counts_that_cannot_be(formula, n_atoms, said):
    with pytest.raises(UserError, match=said):
        counts(formula, n_atoms)


def test_usual_densities():
    assert usual_density({"Si": 1}, "Si") == 2.28 and usual_density({"Si": 1, "O": 2}, "SiO2") == 2.20
    assert 2.20 < usual_density({"Si": 1, "O": 1}, "SiO") < 2.28
    with pytest.raises(UserError, match="density is missing"):
        usual_density({"Ge": 1}, "Ge")


@pytest.mark.parametrize("dense", [2.2, 3.2])
def test_a_packing_keeps_the_minimum_distances(dense):
    composition = {"Si": 72, "O": 144}
    distances = Distances.of(["Si", "O"], ["Si-O=1.55"])
    assert distances.pairs["O", "Si"] == 1.55
    atoms = pack(composition, cubic_edge(composition, dense), distances, stream(Purpose.PACKING, 1, 2))
    assert atoms is not None and density(atoms) == pytest.approx(dense)
    for (a, b), least in distances.pairs.items():
        assert neighbor_list("d", atoms, {(a, b): 3.0}).min() >= 0.97 * least
    assert np.array_equal(
        atoms.positions,
        pack(composition, cubic_edge(composition, dense), distances, stream(Purpose.PACKING, 1, 2)).positions,
    )


def test_a_density_that_cannot_be_packed_is_one_line():
    with pytest.raises(UserError, match=r"density=12 g/cm3 cannot be packed .* give a lower density") as caught:
        Starts("Si", 64, 12.0).check()
    assert "\n" not in str(caught.value)


def test_prototypes_have_the_right_bonds():
    for name, (cutoff, bonds) in {"diamond": (2.6, {14: 4}), "quartz": (1.8, {14: 4, 8: 2}),
                                  "cristobalite": (1.8, {14: 4, 8: 2}),
                                  "beta_cristobalite": (1.8, {14: 4, 8: 2})}.items():  # fmt: skip
        atoms = PROTOTYPES[name]()
        count = np.bincount(neighbor_list("i", atoms, cutoff), minlength=len(atoms))
        for z, expected in bonds.items():
            assert (count[atoms.numbers == z] == expected).all(), name
    assert density(PROTOTYPES["quartz"]()) == pytest.approx(2.65, abs=0.01)
    assert density(PROTOTYPES["cristobalite"]()) == pytest.approx(2.33, abs=0.02)


def test_a_crystal_as_start_is_compact_and_of_the_density_asked_for():
    starts = Starts("Si", 64, 2.2, "diamond")
    starts.check()
    first, second = starts.make(0, 0), starts.make(1, 0)
    assert len(first) == 64 and np.ptp(first.cell.lengths()) < 1e-9 and density(first) == pytest.approx(2.2)
    assert not np.allclose(first.positions, second.positions)


def test_files_and_formulas_that_do_not_fit(tmp_path):
    glass = tmp_path / "glass.xyz"
    write(glass, [PROTOTYPES["quartz"]() * (2, 2, 2), PROTOTYPES["cristobalite"]()], format="extxyz")
    starts = Starts(None, None, None, str(glass))
    starts.check()
    assert [len(starts.make(i, 0)) for i in range(3)] == [72, 12, 72] and starts.elements == ["O", "Si"]
    for change, said in (
        (dict(formula="Si"), "formula=Si, but .* holds O, Si"),
        (dict(formula="SiO"), "but .* is O48Si24"),
        (dict(n_atoms=5), "leave n_atoms out"),
        (dict(start="absent.xyz"), "or a file of structures"),
    ):
        with pytest.raises(UserError, match=said):
            Starts(**{**dict(formula=None, n_atoms=None, density=None, start=str(glass)), **change}).check()
    with pytest.raises(UserError, match=r"generator.formula is missing"):
        Starts(None, 64, None).check()
    with pytest.raises(UserError, match=r"give two|write two elements"):
        Starts("Si", 64, None, min_distances=("Si-C=2",)).check()
