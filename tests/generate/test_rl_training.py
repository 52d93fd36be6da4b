"""Training as a whole: small bags are learned under the teacher's energies, and a resumed run is the identical one."""

import csv

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule

from gendesign.errors import UserError
from gendesign.generate.rl.agent import Agent
from gendesign.generate.rl.archive import MIN_IMPROVEMENT, Archive, Entry, smiles_of
from gendesign.generate.rl.canvas import new_positions
from gendesign.generate.rl.checkpoint import load_agent, save_agent
from gendesign.generate.rl.energies import teacher_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.expert_iteration import ExpertIteration, demonstrated, imitate, is_buildable
from gendesign.generate.rl.features import MessagePassing, PotentialFeatures
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.generate.rl.ppo import PPO
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import SingleBag
from gendesign.generate.rl.training import Training, evaluate, train
from gendesign.potential import Potential, load_potential, mace
from gendesign.structure.bonds import connectivity

SMALL = PolicySettings(features=MessagePassing(layers=1, channels=8, max_l=2), width=16)
FAST = PPO(learning_rate=3e-3, target_kl=0.05, batch_size=64)


def spring(structures):
    """Hartree: pairs gain most at 1 Angstrom."""
    out = []
    for atoms in structures:
        d = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        out.append(float(-0.2 * np.exp(-8 * (d - 1.0) ** 2).sum()))
    return np.array(out)


def trained(folder, formula: str, energies, steps: int, **more):
    task, reward = SingleBag(formula), Reward(energies)
    policy = Policy(SMALL, task.elements, seed=1)
    settings = Training(
        **{"steps": steps, "n_envs": 16, "horizon": 4, "eval_freq": steps, "n_eval_episodes": 4, **more}
    )
    vectors = (VectorBuilding(task, reward, 16, 0), VectorBuilding(task, reward, 4, 0))
    return train(policy, *vectors, folder, settings, FAST, ExpertIteration(steps=1, batch_size=8))


