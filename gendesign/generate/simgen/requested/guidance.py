"""Guidance: how far molecules are from what restraints ask for, and energies of the user's own functions."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from ase import Atoms

from gendesign.generate.simgen.guidance import Guidance
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested.findings import heavy, met_unless
from gendesign.generate.simgen.restraints import RESTRAINTS, Distance, RadiusOfGyration
from gendesign.structure.conditions import Condition, Finding, Subject

TOLERANCE = 0.3  # Angstrom from what a restraint asks for, as far as fragments may move


def conditions(problem: Problem) -> list[Condition]:
    """A check for every restraint; of other functions only the energy is known, of plain scores nothing."""
    guidances = [guidance for guidance in problem.guidance if isinstance(guidance, Guidance)]
    return [condition for guidance in guidances for condition in _of(guidance)]


def _of(guidance: Guidance) -> list[Condition]:
    function = guidance.function
    if not isinstance(function, RESTRAINTS):
        name = re.sub(r"\W+", "_", guidance.name.rsplit(":", 1)[-1])
        energy = partial(_energy, guidance)
        return [Condition(f"guidance_{name}", f"median guidance energy of {guidance.name}", energy, "", False)]
    words = re.sub(r"(?<!^)([A-Z])", r" \1", type(function).__name__).lower()
    title = f"{words} within {TOLERANCE:g} Angstrom of what was asked for"
    checks = [Condition(words.replace(" ", "_"), title, partial(_restrained, function), "Angstrom")]
    if isinstance(function, RadiusOfGyration):
        checks.append(Condition("gyration", "median radius of gyration", _gyration, "Angstrom", False))
    return checks


def _energy_of(function: Callable, atoms: Atoms) -> float:
    """A function of positions for the heavy atoms of one structure."""
    x = torch.as_tensor(heavy(atoms).positions)[None].clone().requires_grad_()
    return float(function(x, torch.ones(x.shape[:2], dtype=torch.bool)).detach()[0])


def _energy(guidance: Guidance, subject: Subject) -> Finding:
    return Finding(None, _energy_of(guidance.energy, subject.atoms))


def _restrained(restraint: Callable, subject: Subject) -> Finding:
    """Value: the distance from what is asked for, over all atoms that miss it (root of the sum of squares)."""
    n = len(heavy(subject.atoms))
    if isinstance(restraint, Distance):
        if subject.candidate.info.get("dropped_atoms", 0):
            return Finding(False, None, "atoms were lost, so that the places of heavy atoms are not known")
        if max(place for place in (restraint.first, restraint.second) if isinstance(place, int)) >= n:
            return Finding(False, None, f"{n} heavy atoms have no such place")
    share = n if isinstance(restraint, RadiusOfGyration) else 1
    distance = float(np.sqrt(2 * _energy_of(restraint, subject.atoms) / max(1, share)))
    return met_unless("" if distance <= TOLERANCE else f"{distance:.2f} Angstrom from what was asked for", distance)


def _gyration(subject: Subject) -> Finding:
    x = heavy(subject.atoms).positions
    return Finding(None, float(np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())) if len(x) else None)
