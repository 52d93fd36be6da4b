"""Conditions in the generator as a whole, with a tiny untrained potential: they combine, and refuse in one line."""

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from tiny import simgen

from gendesign.errors import UserError
from gendesign.generate.simgen.choice import Goal, choose
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.guidance import Guidances
from gendesign.generate.simgen.proposals import Proposal
from gendesign.generate.simgen.requirements import Requirements
from gendesign.generate.simgen.restraints import RadiusOfGyration
from gendesign.generate.simgen.shape import Circle
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.objective import Objective
from gendesign.structure.counter_random import keys
from gendesign.structure.files import read_structures


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return tiny.references(tmp_path_factory.mktemp("reference"))


def nitrobenzene() -> Atoms:
    mol = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1[N+](=O)[O-]"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


def test_all_conditions_together(reference):
    ring, guest = nitrobenzene(), molecule("CH4")
    guest.translate([0.0, 0.0, 6.0])
    generator = simgen(
        reference,
        fragments=[ring],
        attachments=[9],
        prior=ShapePrior(Circle(radius=5.0)),
        host=guest,
        counts="N0-1",
        forbidden=["[F]"],
        guidance=Guidances(RadiusOfGyration(target=2.0)),
        objective=Objective(["qed"]),
        likeness=0.5,
        importance="N2",
    )
    sizes = torch.tensor([12, 13])
    swarm, exploded, wanted, *_ = generator.sample(sizes, keys(3, torch.arange(2)))
    given = generator.problem.requirements.fixed
    assert len(generator.problem.priors) == 2 and len(generator.problem.walls) == 1 and not exploded.all()
    fixed = swarm.positions[~swarm.free].numpy().reshape(-1, len(given), 3)
    assert (fixed[~np.repeat(exploded.numpy(), 2)] == given.positions).all()
    counts = swarm.composition(torch.tensor(generator.problem.numbers))
    assert (
        torch.equal(counts, wanted.repeat_interleave(2, 0)[:, None].expand_as(counts)) and (counts[..., 1] <= 2).all()
    )  # one N is the nitro's
    for candidate in generator.generate(range(2), seed=3):
        assert candidate.history and (candidate.failure is None or isinstance(candidate.failure, str))


def test_an_exact_formula_is_drawn_and_kept(reference):
    generator = simgen(reference, n_heavy_atoms="auto", formula="C2H5NO")
    swarm = generator.sample(torch.tensor([4, 4]), keys(5, torch.arange(2))).swarm
    assert generator.problem.sizes == (4, 4) and list(generator.problem.elements) == ["C", "N", "O"]
    counts = swarm.composition(torch.tensor([6, 7, 8]))
    assert (counts == torch.tensor([2.0, 1.0, 1.0])).all()
    done = list(generator.generate(range(6), seed=1))
    assert not all((c.failure or "").startswith("no molecule") for c in done)
    for candidate in done:
        wrong = candidate.atoms.get_chemical_formula(mode="hill") != "C2H5NO"
        assert not wrong or candidate.failure is not None


def test_a_trajectory_ends_at_the_molecule(reference, tmp_path):
    seen = []
    generator = simgen(reference, trajectory=str(tmp_path / "way"))
    done = list(generator.generate(range(2), seed=2, progress=lambda *numbers: seen.append(numbers)))
    assert seen == [(1, 2), (2, 2)] and len(list((tmp_path / "way").iterdir())) > 0
    for candidate in done:
        if candidate.failure is None or not candidate.failure.startswith("no molecule"):
            frames = read_structures([tmp_path / "way" / f"{candidate.index:06d}.extxyz"], hydrogens="ignore")
            assert len(frames) == 25 + 2 and frames[0].info["sigma"] == 1.0 and frames[-2].info["sigma"] == 0.0
            np.testing.assert_allclose(frames[-1].atoms.positions, candidate.atoms.positions, atol=1e-6)


def test_smiles_are_references_and_sets_mix(reference, tmp_path):
    (tmp_path / "own.smi").write_text("CCO ethanol\nCCN\n")
    generator = simgen(reference, reference=[reference, str(tmp_path / "own.smi")], reference_weights=[1, 3])
    weights = np.array(generator.references.weights)
    assert len(generator.problem.skeletons) == 8 and weights[-2:].sum() == pytest.approx(3 * weights[:-2].sum())


