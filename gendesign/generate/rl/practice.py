"""Practice: between two updates the agent repeats placements of the best molecules it has found itself.

Expert iteration (arXiv 1705.08439) with the potential as the expert: a molecule that was valid is relaxed once, and the
atoms in the order in which the agent placed them, at their relaxed places, become a lesson. Lessons of all graphs are
drawn, so that what is learned is every isomer and not the first one, as self-imitation (arXiv 1806.05635) would.
Nothing is repeated that the agent did not find.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.generate.rl.archive import Archive, Row
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.ppo import PPO, bonus


@dataclass(frozen=True)
class Practice:
    """`steps` of the optimizer after each update, on `batch_size` placements of lessons each.

    What is new becomes a lesson at every `every`-th update, so that several molecules are relaxed together.
    A lesson is drawn with a chance that falls e-fold with each `temperature` (Hartree) that its return is below the
    best of its formula; formulas have equal chances.
    """

    steps: int = 4
    every: int = 4
    batch_size: int = 64
    temperature: float = 0.1

    def __post_init__(self) -> None:
        for key in ("steps", "every", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"practice.{key}={getattr(self, key)}: give 1 or more, or practice=null")
        if not self.temperature > 0:
            raise UserError(f"practice.temperature={self.temperature}: give a number above 0, in Hartree")


def practise(
    policy: nn.Module,
    optimizer: torch.optim.Optimizer,
    archive: Archive,
    given: Atoms,
    like: Canvas,
    settings: Practice,
    ppo: PPO,
    generator: torch.Generator,
) -> float:
    """Raise the probability of lessons; the mean log-probability of their placements, NaN without any.

    The entropy counts as in `ppo`, so that a few lessons do not end the search for others.

    `given` are the atoms every episode starts from; canvases are made like `like`, in slots, elements and dtype.
    """
    lessons, chances = _lessons(archive, settings)
    seen = []
    for _ in range(settings.steps if lessons else 0):
        drawn = torch.multinomial(chances, settings.batch_size, replacement=True, generator=generator)
        share = torch.rand(settings.batch_size, generator=generator)
        at = [len(given) + int(u * (len(lessons[k][1]) - len(given))) for k, u in zip(drawn, share, strict=True)]
        canvas, action = placements_of([lessons[k] for k in drawn], at, like)
        log_prob, entropy, _ = policy.judge(canvas, action)
        optimizer.zero_grad(set_to_none=True)
        (-log_prob.mean() - bonus(entropy, ppo)).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), ppo.gradient_clip)
        optimizer.step()
        seen.append(log_prob.mean().item())
    return float(np.mean(seen)) if seen else float("nan")


def _lessons(archive: Archive, settings: Practice) -> tuple[list[Row], Tensor]:
    """All lessons, and the chance of each (lessons,)."""
    lessons, chances = [], []
    for own in archive.lessons.values():
        if own:
            returns = torch.tensor([row[0] for row in own.values()], dtype=torch.float64)
            lessons += own.values()
            chances.append(torch.softmax(returns / settings.temperature, 0))
    return lessons, torch.cat(chances) if chances else torch.zeros(0)


def buildable(row: Row, given: int, shortest: float, longest: float) -> bool:
    """Whether every atom beyond the first and the given ones is within reach of one placed earlier."""
    return all(
        shortest <= np.linalg.norm(np.subtract(row[2][k], row[2][focus_of(row, k)])) <= longest
        for k in range(max(1, given), len(row[1]))
    )


def focus_of(row: Row, k: int) -> int:
    """The atom placed before atom k that it is bonded to: nearest by the sum of covalent radii; 0 for the first."""
    if k == 0:
        return 0
    apart = np.linalg.norm(np.subtract(row[2][:k], row[2][k]), axis=1)
    return int(np.argmin(apart / (covalent_radii[row[1][:k]] + covalent_radii[row[1][k]])))


def placements_of(rows: Sequence[Row], at: Sequence[int], like: Canvas) -> tuple[Canvas, Action]:
    """The canvas before atom at[i] of each row was placed, and that placement, as the environments show them."""
    structures, bags, focus, element, way = [], [], [], [], []
    for row, k in zip(rows, at, strict=True):
        numbers, positions = row[1], np.asarray(row[2])
        left, count = np.unique(numbers[k:], return_counts=True)
        structures.append(Atoms(numbers[:k], positions[:k]))
        bags.append(dict(zip(left.tolist(), count.tolist(), strict=True)))
        focus.append(focus_of(row, k))
        element.append(like.elements.index(numbers[k]))
        way.append(positions[k] - positions[focus[-1]] if k else [0.0, 0.0, 1.0])
    vectors = torch.as_tensor(np.array(way)).to(like.positions)
    distance = vectors.norm(dim=1)
    canvas = Canvas.build(structures, bags, like.elements, like.slots, like.positions.dtype, like.positions.device)
    index = {"dtype": torch.long, "device": vectors.device}
    action = Action(torch.tensor(focus, **index), torch.tensor(element, **index), distance, vectors / distance[:, None])
    return canvas, action
