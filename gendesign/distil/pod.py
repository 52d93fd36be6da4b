"""Fit of a proper orthogonal descriptor by LAMMPS's fitpod (Nguyen, J. Comput. Phys. 480, 112030, 2023).

POD has no wall at short distances, so that a ZBL repulsion is always added. It is zero for all structures of the fit.
It holds atoms apart down to about 0.4 Angstrom; POD's own terms can be larger below.
"""

import shutil
import tempfile
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from gendesign.distil.labels import Labelled
from gendesign.distil.student import run_script
from gendesign.errors import UserError
from gendesign.lammps.pair import PAIR_FILE

PARAMETERS, COEFFICIENTS = "pod_param.pod", "pod_coefficients.pod"
INNER = 0.9  # Angstrom: distances below look alike to POD
# radial functions of two to seven bodies, and angular degrees of three and more
SHAPES = {
    "small": {"twobody": (8, 0), "threebody": (5, 4)},
    "medium": {"twobody": (8, 0), "threebody": (6, 5), "fourbody": (4, 3)},
    "large": {"twobody": (10, 0), "threebody": (8, 4), "fourbody": (6, 3), "fivebody": (4, 3), "sixbody": (3, 2),
              "sevenbody": (2, 2)},
}  # fmt: skip
REGULARISATION = 1e-10


def fit_pod(
    train: Sequence[Labelled], folder: Path, *, size: str, cutoff: float, energy_weight: float, source: str,
    repulsion: tuple[float, float],
) -> None:  # fmt: skip
    """Fit a POD of a size of SHAPES to labels and write it to `folder` with its pair.in.

    Units are eV and Angstrom. `source` is a line that says what the labels are from. Raises UserError if fitpod fails.
    """
    elements = sorted({symbol for row in train for symbol in row.atoms.get_chemical_symbols()})
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "train").mkdir()
        (place / "train" / "all.xyz").write_text("".join(map(_frame, train)))
        (place / "param.pod").write_text(parameters(elements, size, cutoff))
        (place / "data.pod").write_text(_data(energy_weight))
        run_script("fitpod param.pod data.pod\n", place)
        fitted = place / COEFFICIENTS
        if not fitted.is_file() or not _finite(fitted):
            raise UserError(
                f"the fit of {size} terms to {len(train)} structures failed; give more or more various structures, or "
                "a smaller size"
            )
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / "param.pod", folder / PARAMETERS)
        shutil.copy(fitted, folder / COEFFICIENTS)
    (folder / PAIR_FILE).write_text(pair_file(elements, source, repulsion))


def parameters(elements: Sequence[str], size: str, cutoff: float) -> str:
    """The file that describes the descriptor."""
    lines = [f"species {' '.join(elements)}", "pbc 1 1 1", f"rin {INNER}", f"rcut {cutoff:g}",
             "bessel_polynomial_degree 4", "inverse_polynomial_degree 8", "onebody 1"]  # fmt: skip
    for body, (radial, angular) in SHAPES[size].items():
        lines.append(f"{body}_number_radial_basis_functions {radial}")
        if angular:
            lines.append(f"{body}_angular_degree {angular}")
    return "\n".join(lines) + "\n"


def pair_file(elements: Sequence[str], source: str, repulsion: tuple[float, float]) -> str:
    """The commands of LAMMPS, see lammps/pair.py."""
    inner, outer = repulsion
    lines = [
        f"# elements: {' '.join(elements)}",
        f"# {source}",
        f"pair_style hybrid/overlay pod zbl {inner:g} {outer:g}",
        f"pair_coeff * * pod $HERE/{PARAMETERS} $HERE/{COEFFICIENTS} {' '.join(elements)}",
    ]
    for (i, a), (j, b) in combinations_with_replacement(enumerate(elements, start=1), 2):
        lines.append(f"pair_coeff {i} {j} zbl {atomic_numbers[a]} {atomic_numbers[b]}")
    return "\n".join(lines) + "\n"


def _data(energy_weight: float) -> str:
    lines = [
        "file_format extxyz", "file_extension xyz", 'path_to_training_data_set "train"',
        'path_to_test_data_set "train"', "fitting_weight_energy " + f"{energy_weight:g}", "fitting_weight_force 1.0",
        f"fitting_regularization_parameter {REGULARISATION:g}", "error_analysis_for_training_data_set 0",
        "error_analysis_for_test_data_set 0", 'basename_for_output_files "pod"', "precision_for_pod_coefficients 12",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _frame(row: Labelled) -> str:
    lattice = " ".join(f"{value:.10g}" for value in row.atoms.cell.array.ravel())
    head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 energy={row.energy:.12g} pbc="T T T"'
    atoms = zip(row.atoms.get_chemical_symbols(), row.atoms.positions, row.forces, strict=True)
    lines = [f"{s} {' '.join(f'{v:.10g}' for v in (*place, *force))}" for s, place, force in atoms]
    return f"{len(row.atoms)}\n{head}\n" + "\n".join(lines) + "\n"


def _finite(path: Path) -> bool:
    """Whether all numbers of the coefficients are finite."""
    values = [float(line) for line in path.read_text().splitlines()[1:] if line.strip()]
    return bool(values) and bool(np.isfinite(values).all())
