"""`gendesign relax host=FILE`: molecules of the user's are kept off fixed atoms."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from gendesign import cli
from gendesign.structure.contacts import Host


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a benzene, and methane above its middle: pressed against it, and far away."""
    monkeypatch.chdir(tmp_path)
    benzene, methane = molecule("C6H6"), molecule("CH4")
    for name, height in (("pressed", 2.5), ("far", 30.0)):
        guest = methane.copy()
        guest.positions += [0, 0, height]
        ase.io.write(f"{name}.xyz", guest, format="extxyz")
    ase.io.write("host.xyz", benzene, format="extxyz")
    return tmp_path


def relaxed(capsys, *words):
    code = cli.main(["relax", *words, "workers=0", "output=out"])
    return code, capsys.readouterr().err


def test_a_molecule_leaves_its_host_and_keeps_its_own_energy(place, capsys):
    host = Host.of(molecule("C6H6"))
    assert host.overlaps(ase.io.read("pressed.xyz")) > 0
    assert relaxed(capsys, "pressed.xyz", "host=host.xyz")[0] == 0
    beside = ase.io.read("out/candidates.extxyz")
    assert cli.main(["relax", "pressed.xyz", "workers=0", "output=alone"]) == 0
    alone = ase.io.read("alone/candidates.extxyz")
    assert host.overlaps(beside) == 0 and host.overlaps(alone) > 0
    assert beside.positions[:, 2].mean() > alone.positions[:, 2].mean()
    assert np.isclose(beside.get_potential_energy(), alone.get_potential_energy(), atol=0.02)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("far.xyz", "host=host.xyz"), "no atom within 8 Angstrom of any structure"),
        (("pressed.xyz", "host=absent.xyz"), "absent.xyz"),
        (("crystal.extxyz", "host=host.xyz"), "structure 1 is periodic"),
    ],
)
def test_a_host_that_cannot_be_used_is_one_line(place, capsys, words, message):
    crystal = molecule("CH4", cell=[8, 8, 8], pbc=True)
    ase.io.write("crystal.extxyz", crystal)
    code, err = relaxed(capsys, *words)
    assert code == 2 and message in err and err.count("\n") == 1
