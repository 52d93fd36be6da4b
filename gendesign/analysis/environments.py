"""Atomic environments as power spectra of a smooth density of neighbours, and their similarity kernel.

The density is a sum of Gaussians of width sigma at the neighbours; its expansion in radial functions and spherical
harmonics gives the power spectrum p_nn'l (Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013)). The kernel is the
normalised product to the power zeta. The neighbours are those of the bond table, each with weight one: a fivefold
atom has five; distances are in units of the mean bond of the model, which makes ideal environments independent of it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import sph_harm_y, spherical_in

from gendesign.analysis.neighbours import Bonds

CHUNK = 5_000  # atoms at once
TABLE = 200  # distances at which the radial integrals are tabulated


@dataclass(frozen=True)
class Descriptor:
    """Settings of the power spectrum: radial functions n, harmonics to l, width of the Gaussians and reach in units of
    the bond length, and the power of the kernel."""

    n: int = 8
    l: int = 8  # noqa: E741 - the name of the field
    sigma: float = 0.3 / 2.37
    reach: float = 1.6
    zeta: int = 4

    def radial_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances (t,), and the overlap of a Gaussian there with each radial function and l (t, n, l + 1).

        Radial functions are Gaussians on an even grid, made orthonormal with the weight r^2.
        """
        r = np.linspace(1e-3, self.reach + 3 * self.sigma, 400)
        step = r[1] - r[0]
        centre = np.linspace(0.4 * self.reach, self.reach, self.n)
        raw = np.exp(-((r[None] - centre[:, None]) ** 2) / (2 * (self.reach * 0.6 / self.n) ** 2))
        overlap = (raw * r**2 * step) @ raw.T
        values, vectors = np.linalg.eigh(overlap)
        basis = (vectors / np.sqrt(values)) @ vectors.T @ raw
        at = np.linspace(0.5, self.reach, TABLE)
        product = np.outer(at, r) / self.sigma**2
        out = np.empty((TABLE, self.n, self.l + 1))
        for l in range(self.l + 1):  # noqa: E741
            # exp(-x) times the modified Bessel function, so that nothing overflows
            scaled = spherical_in(l, np.minimum(product, 600)) * np.exp(-np.minimum(product, 600))
            scaled = np.where(product > 600, 1 / (2 * product), scaled)
            gauss = np.exp(-((r[None] - at[:, None]) ** 2) / (2 * self.sigma**2)) * scaled
            out[:, :, l] = (gauss * r**2 * step) @ basis.T
        return at, out

    def spectra(self, vectors: np.ndarray, owner: np.ndarray, atoms: int) -> np.ndarray:
        """Normalised power spectra (atoms, features) of neighbours at `vectors` (k, 3), sorted by `owner` (k,)."""
        at, table = _radial_table(self)
        distance = np.linalg.norm(vectors, axis=1)
        place = np.clip((distance - at[0]) / (at[1] - at[0]), 0, TABLE - 1.001)
        low = place.astype(int)
        part = (place - low)[:, None, None]
        radial = table[low] * (1 - part) + table[low + 1] * part
        theta = np.arccos(np.clip(vectors[:, 2] / distance, -1, 1))
        phi = np.arctan2(vectors[:, 1], vectors[:, 0])
        upper = np.triu_indices(self.n)
        double = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        blocks = []
        begin = np.searchsorted(owner, np.arange(atoms))
        empty = np.bincount(owner, minlength=atoms) == 0
        for l in range(self.l + 1):  # noqa: E741
            power = np.zeros((atoms, self.n, self.n))
            for m in range(l + 1):
                harmonic = sph_harm_y(l, m, theta, phi)
                for share in (harmonic.real, harmonic.imag) if m else (harmonic.real,):
                    terms = radial[:, :, l] * share[:, None]
                    summed = np.add.reduceat(terms, np.minimum(begin, len(terms) - 1), axis=0)
                    summed[empty] = 0
                    power += (1 if m == 0 else 2) * np.einsum("ai,aj->aij", summed, summed)
            blocks.append(power[:, upper[0], upper[1]] * double / np.sqrt(2 * l + 1))
        spectrum = np.concatenate(blocks, axis=1)
        return spectrum / np.maximum(np.linalg.norm(spectrum, axis=1, keepdims=True), 1e-30)


@cache
def _radial_table(descriptor: Descriptor) -> tuple[np.ndarray, np.ndarray]:
    return descriptor.radial_table()


def ideal_environments() -> dict[str, np.ndarray]:
    """Neighbours (k, 3) of ideal environments, in units of the bond length.

    tetrahedron: four. dangling bond: three of them. floating bond: four, and a fifth opposite one of them at the same
    distance, over the face of the others, which keep their angles. trigonal bipyramid: three at 120 degrees in a plane
    and two on its axis.
    """
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    turn = np.radians([90, 210, 330])
    plane = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    return {
        "tetrahedron": tetrahedron,
        "dangling bond": tetrahedron[1:],
        "floating bond": np.concatenate([tetrahedron, -tetrahedron[:1]]),
        "trigonal bipyramid": np.concatenate([plane, [[0, 0, 1], [0, 0, -1]]]),
    }


def similarities(
    bonds: Bonds, members: ArrayLike, bond_length: float, descriptor: Descriptor | None = None
) -> dict[str, np.ndarray]:
    """Kernel (members,) of each atom in `members` with every ideal environment; 1 for the same up to a rotation."""
    descriptor = descriptor or Descriptor()
    chosen = np.asarray(members, dtype=np.int64)
    ideal = ideal_environments()
    references = {
        name: descriptor.spectra(places, np.zeros(len(places), dtype=int), 1)[0] for name, places in ideal.items()
    }
    out = {name: np.empty(len(chosen)) for name in ideal}
    for low in range(0, len(chosen), CHUNK):
        part = chosen[low : low + CHUNK]
        counts = bonds.counts[part]
        if not counts.sum():
            spectra = np.zeros((len(part), len(references["tetrahedron"])))
        else:
            first = np.repeat(bonds.starts[part] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
            at = first + np.arange(counts.sum())
            owner = np.repeat(np.arange(len(part)), counts)
            spectra = descriptor.spectra(bonds.vector[at] / bond_length, owner, len(part))
        for name, reference in references.items():
            out[name][low : low + CHUNK] = np.clip(spectra @ reference, 0, 1) ** descriptor.zeta
    return out
