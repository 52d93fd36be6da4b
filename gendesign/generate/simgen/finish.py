"""From a finished swarm to one hydrogenated molecule per attempt: hydrogens, a rough relaxation, the element sweep.

Energies of different compositions compare as E - sum mu, so the potential can choose among the particles of one
molecule; its domain is hydrogenated structures, which is why it is asked here and not while the swarm still moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from rdkit import Chem

from gendesign.generate.simgen.hydrogen import components, saturate, unsaturable
from gendesign.generate.simgen.sweep import substitutions
from gendesign.potential import Potential
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.bonds import perceive


@dataclass(frozen=True)
class Finish:
    """How an attempt is finished.

    `finalists` hydrogenated particles per molecule are relaxed for `rough_steps`; `sweeps` passes try every element at
    every heavy atom; `temperature` (eV) weighs energy against the references' composition in both.
    """

    finalists: int = 8
    rough_steps: int = 25
    sweeps: int = 1
    temperature: float = 0.15


@dataclass(frozen=True)
class Proposal:
    """A hydrogenated structure with its bond list, its energy relative to the chemical potentials and its origin."""

    atoms: Atoms
    n_heavy: int
    dropped: int
    formation: float = np.inf
    smiles: str | None = None


def hydrogenated(numbers: np.ndarray, positions: np.ndarray, limit: int) -> tuple[list[Proposal], str]:
    """Distinct hydrogenated structures of one molecule's particles, likeliest first; and why there is none.

    numbers (particles, atoms), positions (particles, atoms, 3). Atoms off the largest piece are dropped and counted.
    """
    found: dict[str, tuple[float, Proposal]] = {}
    reason = "no particle"
    for own, x in zip(numbers, positions):
        piece = components(own, x)[0]
        dropped = len(own) - len(piece)
        options = saturate(own[piece], x[piece], alternatives=2)
        if not options:
            reason = unsaturable(own[piece], x[piece])
        for option in options:
            score = option.score / len(piece) - 10.0 * dropped
            if option.smiles not in found or found[option.smiles][0] < score:
                found[option.smiles] = score, Proposal(option.atoms, len(piece), dropped)
    ranked = sorted(found.values(), key=lambda row: -row[0])
    return [proposal for _, proposal in ranked[:limit]], reason


def judged(proposals: Sequence[Sequence[Proposal]], potential: Potential, steps: int) -> list[list[Proposal]]:
    """Every proposal after `steps` of relaxation, all in shared batches; broken ones are left out, SMILES None if invalid."""
    flat = [p for group in proposals for p in group]
    relaxed = iter(relax([p.atoms for p in flat], potential, Relaxation(max_steps=steps, fmax=0.2)))
    out: list[list[Proposal]] = []
    for group in proposals:
        kept = []
        for proposal in group:
            after = next(relaxed)
            if after.failure is not None:
                continue
            bare = Atoms(after.atoms.numbers, after.atoms.positions)
            mol = perceive(bare).mol
            kept.append(Proposal(
                bare, proposal.n_heavy, proposal.dropped, float(potential.formation([bare], [after.info["energy"]])[0]),
                None if mol is None else Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False),
            ))
        out.append(kept)
    return out


def choose(group: Sequence[Proposal], log_weight: Sequence[float], temperature: float, u: float) -> Proposal:
    """Draw one by exp(log_weight - formation/temperature), valid and complete ones before all others."""
    rank = [(p.smiles is None, p.dropped) for p in group]
    best = [k for k, r in enumerate(rank) if r == min(rank)]
    logits = np.array([log_weight[k] - group[k].formation / temperature for k in best])
    weights = np.exp(logits - logits.max())
    return group[best[min(int(np.searchsorted(np.cumsum(weights) / weights.sum(), u)), len(best) - 1)]]


def swept(chosen: Sequence[Proposal | None], potential: Potential, elements: Sequence[int], shares: np.ndarray,
          settings: Finish, draws: np.ndarray) -> list[Proposal | None]:
    """One sweep: every allowed element at every heavy atom of every molecule, one change each at most.

    shares (elements,) of the references, draws (molecules,) uniform numbers.
    """
    log_share = dict(zip(elements, np.log(np.maximum(shares, 1e-6))))
    groups, weights = [], []
    for proposal in chosen:
        options = [] if proposal is None or proposal.smiles is None else substitutions(proposal.atoms, elements)
        groups.append([Proposal(atoms, proposal.n_heavy, proposal.dropped) for atoms, _, _ in options])
        weights.append([log_share[new] - log_share.get(old, 0.0) for _, old, new in options])
    out = []
    for proposal, group, weight, kept, u in zip(chosen, groups, weights, _judged_in_place(groups, potential, settings), draws):
        valid = [(p, w) for p, w in zip(kept, weight) if p is not None and p.smiles is not None]
        if proposal is None or not valid:
            out.append(proposal)
            continue
        out.append(choose([proposal, *(p for p, _ in valid)], [0.0, *(w for _, w in valid)], settings.temperature, u))
    return out


def _judged_in_place(groups, potential, settings) -> list[list[Proposal | None]]:
    """`judged`, but a broken proposal leaves None, so that the weights stay aligned."""
    flat = judged([[p] for group in groups for p in group], potential, settings.rough_steps)
    rest = iter(flat)
    return [[next(iter(next(rest)), None) for _ in group] for group in groups]


__all__ = ["Finish", "Proposal", "choose", "hydrogenated", "judged", "swept"]
