"""Building atom by atom: tasks, rewards by hand, floors, one environment and many, seeds, and going on exactly."""

import warnings
from dataclasses import replace
from io import BytesIO

import gymnasium
import numpy as np
import pytest
import tiny
import torch
import yaml
from ase import Atoms, units
from ase.build import molecule
from gymnasium.utils.env_checker import check_env, data_equivalence

from gendesign.generate.rl.canvas import Action, Canvas, placed
from gendesign.generate.rl.energies import potential_energies, returned, teacher_energies
from gendesign.generate.rl.environment import MoleculeBuilding, VectorBuilding, seeds
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Scaffold, SeveralBags, SingleBag, Solvation, StochasticBag, has_closed_shell
from gendesign.objective import Objective
from gendesign.run.settings import conf_folder
from gendesign.structure.lewis import VALENCES
from gendesign.structure.types import UserError
from gendesign.train.teacher import make_teacher  # it makes an object of any `_target_`

RNG = np.random.default_rng
OH = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]  # water, oxygen first


class Pairs:
    """Sum of 0.1 / r over pairs (Hartree), -z per atom; counts its calls, and answers NaN for `broken` elements."""

    def __init__(self, broken: int = 0):
        self.broken, self.calls = broken, []

    def __call__(self, structures):
        self.calls.append(len(structures))
        return np.array([self.one(atoms) for atoms in structures])

    def one(self, atoms: Atoms) -> float:
        apart = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)] if len(atoms) else np.zeros(0)
        return np.nan if self.broken in atoms.numbers else float((0.1 / apart).sum() - atoms.numbers.sum())


def towards(target, focus_position, focus: int, element: int) -> dict:
    step = np.asarray(target) - focus_position
    length = float(np.linalg.norm(step)) or 1.0
    return {"focus": focus, "element": element, "distance": length, "direction": step / length}


def batch(*actions: dict) -> Action:
    kinds = {"focus": torch.long, "element": torch.long, "distance": torch.float64, "direction": torch.float64}
    return Action(*(torch.tensor(np.array([a[key] for a in actions]), dtype=kind) for key, kind in kinds.items()))


def water(env: MoleculeBuilding, positions=OH) -> list:
    """Steps of oxygen, then two hydrogens on it; `elements` of water are (1, 8)."""
    return [env.step(towards(x, positions[0], 0, int(k == 0))) for k, x in enumerate(positions)]


def same(observation: dict, canvas: Canvas) -> bool:
    """Whether gymnasium's observation is the one row of `canvas`, up to a direction that was normalised twice."""
    return all(np.allclose(value, getattr(canvas, key)[0], atol=1e-12) for key, value in observation.items())


def draw(rng: np.random.Generator, canvas: Canvas) -> Action:
    """Something that bag and canvas have."""
    choices = []
    for bag, count in zip(canvas.bag.numpy(), canvas.counts.tolist(), strict=True):
        way = rng.normal(size=3)
        focus, element = int(rng.integers(max(1, count))), int(rng.choice(np.flatnonzero(bag)))
        choices.append(
            {
                "focus": focus,
                "element": element,
                "distance": rng.uniform(0.9, 1.6),
                "direction": way / np.sqrt(way @ way),
            }
        )
    return batch(*choices)


def test_canvas_and_atoms():
    structures = [Atoms("OH", OH[:2]), Atoms()]
    canvas = Canvas.build(structures, [{1: 1}, {8: 1, 1: 2}], (1, 8), 4)
    assert canvas.counts.tolist() == [2, 0] and canvas.bag.tolist() == [[1, 0], [2, 1]]
    assert canvas.filled.tolist() == [[True, True, False, False], [False] * 4]
    back = canvas.to(torch.float32).to_atoms()
    assert back[0].numbers.tolist() == [8, 1] and len(back[1]) == 0
    np.testing.assert_allclose(back[0].positions, OH[:2], atol=1e-6)
    action = batch(towards(OH[2], OH[0], 0, 0), towards(OH[2], OH[0], 0, 1))
    np.testing.assert_allclose(placed(canvas, action), [OH[2], [0, 0, 0]], atol=1e-12)
    with pytest.raises(UserError, match="2 atoms do not fit on a canvas of 1"):
        Canvas.build(structures, [{}, {}], (1,), 1)
    with pytest.raises(UserError, match="the bag holds F, but the actions know H O only"):
        Canvas.build(structures, [{9: 1}, {}], (1, 8), 4)


