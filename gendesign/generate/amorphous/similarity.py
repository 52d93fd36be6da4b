"""The route without melting: atoms in a periodic box are annealed until their neighbourhoods resemble references.

The energy of an atom is -log k, the similarity of its descriptors to those of reference environments of its element
(the kernel of the molecules' generator, generate/simgen/kernel.py, with periodic neighbour lists). Langevin dynamics in
this energy cools from `hot` to `cold`; a wall keeps the minimum distances of pairs. The last steps descend without
noise. Nothing is fitted, and no energy of a potential is needed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from gendesign.dynamics.integrators import Coupling, langevin_step
from gendesign.dynamics.state import State
from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.amorphous.composition import cubic_edge
from gendesign.generate.amorphous.packing import DENSEST, Distances
from gendesign.generate.amorphous.power_spectrum import PowerSpectrum
from gendesign.generate.amorphous.references import read_references, shortest_distances
from gendesign.generate.amorphous.starts import Starts
from gendesign.generate.simgen.kernel import (
    SHORTEST,
    Describer,
    Environments,
    clipped,
    energies,
    energy_gradient,
    environments,
)
from gendesign.potential.protocol import Capability, PotentialLike, require
from gendesign.structure.counter_random import keys
from gendesign.structure.generator import ShardContext
from gendesign.structure.graph import Batch, Edges, neighbours
from gendesign.structure.types import Candidate

SAVE_SECONDS = 30.0  # between two checkpoints
STIFFNESS = 4000.0  # 1/Angstrom^2, of the walls
WALL = 0.95  # of the shortest distance of a pair in the references, below which it repels
CHANNELS = 64  # principal components of the descriptors; few do not see what a defect has and no reference has
LONGEST = 3000.0  # 1/Angstrom, longest force of an atom
FLOOR = 0.1  # of the first principal component: stiffer directions of the descriptors count no more than this
TIMESTEP, FRICTION = 0.003, 10.0  # in the unit of time in which an atom has mass 1 and -log k is the energy
STEEP, DESCENT = 100.0, 0.02  # friction of the descent at the end, and its share of the steps
GEOMETRY, POTENTIAL = "geometry", "potential"


@dataclass(frozen=True)
class Annealing:
    """How atoms are annealed towards the references."""

    references: tuple[str, ...] = setting(
        ("auto",), "files with environments to resemble, or names of crystals; auto: crystals of these elements whose "
        "angles are disordered", file=True,
    )  # fmt: skip
    disorder: float = setting(0.45, "displacements of the atoms of crystals before their bonds are restored, standard "
                              "deviation", unit="Angstrom", least=0)  # fmt: skip
    rattle: float = setting(0.05, "displacements afterwards, standard deviation", unit="Angstrom", least=0)
    descriptors: str = setting(GEOMETRY, "geometry: power spectrum of the neighbours within `cutoff`; potential: those "
                               "of the run's potential, if it has any", allowed=(GEOMETRY, POTENTIAL))  # fmt: skip
    cutoff: float = setting(3.6, "reach of descriptors=geometry, up to the second shell", unit="Angstrom", above=0)
    steps: int = setting(6000, "steps; more give better models", least=10)
    hot: float = setting(150.0, "temperature at the beginning, in units of -log k", above=0)
    cold: float = setting(10.0, "temperature before the final descent", above=0)
    void: float | None = setting(None, "radius of a sphere in the middle of the box without atoms", unit="Angstrom",
                                 above=0)  # fmt: skip
    max_atoms: int = setting(2000, "atoms per batch, which bounds the memory", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.similarity")
        if self.cold > self.hot:
            raise UserError(
                f"generator.similarity.cold={self.cold:g} is above hot={self.hot:g}; it cools from hot to cold"
            )

    @property
    def descent(self) -> int:
        """Steps of the descent at the end."""
        return max(1, round(DESCENT * self.steps))

    def temperature(self, step: int) -> float:
        """Temperature in the step after `step` steps: falls exponentially, then is zero."""
        cooling = self.steps - self.descent
        if step >= cooling:
            return 0.0
        return float(self.hot * (self.cold / self.hot) ** (step / max(1, cooling)))


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
        if settings.descriptors == POTENTIAL:
            require(potential, Capability.DESCRIPTORS, "choose generator.similarity.descriptors=geometry")
        structures = [
            atoms
            for name in settings.references
            for atoms in read_references(name, settings.disorder, settings.rattle, starts.elements)
        ]
        present = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
        if lacking := sorted(set(starts.elements) - present):
            raise UserError(
                f"generator.similarity.references={','.join(settings.references)}: none has {', '.join(lacking)}; "
                "give a file of a glass or a crystal of these elements"
            )
        if settings.descriptors == POTENTIAL:
            potential.require_elements(present)
        if settings.void is not None:
            _check_void(settings.void, starts)
        return cls(settings, potential, starts, structures)

    @cached_property
    def describer(self) -> Describer:
        """What describes the atoms."""
        if self.settings.descriptors == POTENTIAL:
            return self.potential
        symbols = sorted({symbol for atoms in self.references for symbol in atoms.get_chemical_symbols()})
        nearest = min(shortest_distances(self.references).values(), default=self.settings.cutoff / 2)
        return PowerSpectrum(tuple(symbols), self.settings.cutoff, nearest, self.potential.device)

    @cached_property
    def environments(self) -> Environments:
        """The reference environments, described."""
        return environments(self.describer, self.references, channels=CHANNELS, floor=FLOOR)

    @cached_property
    def walls(self) -> Distances:
        """Distances below which pairs repel each other: WALL of the shortest ones in the references.

        Those in generator.min_distances count as given; a pair that is never near in the references has the distance of
        a packing.
        """
        usual = Distances.of(self.starts.elements, self.starts.min_distances)
        stated = {tuple(sorted(text.partition("=")[0].strip().split("-"))) for text in self.starts.min_distances}
        nearest = shortest_distances(self.references)
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
        settings = self.settings
        run = Run.of(self, [c.atoms for c in group], keys(seed, torch.tensor([c.index for c in group])))
        kept = context.cache.load_arrays(f"{name}-state")
        if kept is not None:
            run.state = run.state.restored(kept)
        saved = time.monotonic()
        while run.state.step < settings.steps:
            run.advance()
            step = run.state.step
            text = (
                f"annealing by similarity at {settings.temperature(step):.0f} ({settings.hot:g} to {settings.cold:g})"
            )
            context.phase(text, step, settings.steps)
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                context.cache.save_arrays(f"{name}-state", run.state.arrays())
        return self._ended(group, run)

    def _ended(self, group: Sequence[Candidate], run: "Run") -> list[Candidate]:
        settings, out = self.settings, []
        for candidate, atoms, value in zip(group, run.state.batch.to_atoms(), run.unlikeness(), strict=True):
            atoms.set_constraint(candidate.atoms.constraints)
            finite = np.isfinite(atoms.positions).all()
            if finite and all(atoms.pbc):
                atoms.wrap()
            said = f"annealed by similarity in {settings.steps} steps, {settings.hot:g} to {settings.cold:g} of -log k"
            failure = None if finite else "positions are no longer finite"
            kept = atoms if finite else candidate.atoms
            out.append(candidate.after(said, kept, failure, unlikeness=value))
        return out


@dataclass
class Run:
    """Models in Langevin dynamics; every atom has mass 1, and temperatures are times Boltzmann's constant."""

    route: SimilarityRoute
    walls: Tensor
    state: State

    @classmethod
    def of(cls, route: SimilarityRoute, structures: Sequence[Atoms], key: Tensor) -> "Run":
        """The first state of `structures`, whose random numbers come from `key` (structures,)."""
        state = State.from_atoms(structures, key, route.potential.device)
        table = torch.tensor(route.walls.matrix(state.batch.numbers.cpu().numpy()), device=state.energy.device)
        run = cls(route, table, replace(state, masses=torch.ones_like(state.masses)))
        run.state = run.evaluate(replace(run.state, momenta=torch.zeros_like(run.state.momenta)))
        return run

    def advance(self) -> None:
        """One step."""
        temperature = self.route.settings.temperature(self.state.step)
        coupling = Coupling(FRICTION if temperature else STEEP, 1.0, 1.0, 1.0)
        thermal = torch.full_like(self.state.energy, temperature / units.kB)
        self.state = langevin_step(self.state, self.evaluate, TIMESTEP, thermal, coupling)

    def evaluate(self, state: State) -> State:
        """The state with the forces of its positions: pull towards the references and push of the walls."""
        edges = neighbours(state.batch, max(self.route.describer.cutoff, float(self.walls.max())))
        forces = self.pull(state, edges) + self.push(state, edges)
        return replace(state, forces=clipped(forces, LONGEST) * state.moving)

    def pull(self, state: State, edges: Edges) -> Tensor:
        """-d/dx of the summed -log k (atoms, 3); `edges` may reach farther than the descriptors."""
        kind = self.route.environments.features.dtype
        x = state.batch.positions.detach().to(kind).requires_grad_(True)
        with torch.enable_grad():
            features = self.features(state, x, edges)
            by_feature = energy_gradient(features.detach(), state.batch.numbers, self.route.environments, 0.0)
            (gradient,) = torch.autograd.grad(features, x, by_feature)
        return -gradient.double()

    def push(self, state: State, edges: Edges) -> Tensor:
        """Push (atoms, 3) of the walls between pairs, and out of the void."""
        batch, void = state.batch, self.route.settings.void
        i, j = edges.index
        apart = batch.positions[i] - batch.positions[j] - edges.shift
        r = apart.norm(dim=1).clamp_min(1e-6)
        depth = (self.walls[batch.numbers[i], batch.numbers[j]] - r).clamp_min(0)
        out = torch.zeros_like(batch.positions).index_add_(0, i, (STIFFNESS * depth / r)[:, None] * apart)
        return out if void is None else out + out_of_void(state, void)

    def unlikeness(self) -> list[float]:
        """Mean of -log k of every model's atoms: the lower the more alike."""
        batch, known = self.state.batch, self.route.environments
        edges = neighbours(batch, self.route.describer.cutoff)
        with torch.no_grad():
            features = self.features(self.state, batch.positions.to(known.features.dtype), edges)
            values = energies(features, batch.numbers, known, 0.0).double()
        counts = torch.bincount(self.state.system, minlength=batch.n_systems)
        return (self.state.per_system(values) / counts).tolist()

    def features(self, state: State, x: Tensor, edges: Edges) -> Tensor:
        """Whitened descriptors (atoms, channels) at positions `x`, in which they are differentiable."""
        cell, describer = state.batch.cell, self.route.describer
        typed = replace(state.batch.at(x), cell=None if cell is None else cell.to(x.dtype))
        near = _within(typed, edges, describer.cutoff)
        raw = describer.descriptors(typed, edges=near, shortest=SHORTEST)
        return self.route.environments.whitened(raw, state.batch.numbers)


