"""From a sampled swarm to one candidate per attempt: what is aimed at, hydrogens, the choice, the sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from torch import Tensor

from gendesign.generate.simgen import composition, finish
from gendesign.generate.simgen.elements import drawn_reference
from gendesign.generate.simgen.random import uniform
from gendesign.generate.simgen.state import Swarm
from gendesign.generate.simgen.trajectory import Track
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.structure.types import Candidate

if TYPE_CHECKING:
    from gendesign.generate.simgen.generator import SimGen


def finished(
    simgen: SimGen,
    index: Sequence[int],
    sizes: Tensor,
    key: Tensor,
    seed: int,
    sampled: tuple[Swarm, Tensor, Tensor],
    track: Track | None,
    spread: Spread = SERIAL,
) -> Iterator[Candidate]:
    """A candidate for every attempt of `index`, from what `SimGen.sample` returned; `spread` helps with what needs no
    potential."""
    swarm, exploded, wanted = sampled
    settings, conditions, numbers = simgen.finishing, simgen.conditions, simgen.numbers
    goals = _goals(simgen, sizes, key, wanted[:: simgen.families].cpu().numpy())
    groups, reasons = _hydrogenated(simgen, swarm, exploded, sizes.tolist(), spread)
    draws = uniform(key, 900_000, 1 + settings.sweeps).numpy()
    judged = finish.judged(groups, simgen.judge, settings.rough_steps, conditions, spread)
    chosen = [
        finish.choose(group, goal, numbers, settings, u, conditions) if group else None
        for group, goal, u in zip(judged, goals, draws[:, 0], strict=True)
    ]
    for sweep in range(settings.sweeps):
        chosen = finish.swept(
            chosen, simgen.judge, goals, numbers, settings, draws[:, 1 + sweep], sweep == 0, conditions, spread
        )
    for k, (i, proposal, goal) in enumerate(zip(index, chosen, goals, strict=True)):
        base = Candidate(Atoms(), i, simgen.name, seed)
        if proposal is None:
            reason = "broke in relaxation" if groups[k] else reasons[k]
            yield base.after("sampled", failure=f"no molecule: {reason}")
            continue
        failure = proposal.broken or None
        if goal.missed_by(proposal.atoms.numbers, numbers):
            failure = f"{proposal.atoms.get_chemical_formula()} is not the composition asked for"
        if track is not None:
            track.write(i, proposal.particle, k * simgen.families, proposal.atoms)
        yield (
            replace(base, atoms=proposal.atoms)
            .after("sampled", dropped_atoms=proposal.dropped, formation_energy=proposal.formation)
            .after("hydrogenated", failure=failure)
        )


def _goals(simgen: SimGen, sizes: Tensor, key: Tensor, compositions: np.ndarray) -> list[finish.Goal]:
    """Compositions as drawn; unsaturation of the formula, or as in the same reference by number of heavy atoms."""
    molecules, limits = simgen.references.molecules, simgen.limits
    if limits is not None and limits.hydrogens is not None:
        known = dict(zip(simgen.heavy_elements, limits.low.tolist(), strict=True)) | {"H": limits.hydrogens}
        rings = composition.unsaturation_of(known)
        return [finish.Goal(c, rings, True, limits.hydrogens) for c in compositions]
    row = drawn_reference(key, simgen.references.weights).tolist()
    per_atom = [finish.unsaturation(molecules[k].numbers) / len(simgen.skeletons[k]) for k in row]
    base = 0.0 if simgen.frame is None else simgen.frame.unsaturation
    return [
        finish.Goal(c, base + u * (n - simgen.n_fixed), limits is not None)
        for c, u, n in zip(compositions, per_atom, sizes.tolist(), strict=True)
    ]


def _hydrogenated(
    simgen: SimGen, swarm: Swarm, exploded: Tensor, sizes: list[int], spread: Spread
) -> tuple[list, list[str]]:
    """Proposals of every molecule from all its particles, and why there is none."""
    numbers, positions, lost = swarm.numbers.cpu().numpy(), swarm.positions.cpu().numpy(), exploded.cpu().numpy()
    stops = np.cumsum(np.array(sizes) * simgen.particles)
    hydrogens = None if simgen.limits is None else simgen.limits.hydrogens
    conditions = replace(simgen.conditions, reward=None)  # which is asked later, and need not travel
    tasks, particles = [], []
    for k, (stop, n) in enumerate(zip(stops, sizes, strict=True)):
        own = slice(stop - n * simgen.particles, stop)
        families = slice(k * simgen.families, (k + 1) * simgen.families)
        sound = np.flatnonzero(np.repeat(~lost[families], simgen.particles // simgen.families))
        found = numbers[own].reshape(-1, n)[sound], positions[own].reshape(-1, n, 3)[sound]
        tasks.append((finish.hydrogenated, (*found, simgen.finishing.finalists, hydrogens, conditions)))
        particles.append(sound)
    groups, reasons = [], []
    for sound, answer in zip(particles, spread.map(tasks), strict=True):
        group, reason = ([], answer.reason) if isinstance(answer, Failure) else answer
        groups.append([replace(p, particle=int(sound[p.particle])) for p in group])
        reasons.append(reason if len(sound) else "exploded during sampling")
    return groups, reasons