def test_gymnasium_accepts_it_and_its_seed():
    env = gymnasium.make("MoleculeBuilding-v0", task=StochasticBag("C2H6O", "5-9"), reward=Reward(Pairs()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # gymnasium's complaints
        check_env(env.unwrapped, skip_render_check=True)
    first = [env.reset(seed=4)[0], env.reset()[0], env.reset()[0]]
    again = [env.reset(seed=4)[0], env.reset()[0], env.reset()[0]]
    assert data_equivalence(first, again) and not data_equivalence(first[0], env.reset(seed=5)[0])
    with pytest.raises(UserError, match="reset first"):
        MoleculeBuilding(SingleBag("H2O"), Reward(Pairs())).step({})


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
    assert returned([info["atoms"]], Pairs())[0] == pytest.approx(sum(byhand))
    np.testing.assert_allclose(steps[-1][0]["positions"], OH, atol=1e-12)


@pytest.mark.parametrize(
    ("formula", "places", "reason"),
    [
        ("H2", [[0, 0, 0], [0.74, 0, 0]], "stray"),
        ("F2", [[0, 0, 0], [1.4, 0, 0]], "stray"),
        ("H2O", [OH[0], OH[1], [-2.1, 0, 0]], "stray"),
        ("H2O", [OH[0], OH[1], [1.9, 0, 0]], ""),  # beside the other hydrogen, but within reach of oxygen
        ("H2O", [OH[0], OH[1], [1.5, 0, 0]], "too close"),
        ("H2O", [OH[0], [0.5, 0, 0]], "too close"),
        ("CO", [[0, 0, 0], [7.0, 0, 0]], ""),  # far apart, but neither is one of H, F, Cl, Br
        ("H2O", [OH[0], [0.1, 0, 0]], "too close"),
    ],
)
def test_the_floor_of_geometry(formula, places, reason):
    env = MoleculeBuilding(SingleBag(formula), Reward(Pairs()))
    env.reset(seed=0)
    heavy = len(env.elements) - 1
    *_, (_, reward, terminated, truncated, info) = (
        env.step(towards(x, places[0], 0, 0 if k else heavy)) for k, x in enumerate(places)
    )
    assert (terminated, truncated, info["reason"]) == (True, False, reason)
    assert (reward == -0.6) == bool(reason)


def test_the_floor_of_energy_and_of_what_is_not_there():
    env = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs(), floor=-0.1))
    env.reset(seed=0)
    _, reward, terminated, _, info = water(env, OH[:2])[-1]
    assert reward == -0.1 and terminated and info["reason"] == "floor"
    env.reset()
    for action in (towards(OH[0], OH[0], 0, 1), towards(OH[1], OH[0], 2, 0)):  # the focus is an empty slot
        answer = env.step(action)
    assert answer[1] == -0.1 and answer[4]["reason"] == "impossible" and len(answer[4]["atoms"]) == 1
    env.reset()
    for action in (towards(OH[0], OH[0], 0, 1), towards(OH[1], OH[0], 0, 1)):  # there is no second oxygen
        answer = env.step(action)
    assert answer[1] == -0.1 and answer[4]["reason"] == "impossible"


def test_many_are_as_single_ones_with_one_call_a_step():
    task, energies, n = StochasticBag("CH4O", "4-7"), Pairs(), 5
    many = VectorBuilding(task, Reward(energies), n, seed=3, dtype=torch.float64)
    singles = [MoleculeBuilding(task, Reward(Pairs())) for _ in range(n)]
    shown = [env.reset(seed=s)[0] for env, s in zip(singles, seeds(3, n), strict=True)]
    rng, ended = RNG(0), 0
    for _ in range(25):
        canvas, calls = many.canvas, len(energies.calls)
        for i in range(n):
            assert same(shown[i], canvas[[i]])
        action = draw(rng, canvas)
        canvas, rewards, done, infos = many.step(action)
        assert len(energies.calls) <= calls + 1
        for i, env in enumerate(singles):
            parts = {k: getattr(action, k)[i].numpy() for k in ("focus", "element", "distance", "direction")}
            shown[i], reward, terminated, truncated, info = env.step(parts)
            assert rewards[i] == pytest.approx(reward, abs=1e-12) and bool(done[i]) == (terminated or truncated)
            if done[i]:
                ended += 1
                assert same(shown[i], infos[i]["canvas"])
                assert info["return"] == pytest.approx(infos[i]["return"]) and info["reason"] == infos[i]["reason"]
                np.testing.assert_allclose(info["atoms"].positions, infos[i]["atoms"].positions, atol=1e-12)
                shown[i] = env.reset()[0]
    assert ended > 5


