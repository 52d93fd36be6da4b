"""Requested conditions as checks: right values on molecules by RDKit, and one for everything that can be asked for."""

import ase.io
import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from tiny import simgen

from gendesign.generate.simgen import SimGen
from gendesign.generate.simgen.choice import Goal, choose
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.guidance import Guidances
from gendesign.generate.simgen.hydrogen import likely
from gendesign.generate.simgen.proposals import Proposal, hydrogenated
from gendesign.generate.simgen.requested.likeness import Nearest
from gendesign.generate.simgen.requirements import Requirements
from gendesign.generate.simgen.restraints import Box, Distance, RadiusOfGyration
from gendesign.generate.simgen.shape import Circle, Heart, Line, Torus
from gendesign.generate.simgen.shape_files import MoleculeShape
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.objective import Objective
from gendesign.run.build import Structures
from gendesign.run.conditions import MET, with_conditions
from gendesign.run.stages import Stages
from gendesign.structure.conditions import Subject
from gendesign.structure.contacts import Host
from gendesign.structure.rings import is_closed, largest_ring
from gendesign.structure.types import Candidate, Verdict


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return tiny.references(tmp_path_factory.mktemp("reference"))


def embedded(smiles: str) -> Atoms:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


def verdicts(generator: SimGen, atoms: Atoms, **more) -> dict[str, Verdict]:
    candidate = Candidate(atoms, 0, **more)
    return {c.name: verdict for c in generator.requested for verdict in c([candidate])}


@pytest.mark.parametrize(
    ("smiles", "size", "closed"),
    [
        ("C1" + "C" * 22 + "C1", 24, True),
        ("C" * 24, 0, False),
        ("C" * 18 + "c1ccccc1", 6, False),
        ("C1" + "C" * 16 + "C1" + "C" * 6, 18, True),  # a ring with a tail
        ("C1CCCCCCCCCCC1" + "C" * 12, 12, False),
    ],
)
def test_a_closed_ring_is_told_from_a_chain(reference, smiles, size, closed):
    found = verdicts(simgen(reference, prior=ShapePrior(Circle()), n_heavy_atoms=24), embedded(smiles))
    assert found["ring_closed"].value == found["ring_size"].value == size
    assert found["ring_closed"].passed is closed
    assert closed or f"the largest ring has {size} atoms, one along the shape about 24" == found["ring_closed"].reason


def test_a_ring_along_a_shape_has_the_atoms_that_fit_its_length():
    assert Circle().ring(24) == 24 and Heart().ring(30) == 30
    assert Circle(radius=3.0).ring(24) == pytest.approx(2 * np.pi * 3.0 / 1.28)  # 1.28 Angstrom a chain atom
    points = Heart(size=8.0).points(60)
    length = np.linalg.norm(points - np.roll(points, 1, 0), axis=1).sum()
    assert Heart(size=8.0).ring(99) == pytest.approx(length / 1.28, rel=0.01)
    assert Torus(radius=4.0, tube=1.0).ring(40) == pytest.approx(2 * np.pi * 3.0 / 1.28)
    assert not hasattr(Line(), "ring")
    assert largest_ring(Chem.MolFromSmiles("c1ccc2ccccc2c1")) == 6 and is_closed(Chem.MolFromSmiles("C1CCCCC1"), 9)


def test_shapes_overlap_with_themselves(reference, tmp_path):
    target = embedded("CC(C)CC(=O)N")
    ase.io.write(tmp_path / "target.xyz", target)
    generator = simgen(reference, prior=ShapePrior(MoleculeShape(str(tmp_path / "target.xyz"))), n_heavy_atoms="auto")
    assert verdicts(generator, target)["shape"].value == pytest.approx(1.0, abs=1e-6)
    moved = target.copy()
    moved.positions += [2.0, 0, 0]
    assert verdicts(generator, moved)["shape"].value < 0.7
    assert "heavy_atoms" not in verdicts(generator, target) and "ring_closed" not in verdicts(generator, target)


