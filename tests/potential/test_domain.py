"""Domains of potentials: what is a crystal for a cutoff, what lies outside, what fits in place."""

# ruff: noqa: E501, RUF043 - tables of words read better on long lines

import numpy as np
import pytest
import tiny
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.lattice.hexagonal import Graphite

from gendesign.errors import UserError
from gendesign.potential import load_potential, save_folder
from gendesign.potential.advice import concerns
from gendesign.potential.bundled import fitting, knowing
from gendesign.potential.domain import CRYSTALS, MOLECULES, Domain, departures, drawn, kind_of
from gendesign.potential.zoo import bundled, checkpoints_folder

ORGANIC = Domain((MOLECULES,), "molecules", excluded=("cells",))
PEROVSKITES = Domain((CRYSTALS,), "crystals", excluded=(MOLECULES,), contains=("Cl", "Br", "I"))


def boxed(name: str, side: float, moved: float = 0.0) -> Atoms:
    """A molecule in a cubic box, wrapped into it after a move of `moved` along every axis (Angstrom)."""
    atoms = molecule(name)
    atoms.set_cell([side] * 3)
    atoms.pbc = True
    atoms.center()
    atoms.positions += moved
    atoms.wrap()
    return atoms


def test_crystals_are_what_meets_its_own_images():
    assert kind_of(molecule("H2O"), 4.5) == MOLECULES
    assert kind_of(boxed("C6H6", 15), 4.5) == MOLECULES
    assert kind_of(boxed("C6H6", 15, moved=7.5), 4.5) == MOLECULES  # cut by the faces of its box
    assert kind_of(boxed("C6H6", 9), 4.5) == CRYSTALS  # 4.96 Angstrom across, so images at 4.04
    assert kind_of(boxed("C6H6", 9), 3.5) == MOLECULES
    two = boxed("C6H6", 30) + boxed("CH4", 30, moved=15)
    assert kind_of(two, 4.5) == MOLECULES
    assert kind_of(bulk("Cu"), 4.5) == kind_of(Graphite("C", latticeconstant=(2.46, 6.7)), 4.5) == CRYSTALS
    assert kind_of(bulk("Cu", cubic=True).repeat(3), 3.0) == CRYSTALS  # no atom is its own neighbour
    slab = Atoms("C", cell=[2.5, 2.5, 0], pbc=[True, True, False])
    assert kind_of(slab, 4.5) == CRYSTALS and kind_of(Atoms(), 4.5) == MOLECULES


def test_departures_are_grouped_and_counted():
    given = [molecule("CH4"), bulk("Cu"), bulk("Au"), Atoms()]
    (fixed,) = departures(given, ORGANIC, 4.5)
    assert (fixed.structures, fixed.excluded, fixed.what) == ((1, 2), False, "crystals")
    (relaxed,) = departures(given, ORGANIC, 4.5, cell=True)
    assert relaxed.excluded and relaxed.what == "crystals whose cells are relaxed"
    assert departures(given, None, 4.5) == departures([boxed("CH4", 15)], ORGANIC, 4.5, cell=True) == []
    salt = bulk("NaCl", "rocksalt", 5.6)
    alone, other = departures([molecule("CH4"), bulk("Cu"), salt], PEROVSKITES, 4.5)
    assert (alone.structures, alone.excluded) == ((0,), True)
    assert (other.structures, other.excluded, other.what) == ((1,), False, "crystals without any of Cl, Br, I")


def test_a_potential_that_fits_is_named():
    assert fitting("CHO", MOLECULES) == "organic" and fitting(["C", "Br"], MOLECULES) == "organic"
    assert (
        fitting(["Pb", "I", "C", "H", "N"], CRYSTALS) == "hoip"
        and fitting(["H", "O"], CRYSTALS) == "mace-mp-medium-mpa-0"
    )
    assert fitting(["Og"], CRYSTALS) is None and knowing(["Pb", "I"]) == "hoip"
    potential = load_potential("organic", device="cpu")
    ((_, said),) = concerns([bulk("C"), molecule("CH4")], potential)
    assert "organic" in said and "1 of 2" in said and "potential=mace-mp-medium-mpa-0 fits (downloaded once)" in said
    with pytest.raises(UserError, match="such as potential=hoip$"):
        potential.require_elements(["Pb", "I"])


def test_bundled_checkpoints_state_a_domain():
    kinds = {name: load_potential(name, device="cpu").domain for name in bundled()}
    assert kinds["organic"].kinds == (MOLECULES,) and kinds["organic"].excluded == ("cells",)
    assert kinds["hoip"].kinds == (CRYSTALS,) and kinds["hoip"].excluded == (MOLECULES,)
    assert {domain.charges for domain in kinds.values()} == {"neutral"}
    for name, domain in kinds.items():
        config = yaml.safe_load((checkpoints_folder() / name / "config.yaml").read_text())
        assert domain.to_config() == config["domain"]


def test_domains_are_saved_and_read(tmp_path):
    about = dict(name="saved", licence="MIT", citation="none")
    save_folder(tiny.potential().net, tmp_path, **about, domain=PEROVSKITES.to_config())
    assert load_potential(str(tmp_path), device="cpu").domain == PEROVSKITES
    for wrong in ("molecules", {"kinds": ["molecules"]}, {"kinds": ["gases"], "about": "x"}, {"kinds": [], "about": "x"},
                  {"kinds": "molecules", "about": "x"}, {"kinds": [["molecules"]], "about": "x"}):  # fmt: skip
        save_folder(tiny.potential().net, tmp_path, **about, domain=wrong)
        with pytest.raises(UserError, match="config.yaml: domain"):
            load_potential(str(tmp_path), device="cpu")
    save_folder(tiny.potential().net, tmp_path, **about)
    assert load_potential(str(tmp_path), device="cpu").domain is None


def test_domain_drawn_from_data():
    molecules = drawn([molecule("CH4"), molecule("H2O"), Atoms("C")], 4.5)
    assert (
        molecules.kinds == (MOLECULES,)
        and molecules.excluded == ("cells",)
        and "2 molecules of C H O" in molecules.about
    )
    crystals = drawn([bulk("Cu"), molecule("CH4"), molecule("CH4")], 4.5)
    assert crystals.kinds == (MOLECULES, CRYSTALS) and not crystals.excluded
    assert "2 molecules and 1 crystal of C Cu H" in crystals.about
    assert drawn([Atoms("H")], 4.5).kinds == (MOLECULES,)


def test_positions_that_are_no_numbers_do_not_matter_here():
    broken = bulk("Cu")
    broken.positions[0] = np.nan
    assert kind_of(broken, 4.5) == CRYSTALS
