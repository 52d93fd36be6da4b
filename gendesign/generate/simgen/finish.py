"""From a finished swarm to one hydrogenated molecule per attempt: hydrogens, a rough relaxation, the element sweep.

Energies of different compositions compare as E - sum mu, so the potential can choose among the particles of one
molecule; its domain is hydrogenated structures, which is why it is asked here and not while the swarm still moves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.generate.simgen.fragments import displacement
from gendesign.generate.simgen.hydrogen import Unplaced, components, likely, unsaturable
from gendesign.generate.simgen.skeleton import VALENCE, Given
from gendesign.generate.simgen.sweep import permutations, sites_of, substitutions
from gendesign.potential import Potential
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.relaxation import Relaxation
from gendesign.relaxation.environment import relax_beside
from gendesign.structure.bonds import perceive
from gendesign.structure.contacts import Host
from gendesign.structure.rings import is_closed

OPTIONS = 4  # ways to saturate one particle that are weighed
TOGETHER = 16  # structures that one worker looks at at a time
SHIFT = 0.3  # Angstrom that the heavy atoms of given fragments may move, RMSD
SHIFT_COST = 3.0  # eV per Angstrom of that movement


@dataclass(frozen=True)
class Finish:
    """How an attempt is finished.

    `finalists` hydrogenated particles per molecule are relaxed for `rough_steps`; the first of `sweeps` passes tries
    every element at every heavy atom, the others those that bring the composition nearer to the drawn one. Both
    choices weigh E - sum mu against `off_composition` (eV) for every atom off the composition drawn for the molecule
    and `off_unsaturation` (eV) for every ring or pi bond more or less than drawn, at `temperature` (eV). Energy alone
    would end at the same few saturated molecules.
    """

    finalists: int = 8
    rough_steps: int = 10
    sweeps: int = 3
    off_composition: float = 1.0
    off_unsaturation: float = 1.0
    temperature: float = 0.3

    def __post_init__(self) -> None:
        for key, least in (("finalists", 1), ("rough_steps", 0), ("sweeps", 0)):
            if getattr(self, key) < least:
                raise UserError(f"finishing.{key}={getattr(self, key)} is too small; give {least} or more")
        for key in ("off_composition", "off_unsaturation"):
            if not getattr(self, key) >= 0:
                raise UserError(f"finishing.{key}={getattr(self, key)} must not be negative; give 0 or more")
        if not self.temperature > 0:
            raise UserError(f"finishing.temperature={self.temperature} must be above zero; 0.001 always takes the best")


@dataclass(frozen=True)
class Goal:
    """What a molecule should be like: heavy atoms of each allowed element (elements,), and rings plus pi bonds.

    With `exact` the composition is a condition, with `hydrogens` their number too.
    """

    composition: np.ndarray
    unsaturation: float
    exact: bool = False
    hydrogens: int | None = None

    def missed_by(self, numbers: np.ndarray, elements: Sequence[int]) -> bool:
        """Whether a finished molecule's `numbers` (atoms,) break a condition."""
        wrong = self.hydrogens is not None and int((numbers == 1).sum()) != self.hydrogens
        return wrong or (self.exact and mismatch(numbers, self.composition, elements) > 0)


@dataclass(frozen=True)
class Conditions:
    """What every molecule of a run must satisfy, and what it is paid for.

    `given` fragments stay as they are; no pattern of `forbidden` may occur; `reward` maps structures to energies (eV)
    that the choice subtracts from the cost. Molecules keep off `host`. `ring` says how many of n heavy atoms a ring
    along the shape has; molecules with such a ring are preferred (structure/rings.py).
    """

    given: Given | None = None
    forbidden: Sequence[Chem.Mol] = ()
    reward: Callable[[Sequence[Atoms]], np.ndarray] | None = None
    host: Host | None = None
    ring: Callable[[int], float] | None = None

    def is_open(self, mol: Chem.Mol) -> bool:
        """Whether a ring along the shape was asked for and the molecule has none."""
        return self.ring is not None and not is_closed(mol, self.ring(mol.GetNumHeavyAtoms()))

    def broken_by(self, atoms: Atoms, mol: Chem.Mol) -> str:
        """Which condition a finished molecule breaks, in words; '' for none."""
        bare = Chem.RemoveHs(mol) if self.forbidden else mol  # SMARTS as usual, without atoms of hydrogen
        for pattern in self.forbidden:
            if bare.HasSubstructMatch(pattern):
                return f"contains {Chem.MolToSmarts(pattern)}"
        if self.given is None:
            return ""
        if not intact(atoms, self.given):
            return "a fragment has changed"
        shift = displacement(atoms, self.given)
        return f"the fragments moved by {shift:.2f} Angstrom" if shift > SHIFT else ""


