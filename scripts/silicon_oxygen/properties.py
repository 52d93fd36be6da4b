"""Properties of silicon and silica by one potential: crystals, elastic constants, phonons, defects, surfaces, dimers.

Every function is pure and returns plain numbers. Units: eV, Angstrom, GPa, THz, J/m2. The teacher DIEP is not smooth,
so derivatives are slopes of fits over several strains, given with their standard errors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms, units
from ase.build import bulk, diamond100, diamond111
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from matscipy.neighbours import neighbour_list

from gendesign.potential.protocol import PotentialLike
from scripts.silicon_oxygen import clusters, crystals

CRYSTALS = ("diamond", "beta-tin", "sc", "bcc", "fcc", "quartz", "cristobalite", "coesite", "stishovite")
NEED_CELL = ("beta-tin", "quartz", "cristobalite", "coesite", "stishovite")  # whose axes are not all alike
STRAINS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015)  # both signs
SHIFTS = (-0.02, -0.01, 0.0, 0.01, 0.02)  # Angstrom, of one of the two atoms of a sheared cell
VOLUMES = tuple(np.linspace(0.92, 1.08, 7))  # of equations of state, relative
ANGSTROM2 = units.kg / units.s**2  # J/m2 in ASE's units
POINTS = {"Gamma": (0, 0, 0), "X": (0.5, 0, 0.5), "L": (0.5, 0.5, 0.5)}  # of the primitive reciprocal cell
DISPLACEMENT = 0.03  # Angstrom, of phonons


def relaxed(atoms: Atoms, potential: PotentialLike, cell: bool = True, fmax: float = 0.02, steps: int = 60) -> Atoms:
    """The structure relaxed as far as `steps` allow, with its calculator."""
    copy = crystals.plain(atoms)
    copy.calc = potential.as_ase()
    optimizer = FIRE if len(atoms) > 30 else BFGS
    optimizer(FrechetCellFilter(copy) if cell else copy, logfile=None).run(fmax=fmax, steps=steps)
    return copy


def energy(atoms: Atoms) -> float:
    """Energy per atom, eV."""
    return float(atoms.get_potential_energy()) / len(atoms)


def birch_murnaghan(volumes: Sequence[float], energies: Sequence[float]) -> tuple[float, float, float]:
    """(volume of the minimum, bulk modulus in eV/Angstrom^3, least energy) of a third-order fit in V^(-2/3).

    NaN without a minimum.
    """
    x = np.asarray(volumes) ** (-2 / 3)
    fit = np.polynomial.Polynomial.fit(x, energies, 3)
    minima = [root.real for root in fit.deriv().roots() if abs(root.imag) < 1e-9 and fit.deriv(2)(root.real) > 0]
    if not minima:
        return float("nan"), float("nan"), float("nan")
    best = min(minima, key=lambda root: abs(root - x.mean()))
    volume = best**-1.5
    modulus = fit.deriv(2)(best) * (4 / 9) * best**2 / volume
    return float(volume), float(modulus), float(fit(best))


def equation_of_state(
    atoms: Atoms, potential: PotentialLike, factors: Sequence[float], positions: int = 0
) -> tuple[Atoms, dict[str, float]]:
    """(the structure at its minimum, its energy, volume per atom and bulk modulus) from cells scaled around `atoms`.

    positions: steps in which the atoms of each cell are relaxed.
    """
    frames = []
    for factor in factors:
        scaled = crystals.plain(atoms)
        scaled.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
        frames.append(scaled)
    if positions:
        frames = [relaxed(frame, potential, cell=False, fmax=0.03, steps=positions) for frame in frames]
    energies = np.asarray(potential.evaluate(frames).energy.cpu())
    volume, modulus, least = birch_murnaghan([frame.get_volume() for frame in frames], energies)
    best = crystals.plain(frames[int(np.argmin(energies))])
    if np.isfinite(volume):
        best.set_cell(best.cell * (volume / best.get_volume()) ** (1 / 3), scale_atoms=True)
    row = {"energy": least / len(atoms), "volume": volume / len(atoms), "bulk modulus": modulus / units.GPa}
    return best, row


def crystal_table(potential: PotentialLike, names: Sequence[str] = CRYSTALS) -> dict[str, dict[str, float]]:
    """Of every crystal: edges a, b, c, energy (eV/atom), volume (per atom), bulk modulus, and `above`.

    above: energy above diamond in meV/atom, or above quartz in meV/SiO2. `names` begins with diamond and has quartz
    before other silica.
    """
    out: dict[str, dict[str, float]] = {}
    for name in names:
        silica = name in crystals.SILICA
        atoms = _primitive(crystals.plain(crystals.POLYMORPHS[name]()))
        if name in NEED_CELL:
            atoms = relaxed(atoms, potential, fmax=0.02, steps=60)
        else:
            atoms, _ = equation_of_state(atoms, potential, VOLUMES)
        atoms, row = equation_of_state(atoms, potential, VOLUMES, positions=12 if silica else 0)
        row |= dict(zip("abc", _edges(atoms), strict=True))
        zero = out.get("quartz" if silica else "diamond", row)["energy"]
        out[name] = row | {"above": 1000 * (3 if silica else 1) * (row["energy"] - zero)}
    return out


def _primitive(atoms: Atoms) -> Atoms:
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    lattice, places, numbers = spglib.find_primitive(cell, symprec=1e-3)
    return Atoms(numbers, scaled_positions=places, cell=lattice, pbc=True)


def _edges(atoms: Atoms) -> tuple[float, float, float]:
    """Edges of the conventional cell."""
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    a, b, c = np.linalg.norm(spglib.standardize_cell(cell, symprec=0.05)[0], axis=1)
    return float(a), float(b), float(c)


def elastic(potential: PotentialLike, a: float) -> dict[str, dict[str, float]]:
    """C11, C12, C44 of diamond with edge `a`: slopes of stresses over STRAINS with standard errors of the fit.

    C11 and C12: [s(e) - s(-e)] / 2 = C e + D e^3 under a strain along x; least, most: s / e of single strains. C44: the
    stress of a shear and the force on an atom are fitted over strains and displacements of the atoms together, and the
    displacement without force is put into the stress. Shear strains are engineering strains.
    """
    primitive, out = bulk("Si", "diamond", a=a), {}
    sizes = [sign * size for size in STRAINS for sign in (1, -1)]
    stress = _stresses(potential, [_strained(primitive, 0, size) for size in sizes])
    for name, axis in (("C11", 0), ("C12", 1)):
        e, odd = np.array(STRAINS), (stress[::2, axis, axis] - stress[1::2, axis, axis]) / 2 / units.GPa
        (slope, _), errors = _fitted(np.stack([e, e**3], axis=1), odd)
        single = odd / e
        out[name] = {"value": float(slope), "error": float(errors[0, 0] ** 0.5),
                     "least": float(single.min()), "most": float(single.max())}  # fmt: skip
    return out | {"C44": _shear(potential, primitive)}


def _shear(potential: PotentialLike, primitive: Atoms) -> dict[str, float]:
    """C44 of the relaxed and of the clamped crystal, the standard error of the fit, and the number of its points."""
    grid = [(sign * e, u) for e in STRAINS for sign in (1, -1) for u in SHIFTS]
    frames = [_moved(_strained(primitive, 3, e), u) for e, u in grid]
    stress = _stresses(potential, frames)[:, 1, 2] / units.GPa
    force = np.array([f[0, 0] for f in _split(potential, frames)])
    e, u = np.array(grid).T
    terms = np.stack([e, u, np.ones_like(e), e * u, e**2, u**2, e**3, u**3, e * u**2, e**2 * u], axis=1)
    of_stress, stress_errors = _fitted(terms, stress)
    of_force, force_errors = _fitted(terms, force)
    ratio = -of_force[0] / of_force[1]  # displacement without force for each unit of strain
    value = of_stress[0] + of_stress[1] * ratio
    # propagation of errors: stress and force have fits of their own
    by_stress = np.array([1.0, ratio]) @ stress_errors[:2, :2] @ np.array([1.0, ratio])
    slope = of_stress[1] / of_force[1] * np.array([-1.0, -ratio])
    by_force = slope @ force_errors[:2, :2] @ slope
    error = float(np.sqrt(by_stress + by_force))
    return {"value": float(value), "error": error, "clamped": float(of_stress[0]), "n": len(grid)}


def _fitted(terms: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients, their covariance) of a linear least-squares fit."""
    solution, *_ = np.linalg.lstsq(terms, values, rcond=None)
    variance = float(((terms @ solution - values) ** 2).sum()) / (len(values) - terms.shape[1])
    return solution, variance * np.linalg.inv(terms.T @ terms)


