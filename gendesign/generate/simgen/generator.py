"""SiMGen: molecules that resemble reference environments, without training a generative model (arXiv 2402.08708)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.simgen.conditioned import Conditioned
from gendesign.generate.simgen.finisher import Finisher
from gendesign.generate.simgen.problem import Problem, resolve
from gendesign.generate.simgen.references import References
from gendesign.generate.simgen.sampler import Callback, Sampled, Sampler
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.trajectory import Recorder, make_folder
from gendesign.potential import PotentialLike
from gendesign.potential.batching import is_out_of_memory
from gendesign.processes import SERIAL, Spread
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import keys, uniform
from gendesign.structure.generator import ShardContext
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class SimGen(SimGenSettings, Conditioned):
    """Generator of molecules by similarity kernels.

        potential = load_potential("organic")
        generator = SimGen(potential, n_heavy_atoms="5-12", counts="N0-2")
        molecules = relax(list(generator.generate(range(20), seed=1)), potential)

    The keyword arguments are those of SimGenSettings, and all of them combine. They become a `problem`, which states
    what molecules are asked for; a `sampler` turns it into skeletons, a `finisher` turns these into candidates. Raises
    UserError, before anything is sampled, for settings that make no sense.
    """

    potential: PotentialLike
    name: str = "simgen"
    problem: Problem = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "problem", resolve(self, self.potential))
        if self.trajectory is not None:
            make_folder(self.trajectory)

    @cached_property
    def sampler(self) -> Sampler:
        """From random keys to skeletons."""
        return Sampler.of(self.problem, self)

    @cached_property
    def finisher(self) -> Finisher:
        """From skeletons to candidates."""
        return Finisher.of(self.problem, self, self.name)

    @property
    def references(self) -> References:
        """The molecules to resemble."""
        return self.problem.references

    @property
    def own_references(self) -> Sequence[Atoms] | None:
        """The molecules of `reference` or of the bundled drug-like set, None for the small bundled ones."""
        return None if self.problem.bundled == "reference" else self.references.molecules

    def prepare(self) -> None:
        """Make what all calls of `generate` share, so that processes forked from this one have it."""
        _ = self.sampler, self.finisher

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
        low, high = self.problem.sizes
        n_fixed = self.problem.n_fixed
        sizes = low + (uniform(key, Purpose.SIZE, 1)[:, 0] * (high - low + 1)).long() + n_fixed
        batch_size = max(1, self.max_atoms // ((high + n_fixed) * self.problem.effort.particles))
        for rows in torch.arange(len(index)).split(batch_size):
            batch = self._batch(index[rows].tolist(), sizes[rows], key[rows], seed, spread)
            for done, candidate in enumerate(batch, start=int(rows[0]) + 1):
                if progress is not None:
                    progress(done, len(index))
                yield candidate

    def sample(self, sizes: Tensor, key: Tensor, callback: Callback | None = None) -> Sampled:
        """Sampling alone, for molecules of `sizes` (molecules,) atoms from their random keys (molecules,)."""
        return self.sampler(sizes, key, callback)

    def _sample_if_it_fits(self, sizes: Tensor, key: Tensor, callback: Callback | None) -> Sampled | None:
        """As `sample`; None where the device's memory does not hold the batch."""
        try:
            return self.sample(sizes, key, callback)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # the error releases the tensors that did not fit only behind the except block
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _batch(self, index: list[int], sizes: Tensor, key: Tensor, seed: int, spread: Spread) -> Iterator[Candidate]:
        recorder = None
        if self.trajectory is not None:
            effort = self.problem.effort
            copies = effort.particles // effort.families
            recorder = Recorder(Path(str(self.trajectory)), copies, effort.families, index)
        sampled = self._sample_if_it_fits(sizes, key, recorder)
        if sampled is not None:
            yield from self.finisher(sampled, index, sizes, key, seed, recorder, spread)
            if recorder is not None:
                recorder.end()
            return
        if len(index) == 1:
            raise UserError(
                f"a molecule of {int(sizes[0])} atoms in {self.problem.effort.particles} particles does not fit into "
                f"the memory of {self.potential.device}; use fewer generator.particles, fewer atoms or another device"
            )
        half = len(index) // 2
        yield from self._batch(index[:half], sizes[:half], key[:half], seed, spread)
        yield from self._batch(index[half:], sizes[half:], key[half:], seed, spread)
