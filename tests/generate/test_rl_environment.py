"""Canvases, one environment and many, seeds, and going on exactly."""

import warnings
from io import BytesIO

import gymnasium
import numpy as np
import pytest
import torch
from ase import Atoms
from episodes import OH, RNG, Pairs, batch, draw, same, towards
from gymnasium.utils.env_checker import check_env, data_equivalence

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Canvas, new_positions
from gendesign.generate.rl.energies import teacher_energies
from gendesign.generate.rl.environment import MoleculeBuilding, VectorBuilding, seeds
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Scaffold, SeveralBags, SingleBag, Solvation, StochasticBag
from gendesign.objective import Objective


def test_canvas_and_atoms():
    structures = [Atoms("OH", OH[:2]), Atoms()]
    canvas = Canvas.build(structures, [{1: 1}, {8: 1, 1: 2}], (1, 8), 4)
    assert canvas.counts.tolist() == [2, 0] and canvas.bag.tolist() == [[1, 0], [2, 1]]
    assert canvas.filled.tolist() == [[True, True, False, False], [False] * 4]
    back = canvas.to(torch.float32).to_atoms()
    assert back[0].numbers.tolist() == [8, 1] and len(back[1]) == 0
    np.testing.assert_allclose(back[0].positions, OH[:2], atol=1e-6)
    action = batch(towards(OH[2], OH[0], 0, 0), towards(OH[2], OH[0], 0, 1))
    np.testing.assert_allclose(new_positions(canvas, action), [OH[2], [0, 0, 0]], atol=1e-12)
    with pytest.raises(UserError, match="2 atoms do not fit on a canvas of 1"):
        Canvas.build(structures, [{}, {}], (1,), 1)
    with pytest.raises(UserError, match="the bag holds F, but the actions have H O only"):
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
        reward = Reward(Pairs(broken=6), objective=Objective(["qed"], diversity_filter="scaffold"))
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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SingleBag(""), "task.formula: '' is not a chemical formula"),
        (lambda: SingleBag("water"), "not a chemical formula"),
        (lambda: SeveralBags([]), "give a list of one or more"),
        (lambda: SeveralBags(["H2O"], "shuffle"), "allowed are cycle, draw"),
        (lambda: StochasticBag("H", 5), "no closed-shell molecule of 5 atoms"),
        (lambda: StochasticBag("FeO", 4), "valence of Fe is not known"),
        (lambda: StochasticBag("CH4", "9-4"), "task.size=9-4 runs backwards"),
        (lambda: Solvation("nonsense"), "task.solute: nonsense does not exist"),
        (lambda: Solvation(n=0), "task.n=0"),
        (lambda: Scaffold(margin=None, max_distance=None), "give one of them"),
        (lambda: Scaffold("C6H6", margin=1.0), "12 atoms have no convex hull"),
        (lambda: VectorBuilding(SingleBag("CH4"), Reward(Pairs()), 1, slots=4), "canvas of 4 atoms is too small"),
        (lambda: VectorBuilding(SingleBag("CH4"), Reward(Pairs()), 0), "n_envs=0"),
        (lambda: MoleculeBuilding(SingleBag("CH4"), Reward(Pairs()), elements=(1,)), "needs C, but the actions have H"),
        (lambda: MoleculeBuilding(SingleBag("CH4"), Reward(teacher_energies("pm6")), distances=(2, 1)), "ascending"),
        (lambda: MoleculeBuilding(SingleBag("UO2"), Reward(teacher_energies("gfn2"))), "GFN2-xTB does not know U"),
        (lambda: Reward(Pairs(), min_reward=0.6), "reward.min_reward=0.6"),
        (lambda: Reward("gfn2"), "cannot be called"),
        (lambda: Reward(Pairs(), min_covalent_ratio=2), "reward.min_covalent_ratio=2"),
    ],
)
def test_what_cannot_be_is_one_line(make, said):
    with pytest.raises(UserError, match=said) as raised:
        make()
    assert "\n" not in str(raised.value)
