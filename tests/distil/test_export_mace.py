"""gendesign export lammps of a MACE: the files hold the same network; no LAMMPS is needed."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from gendesign.cli import main
from gendesign.distil.export import Deck, export_mace
from gendesign.errors import UserError
from gendesign.potential import load_mace, load_potential, mace, save_folder
from gendesign.structure.graph import Batch, neighbours


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny network of Si and O."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    shape = mace.new_mace(atomic_energies={8: -1.5, 14: -4.0}, channels=4, cutoff=4.0, radial_mlp=(8,))
    save_folder(mace.from_plain(shape), folder, name="tiny", licence="MIT", citation="none")
    return folder


def test_both_files_hold_the_network(checkpoint, tmp_path):
    lines = export_mace(str(checkpoint), tmp_path, Deck(None, 60, 300.0, 1.0, 10))
    assert any("ML-IAP and PYTHON" in line for line in lines) and any("libtorch" in line for line in lines)
    assert "pair_coeff * * mace-libtorch.pt O Si" in (tmp_path / "in.mace").read_text()
    assert "pair_style mliap unified mace-mliap.pt 0" in (tmp_path / "in.mliap").read_text()
    assert "64 atoms" in (tmp_path / "start.data").read_text() and "64 atoms" in lines[0]

    compiled = torch.jit.load(tmp_path / "mace-libtorch.pt")
    atoms = molecule("SiO")
    batch = Batch.from_atoms([atoms], torch.float64, "cpu")
    net = load_mace(str(checkpoint), device="cpu", dtype="float64").net
    data = {k: v for k, v in mace.inputs(net, batch, neighbours(batch, 4.0)).items() if k != "head"}
    data["cell"] = torch.eye(3, dtype=torch.float64)
    out = compiled(data, torch.ones(2, dtype=torch.float64))
    expected = load_potential(str(checkpoint), device="cpu", dtype="float64").evaluate([atoms])
    assert float(out["total_energy_local"].detach()) == pytest.approx(float(expected.energy[0]), abs=1e-8)
    assert np.abs(out["forces"].detach().numpy() - expected.forces.numpy()).max() < 1e-7

    unified = torch.load(tmp_path / "mace-mliap.pt", weights_only=False)
    assert unified.element_types == ["O", "Si"] and unified.rcutfac == pytest.approx(2.0)


def test_other_models_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="potential diep is no MACE network"):
        export_mace("diep", tmp_path, Deck(None, 60, 300.0, 1.0, 10))
    assert main(["export", "lammps", "potential=chgnet", f"output={tmp_path / 'out'}"]) == 2
    assert "is no MACE network" in capsys.readouterr().err
