"""Which atoms come too close, within a periodic arrangement and between two of them that are stacked."""

import numpy as np
from ase.data import vdw_radii

from gendesign.generate.perovskite.layer import images

PAIRS = 256  # looked at together, the highest first, until no other can touch sooner
UNKNOWN = 2.0  # Angstrom, for elements without a van der Waals radius in the table


def radii(numbers: np.ndarray) -> np.ndarray:
    """Van der Waals radii (atoms,) in Angstrom."""
    tabulated = vdw_radii[numbers]
    return np.where(np.isfinite(tabulated), tabulated, UNKNOWN)


def clash(new: np.ndarray, sizes: np.ndarray, others: np.ndarray, other_sizes: np.ndarray, lattice: np.ndarray) -> bool:
    """Whether a molecule (a, 3) comes too close to the others (b, 3) or to its own images.

    sizes: radii times the share of them that is asked for; a pair closer than the sum of its two sizes is a clash.
    The lattice has two or three vectors, of which the nearest images count.
    """
    apart = _image_vectors(new, others, lattice)
    least = sizes[:, None] + other_sizes[None]
    if (np.einsum("abkx,abkx->abk", apart, apart) < least[..., None] ** 2).any():
        return True
    to_images = _image_vectors(new, new, lattice)
    same = new[:, None] - new[None]
    squares = np.einsum("abkx,abkx->abk", to_images, to_images)
    # Within one image of a molecule atoms are bonded; everything else about it must keep off.
    squares[(np.abs(to_images - same[:, :, None]) < 1e-6).all(axis=-1)] = np.inf
    return bool((squares < (sizes[:, None] + sizes[None])[..., None] ** 2).any())


def contact_height(
    lower: np.ndarray, lower_sizes: np.ndarray, upper: np.ndarray, upper_sizes: np.ndarray, lattice: np.ndarray
) -> float:
    """How far up (Angstrom along z) the upper layer must be moved so that it just touches the lower one.

    Both repeat in the xy plane by `lattice` (2, 3). The pair that touches first decides:
    z_i - z_j + sqrt(least^2 - sideways^2), hence no search.
    """
    least = (lower_sizes[:, None] + upper_sizes[None]).ravel()
    highest = (lower[:, None, 2] - upper[None, :, 2]).ravel() + least  # of a pair right above each other
    order = np.argsort(-highest)
    inverse, shifts = np.linalg.pinv(lattice[:, :2]), images(lattice)[:, :2]
    best = -np.inf
    for some in np.split(order, range(PAIRS, len(order), PAIRS)):
        some = some[highest[some] > best]
        if not len(some):
            break
        i, j = np.divmod(some, len(upper))
        apart = (lower[i] - upper[j])[:, :2]
        apart = (apart - np.round(apart @ inverse) @ lattice[:, :2])[:, None] + shifts
        room = least[some, None] ** 2 - (apart**2).sum(axis=-1)
        heights = (highest[some] - least[some])[:, None] + np.sqrt(np.maximum(room, 0.0))
        best = max(best, float(np.where(room > 0, heights, -np.inf).max()))
    return best


def _image_vectors(a: np.ndarray, b: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Vectors (a, b, images, 3) from atoms b and their nearest images to atoms a."""
    apart = a[:, None] - b[None]
    apart = apart - np.round(apart @ np.linalg.pinv(lattice)) @ lattice
    return apart[:, :, None] + images(lattice)
