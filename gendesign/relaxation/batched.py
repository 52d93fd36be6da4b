"""Relaxation of many structures at once; energies and forces are evaluated again at the final geometries."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.errors import UserError
from gendesign.potential.batching import is_out_of_memory
from gendesign.potential.protocol import Capability, PotentialLike, require
from gendesign.processes import SERIAL, TELL, Failure, Spread
from gendesign.relaxation.optimization import Group, OptimizationResult, chunks, optimize, stress_deviation
from gendesign.relaxation.settings import Relaxation
from gendesign.structure.constraints import fixed_components
from gendesign.structure.types import Candidate

Progress = Callable[[int, int], None]


def relax(
    structures: Sequence[Candidate] | Sequence[Atoms],
    potential: PotentialLike,
    settings: Relaxation | None = None,
    progress: Progress | None = None,
    spread: Spread = SERIAL,
) -> list[Candidate]:
    """Relax structures under a potential: one candidate for each, in the same order.

    On a CPU, batches of at most `max_atoms` atoms are relaxed one after the other or by the workers of `spread`; both
    give the same bits. On a GPU, waiting structures take the room of finished ones.

    `info` gets energy (eV), fmax (eV/Angstrom), converged and steps; for periodic structures also stress_max (GPa, the
    largest deviation of the stress from -pressure) and pressure (GPa), if the potential gives a stress. All are from
    one more evaluation at the final geometry, which the atoms keep in a SinglePointCalculator.

    Fixed atoms and Cartesian components stay where they are. Failed and empty candidates are returned unchanged. A
    candidate whose forces are no longer finite gets a failure; the others continue. `progress(finished, total)` is
    called whenever structures finish. Raises UserError for unknown elements, unsupported constraints, cells that
    cannot be relaxed, and for a potential without stress where a cell is to be relaxed.
    """
    settings = settings or Relaxation()
    results = [
        item if isinstance(item, Candidate) else Candidate(atoms=item, index=index)
        for index, item in enumerate(structures)
    ]
    ready = [i for i, candidate in enumerate(results) if candidate.failure is None and len(candidate.atoms)]
    potential.require_elements({symbol for i in ready for symbol in results[i].atoms.symbols})
    if settings.cell and any(all(results[i].atoms.pbc) for i in ready):
        require(potential, Capability.STRESS, "set relaxation.cell=false or choose a potential that does")
    groups: dict[tuple[bool, ...], list[int]] = {}
    for i in ready:
        check_relaxable(results[i], settings)
        groups.setdefault(tuple(bool(flag) for flag in results[i].atoms.pbc), []).append(i)
    batches = [batch for members in groups.values() for batch in _batches(results, members, settings, potential)]
    counts = [0] * len(batches)

    def on_report(batch: int, count: int | None) -> None:
        counts[batch] = count or 0  # None: the batch starts again
        if progress:
            progress(len(results) - len(ready) + sum(counts), len(results))

    model = spread.resident(potential)
    if model is potential:  # the workers do not hold the potential, as always beside a GPU
        spread = SERIAL
    tasks = [(_relax_batch, (model, settings, [results[i] for i in batch], TELL)) for batch in batches]
    for batch, relaxed in zip(batches, spread.map(tasks, on_report), strict=True):
        if isinstance(relaxed, Failure):
            relaxed = _relax_alone(model, settings, [results[i] for i in batch], spread)
        for i, candidate in zip(batch, relaxed, strict=True):
            results[i] = candidate
    return results


def _batches(
    candidates: Sequence[Candidate], members: Sequence[int], settings: Relaxation, potential: PotentialLike
) -> list[list[int]]:
    """Divide members of one periodicity into batches, which depend on the structures and max_atoms alone."""
    if torch.device(potential.device).type != "cpu":
        return [list(members)]
    batches: list[list[int]] = []
    used = settings.max_atoms
    for i in members:
        if used + len(candidates[i].atoms) > settings.max_atoms:
            batches.append([])
            used = 0
        batches[-1].append(i)
        used += len(candidates[i].atoms)
    return batches


def _relax_batch(
    potential: PotentialLike, settings: Relaxation, candidates: list[Candidate], report: Callable[[int], None]
) -> list[Candidate]:
    """Relax structures of one periodicity together."""
    pbc = tuple(bool(flag) for flag in candidates[0].atoms.pbc)
    return _relax_group(Group([c.atoms for c in candidates], potential, settings, pbc), candidates, report)


def _relax_alone(
    model: PotentialLike, settings: Relaxation, candidates: Sequence[Candidate], spread: Spread
) -> list[Candidate]:
    """Relax the structures of a batch whose workers died one by one; those that end their worker again have failed."""
    answers = spread.map([(_relax_batch, (model, settings, [candidate], TELL)) for candidate in candidates])
    return [
        candidate.after("relaxation failed", failure=answer.reason, converged=False)
        if isinstance(answer, Failure)
        else answer[0]
        for candidate, answer in zip(candidates, answers, strict=True)
    ]


def check_relaxable(candidate: Candidate, settings: Relaxation) -> None:
    """Raise UserError for constraints and cells that a relaxation cannot handle; runs call it before they start."""
    atoms = candidate.atoms
    try:
        fixed_components(atoms)
    except UserError as error:
        raise UserError(f"structure {candidate.index} carries {error}") from error
    if settings.cell and any(atoms.pbc):
        if not all(atoms.pbc):
            raise UserError(
                f"structure {candidate.index} is periodic in {sum(atoms.pbc)} of 3 directions; "
                "a cell is relaxed in 3 only: set relaxation.cell=false"
            )
        if atoms.constraints:
            raise UserError(
                f"structure {candidate.index} has fixed atoms, which a changing cell would move; "
                "release them or set relaxation.cell=false"
            )


def _relax_group(group: Group, candidates: list[Candidate], report: Callable[[int], None]) -> list[Candidate]:
    """Relax structures of one periodicity; halve the batches for as long as they do not fit into memory."""
    try:
        optimized = optimize(group, report)
        return _evaluate_final(group, candidates, optimized)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        sizes = [len(atoms) for atoms in group.structures]
        tried = min(max(group.settings.max_atoms, max(sizes)), sum(sizes))
        limit = max(tried // 2, max(sizes))
        if limit == tried:
            raise UserError(
                f"a structure of {max(sizes)} atoms does not fit into the memory of {group.model.device}; "
                "use a smaller structure, dtype=float32 or another device"
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # The note is needed because a smaller batch may change the last bits of the result.
    smaller = replace(group.settings, max_atoms=limit)
    note = f", batch shrunk to {limit} atoms for memory"
    return _relax_group(Group(group.structures, group.potential, smaller, group.pbc, note), candidates, report)


class Evaluation(NamedTuple):
    """What the potential gives for one structure: eV, eV/Angstrom (atoms, 3), eV/Angstrom^3 (3, 3) or None."""

    energy: float
    forces: np.ndarray
    stress: torch.Tensor | None


def _evaluate_final(group: Group, candidates: list[Candidate], optimized: list[OptimizationResult]) -> list[Candidate]:
    """Candidates at the final geometries, with the results of one more evaluation there."""
    periodic = all(group.pbc) and Capability.STRESS in group.potential.supports
    model = group.potential.as_torchsim(stress=True) if periodic and not group.settings.cell else group.model
    results = [_failed(candidate, result) for candidate, result in zip(candidates, optimized, strict=True)]
    intact = [i for i, result in enumerate(optimized) if not result.failure]
    final: list[Atoms] = []
    for candidate, result in zip(candidates, optimized, strict=True):
        atoms = candidate.atoms.copy()
        atoms.set_cell(result.cell, scale_atoms=False)
        atoms.set_positions(result.positions, apply_constraint=False)
        final.append(atoms)
    for chunk in chunks(intact, group):
        output = model(ts.io.atoms_to_state([final[i] for i in chunk], model.device, model.dtype))
        forces = output["forces"].detach().cpu().split([len(final[i]) for i in chunk])
        for j, i in enumerate(chunk):
            stress = output["stress"][j].detach().cpu().double() if periodic else None
            evaluation = Evaluation(float(output["energy"][j]), forces[j].double().numpy(), stress)
            results[i] = _described(candidates[i], final[i], evaluation, optimized[i], group)
    return results


def _failed(candidate: Candidate, result: OptimizationResult) -> Candidate:
    failure = f"{result.failure} (candidate {candidate.index})"
    return candidate.after("relaxation failed", failure=failure, converged=False, steps=result.steps)


def _described(
    candidate: Candidate, atoms: Atoms, evaluation: Evaluation, result: OptimizationResult, group: Group
) -> Candidate:
    """The candidate with its final geometry, a SinglePointCalculator and the values that `relax` names."""
    settings, stress = group.settings, evaluation.stress
    values: dict[str, Any] = {}
    calculated: dict[str, Any] = {"energy": evaluation.energy, "forces": evaluation.forces}
    if stress is not None:
        values["stress_max"] = float(stress_deviation(stress[None], settings.pressure)[0])
        values["pressure"] = float(settings.pressure)
        calculated["stress"] = full_3x3_to_voigt_6_stress(stress.numpy())
    atoms.calc = SinglePointCalculator(atoms, **calculated)
    # ASE leaves the forces of fixed atoms out, as the optimizer did.
    fmax = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    converged = fmax < settings.fmax and (not settings.cell or values["stress_max"] < settings.max_stress)
    if not np.isfinite(fmax) or not np.isfinite(evaluation.energy):
        return _failed(candidate, replace(result, failure="exploded in relaxation: last forces are not finite"))
    step = f"{'relaxed' if converged else 'relaxed, not converged'} by {settings.optimizer}{group.note}"
    values |= {"energy": evaluation.energy, "fmax": fmax, "converged": converged, "steps": result.steps}
    return candidate.after(step, atoms=atoms, **values)
