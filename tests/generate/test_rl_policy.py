"""The policy: exact distributions, the symmetries of space, and nothing but what the bag and the canvas allow."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule
from e3nn import o3
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.distributions import MaskedCategorical, TruncatedGaussianMixture
from gendesign.generate.rl.features import MessagePassing, PotentialFeatures
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.generate.rl.sphere import Directions, harmonics

ELEMENTS = (1, 6, 7, 8)
EXTRACTORS = [MessagePassing(), PotentialFeatures(descriptor_layers=1, channels=8, max_l=2)]


@pytest.fixture(autouse=True)
def same_rotations():
    torch.manual_seed(0)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coefficients(batch: int, max_l: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, (max_l + 1) ** 2, generator=draws(seed), dtype=torch.float64)


def product_rule() -> tuple[torch.Tensor, torch.Tensor]:
    """Gauss-Legendre in z times trapezoids in phi: knows nothing of Lebedev."""
    z, weights = np.polynomial.legendre.leggauss(160)
    phi = (np.arange(320) + 0.5) * (2 * math.pi / 320)
    z, phi = (grid.ravel() for grid in np.meshgrid(z, phi, indexing="ij"))
    points = np.stack([np.sqrt(1 - z * z) * np.cos(phi), np.sqrt(1 - z * z) * np.sin(phi), z], 1)
    return torch.tensor(points), torch.tensor(np.repeat(weights, 320) * (2 * math.pi / 320))


def many(one: Directions, n: int) -> torch.Tensor:
    """`n` draws of one distribution, some hundreds at a time."""
    several = Directions(one.coefficients.expand(500, -1), one.sharpness, one.max_sharpness)
    generator = draws()
    return torch.cat([several.sample(generator) for _ in range(n // 500)])


# --- the sphere ---------------------------------------------------------------------------------------------


def test_harmonics_are_those_of_e3nn():
    x = torch.randn(50, 3, dtype=torch.float64, generator=draws())
    expected = o3.spherical_harmonics(list(range(5)), x, normalize=True, normalization="integral")
    assert torch.allclose(harmonics(x, 4), expected, atol=1e-12)


@pytest.mark.parametrize("max_l, sharpness", [(1, 10.0), (3, 10.0), (4, 10.0), (4, 20.0)])
def test_directions_are_normalised_by_an_independent_rule(max_l, sharpness):
    points, weights = product_rule()
    pole = torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, 0.8]], dtype=torch.float64), dim=1)
    peaked = harmonics(pole, max_l)  # the narrowest peak there is
    for a in [*coefficients(4, max_l).split(1), peaked]:
        one = Directions(a, sharpness, sharpness)
        log_p = one.log_prob(points)  # one distribution, many points
        assert float((log_p.exp() * weights).sum()) == pytest.approx(1.0, abs=1e-5)
        assert float(-(log_p.exp() * log_p * weights).sum()) == pytest.approx(float(one.entropy()), abs=1e-4)


def test_directions_turn_with_their_coefficients():
    a, x = coefficients(20, 4), torch.nn.functional.normalize(coefficients(20, 1, seed=1)[:, :3], dim=1)
    turn = o3.rand_matrix().double()
    wigner = o3.Irreps.spherical_harmonics(4).D_from_matrix(turn)
    before = Directions(a, 10.0, 10.0)
    after = Directions(a @ wigner.T, 10.0, 10.0)
    assert torch.allclose(before.log_prob(x), after.log_prob(x @ turn.T), atol=1e-5)
    # the mode is found to 1e-4 radian, where the density is flat
    assert torch.allclose(before.log_prob(before.mode()), after.log_prob(after.mode()), atol=1e-5)


def test_the_mode_is_the_densest_direction():
    points, _ = product_rule()
    for a in coefficients(4, 4).split(1):
        one = Directions(a, 10.0, 10.0)
        best = one.log_prob(points).max()
        assert float(one.log_prob(one.mode())) >= float(best) - 1e-6


@pytest.mark.parametrize("peaked", [False, True])
def test_drawn_directions_follow_the_density(peaked):
    n, bands, sectors = 6_000, 8, 8
    a = harmonics(torch.tensor([[0.48, 0.36, 0.8]], dtype=torch.float64), 4) if peaked else coefficients(1, 4)
    one = Directions(a, 10.0, 10.0)
    x = many(one, n)
    assert torch.allclose(x.norm(dim=1), torch.ones(n, dtype=torch.float64))
    points, weights = product_rule()
    mass = one.log_prob(points).exp() * weights

    def cell(v):
        z = ((v[:, 2] + 1) / 2 * bands).long().clamp(0, bands - 1)
        return z * sectors + ((torch.atan2(v[:, 1], v[:, 0]) + math.pi) / (2 * math.pi) * sectors).long() % sectors

    expected = torch.zeros(bands * sectors, dtype=torch.float64).index_add(0, cell(points), mass) * n
    found = torch.bincount(cell(x), minlength=bands * sectors).double()
    likely = expected > 20
    # the product rule's points at cell borders leave a percent or so of error in `expected`
    error = (found - expected)[likely].square() / (expected + (0.02 * expected).square())[likely]
    assert float(error.sum()) < float(likely.sum()) + 4 * math.sqrt(2 * float(likely.sum()))
    moments = torch.einsum("p,pi,pj->ij", mass, points, points)
    assert torch.allclose(x.T @ x / n, moments, atol=0.025)
    assert torch.allclose(x.mean(0), mass @ points, atol=0.04)


def test_no_preference_is_the_uniform_distribution():
    one = Directions(torch.zeros(3, 16, dtype=torch.float64), 10.0, 10.0)
    assert torch.allclose(one.entropy(), torch.full((3,), math.log(4 * math.pi), dtype=torch.float64))
    assert one.sample(draws()).shape == (3, 3)


def test_broken_or_impossible_directions_are_refused():
    with pytest.raises(FloatingPointError):
        Directions(torch.full((1, 16), torch.nan), 10.0, 10.0).sample(draws())
    with pytest.raises(UserError, match="lower one of them"):
        PolicySettings(sharpness=1e4)


# --- choices and distances ----------------------------------------------------------------------------------


def test_distances_integrate_to_one_and_are_drawn_so():
    rand = draws()
    weights, means, widths = torch.randn(3, 5, 3, generator=rand, dtype=torch.float64)
    mixture = TruncatedGaussianMixture(
        weights, 0.8 + torch.sigmoid(means), 0.02 + 0.4 * torch.sigmoid(widths - 1), 0.8, 1.8
    )
    x = torch.linspace(0.8, 1.8, 20_001, dtype=torch.float64)
    log_p = torch.stack([mixture.log_prob(d.expand(5)) for d in x[::10]], 1)
    assert torch.allclose(torch.trapezoid(log_p.exp(), x[::10]), torch.ones(5, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(torch.trapezoid(-log_p.exp() * log_p, x[::10]), mixture.entropy(), atol=1e-3)
    assert torch.isneginf(mixture.log_prob(torch.full((5,), 1.9, dtype=torch.float64))).all()
    many = TruncatedGaussianMixture(
        *(part[:1].expand(20_000, 3) for part in (weights, mixture.means, mixture.widths)), 0.8, 1.8
    )
    drawn = many.sample(rand)
    cdf = torch.cumulative_trapezoid(log_p[0].exp(), x[::10])
    ranks = np.interp(np.sort(drawn.numpy()), x[10::10].numpy(), cdf.numpy())
    assert np.abs(ranks - (np.arange(20_000) + 0.5) / 20_000).max() < 0.0163  # Kolmogorov-Smirnov at 5e-5


def test_choices_keep_to_what_is_allowed():
    logits = torch.randn(500, 4, generator=draws())
    allowed = torch.rand(500, 4, generator=draws(1)) < 0.4
    choice = MaskedCategorical(logits.requires_grad_(), allowed)
    option = choice.sample(draws(2))
    some = allowed.any(1)
    assert allowed.gather(1, option[:, None])[some].all() and allowed.gather(1, choice.mode()[:, None])[some].all()
    assert (option[~some] == 0).all() and (choice.log_prob(option)[~some] == 0).all()
    assert (choice.entropy()[~some] == 0).all()
    (slope,) = torch.autograd.grad((choice.log_prob(option) + choice.entropy()).sum(), logits)
    assert torch.isfinite(slope).all() and (slope[~allowed] == 0).all()


# --- the policy ---------------------------------------------------------------------------------------------


def make(features=EXTRACTORS[0], dtype=torch.float64, **changes) -> Policy:
    settings = PolicySettings(features, width=16, **changes)
    return Policy(settings, ELEMENTS, tiny.potential(), seed=1).to(dtype)


def canvases(slots: int = 10, dtype=torch.float64) -> Canvas:
    """Unfinished molecules of different sizes, one atom and none among them."""
    ethanol = tiny.rattled("CH3CH2OH")
    structures = [
        ethanol,
        ethanol[[0, 1, 2]],
        tiny.rattled("H3CNH2", 1)[[0, 1, 4]],
        molecule("H2O"),
        Atoms("C"),
        Atoms(),
    ]
    bags = [{1: 2}, {1: 6, 8: 1}, {1: 3, 7: 1}, {6: 1, 8: 2}, {1: 4}, {1: 4, 6: 1}]
    return Canvas.build(structures, bags, ELEMENTS, slots, dtype=dtype)


@pytest.mark.parametrize("features", EXTRACTORS, ids=["message_passing", "potential"])
def test_probabilities_respect_the_symmetries_of_space(features):
    policy, canvas = make(features), canvases()
    action, log_prob, value = policy.act(canvas, draws())
    expected = policy.evaluate_actions(canvas, action)
    assert torch.allclose(expected[0], log_prob) and torch.allclose(expected[2], value)
    filled = canvas.filled[..., None]
    for sign in (1, -1):
        turn = sign * o3.rand_matrix().double()
        moved = replace(canvas, positions=(canvas.positions @ turn.T + torch.tensor([3.0, -2.0, 5.0])) * filled)
        found = policy.evaluate_actions(moved, replace(action, direction=action.direction @ turn.T))
        for one, other in zip(expected, found, strict=True):
            assert torch.allclose(one, other, atol=1e-4)
    # atoms in another order
    order = torch.stack([torch.cat([torch.randperm(int(n)), torch.arange(int(n), 10)]) for n in canvas.counts])
    rows = torch.arange(len(canvas))[:, None]
    shuffled = replace(canvas, positions=canvas.positions[rows, order], numbers=canvas.numbers[rows, order])
    focus = (order == action.focus[:, None]).long().argmax(1)
    for one, other in zip(expected, policy.evaluate_actions(shuffled, replace(action, focus=focus)), strict=True):
        assert torch.allclose(one, other, atol=1e-8)
    assert torch.allclose(policy(canvas).focus.log_probs.exp().sum(1), torch.ones(len(canvas), dtype=torch.float64))


def test_the_deterministic_agent_turns_with_the_canvas():
    # no planar ones, where a direction and its mirror image are equally probable
    structures = [tiny.rattled(name) for name in ("CH3CH2OH", "H3CNH2", "C2H6", "CH3OH")]
    policy, canvas = make(), Canvas.build(structures, [{1: 2, 8: 1}] * 4, ELEMENTS, 10)
    turn = o3.rand_matrix().double()
    before = policy.act(canvas, None, deterministic=True)[0]
    after = policy.act(replace(canvas, positions=canvas.positions @ turn.T), None, deterministic=True)[0]
    assert torch.equal(before.focus, after.focus) and torch.equal(before.element, after.element)
    assert torch.allclose(before.distance, after.distance)
    assert torch.allclose(before.direction @ turn.T, after.direction, atol=1e-3)
    with pytest.raises(ValueError, match="deterministic"):
        policy.act(canvas, None)


def test_messages_are_sums_over_pairs():
    policy, canvas = make(), canvases()
    extractor = policy.features
    captured = []
    extractor.layers[1].register_forward_hook(lambda layer, inputs, output: captured.append(inputs))
    extractor(canvas)
    x, h, radial, edges = captured[0]
    layer, slots, cutoff = extractor.layers[1], x.shape[1], extractor.settings.cutoff
    density = layer._expanded(x, edges) + layer._carried(h, radial)
    sent, carried = layer.send(x), layer.carry(h)
    for n, i in ((0, 2), (1, 0), (3, 1)):
        expected = torch.zeros(16, 48, dtype=torch.float64)
        for j in range(int(canvas.counts[n])):
            vector = canvas.positions[n, j] - canvas.positions[n, i]
            if j == i or vector.norm() > cutoff:
                continue
            b = radial_functions(vector.norm(), cutoff)
            y = math.sqrt(4 * math.pi) * harmonics(vector, 3)
            expected += (y[:, None, None] * b[:, None] * sent[n, j]).flatten(1)
            expected += (b[:, None] * carried[:, n, j].unflatten(-1, (8, -1))).flatten(1)
        assert torch.allclose(density[:, n, i], expected, atol=1e-10) and i < slots


def radial_functions(length: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Eight Gaussians from 0.5 Angstrom to the cutoff, with a cosine envelope."""
    width = (cutoff - 0.5) / 8
    gaussians = torch.stack([torch.exp(-0.5 * ((length - 0.5 - k * width) / width) ** 2) for k in range(8)])
    return gaussians * 0.5 * (torch.cos(math.pi * length / cutoff) + 1)


