"""Relaxation that also keeps energy, forces, stress and symmetry from before, so that both can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.potential.batching import in_batches, is_out_of_memory
from gendesign.potential.protocol import Capability, PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.relaxation.batched import relax
from gendesign.relaxation.optimization import stress_deviation
from gendesign.relaxation.settings import Relaxation
from gendesign.structure.cells import CELL, pressure, space_group
from gendesign.structure.types import Candidate

SYMPREC = 0.1  # Angstrom, as for relaxed crystals in the Materials Project
BEFORE = "initial_"


def relax_and_compare(
    candidates: Sequence[Candidate],
    potential: PotentialLike,
    settings: Relaxation,
    progress: Callable[[int, int], None] | None = None,
    spread: Spread = SERIAL,
) -> list[Candidate]:
    """`relax`, with values of periodic structures before it in `info`, from one more evaluation of each.

    initial_a, initial_b, initial_c (Angstrom), initial_alpha, initial_beta, initial_gamma (degrees), initial_volume
    (Angstrom^3), initial_energy (eV), initial_fmax (eV/Angstrom), initial_stress_max and initial_pressure (GPa, see
    `relax` and structure.cells), initial_space_group; and space_group after it. Volume, stress and space groups are
    those of structures that are periodic in three directions. What cannot be evaluated gets no initial values.
    """
    described = describe_inputs(candidates, potential, settings)
    return [_with_space_group(candidate) for candidate in relax(described, potential, settings, progress, spread)]


def describe_inputs(candidates: Sequence[Candidate], potential: PotentialLike, settings: Relaxation) -> list[Candidate]:
    """The candidates, periodic ones with the initial values in `info` that `relax_and_compare` names."""
    out = [_without_initial(candidate) for candidate in candidates]
    groups: dict[bool, list[int]] = {}
    for i, candidate in enumerate(out):
        if _evaluable(candidate, potential):
            groups.setdefault(bool(all(candidate.atoms.pbc)), []).append(i)
    for whole, members in groups.items():
        stress = whole and Capability.STRESS in potential.supports
        evaluated = _evaluate([out[i].atoms for i in members], potential, stress, settings.max_atoms)
        for i, atoms in zip(members, evaluated, strict=True):
            out[i] = _described(out[i], atoms, whole, stress, settings)
    return out


def _without_initial(candidate: Candidate) -> Candidate:
    """Values of an earlier relaxation, which the file may hold, are not those of this one."""
    info = {key: value for key, value in candidate.info.items() if not key.startswith(BEFORE)}
    return candidate if len(info) == len(candidate.info) else replace(candidate, info=info)


def _evaluable(candidate: Candidate, potential: PotentialLike) -> bool:
    atoms = candidate.atoms
    if candidate.failure is not None or not len(atoms) or not any(atoms.pbc):
        return False
    lattice = atoms.cell.array[atoms.pbc]
    if not np.isfinite(lattice).all() or not np.isfinite(atoms.positions).all():
        return False
    return np.linalg.matrix_rank(lattice) == len(lattice) and set(atoms.symbols) <= set(potential.elements)


def _evaluate(structures: Sequence[Atoms], potential: PotentialLike, stress: bool, max_atoms: int) -> list[Atoms]:
    """Copies with a SinglePointCalculator; batches are halved for as long as they do not fit into memory."""
    try:
        batches = list(in_batches(structures, max_atoms))
        predictions = [potential.evaluate(batch, stress=stress) for batch in batches]
    except RuntimeError as error:
        if not is_out_of_memory(error) or max_atoms <= 1:
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return _evaluate(structures, potential, stress, max_atoms // 2)
    out = []
    for batch, prediction in zip(batches, predictions, strict=True):
        forces = prediction.forces.cpu().double().split([len(atoms) for atoms in batch])
        for j, atoms in enumerate(batch):
            results = {"energy": float(prediction.energy[j]), "forces": forces[j].numpy()}
            if stress:
                results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress[j].cpu().double().numpy())
            copy = atoms.copy()
            copy.calc = SinglePointCalculator(copy, **results)
            out.append(copy)
    return out


def _described(candidate: Candidate, atoms: Atoms, whole: bool, stress: bool, settings: Relaxation) -> Candidate:
    values: dict[str, Any] = {
        **dict(zip(CELL, atoms.cell.cellpar().tolist(), strict=True)),
        "energy": float(atoms.get_potential_energy()),
        "fmax": float(np.linalg.norm(atoms.get_forces(), axis=1).max()),
    }
    if whole:
        values["volume"] = float(atoms.get_volume())
    if stress:
        tension = torch.from_numpy(atoms.get_stress(voigt=False))
        target = settings.pressure if settings.cell else 0.0
        values["stress_max"] = float(stress_deviation(tension[None], target)[0])
        values["pressure"] = pressure(atoms.get_stress())
    if whole:
        values["space_group"] = space_group(atoms, SYMPREC, heavy=False)
    finite = {key: value for key, value in values.items() if isinstance(value, str) or np.isfinite(value)}
    info = {**candidate.info, **{BEFORE + key: value for key, value in finite.items()}}
    return replace(candidate, info=info)


def _with_space_group(candidate: Candidate) -> Candidate:
    if candidate.failure is not None or BEFORE + "space_group" not in candidate.info:
        return candidate
    group = space_group(candidate.atoms, SYMPREC, heavy=False)
    return replace(candidate, info={**candidate.info, "space_group": group})