def test_going_on_is_as_not_having_stopped():
    def make():
        reward = Reward(Pairs(broken=6), objective=Objective(["qed"], memory="scaffold"))
        return VectorBuilding(StochasticBag("CH4O", "3-6"), reward, 4, seed=1)

    def walk(env, rng, steps):
        out = []
        for _ in range(steps):
            canvas, rewards, done, _ = env.step(draw(rng, env.canvas))
            out += [canvas.positions, canvas.numbers, canvas.bag, rewards, done]
        return out

    whole, rng = make(), RNG(5)
    walk(whole, rng, 7)
    buffer, random = BytesIO(), rng.bit_generator.state
    torch.save(whole.state_dict(), buffer)
    kept = torch.load(BytesIO(buffer.getvalue()), weights_only=True)  # plain values only
    rest = walk(whole, rng, 15)
    other, rng = make(), RNG()
    other.load_state_dict(kept)
    rng.bit_generator.state = random
    assert all(torch.equal(a, b) for a, b in zip(rest, walk(other, rng, 15), strict=True))
    assert other.failures == whole.failures > 0
    with pytest.raises(UserError, match="4 environments"):
        VectorBuilding(SingleBag("H2O"), Reward(Pairs()), 2).load_state_dict(kept)


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
    ("at_end", "ceiling", "reason"),
    [(False, 1.0, "unlikely energy"), (True, 2.9, ""), (True, 1.0, "unlikely energy"), (False, None, "")],
)
def test_holes_of_a_potential_do_not_pay(at_end, ceiling, reason):
    def hole(structures):  # 5 Hartree below where two atoms are nearer than 0.7 Angstrom
        return np.array([-5.0 * (len(a) == 2 and a.get_distance(0, 1) < 0.7) for a in structures])

    env = VectorBuilding(SingleBag("CO"), Reward(hole, at_end=at_end, ceiling=ceiling), 1)
    for x in ([0, 0, 0], [0.65, 0, 0]):
        step = towards(x, [0, 0, 0], 0, int(x[0] == 0))
        _, rewards, _, infos = env.step(batch(step))
    assert infos[0]["reason"] == reason and env.failures == bool(reason)
    assert rewards[0] == pytest.approx(-0.6 if reason else 5.0)
    shut = VectorBuilding(SingleBag("CO"), Reward(hole, contact=0.7), 1)  # carbon and oxygen: 0.7 (0.76 + 0.66)
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
    assert returned([Atoms("H2", [[0, 0, 0], [0, 0, 1]])], pm6)[0] == pytest.approx(0.1696435, abs=1e-6)
    assert returned([molecule("CH3OH")], pm6)[0] == pytest.approx(1.0275, abs=0.01)
    with pytest.raises(UserError, match="allowed are gfn2, pm6"):
        teacher_energies("am1")


def test_the_potential_is_asked_once_and_its_lone_atoms_by_table(monkeypatch):
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


def test_a_finished_molecule_is_paid_its_objective():
    objective = Objective([lambda atoms, mol: 0.25])
    env = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs(), objective=objective, weight=2.0))
    plain = MoleculeBuilding(SingleBag("H2O"), Reward(Pairs()))
    env.reset(seed=0), plain.reset(seed=0)
    with_score, without = water(env), water(plain)
    extra = np.subtract([step[1] for step in with_score], [step[1] for step in without])
    np.testing.assert_allclose(extra, [0, 0, 0.5], atol=1e-12)
    assert with_score[-1][4]["score"] == 0.25 and list(with_score[-1][4]["scores"].values()) == [0.25]
    assert with_score[-1][4]["return"] == pytest.approx(without[-1][4]["return"] + 0.5)


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


def test_solvation_refills_and_pulls_to_the_middle():
    task = Solvation("H2CO", "H2O", n=2)
    assert task.sizes == (7, 10) and np.allclose(task.given.positions.mean(0), 0)
    env = MoleculeBuilding(task, Reward(Pairs(), floor=-50.0), distances=(0.8, 2.8))
    observation, _ = env.reset(seed=0)
    assert observation["numbers"].tolist()[:4] == task.given.numbers.tolist()
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
    env = VectorBuilding(Solvation("H2CO", "H2O", n=3), Reward(Pairs(), floor=-50.0), 1, slots=8)
    for k, x in enumerate([*(np.array(OH) + [0, 0, 5.0]), np.array([0, 0, -5.0])]):
        there = env.canvas.to_atoms()[0].positions[0]
        element = env.elements.index(1 if k in (1, 2) else 8)
        _, _, done, infos = env.step(batch(towards(x, there, 0, element)))
    assert done.tolist() == [True] and infos[0]["truncated"] and infos[0]["reason"] == "canvas full"
    assert infos[0]["canvas"].counts.tolist() == [8] and infos[0]["canvas"].bag.sum() == 2
    assert env.canvas.counts.tolist() == [4]