def test_the_host_is_seen_with_its_hydrogens(reference):
    benzene, methane = molecule("C6H6"), molecule("CH4")
    methane.positions += [4.3, 0, 0]  # in the plane: carbons stay apart, hydrogens do not
    generator = simgen(reference, host=benzene)
    found = verdicts(generator, methane)
    apart = np.linalg.norm(methane.positions[:, None] - benzene.positions[None], axis=-1)
    i, j = np.unravel_index(apart.argmin(), apart.shape)
    assert found["host_distance"].value == pytest.approx(apart.min()) and found["host"].passed is False
    assert (
        benzene.symbols[j] == "H" and f"{methane.symbols[i]}{i} is {apart.min():.2f} Angstrom" in found["host"].reason
    )
    methane.positions += [1.5, 0, 0]
    assert verdicts(generator, methane)["host"].passed is True


def test_composition_patterns_and_fragments(reference):
    ethanol = molecule("CH3CH2OH")
    generator = simgen(reference, n_heavy_atoms=3, counts="O0-1", forbidden=["[OX2H]"])
    found = verdicts(generator, ethanol)
    assert found["heavy_atoms"].passed and found["counts"].passed and not found["forbidden"].passed
    assert found["forbidden"].reason == "contains [O&X2&H1]"
    assert not verdicts(simgen(reference, counts="O0"), ethanol)["counts"].passed
    exact = simgen(reference, n_heavy_atoms="auto", formula="C2H6O")
    assert verdicts(exact, ethanol)["formula_kept"].passed
    assert verdicts(exact, molecule("CH3CHO"))["formula_kept"].reason == "C2H4O, not C2H6O"
    ring = molecule("C6H6")
    grown = simgen(reference, fragments=[ring], attachments=[6], n_heavy_atoms="auto")
    assert not verdicts(grown, molecule("CH3CH2OH"))["fragments"].passed


def test_restraints_in_angstrom(reference):
    ethane = molecule("C2H6")
    ethane.positions -= ethane.positions[:2].mean(0)
    bond = ethane.get_distance(0, 1)
    functions = [RadiusOfGyration(target=1.0), Distance(0, 1, target=bond + 0.5), Distance(0, 1, target=bond)]
    functions.append(Box([-5, -5, -5], [5, 5, 5]))
    found = verdicts(simgen(reference, guidance=Guidances(functions)), ethane)
    assert found["gyration"].value == pytest.approx(bond / 2)  # two equal weights
    assert found["radius_of_gyration"].value == pytest.approx(1.0 - bond / 2, abs=1e-6)
    assert found["distance"].value == pytest.approx(0.5, abs=1e-6) and found["distance"].passed is False
    assert found["distance_2"].passed and found["box"].passed and found["box"].value == pytest.approx(0, abs=1e-6)
    lost = verdicts(simgen(reference, guidance=Guidances(functions)), ethane, info={"dropped_atoms": 1})
    assert lost["distance_2"].passed is False and "atoms were lost" in lost["distance_2"].reason


def test_objective_and_likeness(reference):
    ethanol = molecule("CH3CH2OH")
    found = verdicts(simgen(reference, objective=Objective(["qed", "logp gaussian 2 1"])), ethanol)
    from rdkit.Chem import QED, Crippen

    mol = Chem.MolFromSmiles("CCO")
    assert found["objective_qed"].value == pytest.approx(QED.qed(mol))
    assert found["objective_logp"].value == pytest.approx(Crippen.MolLogP(mol))
    assert 0 < found["objective"].value < 1
    assert found["likeness"].value == pytest.approx(1.0)  # ethanol is among the references
    assert np.isfinite(found["likeness_kernel"].value)
    other = verdicts(simgen(reference), molecule("CH3SH"))
    assert other["likeness"].value < 0.6
    assert Nearest([])(Subject(ethanol, Candidate(ethanol, 0), mol)).value is None