def test_forbidden_and_reward_decide_the_choice():
    ethanol, ether = (
        Proposal(molecule(name), 3, 0, energy, "x") for name, energy in (("CH3CH2OH", 0.0), ("CH3OCH3", 0.2))
    )
    goal, cno = Goal(np.array([2, 0, 1]), 0.0), [6, 7, 8]
    cold = Finish(temperature=1e-3)
    assert choose([ethanol, ether], goal, cno, cold, 0.5) is ethanol
    rewarded = choose([ethanol, ether], goal, cno, cold, 0.5, reward=lambda structures: np.array([0.0, 1.0]))
    assert rewarded is ether
    broken = Proposal(ethanol.atoms, 3, 0, 0.0, "x", "contains [OH]")
    assert choose([broken, ether], goal, cno, cold, 0.5) is ether
    assert (
        Requirements(forbidden=[Chem.MolFromSmarts("[OX2H]")]).broken_by(
            ethanol.atoms, Chem.AddHs(Chem.MolFromSmiles("CCO"))
        )
        == "contains [O&X2&H1]"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"formula": "C2H6O", "counts": "N0"}, "both given"),
        ({"formula": "C2H6O", "n_heavy_atoms": 9}, "allow 3 to 3 heavy atoms"),
        ({"attachments": [3]}, "belong to fragments"),
        ({"fragments": [molecule("C6H6")], "attachments": ["x"]}, "give the numbers of hydrogens"),
        ({"forbidden": ["C("]}, "is no SMARTS"),
        ({"likeness": 0.0}, "generator.likeness=0.0: give a number above 0"),
        ({"reference_weights": [1, 2]}, "one number above zero for each of the 1"),
        ({"reference": ["missing.smi"]}, "does not exist"),
        ({"objective": Objective(["qed"], diversity_filter="scaffold")}, "leave diversity_filter out"),
        ({"host": Atoms("Si", cell=[5, 5, 5], pbc=True)}, "host=Si is periodic"),
    ],
)
def test_what_makes_no_sense_is_refused(reference, wrong, said):
    with pytest.raises(UserError, match=said):
        simgen(reference, **wrong)


def test_a_candidate_with_limits_depends_on_its_index_alone(reference):
    generator, index = simgen(reference, counts="N1-2"), torch.arange(3)
    sizes = torch.tensor([5, 20, 8])
    together, exploded, *_ = generator.sample(sizes, keys(7, index))
    single = generator.sample(sizes[:1], keys(7, index[:1])).swarm
    own = together.molecule // generator.families == 0
    assert not exploded.any() and torch.equal(together.numbers[own], single.numbers)
    assert torch.allclose(together.positions[own], single.positions, rtol=0, atol=1e-6)


def test_settings_of_the_command_line_reach_the_generator(reference, tmp_path):
    from gendesign.run.build import make
    from gendesign.run.settings import resolve

    (tmp_path / "own.smi").write_text("CCO\nCCN\n")
    words = [f"generator.reference=[{reference},{tmp_path / 'own.smi'}]", "generator.reference_weights=[3,1]",
             "generator.counts=N0-1", "generator.forbidden=[[#7]-[#7],[$([OX2]),$([SX2])]F]",
             "generator/guidance=distance", "generator.guidance.function.target=3.5"]  # fmt: skip
    generator = make(resolve("generate", words).generator, potential=tiny.potential())
    assert generator.references.weights[-1] == 0.5 and len(generator.problem.requirements.forbidden) == 2
    assert generator.problem.limits.high.tolist()[1] == 1 and len(generator.guidance) == 1
    assert make(resolve("generate", ["generator.forbidden=[#7]-[#7]"]).generator, potential=tiny.potential()).forbidden


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["experiment=compact", "generator/guidance=none"], "guidance"),
        (["experiment=druglike", "generator/objective=none"], "objective"),
        (["experiment=macrocycle", "generator/prior=null"], "prior"),
    ],
)
def test_a_choice_undoes_an_experiment(words, key):
    from gendesign.run.settings import resolve

    chosen = resolve("generate", words).generator.get(key)
    assert chosen is None or not (chosen.get("function") or chosen.get("components"))


def test_forbidden_patterns_see_no_hydrogen_atoms():
    ethanol = molecule("CH3CH2OH")
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert Requirements(forbidden=[Chem.MolFromSmarts("[!#6]~[!#6]")]).broken_by(ethanol, mol) == ""


def test_amine_oxides_and_many_attachments(reference):
    mol = Chem.AddHs(Chem.MolFromSmiles("C[N+](C)(C)[O-]"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=3)
    oxide = Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())
    generator = simgen(reference, fragments=[oxide], attachments=[5], n_heavy_atoms="auto")
    done = list(generator.generate(range(4), seed=2))
    assert not any("no bond orders" in (c.failure or "") for c in done)
    with pytest.raises(UserError, match="3 attachments need one new atom each"):
        simgen(reference, fragments=[molecule("C6H6")], attachments=[6, 8, 10], n_heavy_atoms=2)
    assert simgen(
        reference, fragments=[molecule("C6H6")], attachments=[6, 7, 8, 9], n_heavy_atoms="auto"
    ).problem.sizes == (4, 9)
    assert simgen(reference, counts="C12-14 N2 O0", n_heavy_atoms="auto").problem.sizes == (14, 14)