def test_given_atoms_are_asked_along_with_the_rest():
    energies = Pairs()
    env = VectorBuilding(Scaffold("CH4", "H2O", reach=9.0), Reward(energies, floor=-50.0), 2)
    assert energies.calls == []
    env.step(batch(*[towards([0, 0, 3.0], [0, 0, 0], 0, env.elements.index(8))] * 2))
    assert energies.calls == [5]  # two new, two given, the lone atom


def test_scaffold_regions(tmp_path):
    cube = Atoms("Ne8", [[x, y, z] for x in (0, 4) for y in (0, 4) for z in (0, 4)])
    hull = Scaffold(cube, "CO", margin=0.5, reach=None)
    places = {(2, 2, 2): True, (4.4, 2, 2): True, (4.6, 2, 2): False, (2, -0.6, 2): False}
    assert {x: hull.allows(np.array(x, float)) for x in places} == places
    assert not Scaffold(cube, "CO", reach=3.4).allows(np.array([2.0, 2, 2]))  # the middle is 3.46 from every corner
    cube.write(tmp_path / "cube.xyz")
    assert Scaffold(str(tmp_path / "cube.xyz"), "CO", reach=3.5).allows(np.array([2.0, 2, 2]))
    env = MoleculeBuilding(hull, Reward(Pairs(), floor=-500.0))
    env.reset(seed=0)
    where = env.elements.index(6)
    _, reward, terminated, _, info = env.step(towards([0, 0, -1.5], [0, 0, 0], 0, where))
    assert reward == -500.0 and terminated and info["reason"] == "outside" and len(info["atoms"]) == 8


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SingleBag(""), "task.formula: '' is not a chemical formula"),
        (lambda: SingleBag("water"), "not a chemical formula"),
        (lambda: SeveralBags([]), "give a list of one or more"),
        (lambda: SeveralBags(["H2O"], "shuffle"), "allowed are cycle, draw"),
        (lambda: StochasticBag("H", 5), "no molecule of 5 atoms was found"),
        (lambda: StochasticBag("FeO", 4), "valence of Fe is not known"),
        (lambda: StochasticBag("CH4", "9-4"), "task.size=9-4 runs backwards"),
        (lambda: Solvation("nonsense"), "task.solute: nonsense does not exist"),
        (lambda: Solvation(n=0), "task.n=0"),
        (lambda: Scaffold(margin=None, reach=None), "give one of them"),
        (lambda: Scaffold("C6H6", margin=1.0), "12 atoms have no convex hull"),
        (lambda: VectorBuilding(SingleBag("CH4"), Reward(Pairs()), 1, slots=4), "canvas of 4 atoms is too small"),
        (lambda: VectorBuilding(SingleBag("CH4"), Reward(Pairs()), 0), "environments=0"),
        (lambda: MoleculeBuilding(SingleBag("CH4"), Reward(Pairs()), elements=(1,)), "needs C, but the actions know H"),
        (lambda: MoleculeBuilding(SingleBag("CH4"), Reward(teacher_energies("pm6")), distances=(2, 1)), "ascending"),
        (lambda: MoleculeBuilding(SingleBag("UO2"), Reward(teacher_energies("gfn2"))), "GFN2-xTB does not know U"),
        (lambda: Reward(Pairs(), floor=0.6), "reward.floor=0.6"),
        (lambda: Reward("gfn2"), "cannot be called"),
        (lambda: Reward(Pairs(), contact=2), "reward.contact=2"),
    ],
)
def test_what_cannot_be_is_one_line(make, said):
    with pytest.raises(UserError, match=said) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_the_files_of_conf_are_the_defaults():
    for path in sorted((conf_folder() / "task").glob("*.yaml")):
        task = make_teacher(yaml.safe_load(path.read_text()))
        assert task == type(task)(), path
        assert sum(task.start(RNG(0))[0].values()) > 0
