"""Episodes by hand: energies that are known, placements by target, water."""

import numpy as np
import torch
from ase import Atoms

from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.environment import MoleculeBuilding

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
