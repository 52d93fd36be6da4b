"""Rewards by hand, lowest rewards, and the energies behind them."""

import numpy as np
import pytest
import tiny
from ase import Atoms, units
from ase.build import molecule
from episodes import OH, Pairs, batch, towards, water

from gendesign.errors import UserError
from gendesign.generate.rl.energies import potential_energies, returns_of, teacher_energies
from gendesign.generate.rl.environment import MoleculeBuilding, VectorBuilding
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import SeveralBags, SingleBag
from gendesign.objective import Objective


@pytest.mark.parametrize("at_end", [False, True])
def test_rewards_by_hand(at_end):
    env = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs(), at_end=at_end))
    env.reset(seed=0)
    steps = water(env)
    hh = np.linalg.norm(np.subtract(OH[1], OH[2]))
    byhand = [0.0, -0.1 / 0.96, -0.1 / np.linalg.norm(OH[2]) - 0.1 / hh]
    expected = [0.0, 0.0, sum(byhand)] if at_end else byhand
    np.testing.assert_allclose([step[1] for step in steps], expected, atol=1e-12)
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (True, False)]
    info = steps[-1][4]
    assert info["reason"] == "" and info["length"] == 3 and info["return"] == pytest.approx(sum(byhand))
    assert info["atoms"].get_chemical_formula() == "H2O"
    assert returns_of([info["atoms"]], Pairs())[0] == pytest.approx(sum(byhand))
    np.testing.assert_allclose(steps[-1][0]["positions"], OH, atol=1e-12)


@pytest.mark.parametrize(
    ("formula", "places", "reason"),
    [
        ("H2", [[0, 0, 0], [0.74, 0, 0]], "isolated atom"),
        ("F2", [[0, 0, 0], [1.4, 0, 0]], "isolated atom"),
        ("H2O", [OH[0], OH[1], [-2.1, 0, 0]], "isolated atom"),
        ("H2O", [OH[0], OH[1], [1.9, 0, 0]], ""),  # beside the other hydrogen, but within reach of oxygen
        ("H2O", [OH[0], OH[1], [1.5, 0, 0]], "too close"),
        ("H2O", [OH[0], [0.5, 0, 0]], "too close"),
        ("CO", [[0, 0, 0], [7.0, 0, 0]], ""),  # far apart, but neither is one of H, F, Cl, Br
        ("H2O", [OH[0], [0.1, 0, 0]], "too close"),
    ],
)
def test_placements_against_geometry_get_the_lowest_reward(formula, places, reason):
    env = MoleculeBuilding(SingleBag(formula), Reward(Pairs()))
    env.reset(seed=0)
    heavy = len(env.elements) - 1
    *_, (_, reward, terminated, truncated, info) = (
        env.step(towards(x, places[0], 0, 0 if k else heavy)) for k, x in enumerate(places)
    )
    assert (terminated, truncated, info["reason"]) == (True, False, reason)
    assert (reward == -0.6) == bool(reason)


def test_low_energies_and_invalid_actions_get_the_lowest_reward():
    env = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs(), min_reward=-0.1))
    env.reset(seed=0)
    _, reward, terminated, _, info = water(env, OH[:2])[-1]
    assert reward == -0.1 and terminated and info["reason"] == "reward below minimum"
    env.reset()
    for action in (towards(OH[0], OH[0], 0, 1), towards(OH[1], OH[0], 2, 0)):  # the focus is an empty slot
        answer = env.step(action)
    assert answer[1] == -0.1 and answer[4]["reason"] == "invalid action" and len(answer[4]["atoms"]) == 1
    env.reset()
    for action in (towards(OH[0], OH[0], 0, 1), towards(OH[1], OH[0], 0, 1)):  # there is no second oxygen
        answer = env.step(action)
    assert answer[1] == -0.1 and answer[4]["reason"] == "invalid action"


def test_an_episode_without_energy_ends_and_is_counted():
    env = VectorBuilding(SeveralBags(["CO", "NO"]), Reward(Pairs(broken=7)), 2)
    where = {8: env.elements.index(8)}
    env.step(batch(*[towards([0, 0, 0], [0, 0, 0], 0, where[8])] * 2))
    step = [towards([1.2, 0, 0], [0, 0, 0], 0, env.elements.index(z)) for z in (6, 7)]
    _, rewards, done, infos = env.step(batch(*step))
    assert done.tolist() == [True, True] and env.failures == 1
    assert rewards[1] == pytest.approx(-0.6) and infos[1]["reason"] == "no energy"
    assert rewards[0] == pytest.approx(-0.1 / 1.2) and infos[0]["reason"] == ""


