"""gendesign benchmark agent: what its rows measure, on cases whose answer is known, and the whole command once."""

import json

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule

from gendesign import cli
from gendesign.benchmark import agent, building
from gendesign.generate.rl.archive import Archive
from gendesign.generate.rl.checkpoint import save_agent
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.features import MessagePassing
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import SingleBag, Solvation
from gendesign.potential import save_folder
from gendesign.structure.isomers import isomers


def small(elements) -> Policy:
    return Policy(PolicySettings(MessagePassing(layers=1, channels=8, max_l=2), width=16), elements, seed=1)


def test_known_structures_are_minima_of_the_right_symmetry():
    for formula, bonds in (("SF6", 6), ("SOF4", 5)):
        minimum, energy = building.teacher_minimum(building.KNOWN[formula])
        apart = minimum.get_distances(0, range(1, len(minimum)))
        assert len(apart) == bonds and apart.max() < 1.75 and np.isfinite(energy)
        # relaxing moved nothing far, so the structure given was the known one
        assert np.abs(apart - building.KNOWN[formula].get_distances(0, range(1, len(minimum)))).max() < 0.15


def test_hydrogen_bonds_of_a_water_dimer():
    half = np.deg2rad(52.2)
    water = 0.96 * np.array([[0, 0, 0], [np.cos(half), np.sin(half), 0], [np.cos(half), -np.sin(half), 0]])
    donated = water @ np.array([[np.cos(half), -np.sin(half), 0], [np.sin(half), np.cos(half), 0], [0, 0, 1]]).T
    assert donated[2, 0] == pytest.approx(0.96)  # along x, towards an acceptor that turns its hydrogens away
    for apart, count in ((2.9, 1), (4.0, 0)):
        both = Atoms("OH2OH2", np.vstack([donated, water + [apart, 0, 0]]))
        assert agent.hydrogen_bonds(both) == count


def test_asymmetry_sees_a_policy_that_is_not_equivariant():
    task = SingleBag("CH4O")
    policy = small(task.elements).double()
    vectors = VectorBuilding(task, Reward(lambda structures: np.zeros(len(structures))), 4, 0)
    rng = torch.Generator().manual_seed(0)
    for _ in range(3):
        vectors.step(policy.act(vectors.canvas.to(torch.float64), rng)[0])
    canvas = vectors.canvas.to(torch.float64)
    action = policy.act(canvas, rng)[0]
    assert building.asymmetry(policy, canvas, action) < 1e-6

    class Tilted(Policy):
        def evaluate_actions(self, canvas, action):
            log_prob, *rest = super().evaluate_actions(canvas, action)
            return log_prob + action.direction[:, 2], *rest

    policy.__class__ = Tilted
    assert building.asymmetry(policy, canvas, action) > 0.01


def test_rewards_are_compared_placement_by_placement(monkeypatch):
    water = molecule("H2O")
    steps = [(water[:k], water[: k + 1]) for k in range(3)]
    errors = building.reward_errors(steps, Constant(0.1))
    teacher = np.asarray(building.teacher()([water, Atoms("O"), Atoms("H")]))
    # the potential gives 0.1 eV per pair of atoms and nothing to lone ones; the sum over an episode is path independent
    own = -3 * 0.1 / 27.211386
    assert errors.sum() == pytest.approx(own - (teacher[1] + 2 * teacher[2] - teacher[0]), abs=1e-5)


def test_references_of_small_bags_are_all_their_isomers():
    references = json.loads(agent.ISOMERS.read_text())
    for formula in ("C3H8O", "C2H5NO", "C3H6O"):
        known = references[formula]
        assert known["complete"] and set(known["smiles"]) <= set(isomers(formula))
        assert len(known["smiles"]) + known["dropped"] == len(isomers(formula))


def test_the_best_come_first():
    archive = Archive(5)
    archive.add([molecule("CH3CH2OH"), molecule("CH3OCH3")], [1.0, 1.2])
    assert [len(a) for a in agent.best_of(archive)] == [9, 9]
    assert agent.best_of(archive)[0] == molecule("CH3OCH3")
    assert building.valid([molecule("CH4"), Atoms("CH")]).keys() == {"C"}


class Constant:
    """A potential of 0.1 eV for each pair of atoms."""

    def __init__(self, pair: float):
        self.pair = pair
        self.isolated_energies = {"H": 0.0, "O": 0.0}

    def energies(self, structures):
        return torch.tensor([self.pair * len(a) * (len(a) - 1) / 2 for a in structures])


def test_the_whole_command(tmp_path, capsys):
    save_folder(tiny.potential(0, "float32").net, tmp_path / "model", name="tiny", licence="MIT", citation="none")
    save_agent(small((1, 6, 7, 8)), tmp_path / "several", steps=64)
    words = ["benchmark", "agent", f"potential={tmp_path / 'model'}", f"output={tmp_path / 'out'}",
             f"record={tmp_path / 'record'}", "building=quick", "building.episodes=4"]  # fmt: skip
    assert cli.main([*words, "building.bags=[C60]"]) == 2
    assert "C60 has no reference" in capsys.readouterr().err
    words += ["building.symmetric=[]", "building.bags=[C3H8O]", "building.bag_steps=256", "building.speed=false",
              f"building.agent={tmp_path / 'several'}", "building.unseen=1",
              "building.solvation_steps=256"]  # fmt: skip
    assert cli.main(words) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "record" / "agent.json").read_text())}
    assert rows["C3H8O: valid, of molecules drawn afterwards"]["n"] == 4
    assert rows["log-probabilities under rotation, shift, renumbering: largest change"]["value"] < 1e-4
    assert (tmp_path / "record" / "agent.png").stat().st_size > 1000
    capsys.readouterr()
    assert cli.main(words) == 0  # all that was trained is there


def test_solvation_counts_its_molecules():
    assert Solvation("H2CO", "H2O", 5).n_molecules == 6 and SingleBag("CH4").n_molecules == 1
