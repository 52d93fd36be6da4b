"""Files of molecules to resemble: omitted molecules are reported."""

import pytest
import tiny
from ase.build import molecule
from ase.io import write

from gendesign.errors import UserError
from gendesign.generate.simgen.references import read_references

ELEMENTS = ["C", "N", "O"]


def test_what_is_left_out_of_a_file_of_references_is_said(tmp_path, capsys):
    path = tmp_path / "r.xyz"
    write(path, [molecule("CH3CH2OH"), molecule("CH3SH"), molecule("H2O")])
    with open(path, "a") as file:
        file.write("5\n\nC 0 0 0\n")
    found = read_references([str(path)], [], ELEMENTS, tiny.potential())
    assert [a.get_chemical_formula() for a in found.molecules] == ["C2H6O"]
    said = capsys.readouterr().err
    assert f"generator.reference={path}: 1 of 4: structure 4 (read from r.xyz) cannot be used: unreadable" in said
    assert "2 of 3 molecules are left out: they hold elements other than C F H N O, or fewer than two" in said


def test_the_bundled_references_say_nothing(capsys):
    read_references([], [], ELEMENTS, tiny.potential())
    assert not capsys.readouterr().err


def test_smiles_files(tmp_path, capsys):
    (tmp_path / "r.smi").write_text("CCO\nCCS\n", encoding="utf-16")
    found = read_references([str(tmp_path / "r.smi")], [], ELEMENTS, tiny.potential())
    assert [a.get_chemical_formula() for a in found.molecules] == ["C2H6O"]
    assert "1 of 2 molecules are left out: potential tiny does not know their elements" in capsys.readouterr().err
    (tmp_path / "b.smi").write_bytes(bytes(range(1, 256)))
    with pytest.raises(UserError, match=r"b.smi, line \d+: .* is no SMILES"):
        read_references([str(tmp_path / "b.smi")], [], ELEMENTS, tiny.potential())
