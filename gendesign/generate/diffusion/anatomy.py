"""What the score of a diffusion model is over the noise: compared with a restorative force and with forces of methods.

The measurements behind the figures of arXiv 2402.08708, as numbers with errors over held-out molecules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.generate.diffusion.cloud import Cloud
from gendesign.generate.diffusion.data import Molecules
from gendesign.generate.diffusion.loss import Noisy, noisy
from gendesign.generate.diffusion.model import Clouds, EnergyModel
from gendesign.generate.diffusion.quality import pieces

RESTORATIVE = "restorative"
Forces = Callable[[Sequence[Atoms]], list[np.ndarray | None]]


@dataclass(frozen=True)
class Comparison:
    """The score against one force at every noise level.

    cosine, ratio (levels, molecules): cosine of both vectors over all coordinates of a molecule, and the ratio of their
    norms, score over force; nan where the method gave no force. by_element: symbol -> (levels, molecules) cosines of
    the atoms of one element.
    """

    sigmas: np.ndarray
    cosine: np.ndarray
    ratio: np.ndarray
    by_element: Mapping[str, np.ndarray]

    def mean(self, values: np.ndarray | None = None) -> np.ndarray:
        """Mean over molecules (levels,), nan where there is none."""
        values = self.cosine if values is None else values
        counts = np.isfinite(values).sum(1)
        return np.where(counts > 0, np.nansum(values, 1) / np.maximum(counts, 1), np.nan)

    def deviation(self, values: np.ndarray | None = None) -> np.ndarray:
        """Standard deviation over molecules (levels,)."""
        values = self.cosine if values is None else values
        return np.sqrt(self.mean((values - self.mean(values)[:, None]) ** 2))


def compare(
    model: EnergyModel,
    molecules: Molecules,
    sigmas: Sequence[float] | np.ndarray,
    forces: Mapping[str, Forces],
    seed: int = 0,
    highest: float = np.inf,
) -> dict[str, Comparison]:
    """Score of `molecules` with noise of each level against -x / sigma^2 and the `forces` of methods, by name.

    Above `highest` (Angstrom) methods are not asked: atoms overlap.
    """
    clean = molecules.clouds(model.elements)
    numbers, counts = molecules.numbers, molecules.counts.tolist()
    names = (RESTORATIVE, *forces)
    found: dict[str, list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]] = {name: [] for name in names}
    for sigma in sigmas:
        batch = at_level(clean, sigma, seed)
        score = -model.gradient(batch.clouds, batch.sigma).positions.numpy().astype(float)
        positions = batch.clouds.positions.numpy().astype(float)
        structures = [Atoms(z, x) for z, x in zip(_parts(numbers, counts), _parts(positions, counts), strict=True)]
        for name in names:
            if name == RESTORATIVE:
                other: list[np.ndarray | None] = [-(a.positions - a.positions.mean(0)) / sigma**2 for a in structures]
            else:
                other = forces[name](structures) if sigma <= highest else [None] * len(structures)
            found[name].append(_agreement(_parts(score, counts), other, structures, model.elements))
    return {name: _stacked(np.asarray(sigmas), rows, model.elements) for name, rows in found.items()}


def at_level(clean: Clouds, sigma: float, seed: int = 0) -> Noisy:
    """Molecules with noise of one level; the same noise, scaled, at every level."""
    generator = torch.Generator().manual_seed(seed)
    return noisy(clean, torch.full((clean.n_systems,), float(sigma)).to(clean.positions), generator)


def _parts(values: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])


def _agreement(
    scores: Sequence[np.ndarray],
    forces: Sequence[np.ndarray | None],
    structures: Sequence[Atoms],
    elements: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Cosines and ratios (molecules,), and cosines by element."""
    cosine, ratio = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    by_element = {symbol: np.full(len(scores), np.nan) for symbol in elements}
    for k, (score, force, atoms) in enumerate(zip(scores, forces, structures, strict=True)):
        if force is None:
            continue
        cosine[k] = _cosine(score, force)
        ratio[k] = np.linalg.norm(score) / max(np.linalg.norm(force), 1e-12)
        for symbol in elements:
            rows = atoms.numbers == atomic_numbers[symbol]
            if rows.any():
                by_element[symbol][k] = _cosine(score[rows], force[rows])
    return cosine, ratio, by_element


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def _stacked(sigmas: np.ndarray, rows: Sequence[tuple], elements: Sequence[str]) -> Comparison:
    by_element = {symbol: np.stack([row[2][symbol] for row in rows]) for symbol in elements}
    return Comparison(sigmas, np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]), by_element)


def crossover(restorative: Comparison, force: Comparison, rounds: int = 200, seed: int = 0) -> tuple[float, float]:
    """sigma (Angstrom) at which the score is as near to the force as to the restorative one, and its standard error.

    By linear interpolation of the difference of mean cosines in ln sigma; the error is a bootstrap over molecules. nan
    where the curves do not cross.
    """
    rng, n = np.random.default_rng(seed), force.cosine.shape[1]
    drawn = [_crossing(restorative, force, np.arange(n))]
    drawn += [_crossing(restorative, force, rng.integers(0, n, n)) for _ in range(rounds)]
    again = np.array(drawn[1:])
    sound = again[np.isfinite(again)]
    error = float(sound.std()) if len(sound) > rounds / 2 else float("nan")
    return drawn[0], error


