"""Tasks: bags, refills, regions, and the settings that make them."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from ase import Atoms
from episodes import OH, RNG, Pairs, batch, towards

from gendesign.generate.rl.environment import MoleculeBuilding, VectorBuilding
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Scaffold, SeveralBags, SingleBag, Solvation, StochasticBag, has_closed_shell
from gendesign.run.conf import conf_folder
from gendesign.structure.lewis import VALENCES
from gendesign.train.teacher import make_teacher  # it makes an object of any `_target_`


def test_several_bags_by_turns_and_drawn():
    task = SeveralBags(["H2O", "NH3", "CH4"])
    formulas = [sorted(task.start(RNG(0), k)[0]) for k in range(4)]
    assert formulas == [[1, 8], [1, 7], [1, 6], [1, 8]] and task.elements == (1, 6, 7, 8) and task.sizes == (5, 5)
    drawn, rng = replace(task, order="draw"), RNG(0)
    assert len({max(drawn.start(rng)[0]) for _ in range(40)}) == 3
    env = VectorBuilding(task, Reward(Pairs()), 3)
    assert env.canvas.bag.gt(0).int().tolist() == [[1, 0, 0, 1], [1, 0, 1, 0], [1, 1, 0, 0]]


def test_stochastic_bags_have_closed_shells():
    task, rng = StochasticBag("C7H8N2O2", "4-12"), RNG(1)
    bags = [task.start(rng)[0] for _ in range(300)]
    assert all(sum(min(VALENCES[z]) * k for z, k in bag.items()) % 2 == 0 for bag in bags)
    assert {sum(bag.values()) for bag in bags} == set(range(4, 13))
    share = np.array([[bag.get(z, 0) for z in (1, 6, 7, 8)] for bag in bags]).sum(0)
    np.testing.assert_allclose(share / share.sum(), np.array([8, 7, 2, 2]) / 19, atol=0.05)


@pytest.mark.parametrize(
    ("formula", "exists"), [("H2O", 1), ("CH4", 1), ("SF6", 1), ("CH2", 0), ("CH3", 0), ("CH6", 0), ("C2H2", 1)]
)
def test_closed_shells(formula, exists):
    assert has_closed_shell(SingleBag(formula).bag) == bool(exists)


def test_solvation_refills_and_penalises_distance():
    task = Solvation("H2CO", "H2O", n=2)
    assert task.sizes == (7, 10) and np.allclose(task.initial_atoms.positions.mean(0), 0)
    env = MoleculeBuilding(task, Reward(Pairs(), min_reward=-50.0), distances=(0.8, 2.8))
    observation, _ = env.reset(seed=0)
    assert observation["numbers"].tolist()[:4] == task.initial_atoms.numbers.tolist()
    assert env.observation_space.contains(observation)
    first, bags, rewards = [0.0, 0.0, 6.0], [], []
    for shift in ([0, 0, 0], [0, 0, 3.0]):
        for k, x in enumerate(np.array(OH) + first + shift):
            before = env._episode.atoms
            answer = env.step(towards(x, before.positions[0], 0, env.elements.index(1 if k else 8)))
            atoms = env._episode.atoms
            gain = Pairs().one(before) + Pairs().one(Atoms([8 if k == 0 else 1])) - Pairs().one(atoms)
            rewards.append((answer[1], gain - 0.01 * np.linalg.norm(x)))
            bags.append(answer[0]["bag"].tolist())
    np.testing.assert_allclose(*np.transpose(rewards), atol=1e-9)
    h, c, o = (env.elements.index(z) for z in (1, 6, 8))
    assert [(bag[h], bag[c], bag[o]) for bag in bags] == [
        (2, 0, 0),
        (1, 0, 0),
        (2, 0, 1),
        (2, 0, 0),
        (1, 0, 0),
        (0, 0, 0),
    ]
    assert answer[2] and not answer[3] and len(answer[4]["atoms"]) == 10


def test_a_full_canvas_truncates():
    env = VectorBuilding(Solvation("H2CO", "H2O", n=3), Reward(Pairs(), min_reward=-50.0), 1, slots=8)
    for k, x in enumerate([*(np.array(OH) + [0, 0, 5.0]), np.array([0, 0, -5.0])]):
        there = env.canvas.to_atoms()[0].positions[0]
        element = env.elements.index(1 if k in (1, 2) else 8)
        _, _, done, infos = env.step(batch(towards(x, there, 0, element)))
    assert done.tolist() == [True] and infos[0]["truncated"] and infos[0]["reason"] == "canvas full"
    assert infos[0]["canvas"].counts.tolist() == [8] and infos[0]["canvas"].bag.sum() == 2
    assert env.canvas.counts.tolist() == [4]


def test_initial_atoms_are_evaluated_with_the_others():
    energies = Pairs()
    env = VectorBuilding(Scaffold("CH4", "H2O", max_distance=9.0), Reward(energies, min_reward=-50.0), 2)
    assert energies.calls == []
    env.step(batch(*[towards([0, 0, 3.0], [0, 0, 0], 0, env.elements.index(8))] * 2))
    assert energies.calls == [5]  # two new, two given, the lone atom


def test_scaffold_regions(tmp_path):
    cube = Atoms("Ne8", [[x, y, z] for x in (0, 4) for y in (0, 4) for z in (0, 4)])
    hull = Scaffold(cube, "CO", margin=0.5, max_distance=None)
    places = {(2, 2, 2): True, (4.4, 2, 2): True, (4.6, 2, 2): False, (2, -0.6, 2): False}
    assert {x: hull.allows(np.array(x, float)) for x in places} == places
    assert not Scaffold(cube, "CO", max_distance=3.4).allows(
        np.array([2.0, 2, 2])
    )  # the middle is 3.46 from every corner
    cube.write(tmp_path / "cube.xyz")
    assert Scaffold(str(tmp_path / "cube.xyz"), "CO", max_distance=3.5).allows(np.array([2.0, 2, 2]))
    env = MoleculeBuilding(hull, Reward(Pairs(), min_reward=-500.0))
    env.reset(seed=0)
    where = env.elements.index(6)
    _, reward, terminated, _, info = env.step(towards([0, 0, -1.5], [0, 0, 0], 0, where))
    assert reward == -500.0 and terminated and info["reason"] == "outside the region" and len(info["atoms"]) == 8


def test_the_files_of_conf_are_the_defaults():
    for path in sorted((conf_folder() / "task").glob("*.yaml")):
        task = make_teacher(yaml.safe_load(path.read_text()))
        assert task == type(task)(), path
        assert sum(task.start(RNG(0))[0].values()) > 0
