"""Advantages by hand, the clipped loss by hand, and a policy of two choices that learns the better one."""

import pytest
import torch
from torch import nn

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.ppo import PPO, Rollout, compute_advantages, learning_rate, loss, update


def canvas(n: int) -> Canvas:
    return Canvas(torch.zeros(n, 2, 3), torch.zeros(n, 2, dtype=torch.long), torch.ones(n, 2), (1, 6))


def action(element: torch.Tensor) -> Action:
    n = len(element)
    return Action(torch.zeros(n, dtype=torch.long), element, torch.ones(n), torch.eye(3)[:1].expand(n, 3))


def test_advantages_by_hand():
    settings = PPO(gamma=0.9, gae_lambda=0.5)
    reward = torch.tensor([[1.0], [2.0], [3.0]])
    value = torch.tensor([[0.5], [0.4], [0.3]])
    done = torch.tensor([[False], [True], [False]])
    # t=2: 3 + 0.9*0.2 - 0.3 = 2.88; t=1 (done): 2 - 0.4 = 1.6; t=0: 1 + 0.9*0.4 - 0.5 + 0.45*1.6 = 1.58
    found = compute_advantages(reward, value, done, torch.tensor([0.2]), settings)
    assert found[:, 0].tolist() == pytest.approx([1.58, 1.6, 2.88])


def test_with_gamma_and_lambda_of_one_advantages_are_returns_less_values():
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.rand(6, 3, generator=generator), torch.rand(6, 3, generator=generator)
    done = torch.zeros(6, 3, dtype=torch.bool)
    done[-1] = True
    found = compute_advantages(reward, value, done, torch.full((3,), 9.0), PPO(gamma=1.0, gae_lambda=1.0))
    torch.testing.assert_close(found + value, reward.flip(0).cumsum(0).flip(0))


class Bandit(nn.Module):
    """Chooses an element by two logits, values nothing."""

    def __init__(self):
        super().__init__()
        self.logits, self.worth = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))

    def evaluate_actions(self, canvas: Canvas, action: Action):
        chance = torch.log_softmax(self.logits, -1)
        entropy = -(chance.exp() * chance).sum() * torch.tensor([1.0, 0.0]).expand(len(action.element), 2)
        return chance[action.element], entropy, self.worth.expand(len(action.element))


def test_the_learning_rate_falls_to_zero():
    settings = PPO(learning_rate=0.01, decay_from=0.5)
    assert [learning_rate(settings, done) for done in (0, 0.5, 0.75, 1)] == pytest.approx([0.01, 0.01, 0.005, 0])
    assert learning_rate(PPO(learning_rate=0.01, decay_from=1.0), 1.0) == 0.01


def test_loss_by_hand():
    part = Rollout(canvas(2), action(torch.tensor([0, 1])), torch.tensor([0.25, 0.9]).log(),
                   torch.tensor([1.0, -2.0]), torch.tensor([1.0, 3.0]))  # fmt: skip
    total, logged = loss(
        Bandit(), part, PPO(clip_range=0.2, value_coef=0.5, continuous_entropy_coef=5.0, entropy_coef=0.1)
    )
    # ratios 2 and 0.5556; gains min(2, 1.2) * 1 and min(-1.111, -1.6) = -1.6
    surrogate, error, entropy = -(1.2 - 1.6) / 2, (1 + 9) / 2, 0.693147
    assert total.item() == pytest.approx(surrogate + 0.5 * error - 0.1 * entropy, rel=1e-5)
    assert logged["clip_fraction"].item() == 1.0 and logged["approx_kl"].item() > 0


def test_the_better_choice_is_learned():
    policy, generator = Bandit(), torch.Generator().manual_seed(1)
    settings = PPO(learning_rate=0.05, batch_size=64, entropy_coef=0.0)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate)
    for _ in range(20):
        with torch.no_grad():
            chance = torch.softmax(policy.logits, -1)
            element = torch.multinomial(chance, 128, replacement=True, generator=generator)
            reward = (element == 1).float()
            rollout = Rollout(canvas(128), action(element), chance[element].log(), reward - policy.worth, reward)
        logged = update(policy, optimizer, rollout, settings, generator)
    assert torch.softmax(policy.logits, -1)[1] > 0.9 and 1 <= logged["epochs"] <= settings.n_epochs


@pytest.mark.parametrize("wrong", [{"gamma": 1.5}, {"clip_range": 0.0}, {"n_epochs": 0}, {"learning_rate": -1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UserError, match=f"ppo.{next(iter(wrong))}="):
        PPO(**wrong)
