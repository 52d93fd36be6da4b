"""Guidance: forces against finite differences, schedule and clipping by hand, effect on a sampled swarm, errors."""

import math
import pickle

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gendesign.errors import UserError
from gendesign.generate.simgen.guidance import Guidance, Guidances
from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.restraints import Box, Contact, Distance, RadiusOfGyration, Sphere, Wall
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.state import Swarm, new_swarm
from gendesign.randomness import Purpose
from gendesign.run.conf import conf_folder
from gendesign.run.settings import resolve
from gendesign.structure.counter_random import keys, normal

RESTRAINTS = [
    RadiusOfGyration(2.0),
    Distance(0, 2, target=3.0),
    Distance(1, 0, low=4.0, high=5.0),
    Distance(0, (1.0, 2.0, 3.0), high=1.0),
    Contact([(1.0, 0.0, 0.0), (0.0, 3.0, 0.0)], 0.5, 2),
    Sphere(0.7, (0.1, 0.2, 0.3)),
    Box((-0.5, -math.inf, -0.5), (0.5, 0.3, math.inf)),
    Wall((1.0, 1.0, 0.0), (0.1, 0.0, 0.0)),
]


def swarm_of(sizes=(3, 5, 4), particles=2, width=1.2) -> Swarm:
    swarm = new_swarm(torch.tensor(sizes), keys(3, torch.arange(len(sizes))), particles)
    return swarm.at(width * normal(swarm.key, Purpose.START_POSITIONS, 3))


def each(swarm: Swarm) -> list[torch.Tensor]:
    """Positions of every system by itself, without padding."""
    return [swarm.positions[swarm.system == k] for k in range(swarm.n_systems)]


def alone(function, x: torch.Tensor) -> float:
    return float(function(x[None], torch.ones(1, len(x), dtype=torch.bool)))


@pytest.mark.parametrize("function", RESTRAINTS, ids=lambda f: type(f).__name__)
def test_forces_are_finite_differences_of_energies_without_padding(function):
    swarm, step, strength = swarm_of(), 1e-5, 1.7
    found = Guidance(function, strength=strength, clip=math.inf)(swarm, 0.5)
    wanted = []
    for x in each(swarm):
        force = torch.zeros_like(x)
        for i in range(x.shape[0]):
            for k in range(3):
                ahead, behind = x.clone(), x.clone()
                ahead[i, k] += step
                behind[i, k] -= step
                force[i, k] = -strength * (alone(function, ahead) - alone(function, behind)) / (2 * step)
        wanted.append(force)
    assert torch.allclose(found, torch.cat(wanted), atol=1e-6) and found.abs().max() > 0.1


def test_energies_by_hand():
    x = torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [0.0, 4, 0]], dtype=torch.float64)
    squares = [(x[i] - x.mean(0)).square().sum() for i in range(3)]
    radius = math.sqrt(sum(squares) / 3)
    assert alone(RadiusOfGyration(1.0), x) == pytest.approx(1.5 * (radius - 1) ** 2)
    assert alone(Distance(1, 2, target=4.0), x) == pytest.approx(0.5)
    assert alone(Distance(1, 2, low=2.0, high=5.5), x) == pytest.approx(0)
    assert alone(Distance(1, 2, low=7.0), x) == pytest.approx(2)
    assert alone(Distance(0, (0, 0, 2), high=1.0), x) == pytest.approx(0.5)
    assert alone(Distance(0, 7, target=1.0), x) == 0  # no such atom
    assert alone(Contact([(0, 0, 0)], 1.0, 1), x) == pytest.approx(0)
    assert alone(Contact([(0, 0, 0)], 1.0, 2), x) == pytest.approx(2)
    assert alone(Contact([(0, 0, 0)], 1.0, 9), x) == pytest.approx(2 + 4.5)
    assert alone(Sphere(1.0), x) == pytest.approx(2 + 4.5)
    assert alone(Box((-1, -1, -1), (1, 1, 1)), x) == pytest.approx(2 + 4.5)
    assert alone(Wall((0, 2, 0), (0, 1, 0)), x) == pytest.approx(4.5)


@pytest.mark.parametrize("function", RESTRAINTS, ids=lambda f: type(f).__name__)
def test_coinciding_atoms_give_finite_forces(function):
    swarm = new_swarm(torch.tensor([3, 4]), keys(0, torch.arange(2)), 1)
    assert torch.isfinite(Guidance(function)(swarm, 0.5)).all()


def test_schedule():
    made = Guidance(Sphere(1.0), start=1.0, stop=0.2, ramp=0.1, clip=math.inf)
    levels = [1.01, 1.0, 0.95, 0.9, 0.5, 0.3, 0.25, 0.2, 0.19]
    assert [made.weight(s) for s in levels] == pytest.approx([0, 0, 0.5, 1, 1, 1, 0.5, 0, 0])
    sudden = Guidance(Sphere(1.0), start=1.0, stop=0.2, ramp=0)
    assert [sudden.weight(s) for s in (1.1, 1.0, 0.2, 0.1)] == [0, 1, 1, 0]
    swarm = swarm_of()
    assert torch.allclose(made(swarm, 0.25), made(swarm, 0.5) / 2) and not made(swarm, 1.2).any()


def test_long_forces_are_shortened_and_keep_their_direction():
    swarm = swarm_of(width=3.0)
    free, cut = (Guidance(Sphere(0.5), clip=clip)(swarm, 0.5) for clip in (math.inf, 20.0))
    lengths = free.norm(dim=-1)
    assert (lengths > 20).any() and (lengths < 20).any()
    assert torch.allclose(cut.norm(dim=-1), lengths.clamp_max(20))
    assert torch.allclose(cut * lengths[:, None], free * cut.norm(dim=-1, keepdim=True))


