"""The finisher: from a sampled swarm to one hydrogenated candidate per attempt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from torch import Tensor

from gendesign.generate.simgen import composition
from gendesign.generate.simgen.assembly import Layout
from gendesign.generate.simgen.choice import Goal, choose, mismatch, unsaturation
from gendesign.generate.simgen.effort import is_large
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.joining import Plan
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.proposals import Proposal, hydrogenated, relaxed_roughly
from gendesign.generate.simgen.sampler import Sampled
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.sweep import permutations, substitutions
from gendesign.generate.simgen.tautomers import tautomers
from gendesign.generate.simgen.trajectory import Recorder
from gendesign.potential import PotentialLike
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import uniform
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Finisher:
    """Adds hydrogens to the particles of every molecule, chooses one of them, and improves its elements by sweeps.

    `potential` has chemical potentials of all elements. `families` and `particles` of a molecule are those of the
    sampler. `name` is that of the generator.
    """

    problem: Problem
    potential: PotentialLike
    settings: Finish
    particles: int
    families: int
    name: str

    @classmethod
    def of(cls, problem: Problem, settings: SimGenSettings, name: str) -> "Finisher":
        """The finisher that `settings` describe; fits chemical potentials where the potential has none."""
        return cls(
            problem,
            problem.formation_potential,
            settings.finishing.sized(is_large(problem.sizes)),
            problem.effort.particles,
            problem.effort.families,
            name,
        )

    def __call__(
        self,
        sampled: Sampled,
        index: Sequence[int],
        sizes: Tensor,
        key: Tensor,
        seed: int,
        recorder: Recorder | None = None,
        spread: Spread = SERIAL,
    ) -> Iterator[Candidate]:
        """A candidate for every attempt of `index` (molecules,) with its size and random key.

        `recorder` holds the steps of the sampler and writes the trajectory of each molecule; `spread` helps with what
        needs no potential.
        """
        goals = self._goals(sampled, sizes)
        groups, reasons = self._proposals(sampled, sizes.tolist(), spread)
        draws = uniform(key, Purpose.CHOICE, 1 + self.settings.sweeps).numpy()
        chosen = [
            self._choose(group, goal, u) if group else None
            for group, goal, u in zip(self._relaxed(groups, spread), goals, draws[:, 0], strict=True)
        ]
        for sweep in range(self.settings.sweeps if self.problem.assembly is None else 0):
            chosen = self._swept(chosen, goals, draws[:, 1 + sweep], sweep == 0, spread)
        if self.settings.tautomers and self.problem.fragments is None:
            chosen = self._best_tautomers(chosen, goals, spread)
        for k, (i, proposal, goal) in enumerate(zip(index, chosen, goals, strict=True)):
            base = Candidate(Atoms(), i, self.name, seed)
            if proposal is None:
                reason = "broke in relaxation" if groups[k] else reasons[k]
                yield base.after("sampled", failure=f"no molecule: {reason}")
                continue
            if recorder is not None:
                recorder.write(i, proposal.particle, k * self.families, proposal.atoms)
            yield self._candidate(base, proposal, goal)

    def _candidate(self, base: Candidate, proposal: Proposal, goal: Goal) -> Candidate:
        failure = proposal.broken or None
        if goal.missed_by(proposal.atoms.numbers, self.problem.numbers):
            failure = f"{proposal.atoms.get_chemical_formula()} is not the composition asked for"
        return (
            replace(base, atoms=proposal.atoms)
            .after("sampled", dropped_atoms=proposal.dropped, formation_energy=proposal.formation)
            .after("hydrogenated", failure=failure)
        )

    def _goals(self, sampled: Sampled, sizes: Tensor) -> list[Goal]:
        """Compositions as drawn; unsaturation of the formula, or as in the same reference by number of heavy atoms."""
        problem, limits = self.problem, self.problem.limits
        compositions = sampled.compositions.cpu().numpy()
        if limits is not None and limits.hydrogens is not None:
            formula = dict(zip(problem.elements, limits.low.tolist(), strict=True)) | {"H": limits.hydrogens}
            rings = composition.unsaturation_of(formula)
            return [Goal(c, rings, True, limits.hydrogens) for c in compositions]
        molecules, skeletons = problem.references.molecules, problem.skeletons
        rows = sampled.references.tolist()
        if sampled.layout is not None:
            return [Goal(c, u) for c, u in zip(compositions, sampled.layout.unsaturation.tolist(), strict=True)]
        per_atom = [unsaturation(molecules[row].numbers) / len(skeletons[row]) for row in rows]
        of_fragments = 0.0 if problem.fragments is None else problem.fragments.unsaturation
        return [
            Goal(c, of_fragments + u * (n - problem.n_fixed), limits is not None)
            for c, u, n in zip(compositions, per_atom, sizes.tolist(), strict=True)
        ]

    def _proposals(self, sampled: Sampled, sizes: list[int], spread: Spread) -> tuple[list[list[Proposal]], list[str]]:
        """Proposals of every molecule from all its particles, and why there is none."""
        swarm, exploded = sampled.swarm, sampled.exploded.cpu().numpy()
        numbers, positions = swarm.numbers.cpu().numpy(), swarm.positions.cpu().numpy()
        stops = np.cumsum(np.array(sizes) * self.particles)
        hydrogens = None if self.problem.limits is None else self.problem.limits.hydrogens
        tasks, particles = [], []
        for k, (stop, n) in enumerate(zip(stops, sizes, strict=True)):
            atoms = slice(stop - n * self.particles, stop)
            families = slice(k * self.families, (k + 1) * self.families)
            sound = np.flatnonzero(np.repeat(~exploded[families], self.particles // self.families))
            copies = numbers[atoms].reshape(-1, n)[sound], positions[atoms].reshape(-1, n, 3)[sound]
            plan = self._plan(sampled.layout, k, n)
            settled = self.settings.finalists, hydrogens, self.problem.requirements, plan
            tasks.append((hydrogenated, (*copies, *settled)))
            particles.append(sound)
        groups, reasons = [], []
        for sound, answer in zip(particles, spread.map(tasks), strict=True):
            group, reason = ([], answer.reason) if isinstance(answer, Failure) else answer
            groups.append([replace(p, particle=int(sound[p.particle])) for p in group])
            reasons.append(reason if len(sound) else "exploded during sampling")
        return groups, reasons

    def _plan(self, layout: Layout | None, molecule: int, n: int) -> Plan | None:
        if layout is None:
            return None
        joins = self.problem.assembly.joins.numpy()
        return Plan(layout.part[molecule, :n].cpu().numpy(), layout.blocks[molecule], joins)

    def _relaxed(self, groups: Sequence[Sequence[Proposal]], spread: Spread) -> list[list[Proposal]]:
        return relaxed_roughly(groups, self.potential, self.settings.rough_steps, self.problem.requirements, spread)

    def _choose(self, group: Sequence[Proposal], goal: Goal, u: float, settings: Finish | None = None) -> Proposal:
        problem = self.problem
        return choose(group, goal, problem.numbers, settings or self.settings, u, problem.requirements, problem.reward)

    def _best_tautomers(
        self, chosen: Sequence[Proposal | None], goals: Sequence[Goal], spread: Spread
    ) -> list[Proposal | None]:
        """Every molecule, or the best of its tautomers, without chance: they interconvert in a flask."""
        host, count = self.problem.host, self.settings.tautomers
        groups = [[] if p is None else [replace(p, atoms=t) for t in tautomers(p.atoms, count, host)] for p in chosen]
        out = []
        for proposal, group, goal in zip(chosen, self._relaxed(groups, spread), goals, strict=True):
            valid = [p for p in group if p.smiles is not None]
            out.append(
                self._choose([proposal, *valid], goal, 0.0, replace(self.settings, temperature=1e-3))
                if valid
                else proposal
            )
        return out

    def _swept(
        self,
        chosen: Sequence[Proposal | None],
        goals: Sequence[Goal],
        draws: np.ndarray,
        whole: bool,
        spread: Spread,
    ) -> list[Proposal | None]:
        """One sweep: every molecule against all its exchanges of one element, of which it takes one at most.

        draws (molecules,) are uniform numbers; `whole`: as in `_exchanges`.
        """
        groups = [[] if p is None else self._exchanges(p, goal, whole) for p, goal in zip(chosen, goals, strict=True)]
        out = []
        for proposal, group, goal, u in zip(chosen, self._relaxed(groups, spread), goals, draws, strict=True):
            valid = [p for p in group if p.smiles is not None]
            out.append(self._choose([proposal, *valid], goal, u) if valid else proposal)
        return out

    def _exchanges(self, proposal: Proposal, goal: Goal, whole: bool) -> list[Proposal]:
        """The molecule with every allowed element at every heavy atom, one change each.

        Unless the sweep is `whole`, exchanges that lead away from the composition of the goal are left out: after a
        whole sweep they are hardly ever drawn. Where the composition is exact, and reached, two atoms exchange their
        elements.
        """
        if proposal.smiles is None:
            return []
        elements, host, n_fixed = self.problem.numbers, self.problem.host, self.problem.n_fixed
        distance = mismatch(proposal.atoms.numbers, goal.composition, elements)
        if goal.exact and distance == 0:
            options = permutations(proposal.atoms, n_fixed, host)
        else:
            options = [
                atoms
                for atoms in substitutions(proposal.atoms, elements, n_fixed, host)
                if (whole and not goal.exact) or mismatch(atoms.numbers, goal.composition, elements) <= distance
            ]
        return [Proposal(atoms, proposal.n_heavy, proposal.dropped, particle=proposal.particle) for atoms in options]