@dataclass(frozen=True)
class Proposal:
    """A hydrogenated structure, how many atoms it lost, its energy less the chemical potentials, its SMILES.

    `broken` says which condition it breaks; `overlaps` whether it overlaps the host; `is_open` that it has no ring
    along a closed shape.
    """

    atoms: Atoms
    n_heavy: int
    dropped: int
    formation: float = np.inf
    smiles: str | None = None
    broken: str = ""
    particle: int = 0
    overlaps: bool = False
    is_open: bool = False


def hydrogenated(
    numbers: np.ndarray,
    positions: np.ndarray,
    limit: int,
    hydrogens: int | None = None,
    conditions: Conditions = Conditions(),
) -> tuple[list[Proposal], str]:
    """Distinct hydrogenated structures of one molecule's particles, likeliest first; and why there is none.

    numbers (particles, atoms), positions (particles, atoms, 3). Atoms off the largest piece, which holds the given ones
    of `conditions`, are dropped and counted. Those with as many `hydrogens` as are wanted come first, then those with
    the ring that is asked for. Hydrogens keep off the host.
    """
    given = conditions.given
    found: dict[str, tuple[float, Unplaced, int, int]] = {}
    reason = "no particle"
    for k, (own, x) in enumerate(zip(numbers, positions, strict=True)):
        pieces = components(own, x, given)
        # with fragments the piece that holds them counts, however large others are
        piece = pieces[0] if given is None else next(p for p in pieces if p[0] == 0)
        if given is not None and not np.array_equal(piece[: len(given)], np.arange(len(given))):
            reason = "the fragments are not joined"
            continue
        dropped = len(own) - len(piece)
        options = likely(own[piece], x[piece], OPTIONS, given, hydrogens)
        if not options:
            reason = unsaturable(own[piece], x[piece], given)
        for option in options:
            wrong = hydrogens is not None and sum(option.assignment.hydrogens) != hydrogens
            score = option.score / len(piece) - 10.0 * dropped - 20.0 * wrong - 5.0 * conditions.is_open(option.mol)
            if option.smiles not in found or found[option.smiles][0] < score:
                found[option.smiles] = score, option, dropped, k
    # placing hydrogens costs more than all before, so only twice as many get them as will be kept
    hopeful = sorted(found.values(), key=lambda row: -row[0])[: 2 * limit]
    ranked = []
    for score, option, dropped, k in hopeful:
        placed, n = option.placed(conditions.host), len(option.numbers)
        ranked.append((score + (placed.score - option.score) / n, Proposal(placed.atoms, n, dropped, particle=k)))
    ranked.sort(key=lambda row: -row[0])
    return [proposal for _, proposal in ranked[:limit]], reason


def judged(
    proposals: Sequence[Sequence[Proposal]],
    potential: Potential,
    steps: int,
    conditions: Conditions = Conditions(),
    spread: Spread = SERIAL,
) -> list[list[Proposal]]:
    """Every proposal after `steps` of relaxation beside the host, in shared batches; exploded ones left out, SMILES
    None if invalid. `spread` looks at the relaxed structures."""
    flat = [p for group in proposals for p in group]
    relaxed = relax_beside(conditions.host, [p.atoms for p in flat], potential, Relaxation(max_steps=steps, fmax=0.2))
    sound = [k for k, after in enumerate(relaxed) if after.failure is None]
    bare = {k: Atoms(relaxed[k].atoms.numbers, relaxed[k].atoms.positions) for k in sound}
    held = replace(conditions, reward=None)  # which is asked later, and need not travel
    tasks = [(looked_at, ([bare[k] for k in part], held)) for part in batched(sound, TOGETHER)]
    answers = spread.map(tasks)
    looks = [look for task, answer in zip(tasks, answers, strict=True) for look in _or_none(answer, task[1][0])]
    looked = dict(zip(sound, looks, strict=True))
    kept = {
        k: replace(
            flat[k],
            atoms=bare[k],
            formation=float(potential.formation([bare[k]], [relaxed[k].info["energy"]])[0]),
            **look._asdict(),
        )
        for k, look in looked.items()
    }
    places = iter(range(len(flat)))
    return [[kept[k] for k in [next(places) for _ in group] if k in kept] for group in proposals]


class Look(NamedTuple):
    """What a structure is by its coordinates: fields of `Proposal`."""

    smiles: str | None
    broken: str
    overlaps: bool
    is_open: bool


def _or_none(answer: list[Look] | Failure, structures: Sequence[Atoms]) -> list[Look]:
    """The looks; structures that ended their worker each time are no molecules."""
    return [Look(None, "", False, False)] * len(structures) if isinstance(answer, Failure) else answer


