"""Building blocks: how molecules are cut, that blocks stay rigid, and which parts may be joined."""

import numpy as np
import pytest
import torch
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from gendesign.errors import UserError
from gendesign.generate.simgen import SimGen
from gendesign.generate.simgen.assembly import Assembly, Joints, Layout, RigidBlocks
from gendesign.generate.simgen.blocks import parts_of
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.reference_shapes import ReferenceShapes
from gendesign.generate.simgen.state import new_swarm
from gendesign.potential import load_potential
from gendesign.structure.counter_random import keys

APART = Cohesion(strength=0.0)


@pytest.fixture(scope="module")
def organic():
    return load_potential("organic", device="cpu")


def conformer(smiles: str) -> Atoms:
    """A molecule with hydrogens."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3) == 0
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


@pytest.mark.parametrize(
    ("smiles", "blocks", "singles"),
    [
        ("Cc1ccccc1", ["c1ccccc1"], "C"),
        ("CC(=O)Nc1ccncc1", ["NC=O", "c1ccncc1"], "C"),
        ("O=C1CCCN1CCO", ["O=C1CCCN1"], "CCO"),
        ("CS(=O)(=O)Nc1ccccc1", ["NS(=O)=O", "c1ccccc1"], "C"),
        ("FC(F)(F)COC", ["FC(F)F"], "COC"),
        ("c1ccc2[nH]ccc2c1", ["c1ccc2[nH]ccc2c1"], ""),
        ("CCOCC", [], "CCCCO"),
    ],
)
def test_molecules_are_cut_into_rings_groups_and_single_atoms(smiles: str, blocks: list[str], singles: str) -> None:
    parts = parts_of(conformer(smiles))
    assert sorted(len(b) for b in parts.blocks) == sorted(Chem.MolFromSmiles(s).GetNumAtoms() for s in blocks)
    assert sorted(parts.singles) == sorted(Atoms(singles).numbers)
    assert len(parts) == Chem.MolFromSmiles(smiles).GetNumAtoms()


def test_open_places_are_hydrogens_and_cut_bonds() -> None:
    (ring,) = parts_of(conformer("Cc1ccncc1")).blocks
    by_element = {z: sorted(ring.open[ring.numbers == z].tolist()) for z in (6, 7)}
    assert by_element == {6: [1, 1, 1, 1, 1], 7: [0]}
    assert ring.ring
    assert np.abs(ring.positions.mean(0)).max() < 1e-12


def layout_of(smiles: str, n: int, size: int) -> tuple[Assembly, Layout]:
    """Layouts of `n` molecules of `size` atoms from the parts of one molecule."""
    assembly = Assembly.of([parts_of(conformer(smiles))], [1.0])
    return assembly, assembly.drawn(keys(5, torch.arange(n)), torch.full((n,), size))


def test_layouts_have_the_size_asked_for_and_whole_blocks() -> None:
    for size in (6, 9, 12):
        _, layout = layout_of("CC(=O)Nc1ccccc1", 8, size)
        assert ((layout.numbers > 0).sum(1) == size).all()
        for m in range(8):
            for part in layout.part[m][layout.rigid[m]].unique():
                atoms = (layout.part[m] == part) & layout.rigid[m]
                assert int(atoms.sum()) in (3, 6)


def test_blocks_are_superposed_as_rigid_bodies() -> None:
    """Against a random rotation that is known, with noise; and each block's distances are kept."""
    _, layout = layout_of("CC(=O)Nc1ccccc1", 3, 10)
    swarm = new_swarm(torch.full((3,), 10), keys(1, torch.arange(3)), 2)
    blocks = RigidBlocks.of(swarm, layout)
    turn = Rotation.from_rotvec([0.3, -1.1, 2.0]).as_matrix()
    template = layout.template[swarm.molecule, swarm.slot]
    moved = template @ torch.as_tensor(turn).T + torch.tensor([1.0, 2.0, 3.0])
    rigid = layout.rigid[swarm.molecule, swarm.slot]
    exact = blocks(swarm.at(moved))
    assert torch.allclose(exact.positions[rigid], moved[rigid], atol=1e-9)
    noise = 0.3 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(1))
    noisy = blocks(swarm.at(moved + noise))
    for atoms, known in zip(blocks.atoms, blocks.template, strict=True):
        rows = atoms[atoms >= 0]
        assert np.allclose(pdist(noisy.positions[rows]), pdist(known[: len(rows)]), atol=1e-9)
    assert torch.allclose(noisy.positions[~rigid], (moved + noise)[~rigid])


