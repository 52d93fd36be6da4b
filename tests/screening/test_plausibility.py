"""PoseBusters' verdicts, against PoseBusters as published, and how many conformers they take."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from posebusters import PoseBusters
from posebusters.modules import energy_ratio
from rdkit import Chem

from gendesign.campaign.pockets import copy_pockets
from gendesign.errors import UserError
from gendesign.screening.plausibility import FEW, failed_checks, read_host
from gendesign.structure.bonds import perceive


def strained(name, width, seed):
    atoms = molecule(name)
    atoms.positions += np.random.default_rng(seed).normal(scale=width, size=atoms.positions.shape)
    return atoms


@pytest.mark.parametrize(
    "atoms",
    [molecule("CH3CONH2"), molecule("C6H6"), molecule("CH4"), strained("C6H6", 0.12, 1), strained("CH3CH2OH", 0.08, 2)],
)
def test_verdicts_are_those_of_posebusters(atoms):
    row = PoseBusters("mol").bust(perceive(atoms).mol).iloc[0]
    assert failed_checks(atoms) == tuple(name for name, passed in row.items() if passed is not True and passed != True)  # noqa: E712


def conformers_of(atoms, monkeypatch):
    made = []
    original = energy_ratio.new_conformation
    with monkeypatch.context() as patch:
        patch.setattr(energy_ratio, "new_conformation", lambda mol, n, *rest: made.append(n) or original(mol, n, *rest))
        energy_ratio.get_energies.cache_clear()
        return failed_checks(atoms), made


def test_few_conformers_decide_for_a_sound_molecule_and_all_for_a_strained_one(monkeypatch):
    assert conformers_of(molecule("C6H6"), monkeypatch) == ((), [FEW])
    squeezed = molecule("CH3CONH2")
    squeezed.positions *= 0.8
    failed, made = conformers_of(squeezed, monkeypatch)
    assert made == [FEW, 50] and "internal_energy" in failed


def test_a_ligand_fits_its_own_pocket_and_no_other_place(tmp_path):
    files = {path.name: path for path in copy_pockets(tmp_path)}
    assert len(files) == 8
    mol = Chem.AddHs(Chem.MolFromMolFile(str(files["1ia1.sdf"])), addCoords=True)
    ligand = Atoms([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())
    host = str(files["1ia1.pdb"])
    assert failed_checks(ligand, "dock", host=host) == ()
    ligand.positions += [3.0, 0.0, 0.0]
    assert "minimum_distance_to_protein" in failed_checks(ligand, "dock", host=host)
    with pytest.raises(UserError, match="no PDB or mmCIF file"):
        read_host(str(files["1ia1.sdf"]))
