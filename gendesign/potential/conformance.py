"""Whether the numbers of a potential agree with each other: the checks that any potential must pass.

    from gendesign.potential import check_potential

    for check in check_potential(potential):
        print(check)

Each check compares the potential with itself: forces with differences of its energies, a batch with single structures,
a rotated structure with the original. None needs reference data. `assert_conforms` raises for the first that fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from gendesign.errors import UserError
from gendesign.potential.protocol import Capability, PotentialLike
from gendesign.structure.types import Prediction

STEP = {torch.float64: 1e-4, torch.float32: 1e-2}  # Angstrom, of a finite difference
# Largest errors by dtype. Energies (eV per atom) and forces (eV/Angstrom) as shares of their size plus one: rounding.
ROUNDING = {torch.float64: 1e-8, torch.float32: 2e-4}
# Of finite differences, eV/Angstrom and eV: their own error and the rounding of the energies over the step.
DIFFERENCE = {torch.float64: 2e-4, torch.float32: 3e-2}
FAR = 50.0  # Angstrom between molecules that do not interact, and padding of boxes
ELEMENT_NOBODY_KNOWS = "Og"


@dataclass(frozen=True)
class Check:
    """One comparison: its name, whether it passed (None: not applicable), the error found and the largest allowed."""

    name: str
    passed: bool | None
    error: float = float("nan")
    allowed: float = float("nan")
    note: str = ""

    def __str__(self) -> str:
        state = {True: "passed", False: "FAILED", None: "skipped"}[self.passed]
        numbers = f": {self.error:.2g}, at most {self.allowed:.2g}" if np.isfinite(self.error) else ""
        return f"{self.name}: {state}{numbers}{f' ({self.note})' if self.note else ''}"


def check_potential(potential: PotentialLike, structures: Sequence[Atoms] | None = None) -> list[Check]:
    """All checks of `potential` on `structures`, each with a name; an exception inside a check is a failure of it.

    `structures`: two or more of elements the potential knows, one periodic in three directions if stress is to be
    tested; None makes small ones of its first elements. Structures far from equilibrium make the checks sharper.
    Takes some hundred evaluations of single structures.
    """
    chosen = default_structures(potential) if structures is None else list(structures)
    if len(chosen) < 2:
        raise UserError(f"{len(chosen)} structures cannot check a potential; give two or more, or none for small ones")
    return [_run(name, test, potential, chosen) for name, test in CHECKS.items()]


def assert_conforms(potential: PotentialLike, structures: Sequence[Atoms] | None = None) -> None:
    """Raise AssertionError that lists the failed checks of `check_potential`."""
    failed = [str(check) for check in check_potential(potential, structures) if check.passed is False]
    if failed:
        raise AssertionError(f"potential {potential.name} does not conform: {'; '.join(failed)}")


def default_structures(potential: PotentialLike, seed: int = 0) -> list[Atoms]:
    """Two clusters and a small crystal of the first elements of the potential, off their equilibria."""
    rng = np.random.default_rng(seed)
    symbols = [symbol for symbol in potential.elements][:4]
    grid = np.array([(i, j, k) for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    out = []
    for count, periodic in ((5, False), (3, False), (4, True)):
        chosen = [symbols[i % len(symbols)] for i in range(count)]
        positions = 2.2 * grid[:count] + rng.normal(0, 0.15, (count, 3))
        cell = np.diag([4.6, 4.5, 4.8]) + rng.normal(0, 0.1, (3, 3)) if periodic else None
        out.append(Atoms(chosen, positions, cell=cell, pbc=periodic))
    return out


class _NotApplicable(Exception):
    """Why a check has nothing to compare."""


Test = Callable[[PotentialLike, list[Atoms]], tuple[float, float]]


def _run(name: str, test: Test, potential: PotentialLike, structures: list[Atoms]) -> Check:
    try:
        error, allowed = test(potential, structures)
    except _NotApplicable as reason:
        return Check(name, None, note=str(reason))
    except Exception as failure:
        return Check(name, False, note=f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}")
    return Check(name, bool(error <= allowed), error, allowed)


def _protocol(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Every attribute and method of PotentialLike is there, and the stated ones have their types."""
    missing = [name for name in PotentialLike.__protocol_attrs__ if not hasattr(potential, name)]  # type: ignore[attr-defined]
    if missing:
        raise TypeError(f"lacks {', '.join(sorted(missing))}; inherit from gendesign.potential.PotentialBase")
    wrong = [
        name
        for name, kind in (("name", str), ("elements", tuple), ("dtype", torch.dtype), ("supports", frozenset))
        if not isinstance(getattr(potential, name), kind)
    ]
    if wrong or not potential.cutoff > 0:
        raise TypeError(f"{', '.join(wrong) or 'cutoff'} has another type or value than PotentialLike says")
    return 0.0, 0.0