def _check_void(radius: float, starts: Starts) -> None:
    """Raise UserError for an empty sphere that does not fit into the box, or leaves the atoms too little room."""
    edge = cubic_edge(starts.composition, starts.packed_density) if not starts.structures else 0.0
    cells = [atoms.cell.array for atoms in starts.structures] or [np.eye(3) * edge]
    narrowest = min(float((1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min()) for cell in cells)
    room = min(abs(float(np.linalg.det(cell))) for cell in cells) - 4 / 3 * np.pi * radius**3
    if 2 * radius >= narrowest or starts.distances.fraction(starts.composition, room) > DENSEST:
        raise UserError(
            f"generator.similarity.void={radius:g} Angstrom does not fit: the box is {narrowest:.1f} Angstrom wide, "
            "and the atoms need room beside the sphere; give a smaller radius, a lower density or more atoms"
        )


def _within(batch: Batch, edges: Edges, cutoff: float) -> Edges:
    """Those of `edges` that are shorter than `cutoff`, in the type of the positions of `batch`."""
    kind, (i, j) = batch.positions.dtype, edges.index
    shift, unit = edges.shift.to(kind), edges.unit_shift.to(kind)
    near = (batch.positions.detach()[j] - batch.positions.detach()[i] + shift).norm(dim=1) < cutoff
    return Edges(edges.index[:, near], shift[near], unit[near])


def out_of_void(state: State, radius: float) -> Tensor:
    """Push (atoms, 3) out of the sphere in the middle of each cell."""
    cell = state.batch.cell
    assert cell is not None
    cells = cell[state.system]
    fraction = torch.linalg.solve(cells.transpose(1, 2), state.batch.positions[:, :, None])[:, :, 0]
    away = torch.einsum("ai,aij->aj", fraction - fraction.floor() - 0.5, cells)
    r = away.norm(dim=1).clamp_min(1e-6)
    return (STIFFNESS * (radius - r).clamp_min(0) / r)[:, None] * away
