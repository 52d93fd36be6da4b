"""The recipe of `hoip` (scripts/hoip): k-points, the labels that are shipped, and lattices of the teacher."""

import gzip
import importlib
import re
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

SCRIPTS = Path(__file__).parents[2] / "scripts" / "hoip"


@pytest.fixture
def recipe(monkeypatch):
    """Import a module of the recipe; those of other recipes have the same names."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(SCRIPTS)):
            del sys.modules[name]


def test_a_layer_and_its_supercell_have_the_same_points(recipe):
    kpoints = recipe("teachers").kpoints
    layer = Atoms("Pb", cell=[6.2, 6.2, 13.8], pbc=True)
    assert kpoints(layer, 4.0) == (5, 5, 1)  # 2 pi / 6.2 Angstrom is 1.01; stacked, one point
    assert kpoints(layer.repeat((2, 2, 1)), 4.0) == (3, 3, 1)
    assert kpoints(Atoms("Pb", cell=[6.2, 6.2, 6.2], pbc=True), 4.0) == (5, 5, 5)
    assert kpoints(Atoms("Pb", cell=[6.2, 12.6, 6.2], pbc=True), 4.0)[1] == 2


def test_packed_labels_come_back(recipe, monkeypatch, tmp_path, capsys):
    label = recipe("label")
    monkeypatch.setattr(label, "FOLDER", tmp_path)
    label.unpack()
    shards = sorted((tmp_path / "dft").glob("shard-*.extxyz"))
    before = label.read_frames(shards)
    assert len(before) == len(shards) >= 50 and f"{len(shards)} of {len(shards)}" in capsys.readouterr().out
    monkeypatch.setattr(label, "PACKED", tmp_path / "again.extxyz.gz")
    label.pack()
    shards[3].unlink()
    label.unpack()
    assert f"1 of {len(shards)}" in capsys.readouterr().out
    (back,) = label.read_frames([shards[3]])
    assert back == before[3] and back.get_potential_energy() == before[3].get_potential_energy()
    assert np.array_equal(back.get_forces(), before[3].get_forces())


def test_shipped_labels_are_enough_to_measure_by(recipe, monkeypatch, tmp_path, capsys):
    label = recipe("label")
    monkeypatch.setattr(label, "FOLDER", tmp_path)
    label.unpack()
    label.gather()
    test, train = (label.read_frames([tmp_path / f"dft-{name}.extxyz"]) for name in ("test", "train"))
    assert len(test) >= 15 and len(train) >= 70 and not (tmp_path / "rough-replay.extxyz").exists()
    assert not {f.info["molecule"] for f in test} & {f.info["molecule"] for f in train}


def test_replayed_labels_compare_with_those_of_the_teacher(recipe):
    def frame(symbols: str, energy: float, **info) -> Atoms:
        atoms = Atoms(symbols, positions=np.arange(3 * len(Atoms(symbols))).reshape(-1, 3), info=info)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((len(atoms), 3)))
        return atoms

    # the teacher has 10 eV more for every Cs and 2 less for every I
    taught = [frame("CsI", 5.0, rough_energy=-3.0), frame("Cs2I", 10.0, rough_energy=-8.0)]
    (moved,) = recipe("label").moved_to_dft([frame("CsI3", -1.0)], taught)
    assert moved.get_potential_energy() == pytest.approx(-1.0 + 10 - 6) and moved.get_forces().shape == (4, 3)


def test_shipped_labels_are_whole_and_of_one_teacher(recipe):
    held_out = recipe("cations").HELD_OUT
    with gzip.open(SCRIPTS / "dft.extxyz.gz", "rt") as handle:
        frames = [frame for frame in ase.io.read(handle, ":", format="extxyz") if "failure" not in frame.info]
    points = re.compile(r"k [24]/Angstrom")  # salts have half as many
    assert len({points.sub("", frame.info["teacher"]) for frame in frames}) == 1
    assert len({frame.info["stream"] for frame in frames}) == len(frames)
    for frame in frames:
        forces = frame.get_forces()
        assert np.isfinite(forces).all() and np.isfinite(frame.get_stress()).all() and np.abs(forces).max() < 30.0
        # the grid moves nitrogen a little; a net force beyond that would be a label of another structure
        assert np.linalg.norm(forces.sum(0)) < 0.1 * len(frame)
        assert frame.info["held_out"] == any(smiles in frame.info["molecule"].split() for smiles in held_out)


def test_lattices_of_the_teacher_are_its_own_minima(recipe, monkeypatch):
    cells = recipe("cells")
    calls = []

    def taught(atoms):  # argon that is 2 % larger than the potential thinks
        work = atoms.copy()
        work.calc = LennardJones(sigma=3.4 * 1.02, epsilon=0.0103, rc=9.0, smooth=True)
        calls.append(1)
        return {
            "energy": work.get_potential_energy(), "forces": work.get_forces(), "stress": work.get_stress(),
            "teacher": "argon",
        }  # fmt: skip

    monkeypatch.setattr(cells, "cp2k", taught)
    monkeypatch.setattr(cells, "STRESS", 0.02)
    start = bulk("Ar", "fcc", a=5.2, cubic=True)
    start.rattle(0.05, seed=1)
    start.info["material"] = "argon"
    found = cells.relaxed(start, LennardJones(sigma=3.4, epsilon=0.0103, rc=9.0, smooth=True))
    lengths = np.arange(5.2, 5.6, 0.002)
    energies = [taught(bulk("Ar", "fcc", a=a))["energy"] for a in lengths]
    assert found.cell.lengths() == pytest.approx(lengths[int(np.argmin(energies))], abs=0.03)
    assert found.info["calls"] <= 8 and found.info["fmax"] < cells.FMAX
    assert found.info["stress_max"] == pytest.approx(np.abs(taught(found)["stress"]).max() / units.GPa)