def _shapes(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Shapes, dtypes and device of a prediction; nothing carries a gradient."""
    for group, periodic in _groups(structures):
        stress = periodic and Capability.STRESS in potential.supports
        atoms, systems = sum(map(len, group)), len(group)
        out = potential.evaluate(group, stress=stress)
        expected = {"energy": (systems,), "forces": (atoms, 3)}
        if Capability.ATOM_ENERGIES in potential.supports:
            expected["atom_energy"] = (atoms,)
        if stress:
            expected["stress"] = (systems, 3, 3)
        for name, shape in expected.items():
            tensor = getattr(out, name)
            if tensor is None or tuple(tensor.shape) != shape:
                raise ValueError(f"{name} has shape {None if tensor is None else tuple(tensor.shape)}, not {shape}")
            if tensor.device.type != torch.device(potential.device).type or tensor.requires_grad:
                raise ValueError(f"{name} lies on {tensor.device} or carries a gradient")
        if out.energy.dtype != torch.float64 or out.forces.dtype != potential.dtype:
            raise ValueError(f"energy is {out.energy.dtype} (float64 wanted), forces {out.forces.dtype}")
    return 0.0, 0.0


def _forces(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Forces against central differences of the energy, for every coordinate; eV/Angstrom."""
    step, worst = STEP[potential.dtype], 0.0
    for atoms in structures:
        forces = _evaluate(potential, [atoms]).forces.double().cpu().numpy()
        moved = []
        for i in range(len(atoms)):
            for axis in range(3):
                for sign in (1, -1):
                    copy = atoms.copy()
                    copy.positions[i, axis] += sign * step
                    moved.append(copy)
        energies = _energies(potential, moved).reshape(-1, 2)
        slope = (energies[:, 0] - energies[:, 1]) / (2 * step)
        worst = max(worst, float(np.abs(forces.ravel() + slope).max() / (1 + np.abs(forces).max())))
    return worst, DIFFERENCE[potential.dtype]


def _stress(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Stress times volume against central differences of the energy by strain; eV per atom."""
    if Capability.STRESS not in potential.supports:
        raise _NotApplicable("gives no stress")
    crystals = [atoms for atoms in structures if all(atoms.pbc)]
    if not crystals:
        raise _NotApplicable("no structure is periodic in three directions")
    step, worst = STEP[potential.dtype] / 2, 0.0
    for atoms in crystals:
        stress = _evaluate(potential, [atoms], stress=True).stress
        assert stress is not None
        virial = stress[0].double().cpu().numpy() * atoms.get_volume()
        worst = max(worst, float(np.abs(virial - virial.T).max()))
        for a in range(3):
            for b in range(a, 3):
                strained = []
                for sign in (1, -1):
                    strain = np.zeros((3, 3))
                    strain[a, b] += sign * step / 2
                    strain[b, a] += sign * step / 2
                    copy = atoms.copy()
                    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                    strained.append(copy)
                up, down = _energies(potential, strained)
                worst = max(worst, abs((up - down) / (2 * step) - virial[a, b]) / (len(atoms) + abs(virial[a, b])))
    return worst, DIFFERENCE[potential.dtype]


def _moved(change: Callable[[Atoms], tuple[Atoms, np.ndarray, np.ndarray]]) -> Test:
    """A test that energies stay and forces follow when `change` gives (structure, order of atoms, rotation)."""

    def test(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
        worst = 0.0
        for atoms in structures:
            other, order, rotation = change(atoms)
            before, after = _evaluate(potential, [atoms]), _evaluate(potential, [other])
            forces = before.forces.double().cpu().numpy()[order] @ rotation.T
            worst = max(worst, _energy_error(before, after, [atoms]))
            worst = max(worst, _relative(after.forces.double().cpu().numpy(), forces))
        return worst, ROUNDING[potential.dtype]

    return test


def _rotated(atoms: Atoms) -> tuple[Atoms, np.ndarray, np.ndarray]:
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ rotation.T)
    copy.positions = atoms.positions @ rotation.T
    return copy, np.arange(len(atoms)), rotation


def _translated(atoms: Atoms) -> tuple[Atoms, np.ndarray, np.ndarray]:
    copy = atoms.copy()
    copy.positions = copy.positions + [1.3, -0.4, 2.1]
    return copy, np.arange(len(atoms)), np.eye(3)


def _permuted(atoms: Atoms) -> tuple[Atoms, np.ndarray, np.ndarray]:
    order = np.random.default_rng(1).permutation(len(atoms))
    return atoms[order], order, np.eye(3)


def _batches(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """A batch against its structures one by one."""
    worst = 0.0
    for group, _ in _groups(structures):
        group = [*group, *group[:1]]
        together, done = _evaluate(potential, group), 0
        for k, atoms in enumerate(group):
            alone = _evaluate(potential, [atoms])
            forces = together.forces[done : done + len(atoms)]
            worst = max(worst, abs(float(together.energy[k] - alone.energy[0])) / len(atoms))
            worst = max(worst, _relative(forces.double().cpu().numpy(), alone.forces.double().cpu().numpy()))
            done += len(atoms)
    return worst, ROUNDING[potential.dtype]


def _extensive(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Two molecules far apart have the sum of their energies, a crystal repeated twice has twice its energy."""
    worst = 0.0
    molecules = [atoms for atoms in structures if not any(atoms.pbc)]
    for atoms in structures:
        if all(atoms.pbc):
            whole, parts = atoms.repeat((2, 1, 1)), [atoms, atoms]
        elif not any(atoms.pbc):
            parts = [atoms, molecules[0]]
            distant = molecules[0].copy()
            distant.positions = distant.positions + [FAR + 2 * potential.cutoff, 0.0, 0.0]
            whole = atoms + distant
        else:
            continue
        error = _energies(potential, [whole])[0] - _energies(potential, parts).sum()
        worst = max(worst, abs(error) / len(whole))
    return worst, ROUNDING[potential.dtype]


def _atom_energies(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Per-atom energies add up to the energy."""
    if Capability.ATOM_ENERGIES not in potential.supports:
        raise _NotApplicable("gives no per-atom energies")
    worst = 0.0
    for atoms in structures:
        out = _evaluate(potential, [atoms])
        assert out.atom_energy is not None
        worst = max(worst, abs(float(out.atom_energy.double().sum() - out.energy[0])) / len(atoms))
    return worst, ROUNDING[potential.dtype]


def _descriptors(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """Descriptors of a rotated, permuted structure are those of the original, in the new order."""
    if Capability.DESCRIPTORS not in potential.supports:
        try:
            potential.descriptors(structures[:1])
        except UserError:
            raise _NotApplicable("gives no descriptors, and refuses them") from None
        raise ValueError("gives descriptors, which `supports` does not state")
    worst = 0.0
    for atoms in structures:
        turned = _rotated(atoms)[0]
        other, order, _ = _permuted(turned)
        before, after = (potential.descriptors([one]).detach().double().cpu().numpy() for one in (atoms, other))
        if before.ndim != 2 or len(before) != len(atoms):
            raise ValueError(f"descriptors have shape {before.shape}, not ({len(atoms)}, n)")
        worst = max(worst, _relative(after, before[order]))
    return worst, ROUNDING[potential.dtype]


def _unknown_elements(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """An element the potential does not know is refused by UserError, in one line."""
    stranger = Atoms(ELEMENT_NOBODY_KNOWS)
    for attempt in (lambda: potential.require_elements([ELEMENT_NOBODY_KNOWS]), lambda: potential.evaluate([stranger])):
        try:
            attempt()
        except UserError as error:
            if "\n" in str(error):
                raise ValueError("the error has more than one line") from None
        else:
            raise ValueError(f"{ELEMENT_NOBODY_KNOWS} was accepted")
    potential.require_elements(potential.elements)
    return 0.0, 0.0


def _adapters(potential: PotentialLike, structures: list[Atoms]) -> tuple[float, float]:
    """The torch-sim model and the ASE calculator give the numbers of `evaluate`."""
    import torch_sim as ts

    worst = 0.0
    for atoms in structures:
        prediction = _evaluate(potential, [atoms])
        model = potential.as_torchsim(stress=False)
        state = ts.io.atoms_to_state([atoms], model.device, model.dtype)
        copy = atoms.copy()
        copy.calc = potential.as_ase()
        forces = prediction.forces.double().cpu().numpy()
        for theirs in (model(state)["forces"].detach().double().cpu().numpy(), copy.get_forces()):
            worst = max(worst, _relative(theirs, forces))
        worst = max(worst, abs(copy.get_potential_energy() - float(prediction.energy[0])) / len(atoms))
    return worst, ROUNDING[potential.dtype]


CHECKS: dict[str, Test] = {
    "attributes and methods": _protocol,
    "shapes, dtype and device": _shapes,
    "forces are the gradient of the energy": _forces,
    "stress is the derivative by strain": _stress,
    "rotations": _moved(_rotated),
    "translations": _moved(_translated),
    "permutations of atoms": _moved(_permuted),
    "a batch equals single structures": _batches,
    "energies add up over separate parts": _extensive,
    "per-atom energies add up": _atom_energies,
    "descriptors are invariant": _descriptors,
    "unknown elements are refused": _unknown_elements,
    "torch-sim and ASE adapters agree": _adapters,
}


def _groups(structures: list[Atoms]) -> Iterator[tuple[list[Atoms], bool]]:
    """Structures that may share a batch, and whether they are periodic in three directions."""
    for pbc in dict.fromkeys(tuple(bool(p) for p in atoms.pbc) for atoms in structures):
        yield [atoms for atoms in structures if tuple(bool(p) for p in atoms.pbc) == pbc], all(pbc)


def _evaluate(potential: PotentialLike, structures: list[Atoms], stress: bool = False) -> Prediction:
    return potential.evaluate(structures, stress=stress)


def _energies(potential: PotentialLike, structures: list[Atoms]) -> np.ndarray:
    return potential.energies(structures).double().cpu().numpy()


def _energy_error(before: Prediction, after: Prediction, structures: list[Atoms]) -> float:
    """Largest difference of the energies in eV per atom, as a share of their size plus one."""
    sizes = np.array([len(atoms) for atoms in structures])
    first, second = (one.energy.double().cpu().numpy() / sizes for one in (before, after))
    return _relative(first, second)


def _relative(values: np.ndarray, reference: np.ndarray) -> float:
    """Largest deviation of `values` from `reference`, as a share of the largest reference plus one."""
    return float(np.abs(values - reference).max() / (1 + np.abs(reference).max()))
