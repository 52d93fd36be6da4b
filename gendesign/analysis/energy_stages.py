"""The parts of an analysis that need a potential or a trajectory."""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms

from gendesign.analysis.diffusion import diffusion
from gendesign.analysis.elastic import VOIGT, elastic_constants
from gendesign.analysis.energetics import energy_above, reference_for
from gendesign.analysis.results import Curve, Found
from gendesign.analysis.stages import Case
from gendesign.analysis.vibrations import from_dynamical_matrix, from_velocities
from gendesign.potential.protocol import Capability, PotentialLike

Report = Callable[[int, int], None]


def add_energy(case: Case, found: Found, potential: PotentialLike, crystals: Sequence[Atoms]) -> None:
    """Energy of the model as it is, above the crystals, and local energies where the potential has them."""
    plain = Atoms(case.atoms.numbers, case.atoms.positions, cell=case.atoms.cell, pbc=True)
    prediction = potential.evaluate([plain])
    energy, forces = float(prediction.energy[0]), prediction.forces.double().cpu().numpy()
    reference = reference_for(case.atoms, crystals)
    about = f"potential {potential.name}; as read, not relaxed"
    found.add("energy", energy / len(plain), "eV/atom", about)
    above = energy_above(plain, energy, crystals)
    found.add("energy above the crystal", above, "eV/atom", f"{about}; above {reference.name}, relaxed")
    found.add("largest force", float(np.linalg.norm(forces, axis=1).max()), "eV/Angstrom", about)
    if Capability.ATOM_ENERGIES in potential.supports and prediction.atom_energy is not None:
        local = prediction.atom_energy.double().cpu().numpy().ravel()
        case.energies = local
        found.labels["local_energy"] = local
        for symbol in sorted(set(plain.symbols)):
            own = local[plain.symbols == symbol]
            found.add(f"local energy of {symbol}, deviation", own.std(), "eV", about)


def add_elastic(case: Case, found: Found, potential: PotentialLike, report: Report) -> None:
    """Elastic constants with relaxed atoms at the cell of the model."""
    settings = case.settings
    elastic = elastic_constants(case.atoms, potential.as_ase(), settings.strain, settings.fmax, report)
    about = f"potential {potential.name}; strain {settings.strain:g}, forces below {settings.fmax:g} eV/A"
    for row in range(6):
        for column in range(row, 6):
            name = f"C{row + 1}{column + 1}"
            found.add(name, elastic.stiffness[row, column], "GPa", f"{VOIGT[row]}, {VOIGT[column]}; {about}")
    found.add("bulk modulus", elastic.bulk[2], "GPa", f"Hill; {about}")
    found.add("shear modulus", elastic.shear[2], "GPa", f"Hill; {about}")
    found.add("Young's modulus", elastic.young, "GPa", f"isotropic; {about}")
    found.add("Poisson's ratio", elastic.poisson, "", f"isotropic; {about}")


def add_vibrations(
    case: Case, found: Found, frames: Sequence[Atoms], potential: PotentialLike | None, report: Report
) -> None:
    """Vibrational density of states, from velocities where the frames have them, else from the dynamical matrix."""
    settings = case.settings
    if len(frames) > 1 and all(frame.has("momenta") for frame in frames):
        result = from_velocities(frames, settings.timestep, settings.resolution)
        name = "velocities"
    elif potential is not None:
        calculator = potential.as_ase()
        result = from_dynamical_matrix(case.atoms, calculator, width=settings.resolution / 2, report=report)
        found.add("imaginary modes", float((result.modes < -0.05).sum()), "", "below -0.05 THz; the model as read")
        found.add("mean participation ratio", float(result.participation.mean()), "", f"potential {potential.name}")
        name = "dynamical matrix"
    else:
        return
    inside = result.density * (result.frequency <= 80)
    found.add("mean frequency", float(np.trapezoid(inside * result.frequency, result.frequency)), "THz", name)
    keep = result.frequency <= 80
    found.curves["vdos"] = Curve("vdos", "frequency (THz)", result.frequency[keep], {"density": result.density[keep]})


def add_diffusion(case: Case, found: Found, frames: Sequence[Atoms]) -> None:
    """Diffusion coefficients of a trajectory."""
    results = diffusion(frames, case.settings.timestep)
    for one in results:
        about = "slope of the mean-squared displacement over six, lags of 30 to 80 % of half the trajectory"
        found.add(f"{one.element} diffusion coefficient", one.coefficient, "cm2/s", about)
        found.add(f"{one.element} diffusion exponent", one.exponent, "", "1 for diffusion, 0 for a solid")
    found.curves["msd"] = Curve("msd", "time (ps)", results[0].time, {one.element: one.displacement for one in results})