def _crossing(restorative: Comparison, force: Comparison, rows: np.ndarray) -> float:
    both = np.isfinite(force.cosine[:, rows])
    gap = np.where(both, force.cosine[:, rows] - restorative.cosine[:, rows], 0).sum(1) / np.maximum(both.sum(1), 1)
    usable = both.sum(1) > 0
    log, gap = np.log(restorative.sigmas[usable]), gap[usable]
    order = np.argsort(log)
    log, gap = log[order], gap[order]
    for k in range(len(log) - 1):
        if gap[k] > 0 >= gap[k + 1]:
            return float(np.exp(log[k] + (log[k + 1] - log[k]) * gap[k] / (gap[k] - gap[k + 1])))
    return float("nan")


def landscape(
    model: EnergyModel,
    atoms: Atoms,
    sigmas: Sequence[float] | np.ndarray,
    deformations: Sequence[float] | np.ndarray,
    copies: int = 8,
) -> np.ndarray:
    """Learned energy per atom (sigmas, deformations) of displaced copies of a molecule, less that of the molecule.

    Element vectors get the same displacement, as noise would give them.
    """
    clean = Molecules.from_atoms([atoms] * copies).clouds(model.elements)
    out = np.zeros((len(sigmas), len(deformations)))
    for i, sigma in enumerate(sigmas):
        levels = torch.full((copies,), float(sigma))
        with torch.no_grad():
            still = model(clean, levels).mean()
            for j, width in enumerate(deformations):
                out[i, j] = float(model(at_level(clean, width).clouds, levels).mean() - still) / len(atoms)
    return out


@dataclass
class Record:
    """What happens along a generation, level by level; a callback of the sampler.

    sigmas; energy (levels, molecules) learned, per atom; frames: positions, numbers of each level; vectors.
    """

    model: EnergyModel
    sigmas: list[float]
    energy: list[np.ndarray]
    positions: list[np.ndarray]
    numbers: list[np.ndarray]
    sizes: list[int]

    @classmethod
    def of(cls, model: EnergyModel) -> "Record":
        """An empty record."""
        return cls(model, [], [], [], [], [])

    def __call__(self, cloud: Cloud, sigma: float) -> None:
        """Record the state at a noise level; the last one, without noise, has no energy."""
        self.sizes = cloud.sizes.tolist()
        self.sigmas.append(float(sigma))
        self.positions.append(cloud.positions.cpu().numpy().astype(float))
        self.numbers.append(cloud.numbers.cpu().numpy())
        like = next(self.model.parameters())
        if sigma > 0:
            levels = torch.full((cloud.n_systems,), float(sigma)).to(like)
            now = cloud.clouds._replace(positions=cloud.positions.to(like), vectors=cloud.vectors.to(like))
            with torch.no_grad():
                self.energy.append((self.model(now, levels) / cloud.sizes.to(like)).cpu().numpy())

    def frames(self, level: int) -> list[Atoms]:
        """The molecules at a level."""
        parts = zip(_parts(self.numbers[level], self.sizes), _parts(self.positions[level], self.sizes), strict=True)
        return [Atoms(z, x) for z, x in parts]

    def decided(self) -> np.ndarray:
        """Share of atoms (levels,) that have their final element."""
        return np.array([(z == self.numbers[-1]).mean() for z in self.numbers])

    def fragments(self) -> np.ndarray:
        """Mean number of pieces (levels,)."""
        return np.array([np.mean([pieces(a) for a in self.frames(k)]) for k in range(len(self.sigmas))])

    def deformations(self) -> np.ndarray:
        """Root-mean-square displacement of a coordinate (levels, molecules) from the final molecule."""
        last = _parts(self.positions[-1], self.sizes)
        return np.array([[np.sqrt(((a - b) ** 2).mean()) for a, b in zip(_parts(x, self.sizes), last, strict=True)]
                         for x in self.positions])  # fmt: skip


def handmade(
    record: Record, energies: Callable[[Sequence[Atoms]], np.ndarray], scale: Callable[[float], float]
) -> np.ndarray:
    """Restorative plus quantum-mechanical energy per atom (levels, molecules), the latter weighted by scale(sigma).

    energies: eV less that of isolated atoms (molecules,), nan where the method fails. scale: 1/eV at a noise level.
    """
    spread, rows = record.model.statistics.spread, []
    for k, sigma in enumerate(record.sigmas):
        frames = record.frames(k)
        pull = [((a.positions - a.positions.mean(0)) ** 2).sum() / (2 * (sigma**2 + spread**2)) for a in frames]
        weight = scale(sigma)
        quantum = energies(frames) if weight else np.zeros(len(frames))
        rows.append((np.array(pull) + weight * np.asarray(quantum)) / np.array(record.sizes))
    return np.stack(rows)


def force_scale(comparison: Comparison) -> Callable[[float], float]:
    """1/eV at each noise level: the length of the score along the force over the force's, interpolated in ln sigma.

    Beyond the levels at which the method gave forces it is zero.
    """
    values = comparison.mean(comparison.ratio * comparison.cosine)
    known = np.isfinite(values)
    log, values = np.log(comparison.sigmas[known]), np.clip(values[known], 0, None)

    def scale(sigma: float) -> float:
        if not len(log) or sigma <= 0:
            return float(values[0]) if len(values) else 0.0
        return float(np.interp(np.log(sigma), log, values, right=0.0))

    return scale


def mean_and_error(values: Tensor | np.ndarray) -> tuple[float, float]:
    """Mean and its standard error of values that are not nan."""
    sound = np.asarray(values, float)
    sound = sound[np.isfinite(sound)]
    if not len(sound):
        return float("nan"), float("nan")
    return float(sound.mean()), float(sound.std(ddof=1) / len(sound) ** 0.5) if len(sound) > 1 else float("nan")