@pytest.mark.parametrize("features", EXTRACTORS, ids=["message_passing", "potential"])
def test_float32_is_as_symmetric_as_it_can_be(features):
    policy, canvas = make(features, torch.float32), canvases()
    action = policy.act(canvas, draws())[0]
    turn = o3.rand_matrix().double()
    moved = replace(canvas, positions=canvas.positions @ turn.T)
    turned = replace(action, direction=action.direction @ turn.T.float())
    assert torch.allclose(
        policy.evaluate_actions(canvas, action)[0], policy.evaluate_actions(moved, turned)[0], atol=2e-3
    )


@pytest.mark.parametrize("features", EXTRACTORS, ids=["message_passing", "potential"])
def test_a_batch_of_unequal_canvases_is_its_members(features):
    policy, canvas = make(features), canvases()
    action = policy.act(canvas, draws())[0]
    together = policy.evaluate_actions(canvas, action)
    for k in range(len(canvas)):
        for one, other in zip(policy.evaluate_actions(canvas[[k]], action[[k]]), together, strict=True):
            assert torch.allclose(one[0], other[k], atol=1e-10)


def test_only_what_the_bag_holds_is_placed_on_what_there_is():
    policy, canvas = make(), canvases()
    many = canvas[torch.arange(len(canvas)).repeat(50)]
    action, log_prob, _ = policy.act(many, draws())
    rows = torch.arange(len(many))
    placed = many.counts > 0
    assert (many.bag[rows, action.element] > 0).all()
    assert many.filled[rows, action.focus][placed].all()
    assert ((action.distance >= 0.8) & (action.distance <= 1.8))[placed].all()
    assert torch.allclose(action.direction.norm(dim=1), torch.ones(len(many), dtype=torch.float64))
    assert torch.isfinite(log_prob).all()
    assert torch.allclose(policy.evaluate_actions(many, action)[0], log_prob)