def test_only_open_places_may_be_joined() -> None:
    """Pyridine beside a methyl: the methyl may bond to the carbon beside it, and not to nitrogen."""
    assembly, layout = layout_of("Cc1ccncc1", 1, 7)
    swarm = new_swarm(torch.tensor([7]), keys(1, torch.arange(1)), 1)
    swarm = RigidBlocks.of(swarm, layout)(swarm.at(layout.template[0]))
    single = int((~layout.rigid[0]).nonzero()[0, 0])
    numbers = layout.numbers[0]
    nitrogen = int((numbers == 7).nonzero()[0, 0])
    ring = layout.rigid[0].nonzero()[:, 0]
    carbons = [int(k) for k in ring if numbers[k] == 6]
    swarm = type(swarm)(**{**vars(swarm), "numbers": numbers})
    joints = Joints.of(swarm, layout, APART, assembly.joins)
    for target, allowed in ((nitrogen, False), (carbons[0], True)):
        x = swarm.positions.clone()
        outward = x[target] - x[ring].mean(0)
        x[single] = x[target] + 1.5 * outward / outward.norm()
        may = joints.allowed(swarm.at(x))[2]
        assert bool(may[0, single, target]) is allowed
        force = joints(swarm.at(x), 0.1)
        assert (float(force[single] @ outward) > 0.5) is not allowed  # pushed off nitrogen


def test_two_parts_share_one_bond_at_most() -> None:
    assembly, layout = layout_of("Cc1ccccc1", 1, 7)
    swarm = new_swarm(torch.tensor([7]), keys(1, torch.arange(1)), 1)
    swarm = RigidBlocks.of(swarm, layout)(swarm.at(layout.template[0]))
    swarm = type(swarm)(**{**vars(swarm), "numbers": layout.numbers[0]})
    single = int((~layout.rigid[0]).nonzero()[0, 0])
    ring = layout.rigid[0].nonzero()[:, 0]
    x = swarm.positions.clone()
    distance = torch.cdist(x[ring], x[ring])
    first, second = ring[0], ring[int((distance[0] - 1.39).abs().argmin())]
    x[single] = (x[first] + x[second]) * 1.9  # outside the ring, above the middle of a bond
    may = Joints.of(swarm, layout, APART, assembly.joins).allowed(swarm.at(x))[2]
    assert int(may[0, single].sum()) <= 1


def test_large_molecules_are_assembled_by_default_and_small_ones_are_not(organic) -> None:
    large, small = SimGen(organic, n_heavy_atoms=20), SimGen(organic, n_heavy_atoms=9)
    assert large.problem.assembly is not None
    assert small.problem.assembly is None
    assert large.problem.bundled == "druglike"
    assert small.problem.bundled == "reference"
    assert small.problem.effort == (50, 10, 5)
    assert SimGen(organic, n_heavy_atoms=20, building_blocks="none").problem.assembly is None
    assert SimGen(organic, n_heavy_atoms=20, formula=None, counts="N0-2").problem.assembly is None


def test_blocks_and_a_formula_are_refused(organic) -> None:
    with pytest.raises(UserError, match=r"building_blocks=references and generator\.formula"):
        SimGen(organic, formula="C12H18N2O2", building_blocks="references")


def test_blocks_of_a_file_take_the_place_of_those_of_the_references(organic, tmp_path) -> None:
    path = tmp_path / "blocks.smi"
    path.write_text("c1ccncc1\nc1ccoc1\n")
    generator = SimGen(organic, n_heavy_atoms=18, building_blocks=str(path))
    layout = generator.problem.assembly.drawn(keys(2, torch.arange(6)), torch.full((6,), 18))
    rings = {block.name for molecule in layout.blocks for _, block in molecule if block.ring}
    assert rings
    assert {Chem.CanonSmiles(name) for name in rings} <= {Chem.CanonSmiles("c1ccncc1"), Chem.CanonSmiles("c1ccoc1")}
    path.write_text("CCO\n")
    with pytest.raises(UserError, match="no molecule of C N O alone holds a ring or a group"):
        SimGen(organic, n_heavy_atoms=18, building_blocks=str(path))


def test_a_molecule_is_made_of_blocks(organic) -> None:
    """A cheap run: attempts give molecules, the same ones again, with the rings of the references."""
    generator = SimGen(organic, n_heavy_atoms=16, prior=ReferenceShapes(), steps=40, particles=3, families=3)
    first = list(generator.generate(range(2), seed=4))
    again = list(generator.generate(range(1, 2), seed=4))
    assert first[1].atoms.get_chemical_formula() == again[0].atoms.get_chemical_formula()
    assert np.allclose(first[1].atoms.positions, again[0].atoms.positions, atol=1e-4)
    assert any(c.failure is None for c in first)


def test_parts_are_drawn_for_molecules_much_smaller_than_the_references():
    whole = parts_of(conformer("C" * 24 + "c1ccccc1"))
    layout = Assembly.of([whole], [1.0]).drawn(keys(0, torch.arange(5)), torch.full((5,), 2))
    assert (layout.numbers > 0).sum(1).tolist() == [2] * 5
