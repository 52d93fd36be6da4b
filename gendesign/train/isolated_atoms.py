"""Energies of isolated atoms and chemical potentials from labelled structures."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import nn

from gendesign.errors import UserError
from gendesign.potential import Potential, fit_chemical_potentials, mace
from gendesign.structure.formula import hill_formula
from gendesign.structure.labels import is_isolated, isolated_energies, labels_of
from gendesign.train.start import begin_from

SAMPLE = 200  # structures from which averages over the data are computed
CUTOFF = 4.5  # Angstrom, within which an isolated atom has no neighbour


def atomic_energies(frames: Sequence[Atoms], also: set[int], cutoff: float = CUTOFF) -> dict[int, float]:
    """Energy (eV) of each atomic number in `frames` and `also`: of the isolated atom if labelled, else least squares.

    An isolated atom has no neighbour within `cutoff` (Angstrom), periodic images included, or is marked as one.
    """
    numbers = sorted(also | {int(z) for frame in frames for z in frame.numbers})
    isolated = isolated_energies(frames, cutoff)
    values = np.array([isolated.get(z, np.inf) for z in numbers])
    known = np.isfinite(values)
    bound = [frame for frame in frames if not is_isolated(frame, cutoff)]
    counts = np.array([[np.count_nonzero(frame.numbers == z) for z in numbers] for frame in bound], dtype=float)
    counts = counts.reshape(-1, len(numbers))
    rest = np.array([labels_of(frame)[0] for frame in bound]) - counts[:, known] @ values[known]
    # where the compositions cannot separate elements, this is the solution of smallest norm
    values[~known] = np.linalg.lstsq(counts[:, ~known], rest, rcond=None)[0]
    return dict(zip(numbers, values.tolist(), strict=True))


def shifted_energies(
    potential: Potential, frames: Sequence[Atoms], also: set[int], cutoff: float = CUTOFF
) -> dict[int, float]:
    """Isolated-atom energies (eV) that shift `potential` to the reference method of `frames`, for all elements.

    Energies of isolated atoms are taken from the frames. All others are those of the potential (zero for new elements)
    plus the least-squares share of the difference between the labels and the potential at the start of the fit.
    """
    known = {int(z): e for z, e in zip(potential.net.atomic_numbers, potential.isolated_energies.values(), strict=True)}
    isolated = isolated_energies(frames, cutoff)
    numbers = sorted(also | {int(z) for frame in frames for z in frame.numbers})
    start = {z: isolated.get(z, known.get(z, 0.0)) for z in numbers}
    architecture, weights = begin_from(potential, start)
    net = mace.from_plain(architecture)
    net.load_state_dict(weights)
    shares = shares_of_error(net, frames, set(numbers) - set(isolated), cutoff)
    return start | {z: start[z] + share for z, share in shares.items()}


def shares_of_error(
    net: nn.Module, frames: Sequence[Atoms], elements: set[int], cutoff: float = CUTOFF
) -> dict[int, float]:
    """Shift (eV) of the energies of `elements` (atomic numbers) that fits some of the frames best, by least squares."""
    sample, free = [frame for frame in frames if not is_isolated(frame, cutoff)], sorted(elements)
    sample = sample[:: max(1, len(sample) // SAMPLE)]
    if not sample or not free:
        return {}
    potential = Potential(net, "", "", "", "")
    errors = np.array([labels_of(frame)[0] - float(potential.energies([frame])[0]) for frame in sample])
    counts = np.array([[np.count_nonzero(frame.numbers == z) for z in free] for frame in sample], dtype=float)
    return dict(zip(free, np.linalg.lstsq(counts, errors, rcond=None)[0].tolist(), strict=True))


def refit_by(frames: Sequence[Atoms], cutoff: float = CUTOFF) -> Callable[[nn.Module], None]:
    """A function that refits the energies of all atoms without an isolated one in `frames` to the present network.

    The predictions for new elements are arbitrary at the start of a fit, so energies of atoms that were fitted then do
    not suit the trained network.
    """
    fixed = set(isolated_energies(frames, cutoff))
    moving = {int(z) for frame in frames for z in frame.numbers} - fixed

    def refit_energies(net: nn.Module) -> None:
        table, shares = net.atomic_energies_fn.atomic_energies, shares_of_error(net, frames, moving, cutoff)
        table += torch.tensor([shares.get(int(z), 0.0) for z in net.atomic_numbers]).to(table)

    return refit_energies


def chemical_potentials(frames: Sequence[Atoms], cutoff: float) -> dict[str, float]:
    """Chemical potentials (eV) from the lowest label of each formula; empty if these cannot separate the elements."""
    lowest: dict[str, tuple[float, Atoms]] = {}
    for frame in frames:
        energy, name = labels_of(frame)[0], hill_formula(frame.get_chemical_symbols())
        if not is_isolated(frame, cutoff) and (name not in lowest or energy < lowest[name][0]):
            lowest[name] = energy, frame
    try:
        return fit_chemical_potentials([frame for _, frame in lowest.values()], [e for e, _ in lowest.values()])
    except UserError:  # only generation compares compositions, and it reports what is missing
        return {}
