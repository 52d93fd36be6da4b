"""Generator of molecules by a trained diffusion model, with the conditions of the similarity generator."""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.generate.diffusion.checkpoint import Trained, load
from gendesign.generate.diffusion.finisher import GoalFinisher, finished
from gendesign.generate.diffusion.model import Clouds, one_hot
from gendesign.generate.diffusion.network import require_elements
from gendesign.generate.diffusion.orders import Orders, model_numbers
from gendesign.generate.diffusion.sampler import DiffusionSampler, LearnedScore, Sampled, Steps, keys_of_try
from gendesign.generate.simgen.conditioned import Conditioned
from gendesign.generate.simgen.effort import is_large
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.fragments import Joining
from gendesign.generate.simgen.kernel import KernelScore
from gendesign.generate.simgen.prior import Drawn, Prior
from gendesign.generate.simgen.problem import AUTO, Problem, resolve
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.objective import Objective
from gendesign.potential import PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.structure.counter_random import keys
from gendesign.structure.generator import ShardContext
from gendesign.structure.types import Candidate, Score

RANKED_AT = 0.1  # Angstrom of noise at which finished molecules are compared by their learned energy
CONDITIONS = (
    "n_heavy_atoms", "elements", "formula", "counts", "forbidden", "reference", "bundled", "reference_weights",
    "likeness", "importance", "fragments", "attachments", "host", "objective_weight", "max_atoms", "prior", "guidance",
    "objective", "finishing",
)  # fmt: skip


def _same(name: str) -> Any:
    """The field of this name of SimGen: default, bounds and help."""
    known: Field = SimGenSettings.__dataclass_fields__[name]
    if known.default_factory is not MISSING:
        return field(default_factory=known.default_factory, metadata=known.metadata)
    return field(default=known.default, metadata=known.metadata)


@dataclass(frozen=True, kw_only=True)
class _WeightedKernel:
    """The similarity score times a weight."""

    score: KernelScore
    weight: float

    def __call__(self, state: Any, sigma: float) -> Tensor:
        """The score (atoms, 3) of heavy atoms at the noise level `sigma` in Angstrom."""
        return self.weight * self.score(state, sigma)


