"""Classes of coordination defects by similarity to ideal environments, and whether they cluster.

After Morrow, Ugwumadu, Drabold, Elliott, Goodwin and Deringer (arXiv 2308.16868) for amorphous silicon.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gendesign.analysis.environments import Descriptor, similarities
from gendesign.analysis.neighbours import Bonds

FIVEFOLD = ("floating bond", "trigonal bipyramid")
ORDINARY_SAMPLE = 20_000  # atoms without defect whose similarity to the tetrahedron is measured
MOST_NULL_BONDS = 400_000_000  # bonds looked at for random placements, which bounds their number


@dataclass(frozen=True)
class DefectClass:
    """Atoms of one class among the atoms of the defect element.

    n: their number. share: among all. similarity: mean kernel by ideal environment. energy: mean local energy above the
    mean of atoms without defect, eV; None without energies.
    """

    name: str
    n: int
    share: float
    similarity: Mapping[str, float]
    energy: float | None = None


@dataclass(frozen=True)
class Clustering:
    """Whether atoms of a label are bonded to each other more often than atoms placed at random.

    n: labelled atoms. sizes: clusters by size, from 0. neighbour: share of the labelled atoms that are bonded to
    another one. expected, deviation: the same for random placements. z: their difference in deviations;
    p: share of the placements that reach it. largest: size of the largest cluster.
    """

    label: str
    n: int
    sizes: tuple[int, ...]
    neighbour: float
    expected: float
    deviation: float
    z: float
    p: float
    largest: int


def classify(
    bonds: Bonds,
    of: np.ndarray,
    excess: np.ndarray,
    bond_length: float,
    energies: np.ndarray | None = None,
    descriptor: Descriptor | None = None,
    seed: int = 0,
) -> tuple[list[DefectClass], np.ndarray]:
    """Classes of the atoms in the mask `of`, and each atom's class as text (n,).

    excess (n,): coordination beyond the ideal one. Atoms with one bond too few are dangling bonds. Those with one too
    many are floating bonds or trigonal bipyramids, whichever is more similar. All others are named by their number of
    bonds. energies (n,): local energies in eV.
    """
    members = np.nonzero(of)[0]
    labels = np.full(bonds.n, "", dtype="U24")
    labels[of] = "no defect"
    faulty = members[excess[members] != 0]
    found = similarities(bonds, faulty, bond_length, descriptor)
    over = excess[faulty] == 1
    best = np.where(found[FIVEFOLD[0]] >= found[FIVEFOLD[1]], *FIVEFOLD)
    labels[faulty] = [f"{count} bonds" for count in bonds.counts[faulty]]
    labels[faulty[over]] = best[over]
    labels[faulty[excess[faulty] == -1]] = "dangling bond"
    ordinary = members[excess[members] == 0]
    if len(ordinary) > ORDINARY_SAMPLE:
        ordinary = np.sort(np.random.default_rng([1303, seed]).choice(ordinary, ORDINARY_SAMPLE, replace=False))
    sample = similarities(bonds, ordinary, bond_length, descriptor)
    whole = np.concatenate([faulty, ordinary])
    kernels = {name: np.concatenate([found[name], sample[name]]) for name in found}
    base = float(energies[members[excess[members] == 0]].mean()) if energies is not None and len(ordinary) else None
    out = []
    for name in np.unique(labels[members]):
        own = labels[whole] == name
        n = int((labels[members] == name).sum())
        energy = None
        if energies is not None and base is not None:
            energy = float(energies[members[labels[members] == name]].mean() - base)
        means = {kind: float(values[own].mean()) for kind, values in kernels.items()}
        out.append(DefectClass(str(name), n, n / max(1, len(members)), means, energy))
    return sorted(out, key=lambda one: -one.n), labels


def clustering(
    edges: tuple[np.ndarray, np.ndarray], among: np.ndarray, labelled: np.ndarray, label: str, placements: int = 200,
    seed: int = 0,
) -> Clustering:  # fmt: skip
    """Clusters of labelled atoms that are bonded directly, against random placements of as many labels.

    edges: directed bonds (i, j), each bond in both directions. among (n,): mask of the atoms among which labels are
    placed at random. labelled (n,): mask.
    """
    i, j = edges
    n, total = int(labelled.sum()), len(among)
    if n == 0:
        return Clustering(label, 0, (), 0.0, 0.0, 0.0, 0.0, 1.0, 0)
    share = _bonded_share(i, j, labelled)
    inner = labelled[i] & labelled[j]
    graph = coo_matrix((np.ones(int(inner.sum())), (i[inner], j[inner])), shape=(total, total))
    _, component = connected_components(graph.tocsr(), directed=False)
    sizes = np.bincount(np.bincount(component[labelled]))
    sizes[0] = 0
    rng = np.random.default_rng([1304, seed])
    places = np.nonzero(among)[0]
    times = int(max(20, min(placements, MOST_NULL_BONDS // max(1, len(i)))))
    null = np.empty(times)
    for k in range(times):
        mask = np.zeros(total, dtype=bool)
        mask[rng.choice(places, n, replace=False)] = True
        null[k] = _bonded_share(i, j, mask)
    mean, deviation = float(null.mean()), float(null.std())
    z = (share - mean) / deviation if deviation > 0 else 0.0
    p = float(((null >= share).sum() + 1) / (times + 1))
    return Clustering(label, n, tuple(int(x) for x in sizes), share, mean, deviation, float(z), p, len(sizes) - 1)


def _bonded_share(i: np.ndarray, j: np.ndarray, mask: np.ndarray) -> float:
    inner = mask[i] & mask[j]
    touched = np.zeros(len(mask), dtype=bool)
    touched[i[inner]] = True
    return float(touched.sum() / mask.sum())
