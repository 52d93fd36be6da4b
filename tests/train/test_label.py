"""Labels: those of the teacher, in shards that are complete or absent."""

from functools import partial

import ase.io
import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from tblite.ase import TBLite

from gendesign.errors import UserError
from gendesign.train.label import label_shards, make_shards, read_frames, write_frames
from gendesign.train.teacher import label_all
from gendesign.train.teachers.semiempirical import Tblite, gfn2_label


@pytest.mark.parametrize(("atoms", "multiplicity"), [(molecule("H2O"), 1), (molecule("CH3"), 2), (Atoms("O"), 3)])
def test_labels_are_those_of_tblite(atoms, multiplicity):
    spin = {} if multiplicity == 1 else {"spin_polarization": 1.0}
    work = atoms.copy()
    work.calc = TBLite(method="GFN2-xTB", multiplicity=multiplicity, verbosity=0, **spin)
    label = gfn2_label(atoms)
    assert label.info["energy"] == pytest.approx(work.get_potential_energy(), abs=1e-6)
    assert label.info["multiplicity"] == multiplicity
    np.testing.assert_allclose(label.arrays["forces"], work.get_forces(), atol=1e-5)


def test_open_shell_takes_the_lower_multiplicity():
    assert gfn2_label(molecule("O2")).info["multiplicity"] == 1
    assert gfn2_label(molecule("O2"), open_shell=True).info["multiplicity"] == 3


def test_wrecks_have_no_label():
    wreck = Atoms("C2", [[0, 0, 0], [0, 0, 0.3]], info={"index": 4})
    good, bad = label_all([molecule("H2"), wreck], Tblite(), max_force=60.0)
    assert "failure" not in good.info and bad.info["index"] == 4
    assert "eV/Angstrom" in bad.info["failure"] or "no energy" in bad.info["failure"]


def test_shards_are_made_once(tmp_path):
    shards = [[molecule("H2O"), molecule("CH4")], [molecule("NH3")], [Atoms("O")]]
    write_frames(tmp_path / "shard-00001.extxyz", [Atoms("Ar")])
    paths = label_shards(shards.__getitem__, range(3), tmp_path, workers=1)
    assert [path.name for path in paths] == [f"shard-{k:05d}.extxyz" for k in range(3)]
    assert [str(frame.symbols) for frame in read_frames(paths)] == ["OH2", "CH4", "Ar", "O"]
    before = [path.stat().st_mtime_ns for path in paths]
    assert label_shards(shards.__getitem__, range(3), tmp_path, workers=1) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_a_file_is_complete_or_absent(tmp_path, monkeypatch):
    def breaks(handle, frames, format):
        handle.write("half a li")
        raise OSError("disk full")

    write_frames(tmp_path / "old.extxyz", [Atoms("He")])
    monkeypatch.setattr(ase.io, "write", breaks)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="disk full"):
            write_frames(tmp_path / f"{name}.extxyz", [Atoms("Ar")])
    monkeypatch.undo()
    assert str(ase.io.read(tmp_path / "old.extxyz").symbols) == "He" and not (tmp_path / "new.extxyz").exists()


def lost(frame, reason):
    frame.info["failure"] = reason
    return [frame]


def test_a_structure_that_kills_its_workers_is_set_aside(tmp_path):
    frames, path = [molecule("H2O"), molecule("NH3"), molecule("CH4")], tmp_path / "0.extxyz"
    alone = {path: [(partial(tiny.kill_at, "N", [frame]), partial(lost, frame)) for frame in frames]}
    with pytest.raises(UserError, match="died 3 times"):
        make_shards({path: partial(tiny.kill_at, "N", frames)}, 1, "label")
    make_shards({path: partial(tiny.kill_at, "N", frames)}, 1, "label", [3], alone)
    found = read_frames([path])
    assert [str(frame.symbols) for frame in found] == ["OH2", "NH3", "CH4"]
    assert [("failure" in frame.info) for frame in found] == [False, True, False]
    assert "killed by SIGKILL" in found[1].info["failure"]
