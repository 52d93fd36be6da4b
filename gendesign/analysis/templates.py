"""Crystalline order: which atoms have the neighbourhood of cubic or hexagonal diamond.

Second neighbours decide (Maras et al., Comput. Phys. Commun. 205, 13 (2016)): an atom with four neighbours of four
neighbours each has twelve second neighbours; those of cubic diamond form an fcc shell, those of hexagonal diamond an
hcp shell, by common-neighbour analysis. In silica the silicon network is searched.
"""

import importlib.util
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gendesign.analysis.neighbours import heights
from gendesign.analysis.network import Network
from gendesign.errors import UserError

CUTOFF = (1 + np.sqrt(2)) / 2  # in units of the distance of second neighbours: between the shells of fcc
CHUNK = 20_000  # nodes at once
OTHER, CUBIC, HEXAGONAL, NEAR_CUBIC, NEAR_HEXAGONAL = range(5)
CRYSTALLINE = 0.005  # share of diamond-like atoms below which a model is a continuous random network
SECOND = np.sqrt(8 / 3)  # distance of second neighbours in diamond over that of first ones
FOURFOLD = 0.5  # share of the nodes with four neighbours from which a model can be a network of this kind
POLYCRYSTALLINE = 0.15  # share above which it is polycrystalline (Rosset, Drabold, Deringer 2025, by templates)


@dataclass(frozen=True)
class Crystallinity:
    """Classes of the nodes of a network (nodes,): OTHER, CUBIC, HEXAGONAL; NEAR_* are bonded to such an atom.

    fits: whether the cell is wide enough for second neighbours. fourfold: share of the nodes with four neighbours.
    """

    classes: np.ndarray
    fits: bool = True
    fourfold: float = 1.0

    @property
    def diamond(self) -> float:
        """Share of the nodes with the second neighbours of cubic or hexagonal diamond."""
        return float(((self.classes == CUBIC) | (self.classes == HEXAGONAL)).mean())

    @property
    def near(self) -> float:
        """Share of the nodes that are bonded to such a node without being one."""
        return float(((self.classes == NEAR_CUBIC) | (self.classes == NEAR_HEXAGONAL)).mean())

    @property
    def kind(self) -> str:
        """The kind of a model by its share: continuous random network, paracrystalline or polycrystalline."""
        if not self.fits:
            return "not decided, since the cell is narrower than two distances of second neighbours"
        if self.fourfold < FOURFOLD:
            return "not decided, since few nodes have four neighbours"
        if self.diamond < CRYSTALLINE:
            return "continuous random network, or a crystal unlike diamond"
        return "paracrystalline" if self.diamond <= POLYCRYSTALLINE else "polycrystalline or crystalline"


def identify_diamond(atoms: Atoms, network: Network) -> Crystallinity:
    """The class of every node of a network that was made without repetition."""
    n = network.roots
    classes = np.full(n, OTHER)
    degree = network.degree
    neighbours = np.zeros((n, 4), dtype=np.int64)
    four = np.nonzero(degree == 4)[0]
    neighbours[four] = network.neighbours[network.starts[four][:, None] + np.arange(4)]
    central = four[(degree[neighbours[four]] == 4).all(1)]
    cell, inverse = atoms.cell.array, np.linalg.inv(atoms.cell.array)
    place = atoms.positions[network.atoms]
    for low in range(0, len(central), CHUNK):
        nodes = central[low : low + CHUNK]
        first = neighbours[nodes]
        second = neighbours[first].reshape(len(nodes), 16)
        others = second != nodes[:, None]
        fair = others.sum(1) == 12  # each neighbour lists the node once
        nodes, second = nodes[fair], second[fair][others[fair]].reshape(-1, 12)
        apart = np.sort(second, axis=1)
        distinct = (np.diff(apart, axis=1) != 0).all(1)
        nodes, second = nodes[distinct], second[distinct]
        vector = place[second] - place[nodes][:, None]
        vector -= np.rint(vector @ inverse) @ cell
        classes[nodes] = _shell(vector)
    for kind, near in ((CUBIC, NEAR_CUBIC), (HEXAGONAL, NEAR_HEXAGONAL)):
        own = np.nonzero(classes == kind)[0]
        beside = neighbours[own].ravel()
        classes[beside[classes[beside] == OTHER]] = near
    return Crystallinity(classes, _fits(atoms, network), float((degree == 4).mean()) if n else 0.0)


def _fits(atoms: Atoms, network: Network) -> bool:
    """Whether second neighbours of the nodes lie within half the cell."""
    i = np.repeat(np.arange(network.roots), network.degree)
    inside = network.neighbours[: len(i)]
    near = inside < network.roots
    if not near.any():
        return True
    cell, place = atoms.cell.array, atoms.positions[network.atoms]
    vector = place[inside[near]] - place[i[near]]
    vector -= np.rint(vector @ np.linalg.inv(cell)) @ cell
    first = float(np.linalg.norm(vector, axis=1).mean())
    return bool(heights(cell).min() >= 2 * SECOND * first)


def _shell(vector: np.ndarray) -> np.ndarray:
    """Class (n,) of twelve second neighbours (n, 12, 3) by common-neighbour analysis."""
    if not len(vector):
        return np.empty(0, dtype=int)
    mean = np.linalg.norm(vector, axis=2).mean(1)
    between = np.linalg.norm(vector[:, :, None] - vector[:, None], axis=3)
    bonded = between < (CUTOFF * mean)[:, None, None]
    bonded[:, np.arange(12), np.arange(12)] = False
    bonded = bonded.astype(np.float32)
    common = bonded.sum(2)  # common neighbours of the centre and each of the twelve
    # within the common neighbours of each: how many bonds each of them has
    inner = np.einsum("nik,nil,nkl->nik", bonded, bonded, bonded, optimize=True)
    bonds, longest = inner.sum(2) / 2, inner.max(2)
    fair = (common == 4) & (bonds == 2)
    cubic = (fair & (longest == 1)).sum(1)  # 421
    hexagonal = (fair & (longest == 2)).sum(1)  # 422
    return np.where(cubic == 12, CUBIC, np.where((cubic == 6) & (hexagonal == 6), HEXAGONAL, OTHER))


def template_matching(atoms: Atoms, rmsd: float = 0.1) -> float:
    """Share of atoms that ovito's polyhedral template matching takes for cubic or hexagonal diamond.

    rmsd: largest deviation of a match. Raises UserError without the package ovito.
    """
    if importlib.util.find_spec("ovito") is None:
        raise UserError("templates=ovito needs the package ovito; run pip install ovito, or give templates=neighbours")
    from ovito.io.ase import ase_to_ovito
    from ovito.modifiers import PolyhedralTemplateMatchingModifier as Matching
    from ovito.pipeline import Pipeline, StaticSource

    matching = Matching(rmsd_cutoff=rmsd)
    kinds = (Matching.Type.CUBIC_DIAMOND, Matching.Type.HEX_DIAMOND)
    for kind in kinds:
        matching.structures[kind].enabled = True
    pipeline = Pipeline(source=StaticSource(data=ase_to_ovito(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell,
                                                                    pbc=True))))  # fmt: skip
    pipeline.modifiers.append(matching)
    found = np.asarray(pipeline.compute().particles["Structure Type"])
    return float(np.isin(found, [int(kind) for kind in kinds]).mean())
