"""Successive halving: all starts are relaxed a little, the best go on (Jamieson and Talwalkar, AISTATS 2016)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units

from gendesign.generate.perovskite.hops import moved
from gendesign.potential import Potential
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.crystals import duplicates
from gendesign.structure.perovskite import cation_fault, network_fault
from gendesign.structure.types import Candidate, UserError

HOPS = 6  # the random stream of hops


@dataclass(frozen=True)
class Halving:
    """How the starts of one call are thinned out.

    rungs: how often they are relaxed and compared, 0 for not at all; steps: optimizer steps on each rung; keep: share
    that goes on after each; pressure (GPa) pushes loose starts together; hops: how often each that is left is moved to
    a neighbouring packing and relaxed for up to hop_steps, the lower of both going on; optimizer and max_atoms as in
    relaxation.
    """

    rungs: int = 3
    steps: int = 40
    keep: float = 0.5
    pressure: float = 1.0
    optimizer: str = "lbfgs"
    max_atoms: int = 1000
    hops: int = 12
    hop_steps: int = 80

    def __post_init__(self) -> None:
        if not 0 <= self.rungs <= 20:
            raise UserError(f"generator.rungs={self.rungs}: give 0 (no halving) to 20")
        if self.steps < 1:
            raise UserError(f"generator.steps={self.steps}: give 1 or more optimizer steps for each rung")
        if not 0 < self.keep <= 1:
            raise UserError(f"generator.keep={self.keep}: give the share that goes on, above 0 and up to 1")
        if not 0 <= self.pressure <= 20:
            raise UserError(f"generator.pressure={self.pressure}: give 0 to 20 GPa")
        if not 0 <= self.hops <= 1000:
            raise UserError(f"generator.hops={self.hops}: give 0 (none) to 1000 hops for each survivor")
        if self.hop_steps < 1:
            raise UserError(f"generator.hop_steps={self.hop_steps}: give 1 or more optimizer steps for each hop")
        self.relaxation  # noqa: B018  an unknown optimizer is said now

    @property
    def relaxation(self) -> Relaxation:
        """One rung. Starts are not meant to converge on it."""
        return Relaxation(self.optimizer, 0.05, self.steps, cell=True, pressure=self.pressure, max_atoms=self.max_atoms)


def halve(candidates: Sequence[Candidate], potential: Potential, settings: Halving) -> list[Candidate]:
    """The candidates in their order: the best relaxed so far, all others with the reason why they ended as failure.

    Compared by enthalpy per formula unit (info: enthalpy, eV), as the cells are under pressure. Ended are broken
    networks and cations, copies of a better one, and at the end of each rung the upper part.
    """
    current = list(candidates)
    for rung in range(1, settings.rungs + 1):
        current = relax(current, potential, settings.relaxation)
        current = [_measured(candidate, settings.pressure, f"rung {rung}") for candidate in current]
        current = _without_copies(current, f"rung {rung}")
        alive = sorted((c for c in current if c.failure is None), key=lambda c: (c.info["enthalpy"], c.index))
        going = {candidate.index for candidate in alive[: math.ceil(settings.keep * len(alive))]}
        best = alive[0].info["enthalpy"] if alive else 0.0
        current = [
            candidate
            if candidate.failure is not None or candidate.index in going
            else candidate.after(f"stopped at rung {rung}", failure=_behind(candidate, best, rung))
            for candidate in current
        ]
    for number in range(1, settings.hops + 1):
        current = _without_copies(_hopped(current, potential, settings, number), f"hop {number}")
    return current


def _hopped(candidates: Sequence[Candidate], potential: Potential, settings: Halving, number: int) -> list[Candidate]:
    """The candidates, each of which is left moved to a neighbouring packing if that is lower once both are relaxed."""
    current = list(candidates)
    alive = [place for place, candidate in enumerate(current) if candidate.failure is None]
    tried: dict[int, Candidate] = {}
    for place in alive:
        candidate = current[place]
        rng = np.random.default_rng([candidate.seed, candidate.index, HOPS, number])
        made = moved(candidate.atoms, candidate.info["cations"], candidate.info["layers"], rng)
        if made is not None:
            tried[place] = candidate.after(f"hop {number}: {made[0]}", made[1])
    relaxation = replace(settings.relaxation, max_steps=settings.hop_steps)
    relaxed = relax([current[p] for p in alive] + list(tried.values()), potential, relaxation)
    relaxed = [_measured(candidate, settings.pressure, f"hop {number}") for candidate in relaxed]
    for place, candidate in zip(alive, relaxed, strict=False):
        current[place] = candidate
    for place, child in zip(tried, relaxed[len(alive) :], strict=True):
        if child.failure is None and (
            current[place].failure is not None or child.info["enthalpy"] < current[place].info["enthalpy"]
        ):
            current[place] = child
    return current


def _measured(candidate: Candidate, pressure: float, stage: str) -> Candidate:
    if candidate.failure is not None:
        return candidate
    atoms, info = candidate.atoms, candidate.info
    fault = network_fault(atoms, depth_of(info["thickness"])) or cation_fault(atoms, info["cations"])
    if fault:
        return candidate.after(f"broken at {stage}", failure=f"broken at {stage}: {fault}")
    enthalpy = (info["energy"] + pressure * units.GPa * atoms.get_volume()) / info["formula_units"]
    return candidate.after(stage, enthalpy=float(enthalpy))


def depth_of(thickness: int | str) -> int | None:
    """Octahedra per layer as candidates state it; None for three dimensions."""
    return None if thickness == "3d" else int(thickness)


def _without_copies(candidates: Sequence[Candidate], stage: str) -> list[Candidate]:
    alive = [candidate for candidate in candidates if candidate.failure is None]
    first = duplicates(
        [candidate.atoms for candidate in alive],
        [candidate.info["enthalpy"] for candidate in alive],
        [candidate.info["formula_units"] for candidate in alive],
    )
    copies = {c.index: alive[k].index for c, k in zip(alive, first, strict=True) if k is not None}
    return [
        candidate.after(f"merged at {stage}", failure=f"merged at {stage}: same as {copies[candidate.index]}")
        if candidate.index in copies
        else candidate
        for candidate in candidates
    ]


def _behind(candidate: Candidate, best: float, rung: int) -> str:
    return (
        f"stopped at rung {rung}: enthalpy {candidate.info['enthalpy'] - best:.3f} eV per formula unit above the best"
    )