@dataclass(frozen=True, kw_only=True)
class Diffusion(Steps, Conditioned):
    """Molecules along the gradient of a learned energy, from Gaussian noise.

        potential = load_potential("organic")
        generator = Diffusion(potential=potential, checkpoint="results/diffusion", calls=64)
        molecules = list(generator.generate(range(20), seed=1))

    The model makes whole molecules, hydrogens included. Conditions are those of SimGen: scores that are added, on the
    heavy atoms. `kernel_weight` adds the similarity to `reference`, so that a few molecules steer a trained model. With
    `finish` the finisher of SimGen takes the heavy atoms over. Raises UserError before anything is sampled.
    """

    potential: PotentialLike
    checkpoint: str = setting(
        "qm9-diffusion", "trained model: bundled, or the folder of gendesign train generator=diffusion", file=True
    )
    kernel_weight: float = setting(0.0, "weight of the similarity to the references beside the learned score", least=0)
    best_of: int = setting(1, "molecules made for each candidate, of which the best is kept", least=1)
    finish: bool = setting(
        True, "true: hydrogens are placed anew, and elements improved, as SimGen does; false: as the model made them"
    )
    n_heavy_atoms: str | int = _same("n_heavy_atoms")
    elements: Sequence[str] = setting(
        help="elements of the heavy atoms", factory=lambda: ["C", "N", "O", "F"],
        allowed=SimGenSettings.__dataclass_fields__["elements"].metadata["setting"].allowed,
    )  # fmt: skip
    formula: str | None = _same("formula")
    counts: str | None = _same("counts")
    forbidden: Sequence[str] = _same("forbidden")
    reference: str | Sequence[str] | None = _same("reference")
    bundled: str = _same("bundled")
    reference_weights: Sequence[float] = _same("reference_weights")
    likeness: float = _same("likeness")
    importance: str | None = _same("importance")
    fragments: str | Sequence[Atoms] | None = _same("fragments")
    attachments: Sequence[int] = _same("attachments")
    host: str | Atoms | None = _same("host")  # noqa: RUF009  a field
    objective_weight: float = _same("objective_weight")
    max_atoms: int = _same("max_atoms")
    prior: Prior | None = None
    guidance: Sequence[Score] = ()
    objective: Objective | None = None
    finishing: Finish = field(default_factory=Finish)
    name: str = "diffusion"
    problem: Problem = field(init=False, repr=False, compare=False)
    trained: Trained = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        trained = load(self.checkpoint, self.potential.device)
        object.__setattr__(self, "trained", trained)
        self.check_seen(trained)
        chosen = {key: getattr(self, key) for key in CONDITIONS}
        settings = SimGenSettings(**chosen, building_blocks="none")  # which would replace the model
        problem = resolve(settings, self.potential)
        object.__setattr__(self, "problem", problem)
        fixed = [] if problem.fragments is None else Atoms(problem.fragments.fixed.numbers).get_chemical_symbols()
        require_elements(trained.model.elements, [*problem.elements, *fixed], "generator.elements or a fragment")
        if self.finish and self.best_of > 1:
            raise UserError(
                f"generator.best_of={self.best_of} needs generator.finish=false: the finisher chooses among copies of "
                "its own"
            )
        if self.objective is not None and not self.finish and self.best_of == 1:
            raise UserError(
                "generator.objective with generator.best_of=1 and generator.finish=false changes nothing: give "
                "best_of=4 or more, or finish=true"
            )

    @property
    def is_free(self) -> bool:
        """Whether nothing is asked for, so that the model decides on hydrogens and elements itself."""
        p = self.problem
        asked = (self.prior, self.guidance, p.limits, p.fragments, p.host, self.kernel_weight)
        return str(self.n_heavy_atoms) == AUTO and not any(bool(one) for one in asked)

    @cached_property
    def orders(self) -> Orders:
        """What is known of the molecules."""
        model = self.trained.model
        return Orders(self.problem, model.statistics.size_counts, model_numbers(model.elements), self.is_free)

    @cached_property
    def sampler(self) -> DiffusionSampler:
        """From noise to molecules."""
        problem = self.problem
        priors = [p for p in problem.priors if not isinstance(p, Drawn)]  # the model has its own
        conditions: list[Score] = [*priors, *problem.walls, *problem.guidance]
        if self.kernel_weight:
            conditions.append(_WeightedKernel(score=problem.score, weight=self.kernel_weight))
        steps = Steps(**{key: getattr(self, key) for key in Steps.__dataclass_fields__})
        start = next((p for p in priors if not isinstance(p, Joining)), priors[0] if priors else None)
        return DiffusionSampler(LearnedScore(self.trained.model), steps, tuple(conditions), start)

    @cached_property
    def finisher(self) -> GoalFinisher:
        """From sampled molecules to candidates, with `finish`."""
        problem = self.problem
        settings = self.finishing.sized(is_large(problem.sizes))
        return GoalFinisher(problem, problem.formation_potential, settings, 1, 1, self.name)

    @property
    def own_references(self) -> Sequence[Atoms] | None:
        """The molecules of `reference`, None without; bundled ones play no part unless the kernel acts."""
        return self.problem.references.molecules if self.problem.requested_references else None

    def prepare(self) -> None:
        """Make what all calls of `generate` share, so that processes forked from this one have it."""
        _ = self.sampler, self.orders, self.finisher if self.finish else None

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with the workers of the run."""
        return self.generate(indices, seed=seed, spread=context.spread)

    def generate(self, indices: Sequence[int], *, seed: int, spread: Spread = SERIAL) -> Iterator[Candidate]:
        """A candidate for every index; candidate i depends on (seed, i) and, to rounding, on nothing else."""
        index = torch.as_tensor(list(indices), dtype=torch.long)
        if not len(index):
            return
        counts = self.trained.model.statistics.size_counts
        largest = max([n for _, n, _ in counts] + [3 * (self.problem.sizes[1] + self.problem.n_fixed)])
        for rows in index.split(max(1, self.max_atoms // largest)):
            key = keys(seed, rows).to(self.potential.device)
            yield from self._batch(rows.tolist(), key, seed, spread)

    def sample(self, key: Tensor) -> Sampled:
        """Sampling alone, of one molecule for each random key (molecules,)."""
        return self.sampler(self.orders.cloud(key))

    def _batch(self, index: list[int], key: Tensor, seed: int, spread: Spread) -> Iterator[Candidate]:
        tries = [self.sample(keys_of_try(key, attempt)) for attempt in range(self.best_of)]
        if self.finish:
            yield from finished(self.finisher, tries[0], index, key, seed, spread)
            return
        structures = [molecules_of(sampled) for sampled in tries]
        energies = np.stack([self.energies(sampled).cpu().numpy() for sampled in tries])
        for k, i in enumerate(index):
            options = [column[k] for column in structures]
            best = self._best(options, energies[:, k])
            base = Candidate(Atoms(), i, self.name, seed)
            if bool(tries[best].exploded[k]):
                yield base.after("sampled", failure="no molecule: exploded during sampling")
                continue
            info = {"diffusion_energy": float(energies[best, k])}
            yield replace(base, atoms=options[best]).after("sampled", **info)

    def _best(self, options: Sequence[Atoms], energies: np.ndarray) -> int:
        """Which of the molecules to keep: of the best objective, else of the lowest learned energy."""
        sound = np.flatnonzero(np.isfinite(energies))
        if len(sound) < 2:
            return int(sound[0]) if len(sound) else 0
        if self.problem.reward is None:
            return int(sound[energies[sound].argmin()])
        rewards = np.asarray(self.problem.reward([options[k] for k in sound]), float)
        return int(sound[np.nan_to_num(rewards, nan=-np.inf).argmax()])

    def energies(self, sampled: Sampled) -> Tensor:
        """Learned energy per atom (molecules,) at a little noise level, lower for likelier molecules; no unit."""
        cloud = sampled.cloud
        exact = one_hot(cloud.numbers, cloud.elements, cloud.positions.dtype)
        return ranking_energies(self.trained, cloud.clouds._replace(vectors=exact))


def ranking_energies(trained: Trained, clouds: Clouds, sigma: float = RANKED_AT) -> Tensor:
    """Energy per atom (systems,) of molecules with exact element vectors at `sigma`, by which they can be ranked."""
    like = next(trained.model.parameters())
    clouds = clouds._replace(positions=clouds.positions.to(like), vectors=clouds.vectors.to(like))
    with torch.no_grad():
        energy = trained.model(clouds, torch.full((clouds.n_systems,), sigma).to(like))
    return energy.double() / torch.bincount(clouds.system, minlength=clouds.n_systems)


def molecules_of(sampled: Sampled) -> list[Atoms]:
    """The molecules at the end of sampling."""
    cloud = sampled.cloud
    sizes = cloud.sizes.tolist()
    numbers, positions = cloud.numbers.cpu().split(sizes), cloud.positions.detach().cpu().double().split(sizes)
    return [Atoms(z.numpy(), x.numpy()) for z, x in zip(numbers, positions, strict=True)]
