"""Given fragments: what is read of them, where new atoms go, and that bond search and choice leave them alone."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolAlign

from gendesign.errors import UserError
from gendesign.generate.simgen.fragments import BOND, HOLD, Fragments, Joining, displacement
from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.hydrogen import components, likely
from gendesign.generate.simgen.requirements import Requirements, is_intact
from gendesign.generate.simgen.state import new_swarm
from gendesign.structure.bonds import perceive
from gendesign.structure.counter_random import keys


def embedded(smiles: str, seed: int = 5) -> Atoms:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=seed) == 0
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


def hydrogen_of(atoms: Atoms, heavy: int) -> int:
    apart = atoms.get_distances(heavy, np.flatnonzero(atoms.numbers == 1))
    return int(np.flatnonzero(atoms.numbers == 1)[apart.argmin()])


@pytest.fixture(scope="module")
def pair():
    """Benzene and methanol 7 Angstrom apart."""
    far = molecule("CH3OH")
    far.translate([9.0, 0.0, 0.0])
    return [molecule("C6H6"), far]


def test_what_is_read_of_a_fragment(pair):
    hydrogen = hydrogen_of(pair[0], 0)
    fragments = Fragments(pair, [hydrogen, 12 + hydrogen_of(pair[1], 0)])
    fixed = fragments.fixed
    assert fixed.numbers.tolist() == [6] * 6 + [6, 8]
    assert sorted(fixed.orders.values()) == [1, 1, 1, 1, 2, 2, 2]  # Kekule's benzene and C-O
    assert sum(fixed.open_bonds) == 2 and fixed.open_bonds[0] == fixed.open_bonds[6] == 1
    assert [len(x) for x in fixed.hydrogen_positions] == [0, 1, 1, 1, 1, 1, 2, 1]
    axis = pair[0].positions[hydrogen] - pair[0].positions[0]
    np.testing.assert_allclose(fragments.anchors[0], pair[0].positions[0] + BOND * axis / np.linalg.norm(axis))
    assert fragments.unsaturation == 4.0
    assert Fragments(pair, [0, 12]).fixed.open_bonds == fixed.open_bonds  # a heavy atom names its first hydrogen


def test_sizes_follow_the_distance(pair):
    fragments = Fragments(pair, [hydrogen_of(pair[0], 0), 12 + hydrogen_of(pair[1], 0)])
    apart = np.linalg.norm(np.subtract(*fragments.anchors))
    low, high = fragments.sizes()
    assert (low - 2) * 1.27 <= apart <= high * 1.27 and high > low


@pytest.mark.parametrize(
    ("attachments", "said"),
    [
        ([], "give the hydrogens to replace"),
        ([99], "attachment 99 is beyond the 18 atoms"),
        ([6], "fragment 2 has no attachment"),
        ([6, 13], "attachment 13 (O)"),
    ],
)
def test_wrong_attachments_are_named(pair, attachments, said):
    if said.startswith("attachment 13"):  # the oxygen of dimethyl ether bears no hydrogen
        ether = molecule("CH3OCH3")
        ether.translate([9.0, 0.0, 0.0])
        pair, attachments = [pair[0], ether], [6, 12 + int(np.flatnonzero(ether.numbers == 8)[0])]
        said = "has no hydrogen"
    with pytest.raises(UserError, match=said.replace("(", "\\(").replace(")", "\\)")):
        Fragments(pair, attachments)


def test_fragments_that_overlap_or_are_no_molecules_are_refused(pair):
    with pytest.raises(UserError, match=r"overlap: two atoms are 0\.00 Angstrom apart"):
        Fragments([pair[0], molecule("C6H6")], [6, 18])
    with pytest.raises(UserError, match="is no molecule"):
        Fragments([molecule("CH3")], [1])


def test_bonds_of_a_skeleton_leave_the_fragments_as_they_are():
    benzene = molecule("C6H6")
    fragments = Fragments([benzene], [6])
    # a real skeleton: benzene's own positions, and a chain grown from its anchor away from it
    outwards = fragments.anchors[0] / np.linalg.norm(fragments.anchors[0])
    side = np.cross(outwards, [0.0, 0.0, 1.0])
    chain = [fragments.anchors[0], fragments.anchors[0] + 1.25 * outwards + 0.85 * side]
    chain.append(chain[-1] + 1.25 * outwards - 0.6 * side)
    numbers = np.array([*fragments.fixed.numbers, 6, 6, 8])
    positions = np.array([*fragments.fixed.positions, *chain])
    assert len(components(numbers, positions, fragments.fixed)) == 1
    options = likely(numbers, positions, 4, fragments.fixed)
    assert {Chem.CanonSmiles(o.smiles) for o in options} >= {Chem.CanonSmiles("c1ccccc1CCO")}
    for option in options:
        placed = option.placed().atoms
        assert is_intact(placed, fragments.fixed)
        assert displacement(placed, fragments.fixed) < 1e-6
        # hydrogens that stay are where they were fixed
        kept = np.concatenate([x for x in fragments.fixed.hydrogen_positions if len(x)])
        apart = np.linalg.norm(kept[:, None] - placed.positions[None], axis=-1).min(1)
        assert apart.max() < 1e-9


def test_an_atom_that_is_no_attachment_takes_no_bond():
    fragments = Fragments([molecule("C6H6")], [6])
    beside = fragments.fixed.positions[3] * (1 + 1.5 / np.linalg.norm(fragments.fixed.positions[3]))
    numbers, positions = np.array([*fragments.fixed.numbers, 6]), np.array([*fragments.fixed.positions, beside])
    assert len(components(numbers, positions, fragments.fixed)) == 2
    assert len(components(numbers, positions)) == 1


def test_a_changed_fragment_is_broken():
    fragments = Fragments([molecule("C6H6")], [6])
    toluene = embedded("Cc1ccccc1")
    mol = perceive(toluene).mol
    assert "changed" in Requirements(fragments.fixed).broken_by(toluene, mol)  # its first atom is the methyl group
    order = [1, 2, 3, 4, 5, 6, 0, *range(7, len(toluene))]
    again = toluene[order]
    assert "changed" not in Requirements(fragments.fixed).broken_by(again, perceive(again).mol)


def test_displacement_is_that_of_rdkit():
    first, second = embedded("CCOC1CC1"), embedded("CCOC1CC1", seed=8)
    mols = []
    for atoms in (first, second):
        mol = Chem.AddHs(Chem.MolFromSmiles("CCOC1CC1"))
        conformer = Chem.Conformer(len(atoms))
        conformer.SetPositions(atoms.positions)
        mol.AddConformer(conformer)
        mols.append(Chem.RemoveHs(mol))
    fragments = Fragments([second], [len(second) - 1])
    heavy = first[first.numbers > 1] + first[first.numbers == 1]
    same = [(k, k) for k in range(6)]
    assert displacement(heavy, fragments.fixed) == pytest.approx(rdMolAlign.AlignMol(*mols, atomMap=same), abs=1e-5)


def test_fixed_atoms_do_not_move_and_the_first_new_atoms_reach_their_anchors(pair):
    fragments = Fragments(pair, [6, 12 + hydrogen_of(pair[1], 0)])
    prior, atoms = Joining.of(fragments), fragments.fixed
    fixed = torch.as_tensor(atoms.numbers), torch.as_tensor(atoms.positions)
    swarm = new_swarm(torch.tensor([11, 12]), keys(3, torch.arange(2)), 2, fixed)
    assert swarm.free.sum() == 2 * (3 + 4) and (swarm.numbers[~swarm.free][:8].tolist()) == atoms.numbers.tolist()
    swarm = swarm.at(prior.sample(swarm))
    sigmas = torch.linspace(1, 0, 41, dtype=torch.float64)
    final, lost = integrate(swarm, [prior], sigmas, Heun(churn=0))
    np.testing.assert_array_equal(final.positions[~swarm.free].numpy().reshape(4, 8, 3)[2], atoms.positions)
    held = (final.slot >= 8) & (final.slot < 10)
    apart = final.positions[held].view(-1, 2, 3) - prior.anchors
    start = swarm.positions[held].view(-1, 2, 3) - prior.anchors
    assert not lost.any()
    torch.testing.assert_close(apart, start * np.exp(-HOLD), rtol=0.05, atol=1e-3)