def _strained(primitive: Atoms, component: int, strain: float) -> Atoms:
    """A copy strained along x (component 0), or sheared in yz (3)."""
    matrix = np.eye(3)
    if component == 3:
        matrix[1, 2] = matrix[2, 1] = strain / 2
    else:
        matrix[0, 0] += strain
    atoms = crystals.plain(primitive)
    atoms.set_cell(primitive.cell.array @ matrix, scale_atoms=True)
    return atoms


def _stresses(potential: PotentialLike, frames: list[Atoms]) -> np.ndarray:
    stress = potential.evaluate(frames, stress=True).stress
    return np.asarray(stress.double().cpu())


def _moved(atoms: Atoms, along_x: float) -> Atoms:
    copy = crystals.plain(atoms)
    copy.positions[0, 0] += along_x
    return copy


def phonons(potential: PotentialLike, a: float) -> dict[str, list[float]]:
    """Frequencies of diamond in THz at POINTS, from the smallest to the largest; imaginary ones are negative."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    primitive = bulk("Si", "diamond", a=a)
    cubic = bulk("Si", "diamond", a=a, cubic=True)
    cell = PhonopyAtoms(
        symbols=cubic.get_chemical_symbols(), cell=cubic.cell.array, scaled_positions=cubic.get_scaled_positions()
    )
    basis = np.linalg.inv(cubic.cell.array.T) @ primitive.cell.array.T
    made = Phonopy(cell, 2 * np.eye(3, dtype=int), primitive_matrix=basis)
    made.generate_displacements(distance=DISPLACEMENT, is_plusminus=True)
    frames = [
        Atoms(c.symbols, scaled_positions=c.scaled_positions, cell=c.cell, pbc=True)
        for c in made.supercells_with_displacements
    ]
    made.forces = _split(potential, frames)
    made.produce_force_constants()
    made.symmetrize_force_constants()
    return {name: [float(x) for x in np.sort(made.run_qpoints([q]).frequencies[0])] for name, q in POINTS.items()}


def _split(potential: PotentialLike, frames: list[Atoms]) -> list[np.ndarray]:
    """Forces of each frame."""
    forces = np.asarray(potential.evaluate(frames).forces.double().cpu())
    return np.split(forces, np.cumsum([len(frame) for frame in frames])[:-1])


def vacancy(potential: PotentialLike, a: float) -> float:
    """Energy of a relaxed vacancy in a fixed cell of 64 sites, eV."""
    whole = bulk("Si", "diamond", a=a, cubic=True) * 2
    whole.calc = potential.as_ase()
    missing = crystals.plain(whole)
    del missing[0]
    missing.rattle(0.03, seed=1)  # so that the atoms may pair
    after = relaxed(missing, potential, cell=False, fmax=0.02, steps=50)
    return float(after.get_potential_energy() - 63 / 64 * whole.get_potential_energy())


def surfaces(potential: PotentialLike, a: float) -> dict[str, float]:
    """Energies of relaxed surfaces of diamond in J/m2: (100) with rows of dimers, and (111) as it is cut."""
    crystal = bulk("Si", "diamond", a=a)
    crystal.calc = potential.as_ase()
    per_atom = energy(crystal)
    found = []
    for slab in (dimerised(a), cut(a)):
        after = relaxed(slab, potential, cell=False, fmax=0.03, steps=50)
        area = float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
        found.append((after.get_potential_energy() - len(slab) * per_atom) / (2 * area) / ANGSTROM2)
    return dict(zip(("100", "111"), map(float, found), strict=True))


def dimerised(a: float, layers: int = 12) -> Atoms:
    """A slab (100) whose outer atoms are moved together to buckled dimers, along the axis that has room for it."""
    slabs = []
    for axis in (0, 1):
        slab = _periodic(diamond100("Si", (2 - axis, 1 + axis, layers), a=a, vacuum=6.0))
        heights = slab.positions[:, 2]
        for level, out in ((heights.max(), 1), (heights.min(), -1)):
            first, second = np.nonzero(abs(heights - level) < 0.1)[0]
            move = np.zeros(3)
            move[axis] = 0.7 * np.sign(slab.positions[second, axis] - slab.positions[first, axis])
            slab.positions[first] += move + [0, 0, 0.2 * out]
            slab.positions[second] -= move + [0, 0, 0.2 * out]
        slabs.append(crystals.plain(slab))
    return max(slabs, key=lambda slab: neighbour_list("d", slab, 3.0).min())


def cut(a: float, layers: int = 14) -> Atoms:
    """A slab (111) of which every outer atom has one broken bond."""
    slab = _periodic(diamond111("Si", (1, 1, layers), a=a, vacuum=6.0))
    counts = np.bincount(neighbour_list("i", slab, 2.6 / 5.43 * a), minlength=layers)
    return crystals.plain(slab[counts > 1])


def _periodic(slab: Atoms) -> Atoms:
    slab.pbc = True
    return slab


def dimer_curves(potential: PotentialLike) -> dict[str, dict[str, float]]:
    """Of Si-Si, Si-O and O-O: distance and depth of the minimum, and how often the wall falls on the way inward."""
    out: dict[str, dict[str, float]] = {}
    isolated = {a.get_chemical_symbols()[0]: a for a in clusters.isolated()}
    singles = {symbol: float(potential.evaluate([atoms]).energy[0]) for symbol, atoms in isolated.items()}
    distances = np.arange(0.5, 5.01, 0.05)
    for pair in (("Si", "Si"), ("Si", "O"), ("O", "O")):
        frames = [clusters.boxed(Atoms(pair, [[0, 0, 0], [d, 0, 0]])) for d in distances]
        energies = np.asarray(potential.evaluate(frames).energy.cpu()) - sum(singles[symbol] for symbol in pair)
        at = int(np.argmin(np.where(distances > 1.0, energies, np.inf)))
        steps = np.diff(energies[: at + 1])
        out["-".join(pair)] = {"distance": float(distances[at]), "energy": float(energies[at]),
                               "falls": int((steps > 0).sum()), "n": len(steps)}  # fmt: skip
    return out


def force_errors(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Mapping[str, float]:
    """MAE, RMSE (eV/Angstrom per component), slope through the origin of (predicted, reference) forces, and numbers."""
    predicted, true = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    error = predicted - true
    return {"n": len(pairs), "mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean())),
            "rms": float(np.sqrt((true**2).mean())),
            "slope": float((predicted @ true) / (true @ true))}  # fmt: skip
