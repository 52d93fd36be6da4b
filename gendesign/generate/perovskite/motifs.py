"""The metal halide of a perovskite in other shapes: chains of octahedra that share edges or faces, and single units."""

from dataclasses import dataclass

import numpy as np

SHORTER = 0.93  # of the distances in an octahedron: those to a metal with three or four halides only
HALF = 0.6175  # of the bond: half the distance of metals across a face, which they stretch as they repel each other
EDGES = np.array([[1, 1, 0], [1, -1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)  # octahedra that share edges along x


@dataclass(frozen=True)
class Motif:
    """metals (m, 3), halides (h, 3) in Angstrom, the middle at the origin; lattice (1, 3) of a chain along x, (0, 3) of
    a unit."""

    name: str
    metals: np.ndarray
    halides: np.ndarray
    lattice: np.ndarray

    def repeated(self, times: int) -> "Motif":
        """The same chain with `times` as long a period."""
        shifts = np.arange(times)[:, None, None] * self.lattice
        metals, halides = ((part + shifts).reshape(-1, 3) for part in (self.metals, self.halides))
        return Motif(self.name, metals, halides, times * self.lattice)


def motifs(layered: bool, bond: float) -> tuple[Motif, ...]:
    """Shapes of MX4 (layered) or MX3 with metal-halide distances `bond` (Angstrom).

    MX4: a chain of octahedra that share opposite edges; units, tetrahedra and seesaws (an octahedron without two
    neighbouring corners, as lone pairs like it). MX3: a chain that shares faces, as in hexagonal perovskites, and one
    of pairs that share edges, as in NH4CdCl3 and yellow CsPbI3; units, pyramids as in CsSnCl3.
    """
    none, short = np.zeros((0, 3)), SHORTER * bond
    if layered:
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
        bent = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 1, 0]])
        return (
            _edge_sharing("edge-sharing chain", np.zeros((1, 3)), bond),
            Motif("tetrahedra", np.zeros((1, 3)), short * corners, none),
            Motif("seesaws", np.zeros((1, 3)), short * bent, none),
        )
    return (
        _face_sharing(bond),
        _edge_sharing("edge-sharing double chain", np.array([np.zeros(3), bond * (EDGES[0] + EDGES[2])]), bond),
        Motif("pyramids", np.zeros((1, 3)), short * np.eye(3), none),
    )


def _edge_sharing(name: str, metals: np.ndarray, bond: float) -> Motif:
    """Octahedra about these metals, repeated along x so that each shares two edges with its own images."""
    period = np.array([np.sqrt(2) * bond, 0, 0])
    halides: list[np.ndarray] = []
    for corner in (metals[:, None] + bond * np.concatenate([EDGES, -EDGES])).reshape(-1, 3):
        apart = corner - np.array(halides).reshape(-1, 3)
        apart -= np.round(apart @ period / (period @ period))[:, None] * period
        if not (np.linalg.norm(apart, axis=1) < 0.1 * bond).any():
            halides.append(corner)
    middle = metals.mean(axis=0)
    return Motif(name, metals - middle, np.array(halides) - middle, period[None])


def _face_sharing(bond: float) -> Motif:
    """Two octahedra, one the mirror image of the other across the face they share."""
    half = HALF * bond
    rings = []
    for turn, x in ((0.0, half), (np.pi, -half)):
        angles = turn + np.radians([0, 120, 240])
        side = np.sqrt(bond**2 - half**2)
        rings.append(np.stack([np.full(3, x), side * np.cos(angles), side * np.sin(angles)], axis=1))
    metals = np.array([[0, 0, 0], [2 * half, 0, 0]])
    return Motif("face-sharing chain", metals, np.concatenate(rings), np.array([[4 * half, 0, 0]]))