def looked_at(structures: Sequence[Atoms], conditions: Conditions) -> list[Look]:
    """The graphs of relaxed structures, and what they are held to."""
    looks = []
    for atoms in structures:
        mol = perceive(atoms).mol
        looks.append(
            Look(
                None if mol is None else Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False),
                "" if mol is None else conditions.broken_by(atoms, mol),
                conditions.host is not None and conditions.host.overlaps(atoms) > 0,
                mol is not None and conditions.is_open(mol),
            )
        )
    return looks


def mismatch(numbers: np.ndarray, wanted: np.ndarray, elements: Sequence[int]) -> float:
    """Heavy atoms to exchange before the composition is the wanted one (elements,)."""
    return float(np.abs((numbers[:, None] == np.asarray(elements)[None]).sum(0) - wanted).sum() / 2)


def unsaturation(numbers: np.ndarray) -> float:
    """Rings plus pi bonds of a neutral molecule with atomic `numbers` (atoms,), by its formula."""
    return 1 + sum(VALENCE.get(chemical_symbols[z], 1) - 2 for z in numbers) / 2


def intact(atoms: Atoms, given: Given) -> bool:
    """Whether the first heavy atoms of a molecule are the given fragments: their bonds and their hydrogens."""
    sites = sites_of(atoms)
    if sites is None or len(sites.symbols) < len(given):
        return False
    among = {(min(i, j), max(i, j)) for i, j, _ in sites.bonds if max(i, j) < len(given)}
    counts = [len(sites.hydrogens[k]) for k in range(len(given))]
    return among == set(given.orders) and counts == [len(x) for x in given.hydrogen_positions]


def choose(
    group: Sequence[Proposal],
    goal: Goal,
    elements: Sequence[int],
    settings: Finish,
    u: float,
    conditions: Conditions = Conditions(),
) -> Proposal:
    """Draw one by exp(-cost/temperature), the cost as `Finish` says; valid, unbroken and complete ones first, and
    among these such as keep off the host and close their ring."""
    rank = [
        (p.smiles is None, p.overlaps, bool(p.broken), goal.missed_by(p.atoms.numbers, elements), p.is_open, p.dropped)
        for p in group
    ]
    best = [p for p, r in zip(group, rank, strict=True) if r == min(rank)]
    cost = np.array(
        [
            p.formation
            + settings.off_composition * mismatch(p.atoms.numbers, goal.composition, elements)
            + settings.off_unsaturation * abs(unsaturation(p.atoms.numbers) - goal.unsaturation)
            for p in best
        ]
    )
    if conditions.given is not None:
        cost += SHIFT_COST * np.array([displacement(p.atoms, conditions.given) for p in best])
    if conditions.reward is not None:
        cost -= conditions.reward([p.atoms for p in best])
    weights = np.exp(-(cost - cost.min()) / settings.temperature)
    return best[min(int(np.searchsorted(np.cumsum(weights) / weights.sum(), u)), len(best) - 1)]


def swept(
    chosen: Sequence[Proposal | None],
    potential: Potential,
    goals: Sequence[Goal],
    elements: Sequence[int],
    settings: Finish,
    draws: np.ndarray,
    whole: bool,
    conditions: Conditions = Conditions(),
    spread: Spread = SERIAL,
) -> list[Proposal | None]:
    """One sweep: every allowed element at every heavy atom of every molecule, one change each at most.

    draws (molecules,) are uniform numbers. Unless the sweep is `whole`, exchanges that lead away from the composition
    of the goal are left out: after a whole sweep they are hardly ever drawn. Where the composition is exact, and
    reached, two atoms change elements with each other.
    """
    fixed = 0 if conditions.given is None else len(conditions.given)
    groups = []
    for proposal, goal in zip(chosen, goals, strict=True):
        options: list[Atoms] = []
        if proposal is not None and proposal.smiles is not None:
            now = mismatch(proposal.atoms.numbers, goal.composition, elements)
            if goal.exact and now == 0:
                options = permutations(proposal.atoms, fixed, conditions.host)
            else:
                options = [
                    atoms
                    for atoms in substitutions(proposal.atoms, elements, fixed, conditions.host)
                    if (whole and not goal.exact) or mismatch(atoms.numbers, goal.composition, elements) <= now
                ]
        groups.append(
            [Proposal(atoms, proposal.n_heavy, proposal.dropped, particle=proposal.particle) for atoms in options]
        )
    out = []
    for proposal, group, goal, u in zip(
        chosen, judged(groups, potential, settings.rough_steps, conditions, spread), goals, draws, strict=True
    ):
        valid = [p for p in group if p.smiles is not None]
        out.append(choose([proposal, *valid], goal, elements, settings, u, conditions) if valid else proposal)
    return out


__all__ = ["Conditions", "Finish", "Goal", "Proposal", "choose", "hydrogenated", "judged", "swept", "unsaturation"]
