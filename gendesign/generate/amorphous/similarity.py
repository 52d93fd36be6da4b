"""The route without melting: atoms in a periodic box are annealed until their neighbourhoods resemble references.

The score is that of the molecules' generator (generate/simgen/kernel.py): the gradient of log k, the similarity of an
atom's descriptor to those of reference environments of its element, here with periodic neighbour lists. A wall keeps
the minimum distances of pairs. Noise falls from `sigma` to zero by stochastic Heun steps (arXiv 2206.00364,
2402.08708).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from matscipy.neighbours import neighbour_list
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.amorphous.packing import Distances
from gendesign.generate.amorphous.starts import PROTOTYPES, Starts
from gendesign.generate.simgen.kernel import (
    SHORTEST,
    Environments,
    clipped,
    energies,
    energy_gradient,
    environments,
)
from gendesign.potential.protocol import Capability, PotentialLike, require
from gendesign.randomness import Purpose, stream
from gendesign.structure.constraints import fixed_components
from gendesign.structure.counter_random import derived, keys, normal
from gendesign.structure.files import read_structures
from gendesign.structure.generator import ShardContext
from gendesign.structure.graph import Batch, neighbours
from gendesign.structure.types import Candidate

SAVE_SECONDS = 30.0  # between two checkpoints
STIFFNESS = 20.0  # 1/Angstrom, of the walls
WALL = 0.95  # of the shortest distance of a pair in the references, below which it repels
REACH = 4.5  # Angstrom, within which pairs of the references are looked at
FRAMES, ATOMS = 4, 72  # rattled copies of each crystal among the references, and atoms of each


@dataclass(frozen=True)
class Annealing:
    """How atoms are annealed towards the references."""

    references: tuple[str, ...] = setting(
        ("auto",), "files with environments to resemble, or names of crystals; auto: the crystals with these elements, "
        "displaced by `rattle`", file=True,
    )  # fmt: skip
    rattle: float = setting(0.12, "standard deviation of the displacements of crystals", unit="Angstrom", least=0)
    steps: int = setting(600, "noise levels", least=5)
    sigma: float = setting(0.7, "first noise level", unit="Angstrom", above=0)
    strength: float = setting(3.0, "factor of the score of the references", above=0)
    churn: float = setting(20.0, "rise of the noise level before a step, as churn/steps of it", least=0)
    void: float | None = setting(None, "radius of a sphere in the middle of the box without atoms", unit="Angstrom",
                                 above=0)  # fmt: skip
    max_atoms: int = setting(2000, "atoms per batch, which bounds the memory", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.similarity")


@dataclass(frozen=True)
class SimilarityRoute:
    """The route with its potential, the composition of the models and the reference structures."""

    settings: Annealing
    potential: PotentialLike
    starts: Starts
    references: Sequence[Atoms] = field(repr=False)

    @classmethod
    def of(cls, settings: Annealing, potential: PotentialLike, starts: Starts) -> "SimilarityRoute":
        """Read the references; raises UserError for a potential without descriptors and an element without any."""
        require(potential, Capability.DESCRIPTORS, "choose a potential that does, or generator.route=quench")
        structures = [atoms for name in settings.references for atoms in _read(name, settings.rattle, starts.elements)]
        present = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
        if lacking := sorted(set(starts.elements) - present):
            raise UserError(
                f"generator.similarity.references={','.join(settings.references)}: none has {', '.join(lacking)}; "
                "give a file of a glass or a crystal of these elements"
            )
        potential.require_elements(present)
        return cls(settings, potential, starts, structures)

    @cached_property
    def environments(self) -> Environments:
        """The reference environments, described."""
        return environments(self.potential, self.references)

    @cached_property
    def walls(self) -> Distances:
        """Distances below which pairs repel each other: WALL of the shortest ones in the references.

        Those in generator.min_distances count as given; a pair that is never near in the references has the distance of
        a packing.
        """
        usual = Distances.of(self.starts.elements, self.starts.min_distances)
        stated = {tuple(sorted(text.partition("=")[0].strip().split("-"))) for text in self.starts.min_distances}
        nearest = _shortest(self.references)
        return Distances(
            {
                pair: distance if pair in stated or pair not in nearest else WALL * nearest[pair]
                for pair, distance in usual.pairs.items()
            }
        )

    def run(self, candidates: Sequence[Candidate], seed: int, context: ShardContext) -> list[Candidate]:
        """Every candidate annealed, batch by batch; failed ones stay as they are."""
        alive = [candidate for candidate in candidates if candidate.failure is None]
        groups: list[list[Candidate]] = []
        for candidate in alive:
            size = sum(len(c.atoms) for c in groups[-1]) if groups else 0
            same = groups and tuple(groups[-1][0].atoms.pbc) == tuple(candidate.atoms.pbc)
            if not same or size + len(candidate.atoms) > self.settings.max_atoms:
                groups.append([])
            groups[-1].append(candidate)
        done: dict[int, Candidate] = {}
        for group in groups:
            name = f"similarity-from-{group[0].index:05d}"
            made = context.get_or_make(name, lambda g=group, n=name: self._anneal(g, seed, context, n))
            done |= {candidate.index: candidate for candidate in made}
            context.cache.drop_arrays(f"{name}-state")
        return [done.get(candidate.index, candidate) for candidate in candidates]

    def _anneal(self, group: Sequence[Candidate], seed: int, context: ShardContext, name: str) -> list[Candidate]:
        walk = Walk.of(self, [c.atoms for c in group], keys(seed, torch.tensor([c.index for c in group])))
        kept = context.cache.load_arrays(f"{name}-state")
        if kept is not None:
            walk = replace(walk, batch=walk.batch.at(torch.tensor(kept["positions"])), step=int(kept["step"]))
        levels = noise_levels(self.settings)
        saved = time.monotonic()
        while walk.step < self.settings.steps:
            walk = walk.advance(levels)
            context.phase(f"annealing, noise {levels[walk.step]:.2f} Angstrom", walk.step, self.settings.steps)
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                state = {"positions": walk.batch.positions.cpu().numpy(), "step": np.array(walk.step)}
                context.cache.save_arrays(f"{name}-state", state)
        alike = walk.likeness()
        out = []
        for candidate, atoms, value in zip(group, walk.batch.to_atoms(), alike, strict=True):
            atoms.set_constraint(candidate.atoms.constraints)
            finite = np.isfinite(atoms.positions).all()
            if finite and all(atoms.pbc):
                atoms.wrap()
            said = f"annealed by similarity in {self.settings.steps} steps from {self.settings.sigma:g} Angstrom"
            failure = None if finite else "positions are no longer finite"
            kept_atoms = atoms if finite else candidate.atoms
            out.append(candidate.after(said, kept_atoms, failure, unlikeness=value))
        return out


@dataclass(frozen=True)
class Walk:
    """Models on their way: positions in float64, keys of their atoms, walls between pairs, and the step."""

    route: SimilarityRoute
    batch: Batch
    atom_key: Tensor
    moving: Tensor
    walls: Tensor
    step: int = 0

    @classmethod
    def of(cls, route: SimilarityRoute, structures: Sequence[Atoms], key: Tensor) -> "Walk":
        """The first state of `structures`, whose random numbers come from `key` (structures,)."""
        device = route.potential.device
        batch = Batch.from_atoms(structures, torch.float64, device)
        slots = torch.cat([torch.arange(len(atoms)) for atoms in structures]).to(device)
        fixed = np.concatenate([fixed_components(atoms) for atoms in structures])
        table = route.walls.matrix(batch.numbers.cpu().numpy())
        return cls(
            route, batch, derived(key.to(device)[batch.system], Purpose.MD_ATOM, slots),
            torch.tensor(~fixed, dtype=torch.float64, device=device), torch.tensor(table, device=device),
        )  # fmt: skip

    def advance(self, levels: Sequence[float]) -> "Walk":
        """One stochastic Heun step, algorithm 2 of Karras et al."""
        settings, x = self.route.settings, self.batch.positions
        sigma, sigma_next = levels[self.step], levels[self.step + 1]
        gamma = min(settings.churn / settings.steps, 2**0.5 - 1)
        sigma_hat = sigma * (1 + gamma)
        noise = normal(self.atom_key, Purpose.SIMILARITY_NOISE, 3, self.step)
        x = x + (sigma_hat**2 - sigma**2) ** 0.5 * noise * self.moving
        d = self.score(x, sigma_hat)
        x_next = x + (sigma_hat - sigma_next) * d
        if sigma_next > 0:
            d_next = self.score(x_next, sigma_next)
            x_next = x + (sigma_hat - sigma_next) * (d + d_next) / 2
        return replace(self, batch=self.batch.at(x_next), step=self.step + 1)

    def score(self, positions: Tensor, sigma: float) -> Tensor:
        """Pull towards the references and push of the walls (atoms, 3); zero for fixed components."""
        route, kind = self.route, self.route.potential.dtype
        x = positions.detach().to(kind).requires_grad_(True)
        with torch.enable_grad():
            features = self._features(x)
            by_feature = energy_gradient(features.detach(), self.batch.numbers, route.environments, sigma)
            (gradient,) = torch.autograd.grad(features, x, by_feature)
        pull = clipped(-gradient.double()) * route.settings.strength
        return (pull + self._walls(positions)) * self.moving

    def likeness(self) -> list[float]:
        """Mean of -log k of every model's atoms at no noise: the lower the more alike."""
        with torch.no_grad():
            features = self._features(self.batch.positions.to(self.route.potential.dtype))
            values = energies(features, self.batch.numbers, self.route.environments, 0.0).double()
        sums = torch.zeros(self.batch.n_systems, dtype=torch.float64, device=values.device)
        counts = torch.bincount(self.batch.system, minlength=self.batch.n_systems)
        return (sums.index_add_(0, self.batch.system, values) / counts).tolist()

    def _features(self, x: Tensor) -> Tensor:
        potential, cell = self.route.potential, self.batch.cell
        typed = replace(self.batch.at(x), cell=None if cell is None else cell.to(x.dtype))
        edges = neighbours(replace(typed, positions=x.detach()), potential.cutoff)
        raw = potential.descriptors(typed, edges=edges, shortest=SHORTEST)
        return self.route.environments.whitened(raw, self.batch.numbers)

    def _walls(self, positions: Tensor) -> Tensor:
        batch = self.batch.at(positions)
        edges = neighbours(batch, float(self.walls.max()))
        i, j = edges.index
        apart = positions[i] - positions[j] - edges.shift
        r = apart.norm(dim=1).clamp_min(1e-6)
        depth = (self.walls[batch.numbers[i], batch.numbers[j]] - r).clamp_min(0)
        push = torch.zeros_like(positions).index_add_(0, i, (STIFFNESS * depth / r)[:, None] * apart)
        settings = self.route.settings
        # as much stronger as the pull of the references, which would otherwise draw atoms into the void
        return push if settings.void is None else push + settings.strength * self._void(positions, settings.void)

    def _void(self, positions: Tensor, radius: float) -> Tensor:
        """Push out of the sphere in the middle of each cell."""
        cell = self.batch.cell
        assert cell is not None
        cells = cell[self.batch.system]
        fraction = torch.linalg.solve(cells.transpose(1, 2), positions[:, :, None])[:, :, 0]
        away = torch.einsum("ai,aij->aj", fraction - fraction.floor() - 0.5, cells)
        r = away.norm(dim=1).clamp_min(1e-6)
        return (STIFFNESS * (radius - r).clamp_min(0) / r)[:, None] * away


