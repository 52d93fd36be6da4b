"""Hydrogenated structures of one molecule's particles: made, roughly relaxed, and compared with the requirements."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import NamedTuple

import numpy as np
from ase import Atoms
from rdkit import Chem

from gendesign.generate.simgen.hydrogen import Unplaced, components, likely, unsaturable
from gendesign.generate.simgen.joining import Plan
from gendesign.generate.simgen.requirements import NO_RULES, Requirements
from gendesign.potential import PotentialLike
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.relaxation import Relaxation
from gendesign.relaxation.environment import relax_beside
from gendesign.structure.bonds import perceive
from gendesign.structure.unstable import unstable_groups

OPTIONS = 4  # ways to saturate one particle that are weighed
PER_TASK = 16  # structures that one worker assesses at a time
ROUGH_FMAX = 0.2  # eV/Angstrom at which a rough relaxation may end early
# What a particle loses in the order of proposals, in units of log-likelihood per atom
LOST_ATOM, WRONG_HYDROGENS, NO_RING = 10.0, 20.0, 5.0


@dataclass(frozen=True)
class Proposal:
    """A hydrogenated structure of `n_heavy` heavy atoms, made from `particle`, which lost `dropped` atoms.

    After a rough relaxation: `formation`, its energy less the chemical potentials (eV); its `smiles`, None where it is
    no valid molecule; `broken`, which requirement it breaks; `overlaps`, whether it overlaps the host; `lacks_ring`,
    whether it has no ring along a closed shape; `unstable`, its number of groups that do not survive; `pressed`, the
    energy of the host, its wall less its hydrogen bonds where they count (eV); `shape`, its shape Tanimoto with the
    ligand in whose place it is, 1 without one.
    """

    atoms: Atoms
    n_heavy: int
    dropped: int
    formation: float = np.inf
    smiles: str | None = None
    broken: str = ""
    particle: int = 0
    overlaps: bool = False
    lacks_ring: bool = False
    unstable: int = 0
    pressed: float = 0.0
    shape: float = 1.0


class Assessment(NamedTuple):
    """What a structure is by its coordinates: fields of `Proposal`."""

    smiles: str | None
    broken: str
    overlaps: bool
    lacks_ring: bool
    unstable: int
    shape: float


NO_MOLECULE = Assessment(None, "", False, False, 0, 1.0)


def hydrogenated(
    numbers: np.ndarray,
    positions: np.ndarray,
    limit: int,
    hydrogens: int | None = None,
    requirements: Requirements = NO_RULES,
    plan: Plan | None = None,
) -> tuple[list[Proposal], str]:
    """At most `limit` distinct hydrogenated structures of one molecule's particles, likeliest first; and why there is
    none.

    numbers (particles, atoms), positions (particles, atoms, 3). Atoms off the largest piece, or off the piece that
    holds the fragments, are dropped and counted. Structures with as many `hydrogens` as are wanted come first, then
    those with the ring that is asked for. Hydrogens keep off the host. With a `plan` bonds follow from the blocks.
    """
    best: dict[str, tuple[float, Unplaced, int, int]] = {}  # SMILES -> score, molecule, dropped atoms, particle
    reason = "no particle"

    def rank(option: Unplaced, dropped: int, particle: int) -> None:
        wrong = hydrogens is not None and sum(option.assignment.hydrogens) != hydrogens
        score = option.score / len(option.numbers) - LOST_ATOM * dropped - WRONG_HYDROGENS * wrong
        score -= NO_RING * requirements.lacks_ring(option.mol)
        if option.smiles not in best or best[option.smiles][0] < score:
            best[option.smiles] = score, option, dropped, particle

    for particle, (z, x) in enumerate(zip(numbers, positions, strict=True)):
        if plan is not None:
            only, piece = plan.option(z, x)
            if only is None:
                reason = "no bond orders satisfy every valence"
                continue
            rank(only, len(z) - len(piece), particle)
            continue
        piece = _piece(z, x, requirements)
        if piece is None:
            reason = "the fragments are not joined"
            continue
        dropped = len(z) - len(piece)
        options = likely(z[piece], x[piece], OPTIONS, requirements.fixed, hydrogens)
        if not options:
            reason = unsaturable(z[piece], x[piece], requirements.fixed)
        for option in options:
            rank(option, dropped, particle)
    # placing hydrogens costs more than all before, so only twice as many get them as will be kept
    hopeful = sorted(best.values(), key=lambda row: -row[0])[: 2 * limit]
    ranked = []
    for score, option, dropped, particle in hopeful:
        placed, n = option.placed(requirements.host), len(option.numbers)
        proposal = Proposal(placed.atoms, n, dropped, particle=particle)
        ranked.append((score + (placed.score - option.score) / n, proposal))
    ranked.sort(key=lambda row: -row[0])
    return [proposal for _, proposal in ranked[:limit]], reason


def _piece(numbers: np.ndarray, positions: np.ndarray, requirements: Requirements) -> np.ndarray | None:
    """Indices of the piece of a particle that becomes the molecule; None where the fragments are apart."""
    pieces = components(numbers, positions, requirements.fixed)
    if requirements.fixed is None:
        return pieces[0]
    n_fixed = len(requirements.fixed)
    piece = next(p for p in pieces if p[0] == 0)  # with fragments the piece that holds them, however large others are
    return piece if np.array_equal(piece[:n_fixed], np.arange(n_fixed)) else None


def relaxed_roughly(
    proposals: Sequence[Sequence[Proposal]],
    potential: PotentialLike,
    steps: int,
    requirements: Requirements = NO_RULES,
    spread: Spread = SERIAL,
) -> list[list[Proposal]]:
    """Every proposal after `steps` of relaxation beside the host, in shared batches; exploded ones are left out.

    `spread` assesses the relaxed structures.
    """
    flat = [p for group in proposals for p in group]
    settings = Relaxation(max_steps=steps, fmax=ROUGH_FMAX)
    relaxed = relax_beside(requirements.host, [p.atoms for p in flat], potential, settings)
    sound = [k for k, after in enumerate(relaxed) if after.failure is None]
    bare = {k: Atoms(relaxed[k].atoms.numbers, relaxed[k].atoms.positions) for k in sound}
    tasks = [(assess, ([bare[k] for k in part], requirements)) for part in batched(sound, PER_TASK)]
    assessments: list[Assessment] = []
    for (_, (structures, _)), answer in zip(tasks, spread.map(tasks), strict=True):
        # structures that ended their worker each time are no molecules
        assessments += [NO_MOLECULE] * len(structures) if isinstance(answer, Failure) else answer
    kept = {
        k: replace(
            flat[k],
            atoms=bare[k],
            formation=float(potential.formation([bare[k]], [relaxed[k].info["energy"]])[0]),
            pressed=float(relaxed[k].info.get("host_energy", 0.0)),
            **assessment._asdict(),
        )
        for k, assessment in zip(sound, assessments, strict=True)
    }
    places = iter(range(len(flat)))
    return [[kept[k] for k in [next(places) for _ in group] if k in kept] for group in proposals]


def assess(structures: Sequence[Atoms], requirements: Requirements) -> list[Assessment]:
    """The molecular graphs of relaxed structures, and which requirements they break."""
    assessments = []
    for atoms in structures:
        mol = perceive(atoms).mol
        assessments.append(
            Assessment(
                None if mol is None else Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False),
                "" if mol is None else requirements.broken_by(atoms, mol),
                requirements.host is not None and requirements.host.overlaps(atoms) > 0,
                mol is not None and requirements.lacks_ring(mol),
                0 if mol is None else sum(unstable_groups(mol).values()),
                requirements.shape_of(atoms),
            )
        )
    return assessments