@pytest.mark.parametrize(("formula", "least"), [("HF", 0.15), ("H2O", 0.30)])  # relaxed: 0.22 and 0.38 Hartree
def test_small_bags_are_learned_under_gfn2(tmp_path, formula, least):
    state = trained(tmp_path, formula, teacher_energies("gfn2"), 2560)
    with open(tmp_path / "log.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["eval_return"]) > least
    assert float(rows[0]["return"]) < float(rows[-1]["return"])
    assert len(state.archive.best[Atoms(formula).get_chemical_formula()]) == 1


def test_a_resumed_run_is_the_identical_one(tmp_path):
    def stopped(structures, calls=[]):  # noqa: B006  counts over the run
        calls.append(len(structures))
        if len(calls) == 22:  # four calls an update
            raise KeyboardInterrupt
        return spring(structures)

    whole = trained(tmp_path / "whole", "CH4", spring, 512)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", "CH4", stopped, 512)
    assert (tmp_path / "parts" / "state.pt").exists()
    again = trained(tmp_path / "parts", "CH4", spring, 512)
    for a, b in zip(whole.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.archive.state_dict() == again.archive.state_dict() and again.step == 512


def test_a_target_return_ends_the_training(tmp_path):
    state = trained(tmp_path, "CH4", spring, 4096, eval_freq=256, target_return=-10.0)
    assert state.target_reached and state.step == 256  # any return reaches it at the first evaluation
    task = SingleBag("CH4")
    found = evaluate(state.policy, VectorBuilding(task, Reward(spring), 4, 0), 4)
    assert found["eval_worst"] <= found["eval_return"] <= found["eval_best"]


def test_the_archive_keeps_the_best_of_each_graph():
    archive, ethanol, ether = Archive(size=1), molecule("CH3CH2OH"), molecule("CH3OCH3")
    archive.add([ether, ethanol, ethanol, molecule("CH3")], [1.0, 1.2, 1.1, 9.0])
    (row,) = archive.best["C2H6O"].values()
    assert (archive.n_finished, archive.n_valid, row.total_return) == (4, 3, 1.2)
    (candidate,) = Archive.from_state(archive.state_dict()).candidates("agent")
    assert candidate.info["return"] == 1.2 and candidate.atoms == ethanol


def test_what_is_new_or_much_better_is_relaxed_and_kept_as_a_demonstration_if_its_graph_stays():
    asked = []

    def relax(structures):
        asked.append(len(structures))
        return [(built if "O" in built.get_chemical_formula() else molecule("CH4"), 2.0) for built in structures]

    archive, ethanol, ethene = Archive(10), molecule("CH3CH2OH"), molecule("C2H4")
    archive.add([ethanol, ethene, ethanol], [1.0, 0.5, 1.2])
    archive.add_demonstrations(relax)
    archive.add([ethanol], [1.2 + MIN_IMPROVEMENT / 2])
    archive.add_demonstrations(relax)
    assert asked == [2] and (archive.n_relaxed, archive.n_stable) == (2, 1)  # what was ethene is methane now
    assert archive.demonstrations["C2H6O"]["CCO"].total_return == 2.0 and not archive.demonstrations.get("C2H4")
    archive.add([ethanol], [1.3])  # built much better than before: it may lie in another minimum
    archive.add_demonstrations(lambda structures: [(ethanol, 1.9)])
    assert archive.demonstrations["C2H6O"]["CCO"].total_return == 2.0 and archive.n_relaxed == 2
    archive.add([ethanol], [1.4])
    archive.add_demonstrations(lambda structures: [(ethanol, 2.1)])
    assert archive.demonstrations["C2H6O"]["CCO"].total_return == 2.1
    again = Archive.from_state(archive.state_dict())
    assert again == archive


def test_clusters_are_named_by_their_molecules():
    pair = molecule("H2O")
    pair.extend(Atoms("OH2", molecule("H2O").positions + [0, 0, 3.0]))
    assert smiles_of(pair) is None and smiles_of(pair, 2) == "O.O" and smiles_of(pair, 3) is None
    del pair[-1]
    assert smiles_of(pair, 2) is None


def test_demonstrations_are_the_placements_that_built_the_molecule():
    task, numbers, positions = SingleBag("CH4O"), *(getattr(molecule("CH3OH"), k) for k in ("numbers", "positions"))
    row = Entry(1.0, numbers.tolist(), positions.tolist())
    like = VectorBuilding(task, Reward(spring), 1, 0).canvas
    canvas, action = demonstrated([row] * 6, range(6), like)
    assert canvas.counts.tolist() == list(range(6)) and canvas.bag.sum(1).tolist() == [6, 5, 4, 3, 2, 1]
    built = new_positions(canvas, action).numpy()
    assert np.allclose(built[1:], positions[1:], atol=1e-5)
    assert [like.elements[k] for k in action.element] == numbers.tolist()
    bonded = connectivity(molecule("CH3OH"))
    assert all((min(k, f), max(k, f)) in bonded for k, f in list(enumerate(action.focus.tolist()))[1:])
    far = Entry(1.0, [8, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.9]])
    assert is_buildable(row, 0, 0.8, 1.8) and not is_buildable(far, 0, 0.8, 1.8)


def test_imitation_makes_demonstrations_probable():
    task = SingleBag("H2O")
    policy = Policy(SMALL, task.elements, seed=1)
    like = VectorBuilding(task, Reward(spring), 1, 0).canvas
    optimizer, rng = torch.optim.Adam(policy.parameters(), lr=0.003), torch.Generator().manual_seed(0)
    archive = Archive(10)
    settings, ppo = ExpertIteration(steps=5), PPO(entropy_coef=0.0, continuous_entropy_coef=0.0)
    assert np.isnan(imitate(policy, optimizer, archive, Atoms(), like, settings, ppo, rng))
    water = molecule("H2O")
    archive.add([water], [0.3])
    archive.add_demonstrations()
    first, *_, last = [imitate(policy, optimizer, archive, Atoms(), like, settings, ppo, rng) for _ in range(20)]
    assert last > first + 1.0


def test_a_saved_agent_generates_each_candidate_for_itself(tmp_path):
    save_agent(trained(tmp_path / "run", "H2O", spring, 256).policy, tmp_path / "agent")
    agent = Agent(tiny.potential(), "H2O", str(tmp_path / "agent"))
    done = list(agent.generate(range(6), seed=3))
    (alone,) = agent.generate([4], seed=3)
    assert alone.atoms == done[4].atoms and alone.failure == done[4].failure
    assert len({c.atoms.positions.tobytes() for c in done}) == 6
    for candidate in done:
        whole = candidate.atoms.get_chemical_formula() == "H2O"
        assert whole if candidate.failure is None else candidate.failure.startswith("the episode ended: ")
    with pytest.raises(UserError, match="builds with H O, not with C"):
        Agent(tiny.potential(), "CH4", str(tmp_path / "agent"))


def test_the_bundled_agent_builds_what_it_never_saw():
    agent = Agent(load_potential("organic"), "C3H7NO")
    done = list(agent.generate(range(12), seed=0))
    whole = [candidate.atoms for candidate in done if candidate.failure is None]
    assert all(atoms.get_chemical_formula() == "C3H7NO" for atoms in whole)
    assert sum(smiles_of(atoms) is not None for atoms in whole) >= 3  # a quarter, of some half that is usual
    with pytest.raises(UserError, match="builds with H C N O F S Cl, not with Br"):
        Agent(load_potential("organic"), "CH3Br")


def test_agents_are_saved_and_refused(tmp_path):
    policy = Policy(SMALL, (1, 8), seed=2)
    save_agent(policy, tmp_path / "agent", steps=3)
    again = load_agent(str(tmp_path / "agent"))
    assert again.elements == (1, 8)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), again.parameters(), strict=True))
    with pytest.raises(UserError, match="neither bundled nor the folder of one"):
        load_agent(str(tmp_path))
    with pytest.raises(UserError, match="holds a potential, not an agent"):
        load_agent("organic")
    config = tmp_path / "agent" / "config.yaml"
    written = config.read_text()
    config.write_text(written.replace("min_distance", "shortest"))
    with pytest.raises(UserError, match="in which min_distance was shortest; rename the key"):
        load_agent(str(tmp_path / "agent"))
    config.write_text(written)
    with open(tmp_path / "agent" / "weights.safetensors", "ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match="do not match their hash"):
        load_agent(str(tmp_path / "agent"))


def fitted_anew(**changes) -> Potential:
    """A potential like the tiny one, other weights."""
    torch.manual_seed(2)
    net = mace.from_plain(tiny.settings(**changes), torch.float64).requires_grad_(False)
    return Potential(net, "newer", "1", "MIT", "none", chemical_potentials=tiny.CHEMICAL_POTENTIALS)


def test_an_agent_goes_on_learning_with_a_newer_fit_of_its_potential(tmp_path):
    old, newer = tiny.potential(), fitted_anew()
    described = PolicySettings(features=PotentialFeatures(layers=1, channels=8, max_l=2), width=16)
    policy = Policy(described, (1, 8), old, seed=2)
    save_agent(policy, tmp_path / "agent", potential="tiny", potential_sha256=old.weights_hash)
    agent = str(tmp_path / "agent")
    with pytest.raises(UserError, match="has other weights"):
        load_agent(agent, newer)
    moved = load_agent(agent, newer, moved=True)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), moved.parameters(), strict=True))
    with pytest.raises(UserError, match="does not fit the features"):
        load_agent(agent, fitted_anew(channels=16), moved=True)
