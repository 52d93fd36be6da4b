"""SiMGen: molecules that resemble reference environments, without training a generative model (arXiv 2402.08708)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.generate.simgen import finish, kernel
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.elements import ElementSwaps, drawn_elements, drawn_reference
from gendesign.generate.simgen.prior import GaussianPrior, PointCloudPrior, shapes_of
from gendesign.generate.simgen.random import keys, uniform
from gendesign.generate.simgen.sampler import Heun, integrate
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.generate.simgen.state import Swarm, new_swarm
from gendesign.potential import Potential, fit_chemical_potentials
from gendesign.potential.memory import in_batches, is_out_of_memory
from gendesign.potential.zoo import checkpoints_folder
from gendesign.structure.files import read_structures
from gendesign.structure.formula import parse_range
from gendesign.structure.types import Candidate, UserError


@dataclass(frozen=True)
class SimGen:
    """Generator of molecules by similarity kernels.

    n_heavy_atoms: a number or a range such as "5-12", drawn evenly; elements: symbols of the heavy atoms; reference:
    None for the bundled set, or a file of hydrogenated molecules whose environments are to be resembled; prior: None
    for Gaussians with the shapes of the reference skeletons; steps: noise levels; particles: copies of each molecule
    among which elements are tried; families: into how many independent geometries the particles of a molecule are
    divided, the best of which becomes the molecule; max_atoms: atoms per model call, the bound on memory (halved when
    it does not fit). Raises UserError for settings that make no sense.
    """

    potential: Potential
    n_heavy_atoms: str | int = "9"
    elements: Sequence[str] = ("C", "N", "O")
    reference: str | None = None
    steps: int = 50
    particles: int = 10
    families: int = 5
    swap_every: int = 3
    swap_share: float = 0.2
    integrator: Heun = field(default_factory=Heun)
    finishing: finish.Finish = field(default_factory=finish.Finish)
    prior: GaussianPrior | PointCloudPrior | None = None
    cohesion: Cohesion = field(default_factory=Cohesion)
    max_atoms: int = 4000
    name: str = "simgen"

    def __post_init__(self) -> None:
        parse_range(self.n_heavy_atoms, "generator.n_heavy_atoms")
        unknown = [e for e in self.elements if e not in VALENCE]
        if unknown or not self.elements:
            raise UserError(f"generator.elements={list(self.elements)}: choose heavy elements from {' '.join(VALENCE)}")
        self.potential.require_elements(["H", *self.elements])
        if self.families < 1 or self.particles % self.families:
            raise UserError(f"generator.families={self.families} must divide generator.particles={self.particles}")
        for key, least in (("steps", 2), ("particles", 1), ("swap_every", 1), ("max_atoms", 1)):
            if getattr(self, key) < least:
                raise UserError(f"generator.{key}={getattr(self, key)} is too small; give {least} or more")
        self.skeletons  # noqa: B018  a missing or unreadable reference file is named before anything runs

    @cached_property
    def skeletons(self) -> list[Atoms]:
        """Reference molecules without hydrogen (and without fluorine, unless asked for) of allowed elements."""
        found = [a[[i for i, s in enumerate(a.symbols) if s in self.elements]] for a in self.reference_molecules]
        missing = [e for e in self.elements if not any(e in a.symbols for a in found)]
        if missing:
            raise UserError(
                f"generator.elements={list(self.elements)}: the references hold no {', '.join(missing)} to resemble; "
                "leave it out or give other references"
            )
        return found

    @cached_property
    def reference_molecules(self) -> list[Atoms]:
        """The hydrogenated reference molecules whose heavy atoms are all allowed, fluorine aside."""
        path = checkpoints_folder() / "organic" / "reference.extxyz" if self.reference is None else Path(self.reference)
        allowed = {*self.elements, "H", "F"}
        found = [
            c.atoms
            for c in read_structures([path])
            if c.failure is None
            and set(c.atoms.symbols) <= allowed
            and sum(s in self.elements for s in c.atoms.symbols) > 1
        ]
        if not found:
            raise UserError(
                f"generator.reference={str(path)!r} holds no molecule of {' '.join(self.elements)} only; "
                "allow more elements or give other references"
            )
        return found

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers of the allowed heavy elements."""
        return [atomic_numbers[e] for e in self.elements]

    @cached_property
    def score(self) -> kernel.KernelScore:
        """The similarity score to the references under the potential."""
        return kernel.KernelScore(self.potential, kernel.environments(self.potential, self.skeletons))

    @cached_property
    def judge(self) -> Potential:
        """The potential with chemical potentials of the allowed elements: its own, or fitted to the references."""
        if {"H", *self.elements} <= set(self.potential.chemical_potentials):
            return self.potential
        molecules = [a for a in self.reference_molecules if set(a.symbols) <= set(self.potential.elements)]
        energies = [
            e for few in in_batches(molecules, self.max_atoms) for e in self.potential.evaluate(few).energy.tolist()
        ]
        return replace(self.potential, chemical_potentials=fit_chemical_potentials(molecules, energies))

    @cached_property
    def reference_shapes(self) -> GaussianPrior:
        """The prior whose shapes are those of the reference skeletons of at least five heavy atoms, or of all."""
        large = [a for a in self.skeletons if len(a) >= 5]
        return GaussianPrior(shapes_of(large or self.skeletons))

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """A candidate for every index, hydrogenated and roughly relaxed; failed attempts say why.

        Candidate i depends on (seed, i) and, to rounding, on nothing else.
        """
        index = torch.as_tensor(list(indices), dtype=torch.long)
        key = keys(seed, index)
        low, high = parse_range(self.n_heavy_atoms, "generator.n_heavy_atoms")
        sizes = low + (uniform(key, 0, 1)[:, 0] * (high - low + 1)).long()
        largest = max(1, self.max_atoms // (high * self.particles))
        for rows in torch.arange(len(index)).split(largest):
            yield from self._batch(index[rows].tolist(), sizes[rows], key[rows], seed)

    def sample(self, sizes: Tensor, key: Tensor) -> tuple[Swarm, Tensor, Tensor]:
        """Sampling alone, for molecules of `sizes` (molecules,): the final swarm, which of its geometries exploded, and
        the composition drawn for each (families * molecules, elements). The families of a molecule are neighbours."""
        device, families = self.potential.device, self.families
        family_key = (key[:, None] + 15_485_863 * torch.arange(families)[None]).flatten()
        swarm = new_swarm(
            sizes.repeat_interleave(families).to(device), family_key.to(device), self.particles // families
        )
        prior = self.prior or self.reference_shapes
        swarm = swarm.at(prior.sample(swarm))
        swarm = replace(
            swarm,
            numbers=drawn_elements(swarm, key.repeat_interleave(families).to(device), self.skeletons, self.numbers),
        )
        wanted = swarm.composition(torch.as_tensor(self.numbers, device=device))[:, 0]
        swaps = ElementSwaps(self.score, self.numbers, self.steps, wanted, self.swap_share, self.swap_every)
        swarm, exploded = integrate(
            swarm, [self.score, prior, self.cohesion], simgen_sigmas(self.steps), self.integrator, swaps
        )
        return swarm, exploded, wanted

    def _sample_if_it_fits(self, sizes: Tensor, key: Tensor) -> tuple[Swarm, Tensor, Tensor] | None:
        try:
            return self.sample(sizes, key)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # only here, behind the except block, has the error let go of the tensors that did not fit
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _batch(self, index: list[int], sizes: Tensor, key: Tensor, seed: int) -> Iterator[Candidate]:
        sampled = self._sample_if_it_fits(sizes, key)
        if sampled is None:
            if len(index) == 1:
                raise UserError(
                    f"a molecule of {int(sizes[0])} atoms in {self.particles} particles does not fit into the memory "
                    f"of {self.potential.device}; use fewer generator.particles, fewer atoms or another device"
                )
            half = len(index) // 2
            yield from self._batch(index[:half], sizes[:half], key[:half], seed)
            yield from self._batch(index[half:], sizes[half:], key[half:], seed)
            return
        swarm, exploded, wanted = sampled
        goals = self._goals(sizes, key, wanted[:: self.families].cpu().numpy())
        groups, reasons = self._hydrogenated(swarm, exploded, sizes.tolist())
        draws = uniform(key, 900_000, 1 + self.finishing.sweeps).numpy()
        judged = finish.judged(groups, self.judge, self.finishing.rough_steps)
        chosen = [
            finish.choose(group, goal, self.numbers, self.finishing, u) if group else None
            for group, goal, u in zip(judged, goals, draws[:, 0], strict=False)
        ]
        for sweep in range(self.finishing.sweeps):
            chosen = finish.swept(
                chosen, self.judge, goals, self.numbers, self.finishing, draws[:, 1 + sweep], whole=sweep == 0
            )
        for i, proposal, group, reason in zip(index, chosen, groups, reasons, strict=False):
            base = Candidate(Atoms(), i, self.name, seed)
            if proposal is None:
                yield base.after("sampled", failure=f"no molecule: {reason if not group else 'broke in relaxation'}")
            else:
                yield (
                    replace(base, atoms=proposal.atoms)
                    .after("sampled", dropped_atoms=proposal.dropped, formation_energy=proposal.formation)
                    .after("hydrogenated")
                )

    def _goals(self, sizes: Tensor, key: Tensor, compositions: np.ndarray) -> list[finish.Goal]:
        """Compositions as drawn; unsaturation as in the same reference, in proportion to the number of heavy atoms."""
        molecules = self.reference_molecules
        row = drawn_reference(key, len(molecules)).tolist()
        per_atom = [finish.unsaturation(molecules[k].numbers) / len(self.skeletons[k]) for k in row]
        return [finish.Goal(c, u * n) for c, u, n in zip(compositions, per_atom, sizes.tolist(), strict=True)]

    def _hydrogenated(self, swarm: Swarm, exploded: Tensor, sizes: list[int]) -> tuple[list, list[str]]:
        """Proposals of every molecule from all its particles, and why there is none."""
        numbers, positions, lost = swarm.numbers.cpu().numpy(), swarm.positions.cpu().numpy(), exploded.cpu().numpy()
        stops = np.cumsum(np.array(sizes) * self.particles)
        groups, reasons = [], []
        for k, (stop, n) in enumerate(zip(stops, sizes, strict=False)):
            own = slice(stop - n * self.particles, stop)
            sound = np.repeat(~lost[k * self.families : (k + 1) * self.families], self.particles // self.families)
            group, reason = finish.hydrogenated(
                numbers[own].reshape(-1, n)[sound], positions[own].reshape(-1, n, 3)[sound], self.finishing.finalists
            )
            groups.append(group)
            reasons.append(reason if sound.any() else "exploded during sampling")
        return groups, reasons
