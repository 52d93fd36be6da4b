"""Do the labels' units agree? Energy differences between neighbouring geometries must be the work of the forces."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms, units
from scipy.spatial.transform import Rotation

from gendesign.structure.labels import labels_of
from gendesign.structure.types import UserError

FEWEST, MOST = 5, 500  # pairs of geometries that a judgement rests on, and that are looked at
ENOUGH = 60  # geometries of one molecule among which each one's nearest is sought
FAR = 0.5  # Angstrom: root mean square displacement beyond which the trapezoidal rule says nothing


def work_ratio(frames: Sequence[Atoms]) -> tuple[float, int, float]:
    """(energy difference over the work of the forces, pairs it rests on, mean atoms); not a number for too few pairs.

    Between two geometries x and y of one molecule, E(y) - E(x) = -(F(x) + F(y)) . (y - x) / 2 up to third order, so the
    ratio of their root mean squares is near 1 for any potential, when energies are in eV and forces in eV/Angstrom.
    The ratio is negative where the two go against each other.
    """
    groups: dict[tuple, list[Atoms]] = {}
    for frame in frames:
        if len(frame) > 1:
            key = (*frame.numbers.tolist(), *frame.cell.array.round(6).ravel(), str(frame.info.get("molecule")))
            groups.setdefault(key, []).append(frame)
    changes, works, sizes = [], [], []
    for group in groups.values():
        for k, a in enumerate(group[:ENOUGH]):
            others = [_moved_onto(a, b) for b in group[:ENOUGH][k + 1 :]]
            if not others or len(changes) >= MOST:
                continue
            step, turned, high = min(others, key=lambda row: np.square(row[0]).sum())
            if np.sqrt(np.square(step).sum(1).mean()) > FAR:
                continue
            low, force = labels_of(a)
            works.append(-0.5 * float(((force + turned) * step).sum()))
            changes.append(high - low)
            sizes.append(len(a))
    if len(changes) < FEWEST or not np.any(works):
        return float("nan"), len(changes), float("nan")
    ratio = np.sqrt(np.dot(changes, changes) / np.dot(works, works))
    agreement = np.dot(works, changes) / max(np.linalg.norm(works) * np.linalg.norm(changes), 1e-300)
    return float(-ratio if agreement < -0.3 else ratio), len(changes), float(np.mean(sizes))


def _moved_onto(a: Atoms, b: Atoms) -> tuple[np.ndarray, np.ndarray, float]:
    """Displacements (atoms, 3) from `a` to `b` laid upon it, forces of `b` turned with it, and its energy."""
    energy, forces = labels_of(b)
    if a.pbc.any():
        step = b.positions - a.positions
        return step - step.mean(0), forces, energy
    start, end = a.positions - a.positions.mean(0), b.positions - b.positions.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of linear molecules, for which several rotations are best
        turn, _ = Rotation.align_vectors(start, end)
    return turn.apply(end) - start, turn.apply(forces), energy


def check_units(frames: Sequence[Atoms], atomic_energies: Mapping[int, float]) -> None:
    """Raise UserError when labels look like Hartree, kcal/mol, energies per atom or gradients: never eV by their size.

    `atomic_energies` (eV by atomic number) are those of isolated atoms, or the least-squares share of each element.
    """
    advice = "give total energies in eV and forces in eV/Angstrom, or check_units=false if they are right"
    if -0.7 < atomic_energies.get(1, 0.0) < -0.35:
        raise UserError(
            f"a hydrogen atom has {atomic_energies[1]:.3f} eV here, which looks like its energy in Hartree; {advice}"
        )
    ratio, pairs, atoms = work_ratio(frames)
    if not np.isfinite(ratio) or 0.4 < ratio < 2.5:
        return
    guesses = {
        "energies in Hartree": 1 / units.Hartree,
        "energies per atom": 1 / atoms,
        "energies in kcal/mol": units.mol / units.kcal,
        "energies in kJ/mol": units.mol / units.kJ,
        "forces in Hartree/Bohr": units.Hartree / units.Bohr,
        "gradients in place of forces": -1.0,
    }
    # a thermal sample tells factors apart to about two and a half
    near = [name for name, wanted in guesses.items() if ratio * wanted > 0 and abs(np.log(ratio / wanted)) < 0.9]
    reason = f"as with {' or '.join(near)}" if near else "so that energies and forces do not belong together"
    raise UserError(
        f"over {pairs} pairs of neighbouring geometries energies change by {ratio:.3g} of the forces' work, "
        f"{reason}; {advice}"
    )