@pytest.mark.parametrize(
    ("at_end", "max_gain", "reason"),
    [(False, 1.0, "implausible energy"), (True, 2.9, ""), (True, 1.0, "implausible energy"), (False, None, "")],
)
def test_holes_of_a_potential_are_not_rewarded(at_end, max_gain, reason):
    def hole(structures):  # 5 Hartree below where two atoms are nearer than 0.7 Angstrom
        return np.array([-5.0 * (len(a) == 2 and a.get_distance(0, 1) < 0.7) for a in structures])

    env = VectorBuilding(
        SingleBag("CO"), Reward(hole, at_end=at_end, min_covalent_ratio=0, max_gain_per_atom=max_gain), 1
    )
    for x in ([0, 0, 0], [0.65, 0, 0]):
        step = towards(x, [0, 0, 0], 0, int(x[0] == 0))
        _, rewards, _, infos = env.step(batch(step))
    assert infos[0]["reason"] == reason and env.failures == bool(reason)
    assert rewards[0] == pytest.approx(-0.6 if reason else 5.0)
    shut = VectorBuilding(SingleBag("CO"), Reward(hole), 1)  # carbon and oxygen: 0.7 (0.76 + 0.66)
    for x in ([0, 0, 0], [0.99, 0, 0]):
        infos = shut.step(batch(towards(x, [0, 0, 0], 0, int(x[0] == 0))))[3]
    assert infos[0]["reason"] == "too close"


def test_water_by_the_teacher_is_water_by_tblite():
    from tblite.interface import Calculator

    def direct(numbers, positions, unpaired):
        calc = Calculator("GFN2-xTB", np.array(numbers), np.array(positions) / units.Bohr, uhf=unpaired)
        if unpaired:
            calc.add("spin-polarization", 1.0)
        calc.set("verbosity", 0)
        return calc.singlepoint().get("energy")

    env = MoleculeBuilding(SingleBag("H2O"), Reward(teacher_energies("gfn2")))
    env.reset(seed=0)
    rewards = [step[1] for step in water(env)]
    lone = {8: direct([8], OH[:1], 2), 1: direct([1], OH[:1], 1)}
    chain = [lone[8], direct([8, 1], OH[:2], 1), direct([8, 1, 1], OH, 0)]
    expected = [0.0, chain[0] + lone[1] - chain[1], chain[1] + lone[1] - chain[2]]
    np.testing.assert_allclose(rewards, expected, atol=2e-6)
    assert sum(rewards) == pytest.approx(0.4, abs=0.1)


def test_pm6_gives_the_published_numbers():
    pm6 = teacher_energies("pm6")
    assert returns_of([Atoms("H2", [[0, 0, 0], [0, 0, 1]])], pm6)[0] == pytest.approx(0.1696435, abs=1e-6)
    assert returns_of([molecule("CH3OH")], pm6)[0] == pytest.approx(1.0275, abs=0.01)
    with pytest.raises(UserError, match="allowed are gfn2, pm6"):
        teacher_energies("am1")


def test_the_potential_is_evaluated_once_and_isolated_atoms_come_from_its_table(monkeypatch):
    potential = tiny.potential()
    energies, asked = potential_energies(potential), []
    answer = type(potential).energies
    monkeypatch.setattr(type(potential), "energies", lambda p, s: asked.append(len(s)) or answer(p, s))
    far = Atoms("CO", [[0, 0, 0], [0, 0, 50]])
    found = energies([Atoms(), Atoms("H"), molecule("H2O"), far])
    assert asked == [2] and found[0] == 0 and found[1] == -13.5 / units.Hartree
    assert found[3] == pytest.approx((-1029.5 - 2042.0) / units.Hartree)
    assert found[2] * units.Hartree == pytest.approx(float(potential.evaluate([molecule("H2O")]).energy[0]))
    with pytest.raises(UserError, match="does not know F; it knows H C N O"):
        VectorBuilding(SingleBag("CH3F"), Reward(energies), 2)


def test_a_finished_molecule_is_rewarded_by_its_objective():
    objective = Objective([lambda atoms, mol: 0.25])
    env = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs(), objective=objective, objective_weight=2.0))
    plain = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs()))
    env.reset(seed=0), plain.reset(seed=0)
    with_score, without = water(env), water(plain)
    extra = np.subtract([step[1] for step in with_score], [step[1] for step in without])
    np.testing.assert_allclose(extra, [0, 0, 0.5], atol=1e-12)
    assert with_score[-1][4]["score"] == 0.25 and list(with_score[-1][4]["scores"].values()) == [0.25]
    assert with_score[-1][4]["return"] == pytest.approx(without[-1][4]["return"] + 0.5)