def test_an_empty_canvas_counts_the_element_alone():
    policy = make()
    canvas = Canvas.build([Atoms()], [{6: 1, 1: 4}], ELEMENTS, 5)
    action, log_prob, _ = policy.act(canvas, draws())
    probability = policy.elements_at(canvas, policy(canvas), action.focus)
    assert torch.allclose(log_prob, probability.log_prob(action.element))
    elsewhere = Action(action.focus, action.element, action.distance + 9, -action.direction)
    judged, entropy, _ = policy.evaluate_actions(canvas, elsewhere)
    assert torch.allclose(judged, log_prob) and not entropy[:, 1].any()
    assert torch.allclose(entropy[:, 0], probability.entropy())


def test_an_exhausted_bag_is_judged_without_nan():
    policy = make()
    canvas = Canvas.build([molecule("H2O"), Atoms()], [{}, {}], ELEMENTS, 5)
    action, log_prob, value = policy.act(canvas, draws())
    assert torch.isfinite(log_prob).all() and torch.isfinite(value).all() and (action.element == 0).all()


@pytest.mark.parametrize("features", EXTRACTORS, ids=["message_passing", "potential"])
def test_gradients_are_finite_and_reach_every_part(features):
    policy, canvas = make(features, torch.float32, learn_sharpness=True), canvases()
    action = policy.act(canvas, draws())[0]
    log_prob, entropy, value = policy.evaluate_actions(canvas, action)
    (log_prob.sum() + 0.1 * entropy.sum() + value.square().sum()).backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert not any("potential" in name for name in policy.state_dict())