def test_a_guided_swarm_goes_where_it_should():
    swarm = swarm_of((6, 9), width=2.0)
    settings = dict(strength=10.0, ramp=0)
    made = [Guidance(RadiusOfGyration(1.5), **settings), Guidance(Distance(0, 1, target=2.5), **settings)]
    with torch.no_grad():  # as the generator may run it
        found, exploded = integrate(swarm, made, simgen_sigmas(60), Heun(churn=0))
    assert not exploded.any()
    for x in each(found):
        assert (x - x.mean(0)).square().sum(-1).mean().sqrt().item() == pytest.approx(1.5, abs=0.05)
        assert (x[0] - x[1]).norm().item() == pytest.approx(2.5, abs=0.1)


def test_exploded_systems_are_left_to_the_sampler():
    swarm = swarm_of()
    broken = swarm.positions.clone()
    broken[swarm.system == 2] = torch.nan
    made = Guidance(RadiusOfGyration(1.0))
    found, sound = made(swarm.at(broken), 0.5), made(swarm, 0.5)
    others = swarm.system != 2
    assert torch.equal(found[others], sound[others]) and not found[~others].any()


def test_own_functions_from_files(tmp_path):
    (tmp_path / "pull.py").write_text(
        "def pull(positions, mask):\n    return (mask[..., None] * positions).square().sum((1, 2)) / 2\n"
    )
    made = Guidance(f"{tmp_path}/pull.py:pull", strength=2.0, clip=math.inf)
    swarm = swarm_of()
    assert torch.allclose(made(swarm, 0.5), -2 * swarm.positions)
    assert torch.equal(pickle.loads(pickle.dumps(made))(swarm, 0.5), made(swarm, 0.5))


def root(positions, mask):
    return (positions - positions.detach()).square().sum((1, 2)).sqrt()


def unsound(positions, mask):
    return positions.sum((1, 2)) / 0 * 0


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (root, "'root' gave a gradient that is not finite"),
        (unsound, "'unsound' gave an energy that is not finite"),
        (lambda positions, mask: positions.sum(), r"shape \(6,\)"),
        (lambda positions, mask: 1.0, "gave float"),
        (lambda positions, mask: positions.detach().sum((1, 2)), "do not depend on the positions"),
        (lambda positions, mask: positions[:, 99].sum(-1), "failed .IndexError"),
    ],
)
def test_functions_that_fail_are_named_in_one_line(function, said):
    with pytest.raises(UserError, match=said) as error:
        Guidance(function)(swarm_of(), 0.5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Guidance("nowhere.py:f"), "no file nowhere.py"),
        (lambda: Guidance("compact"), "names no function"),
        (lambda: Guidance(lambda positions: 0), "is called as"),
        (lambda: Guidance(Sphere(1), start=0.1, stop=0.2), "0 <= stop < start"),
        (lambda: Guidance(Sphere(1), strength=-1), "strength=-1"),
        (lambda: Guidance(Sphere(1), clip=0), "clip=0"),
        (lambda: Sphere(0), "radius=0"),
        (lambda: Sphere(1, (0, 0)), "x, y and z"),
        (lambda: Box((0, 0, 0), (1, 0, 1)), "low below high"),
        (lambda: Wall((0, 0, 0)), "a direction"),
        (lambda: Contact([], 1.0), "points="),
        (lambda: Contact([(0, 0, 0)], 1.0, 0), "count=0"),
        (lambda: Distance(0, 0, target=1), "two different places"),
        (lambda: Distance(0, 1), "0 <= low <= high"),
        (lambda: Distance(0, 1, target=1, low=1), "a target of 0 or more, or low and high"),
        (lambda: Distance((0, 0, 0), (1, 1, 1), target=1), "one slot at least"),
        (lambda: Distance(-1, 1, target=1), "first=-1"),
        (lambda: RadiusOfGyration(-1), "target=-1"),
    ],
)
def test_mistakes_are_one_line(make, said):
    with pytest.raises(UserError, match=said) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "path", sorted((conf_folder() / "generator" / "guidance").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_choice_of_the_settings_can_be_made(path):
    made = instantiate(OmegaConf.load(path), _convert_="all")
    assert len(made) == (path.stem != "none")
    for guidance in made:
        assert torch.isfinite(guidance(swarm_of(), 0.5)).all()


def test_keys_of_the_command_line(tmp_path):
    config = resolve("generate", ["generator/guidance=contact", "generator.guidance.function.points=[[1,2,3],[0,0,4]]"])
    made = instantiate(config.generator.guidance, _convert_="all")
    assert made[0].function.points == ((1.0, 2.0, 3.0), (0.0, 0.0, 4.0))
    box = resolve("generate", ["generator/guidance=box", "generator.guidance.function.low=[-inf,-1,-1]"])
    assert instantiate(box.generator.guidance, _convert_="all")[0].function.low == (-math.inf, -1, -1)
    (tmp_path / "own.py").write_text("def f(positions, mask):\n    return positions.square().sum((1, 2))\n")
    own = resolve("generate", [f"generator.guidance.function={tmp_path}/own.py:f", "generator.guidance.strength=2"])
    (made,) = instantiate(own.generator.guidance, _convert_="all")
    assert made.strength == 2 and made.name.endswith("own.py:f")
    assert not len(Guidances()) and len(Guidances([Sphere(1.0), Wall((1, 0, 0))])) == 2