def test_structures_that_are_no_molecules_are_said(reference):
    generator = simgen(reference, prior=ShapePrior(Circle()))
    broken = verdicts(generator, molecule("CH3"))
    assert broken["ring_closed"].passed is False and broken["ring_closed"].reason.startswith("not valid: ")
    nothing = verdicts(generator, Atoms(), failure="no molecule: 3 fragments")
    assert nothing["ring_closed"].reason == "no molecule: 3 fragments" and nothing["shape"].passed is None


def test_rows_count_attempts(reference):
    generator = simgen(reference, prior=ShapePrior(Circle()), n_heavy_atoms=6)
    stages = with_conditions(Stages(generator, summarise=lambda verdicts, n: [], about={"model": 1}))
    assert stages.about["conditions"] == [c.name for c in generator.requested] and stages.about["model"] == 1
    candidates = [Candidate(molecule("C6H6"), 0), Candidate(embedded("CCCCCC"), 1), Candidate(Atoms(), 2, failure="x")]
    candidates += [Candidate(embedded("C1CCCCC1"), 3)]
    found = [Verdict(2, "finished", False), Verdict(3, "valid", False), *stages.screen(candidates)]
    rows = {row["name"]: row for row in stages.summarise(found, 4)}
    assert rows["ring closed along the shape"]["value"] == 0.5 and rows["ring closed along the shape"]["n"] == 4
    assert rows["median size of the largest ring"] == {
        "name": "median size of the largest ring", "value": 6.0, "unit": "atoms", "n": 3
    }  # fmt: skip
    assert rows[MET]["value"] == 0.25  # the chain is open, one has failed, one is not valid
    plain = Stages(Structures([]))
    assert with_conditions(plain) is plain


def test_hydrogens_keep_off_the_host():
    numbers, positions = np.array([6, 8]), np.array([[0.0, 0, 0], [1.42, 0, 0]])
    (option,) = likely(numbers, positions, 1)
    bare = option.placed().atoms
    proton = bare.positions[-1]  # the rotor's favourite, in whose way the host now stands
    host = Host.of(Atoms("C", [proton + 1.6 * (proton - bare.positions[1])]))
    beside = option.placed(host).atoms

    def nearest(atoms: Atoms) -> float:
        return np.linalg.norm(atoms.positions[atoms.numbers == 1] - host.positions, axis=1).min()

    assert host.overlap(bare) and nearest(beside) > nearest(bare) + 0.3
    assert option.placed(host).score >= option.placed().score - 4.0 * host.overlaps(beside) - 1e-9


def test_closed_rings_are_among_the_finalists():
    """A ring of six and chains of six, which are likelier each: one finalist is left."""
    ring = np.array(
        [[1.53 * np.cos(t), 1.53 * np.sin(t), 0.25 * (-1) ** k] for k, t in enumerate(np.arange(6) * np.pi / 3)]
    )
    chain = np.array([[1.25 * k, 0.44 * (-1) ** k, 0.0] for k in range(6)])
    numbers, positions = np.full((2, 6), 6), np.stack([chain, ring])
    (first,), _ = hydrogenated(numbers, positions, 1, requirements=Requirements(ring=Circle().ring))
    assert first.atoms.get_chemical_formula() == "C6H12" and first.particle == 1


def test_overlapping_and_open_ones_come_last():
    goal, cno, settings = Goal(np.array([2, 0, 0]), 0.0), [6, 7, 8], Finish()
    inside = Proposal(molecule("C2H6"), 2, 0, -9.0, "x", overlaps=True)
    chain = Proposal(molecule("C2H6"), 2, 0, -5.0, "x", lacks_ring=True)
    good = Proposal(molecule("C2H6"), 2, 0, 9.0, "x")
    assert choose([inside, chain, good], goal, cno, settings, 0.5) is good
    assert choose([inside, chain], goal, cno, settings, 0.5) is chain
    chain, ring = (Chem.MolFromSmiles(s) for s in ("CCCCCC", "C1CCCCC1"))
    asked = Requirements(ring=Circle().ring)
    assert asked.lacks_ring(chain) and not asked.lacks_ring(ring) and not Requirements().lacks_ring(chain)