def test_an_agent_of_more_elements_builds_with_fewer():
    few = Canvas.build([molecule("H2O")], [{1: 2}], (1, 8), 5)
    action, _, _ = make().act(few, draws())
    assert int(action.element) == 0
    with pytest.raises(UserError, match="knows"):
        make().act(Canvas.build([Atoms()], [{9: 1}], (9,), 5), draws())


def test_the_potential_must_know_what_is_on_the_canvas():
    stranger = Canvas.build([Atoms("F")], [{1: 1}], ELEMENTS, 5)
    with pytest.raises(UserError, match="does not know F"):
        make(EXTRACTORS[1]).act(stranger, draws())
    with pytest.raises(UserError, match="policy=potential needs a potential"):
        Policy(PolicySettings(PotentialFeatures()), ELEMENTS)


def test_the_same_seeds_do_the_same():
    first, second = (make().act(canvases(), draws(3)) for _ in range(2))
    assert torch.equal(first[0].direction, second[0].direction) and torch.equal(first[1], second[1])


@pytest.mark.parametrize("name", ["message_passing", "potential"])
def test_settings_are_those_of_the_files(name):
    file = Path(__file__).parents[2] / "conf" / "policy" / f"{name}.yaml"
    settings = instantiate(OmegaConf.load(file))
    assert settings == PolicySettings({"message_passing": MessagePassing, "potential": PotentialFeatures}[name]())


@pytest.mark.parametrize(
    "wrong", [{"min_distance": 2.0}, {"min_std": 0.001}, {"sharpness": -1.0}, {"n_gaussians": 0}, {"width": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        PolicySettings(**wrong)


def test_features_that_make_no_sense_are_refused():
    for wrong in ({"channels": 25}, {"cutoff": 0.0}, {"layers": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            MessagePassing(**wrong)
