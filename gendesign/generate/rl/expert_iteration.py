"""Expert iteration (arXiv 1705.08439): between two updates the agent imitates its best molecules, relaxed.

The potential is the expert: a valid molecule is relaxed once, and its atoms in the order of placement, at their relaxed
positions, become a demonstration. Demonstrations of all graphs are drawn, so that the agent learns every isomer and not
only the first one, as in self-imitation (arXiv 1806.05635). Only molecules that the agent built are imitated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from torch import Tensor

from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.archive import Archive, Entry
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.ppo import PPO, ActorCritic, entropy_bonus


@dataclass(frozen=True)
class ExpertIteration:
    """Settings of expert iteration.

    Formulas are drawn with equal probabilities, demonstrations of a formula in proportion to exp(return / temperature).
    """

    steps: int = setting(4, "optimizer steps on demonstrations after each update", least=1)
    relax_every: int = setting(4, "updates between two relaxations of new molecules, which form one batch", least=1)
    batch_size: int = setting(64, "placements per optimizer step", least=1)
    temperature: float = setting(
        0.1,
        "return below the best of a formula at which a molecule is drawn e times less often",
        unit="Hartree",
        above=0,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "expert_iteration")


def imitate(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    archive: Archive,
    initial_atoms: Atoms,
    like: Canvas,
    settings: ExpertIteration,
    ppo: PPO,
    generator: torch.Generator,
) -> float:
    """Raise the probability of demonstrated placements; returns its mean logarithm, NaN without demonstrations.

    The entropy bonus of `ppo` is added, so that a few demonstrations do not end the exploration. Every episode starts
    from `initial_atoms`; canvases have the slots, elements and dtype of `like`.
    """
    demonstrations, probabilities = _demonstrations(archive, settings.temperature)
    log_probs = []
    for _ in range(settings.steps if demonstrations else 0):
        chosen = torch.multinomial(probabilities, settings.batch_size, replacement=True, generator=generator)
        shares = torch.rand(settings.batch_size, generator=generator)
        entries = [demonstrations[k] for k in chosen]
        n_initial = len(initial_atoms)
        placements = [
            n_initial + int(share * (len(entry.numbers) - n_initial))
            for entry, share in zip(entries, shares, strict=True)
        ]
        canvas, action = demonstrated(entries, placements, like)
        log_prob, entropy, _ = policy.evaluate_actions(canvas, action)
        optimizer.zero_grad(set_to_none=True)
        (-log_prob.mean() - entropy_bonus(entropy, ppo)).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), ppo.max_grad_norm)
        optimizer.step()
        log_probs.append(log_prob.mean().item())
    return float(np.mean(log_probs)) if log_probs else float("nan")


def _demonstrations(archive: Archive, temperature: float) -> tuple[list[Entry], Tensor]:
    """All demonstrations, and the weight (demonstrations,) with which each is drawn."""
    demonstrations, weights = [], []
    for entries in archive.demonstrations.values():
        if entries:
            returns = torch.tensor([entry.total_return for entry in entries.values()], dtype=torch.float64)
            demonstrations += entries.values()
            weights.append(torch.softmax(returns / temperature, 0))
    return demonstrations, torch.cat(weights) if weights else torch.zeros(0)


def is_buildable(entry: Entry, n_initial: int, min_distance: float, max_distance: float) -> bool:
    """Whether every placed atom but the first on an empty canvas is within the distances (Angstrom) of its focus."""
    positions = np.asarray(entry.positions)
    return all(
        min_distance <= np.linalg.norm(positions[k] - positions[focus_of(entry, k)]) <= max_distance
        for k in range(max(1, n_initial), len(entry.numbers))
    )


def focus_of(entry: Entry, k: int) -> int:
    """The earlier atom that atom k is bonded to: nearest in units of covalent radii; 0 for the first atom."""
    if k == 0:
        return 0
    distances = np.linalg.norm(np.subtract(entry.positions[:k], entry.positions[k]), axis=1)
    return int(np.argmin(distances / (covalent_radii[entry.numbers[:k]] + covalent_radii[entry.numbers[k]])))


def demonstrated(entries: Sequence[Entry], placements: Sequence[int], like: Canvas) -> tuple[Canvas, Action]:
    """The canvas before atom placements[i] of entries[i] was placed, and that placement, in the format of `like`."""
    structures, bags, focus, element, steps = [], [], [], [], []
    for entry, k in zip(entries, placements, strict=True):
        positions = np.asarray(entry.positions)
        remaining, counts = np.unique(entry.numbers[k:], return_counts=True)
        structures.append(Atoms(entry.numbers[:k], positions[:k]))
        bags.append(dict(zip(remaining.tolist(), counts.tolist(), strict=True)))
        focus.append(focus_of(entry, k))
        element.append(like.elements.index(entry.numbers[k]))
        steps.append(positions[k] - positions[focus[-1]] if k else [0.0, 0.0, 1.0])
    vectors = torch.as_tensor(np.array(steps)).to(like.positions)
    distance = vectors.norm(dim=1)
    canvas = Canvas.build(structures, bags, like.elements, like.slots, like.positions.dtype, like.positions.device)
    integers = {"dtype": torch.long, "device": vectors.device}
    action = Action(
        torch.tensor(focus, **integers), torch.tensor(element, **integers), distance, vectors / distance[:, None]
    )
    return canvas, action