def noise_levels(settings: Annealing) -> list[float]:
    """Levels (steps + 1,) from sigma to zero, evenly spaced in the square root."""
    share = np.linspace(1, 0, settings.steps + 1)
    return [float(value) for value in settings.sigma * share**2]


def _read(name: str, rattle: float, elements: Sequence[str]) -> list[Atoms]:
    """Reference structures: those of a file, or displaced copies of crystals."""
    if name == "auto":
        known = {key: set(make().get_chemical_symbols()) for key, make in PROTOTYPES.items()}
        return [atoms for key, has in known.items() if has <= set(elements) for atoms in _displaced(key, rattle)]
    if name in PROTOTYPES:
        return _displaced(name, rattle)
    if not Path(name).is_file():
        raise UserError(f"generator.similarity.references={name}: give auto, one of {', '.join(PROTOTYPES)}, or a file")
    read = read_structures([name], hydrogens="ignore")
    usable = [candidate.atoms for candidate in read if candidate.failure is None]
    if not usable:
        raise UserError(f"generator.similarity.references={name}: no structure can be used: {read[0].failure}")
    return usable


def _shortest(structures: Sequence[Atoms]) -> dict[tuple[str, str], float]:
    """The shortest distance of every pair of elements within REACH, symbols in alphabetic order."""
    out: dict[tuple[str, str], float] = {}
    for atoms in structures:
        symbols = np.array(atoms.get_chemical_symbols())
        i, j, d = neighbour_list("ijd", atoms, REACH)
        for a in sorted(set(symbols)):
            for b in (b for b in sorted(set(symbols)) if b >= a):
                near = d[(symbols[i] == a) & (symbols[j] == b)]
                if len(near):
                    out[a, b] = min(out.get((a, b), np.inf), float(near.min()))
    return out


def _displaced(name: str, width: float) -> list[Atoms]:
    cell = PROTOTYPES[name]()
    repeats = max(1, round((ATOMS / len(cell)) ** (1 / 3)))
    out = []
    for number in range(FRAMES):
        atoms = cell * (repeats, repeats, repeats)
        place = sorted(PROTOTYPES).index(name)
        atoms.positions += width * stream(Purpose.TRIALS, 1, place, number).standard_normal((len(atoms), 3))
        out.append(atoms)
    return out
