"""SiMGen: molecules that resemble reference environments, without training a generative model (arXiv 2402.08708)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.simgen import attempts, composition, conditions, finish, kernel, requested
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.elements import ElementSwaps, drawn_elements, drawn_reference, placed_elements
from gendesign.generate.simgen.fragments import Fragments
from gendesign.generate.simgen.random import keys, uniform
from gendesign.generate.simgen.references import References, read_references
from gendesign.generate.simgen.sampler import Heun, integrate
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.shape_prior import HostRepulsion
from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.generate.simgen.state import Swarm, new_swarm
from gendesign.generate.simgen.trajectory import Track, prepare
from gendesign.objective import Objective
from gendesign.potential import Potential, fit_chemical_potentials
from gendesign.potential.batching import in_batches, is_out_of_memory
from gendesign.processes import SERIAL, Spread
from gendesign.structure.conditions import Condition
from gendesign.structure.contacts import Host
from gendesign.structure.generator import Generator, ShardContext
from gendesign.structure.types import Candidate, Score


@dataclass(frozen=True)
class SimGen(Generator):
    """Generator of molecules by similarity kernels; conditions combine.

    n_heavy_atoms: a number or a range such as "5-12", drawn evenly; new ones, where there are fragments; "auto" takes
        it from the formula, the shape or the distance of the fragments, and is 9 else.
    elements: symbols of the heavy atoms. formula: exact, such as "C7H8N2O2". counts: limits by element, such as
        "N0-2 O1". forbidden: SMARTS that no molecule may contain.
    reference: nothing for the bundled set, or files (structures, SMILES) of molecules whose environments are to be
        resembled, mixed by reference_weights. likeness: temperature of the resemblance, lower is closer. importance:
        weight of the resemblance by element, such as "N2".
    fragments: a file, or structures, to grow on or to link at the hydrogens `attachments`, counted from 0.
    prior: the shape, None for Gaussians with the shapes of the reference skeletons. host: a file, or a structure, that
        molecules keep off. guidance: further scores of positions.
    objective: what finished candidates are paid for, as pressure * log(score) in eV.
    steps: noise levels. particles: copies of each molecule among which elements are tried. families: into how many
        independent geometries the particles of a molecule are divided, the best of which becomes the molecule.
    max_atoms: atoms per model call, the bound on memory (halved when it does not fit). trajectory: folder for the way
        of every molecule.
    Raises UserError for settings that make no sense.
    """

    potential: Potential
    n_heavy_atoms: str | int = "auto"
    elements: Sequence[str] = ("C", "N", "O")
    formula: str | None = None
    counts: str | None = None
    forbidden: Sequence[str] = ()
    reference: str | Sequence[str] | None = None
    reference_weights: Sequence[float] = ()
    likeness: float = 1.0
    importance: str | None = None
    fragments: str | Sequence[Atoms] | None = None
    attachments: Sequence[int] = ()
    prior: Score | None = None
    host: str | Atoms | None = None
    guidance: Sequence[Score] = ()
    objective: Objective | None = None
    pressure: float = 1.0
    steps: int = 50
    particles: int = 10
    families: int = 5
    swap_every: int = 3
    swap_share: float = 0.2
    integrator: Heun = field(default_factory=Heun)
    finishing: finish.Finish = field(default_factory=finish.Finish)
    cohesion: Cohesion = field(default_factory=Cohesion)
    max_atoms: int = 4000
    trajectory: str | None = None
    name: str = "simgen"

    def __post_init__(self) -> None:
        unknown = [e for e in self.elements if e not in VALENCE]
        if unknown or not self.elements:
            raise UserError(f"generator.elements={list(self.elements)}: choose heavy elements from {' '.join(VALENCE)}")
        if self.families < 1 or self.particles % self.families:
            raise UserError(f"generator.families={self.families} must divide generator.particles={self.particles}")
        for key, least in (("steps", 2), ("particles", 1), ("swap_every", 1), ("max_atoms", 1)):
            if getattr(self, key) < least:
                raise UserError(f"generator.{key}={getattr(self, key)} is too small; give {least} or more")
        if self.objective is not None and self.objective.diversity_filter is not None:
            raise UserError(
                "objective: a diversity filter makes a candidate depend on earlier ones; leave diversity_filter out"
            )
        if self.reference_weights and not self.reference:
            raise UserError("generator.reference_weights are the shares of files; give generator.reference as well")
        if not self.likeness > 0:
            raise UserError(f"generator.likeness={self.likeness} must be above zero; 1 is the usual resemblance")
        self.size_range, self.conditions  # noqa: B018  what is wrong is said before anything runs
        given = [] if self.conditions.given is None else [chemical_symbols[z] for z in self.conditions.given.numbers]
        self.potential.require_elements(["H", *self.heavy_elements, *given])
        self.skeletons, self.importances, self.walls  # noqa: B018
        if self.objective is not None:
            self.paying  # noqa: B018
        if self.trajectory is not None:
            prepare(self.trajectory)

    @cached_property
    def heavy_elements(self) -> list[str]:
        """Symbols that new heavy atoms may have: those of the formula, where there is one."""
        return list(self.elements) if self.formula is None else composition.elements_of(self.formula)

    @cached_property
    def limits(self) -> composition.Limits | None:
        """How many atoms of each element there may be."""
        if self.formula is not None and self.counts is not None:
            raise UserError("generator.formula and generator.counts are both given; a formula leaves no counts open")
        return composition.limits_of(self.formula, self.counts, self.heavy_elements)

    @cached_property
    def size_range(self) -> tuple[int, int]:
        """Fewest and most new heavy atoms."""
        return conditions.size_range(self)

    @cached_property
    def frame(self) -> Fragments | None:
        """The fragments to grow on or to link."""
        return conditions.frame(self)

    @cached_property
    def conditions(self) -> finish.Conditions:
        """What every molecule must satisfy, and what it is paid for."""
        given = None if self.frame is None else self.frame.given
        reward = None if self.objective is None else self._reward
        ring = getattr(getattr(self.prior, "shape", None), "ring", None)
        return finish.Conditions(given, conditions.patterns(self.forbidden), reward, self.environment, ring)

    @cached_property
    def environment(self) -> Host | None:
        """The host that molecules keep off while they are sampled, finished and, by the run, relaxed."""
        return conditions.host(self)

    @cached_property
    def requested(self) -> tuple[Condition, ...]:
        """What was asked for, as checks of the finished candidates."""
        return requested.conditions(self)

    @cached_property
    def paying(self) -> Objective:
        """The objective with the potential that scores of energies need."""
        return self.objective.under(self.judge)

    def _reward(self, molecules: Sequence[Atoms]) -> np.ndarray:
        total = np.asarray(self.paying(molecules).total, float)
        return self.pressure * np.log(np.maximum(total, 1e-3))

    @cached_property
    def references(self) -> References:
        """The molecules to resemble."""
        paths = [self.reference] if isinstance(self.reference, str) else self.reference or []
        return read_references(paths, self.reference_weights, self.heavy_elements, self.potential)

    @cached_property
    def importances(self) -> dict[int, float]:
        """Weight of the resemblance by atomic number."""
        return composition.weights_of(self.importance, self.heavy_elements)

    @cached_property
    def skeletons(self) -> list[Atoms]:
        """Reference molecules without hydrogen (and without fluorine, unless asked for) of allowed elements."""
        allowed = self.heavy_elements
        found = [a[[i for i, s in enumerate(a.symbols) if s in allowed]] for a in self.references.molecules]
        missing = [e for e in allowed if not any(e in a.symbols for a in found)]
        if missing:
            raise UserError(
                f"generator.elements={allowed}: the references hold no {', '.join(missing)} to resemble; "
                "leave it out or give other references"
            )
        return found

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers of the allowed heavy elements."""
        return [atomic_numbers[e] for e in self.heavy_elements]

    @cached_property
    def score(self) -> kernel.KernelScore:
        """The similarity score to the references under the potential."""
        known = kernel.environments(
            self.potential, self.skeletons, weights=self.references.weights, temperature=self.likeness
        )
        return kernel.KernelScore(self.potential, known, self.importances)

    @cached_property
    def judge(self) -> Potential:
        """The potential with chemical potentials of the allowed elements: its own, or fitted to the references."""
        given = () if self.frame is None else {chemical_symbols[z] for z in self.frame.given.numbers}
        if {"H", *self.heavy_elements, *given} <= set(self.potential.chemical_potentials):
            return self.potential
        molecules = [a for a in self.references.molecules if set(a.symbols) <= set(self.potential.elements)]
        energies = [
            e for few in in_batches(molecules, self.max_atoms) for e in self.potential.evaluate(few).energy.tolist()
        ]
        # atoms of fragments are the same in all candidates, so that theirs may be anything
        fitted = dict.fromkeys(given, 0.0) | fit_chemical_potentials(molecules, energies)
        return replace(self.potential, chemical_potentials=fitted)

    @cached_property
    def priors(self) -> list[Score]:
        """The scores that hold atoms together; the first says where they start."""
        return conditions.priors(self)

    @cached_property
    def walls(self) -> list[Score]:
        """What keeps molecules off a host while they are sampled."""
        return [] if self.environment is None else [HostRepulsion.of(self.environment)]

    def prepare(self) -> None:
        """Make what all calls of `generate` share, so that processes forked from this one need not."""
        self.score, self.judge, self.priors  # noqa: B018

    @property
    def own_references(self) -> Sequence[Atoms] | None:
        """The molecules of `reference`, None for the bundled ones."""
        return self.references.molecules if self.reference else None

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with the workers of the run."""
        return self.generate(indices, seed=seed, spread=context.spread)

    def generate(
        self,
        indices: Sequence[int],
        *,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
        spread: Spread = SERIAL,
    ) -> Iterator[Candidate]:
        """A candidate for every index, hydrogenated and roughly relaxed; failed attempts say why.

        Candidate i depends on (seed, i) and, to rounding, on nothing else. Candidates come batch by batch, the first
        while the others are not yet begun; `progress(done, all)` is called after each; `spread` helps with what
        needs no potential (bonds, hydrogens).
        """
        index = torch.as_tensor(list(indices), dtype=torch.long)
        if not len(index):
            return
        key = keys(seed, index)
        low, high = self.size_range
        sizes = low + (uniform(key, 0, 1)[:, 0] * (high - low + 1)).long() + self.n_fixed
        largest = max(1, self.max_atoms // ((high + self.n_fixed) * self.particles))
        for rows in torch.arange(len(index)).split(largest):
            for done, candidate in enumerate(
                self._batch(index[rows].tolist(), sizes[rows], key[rows], seed, spread), start=int(rows[0]) + 1
            ):
                if progress is not None:
                    progress(done, len(index))
                yield candidate

    @property
    def n_fixed(self) -> int:
        """Heavy atoms that are given."""
        return 0 if self.frame is None else len(self.frame.given)

    def sample(
        self, sizes: Tensor, key: Tensor, watch: Callable[[Swarm, float], None] | None = None
    ) -> tuple[Swarm, Tensor, Tensor]:
        """Sampling alone, for molecules of `sizes` (molecules,): the final swarm, which of its geometries exploded, and
        the composition drawn for each (families * molecules, elements). The families of a molecule are neighbours.
        `watch(swarm, sigma)` sees every step."""
        device, families = self.potential.device, self.families
        family_key = (key[:, None] + 15_485_863 * torch.arange(families)[None]).flatten()
        fixed = None
        if self.frame is not None:
            given = self.frame.given
            fixed = torch.as_tensor(given.numbers), torch.as_tensor(given.positions)
        swarm = new_swarm(
            sizes.repeat_interleave(families).to(device), family_key.to(device), self.particles // families, fixed
        )
        swarm = swarm.at(torch.where(swarm.free[:, None], self.priors[0].sample(swarm), swarm.positions))
        swarm = replace(swarm, numbers=self._elements(swarm, sizes, key))
        wanted = swarm.composition(torch.as_tensor(self.numbers, device=device))[:, 0]
        swaps = ElementSwaps(
            self.score, self.numbers, self.steps, wanted, self.swap_share, self.swap_every,
            exact=self.limits is not None,
        )  # fmt: skip
        scores = [self.score, *self.priors, self.cohesion, *self.walls, *self.guidance]
        swarm, exploded = integrate(swarm, scores, simgen_sigmas(self.steps), self.integrator, swaps, watch)
        return swarm, exploded, wanted

    def _elements(self, swarm: Swarm, sizes: Tensor, key: Tensor) -> Tensor:
        """An atomic number for every atom (atoms,), alike in all families and particles of a molecule."""
        own = key.repeat_interleave(self.families).to(swarm.numbers.device)
        if self.limits is None:
            return drawn_elements(swarm, own, self.skeletons, self.numbers, self.references.weights)
        counts = np.array([[int((a.numbers == z).sum()) for z in self.numbers] for a in self.skeletons])
        rows, u = drawn_reference(key, self.references.weights).tolist(), uniform(key, 6, 1)[:, 0].tolist()
        drawn = [
            self.limits.drawn(counts[row] / counts[row].sum(), n - self.n_fixed, v)
            for row, n, v in zip(rows, sizes.tolist(), u, strict=True)
        ]
        numbers = [composition.numbers_of(c, self.heavy_elements) for c in drawn for _ in range(self.families)]
        return placed_elements(swarm, own, numbers)

    def _sample_if_it_fits(
        self, sizes: Tensor, key: Tensor, watch: Callable[[Swarm, float], None] | None
    ) -> tuple[Swarm, Tensor, Tensor] | None:
        try:
            return self.sample(sizes, key, watch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # only here, behind the except block, has the error let go of the tensors that did not fit
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _batch(self, index: list[int], sizes: Tensor, key: Tensor, seed: int, spread: Spread) -> Iterator[Candidate]:
        track = None if self.trajectory is None else Track(Path(str(self.trajectory)), self.particles // self.families)
        sampled = self._sample_if_it_fits(sizes, key, track)
        if sampled is None:
            if len(index) == 1:
                raise UserError(
                    f"a molecule of {int(sizes[0])} atoms in {self.particles} particles does not fit into the memory "
                    f"of {self.potential.device}; use fewer generator.particles, fewer atoms or another device"
                )
            half = len(index) // 2
            yield from self._batch(index[:half], sizes[:half], key[:half], seed, spread)
            yield from self._batch(index[half:], sizes[half:], key[half:], seed, spread)
            return
        yield from attempts.finished(self, index, sizes, key, seed, sampled, track, spread)
