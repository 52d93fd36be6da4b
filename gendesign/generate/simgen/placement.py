"""Positions of hydrogens on a skeleton whose bonds are known: ideal directions, free torsions chosen by a scan.

Where geometry leaves no choice the hydrogen goes to the ideal direction; where it leaves a rotor (CH3, OH, NH2) or an
inversion (NH), every option is scored by distances to the other atoms and the usual torsional preference.
"""

import math
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from gendesign.structure.contacts import Host

X_H = {  # Angstrom
    "C": 1.09, "N": 1.01, "O": 0.96, "S": 1.34, "F": 0.92, "Cl": 1.28, "Br": 1.41, "I": 1.61, "B": 1.19, "Si": 1.48,
}  # fmt: skip
EQUAL = 1e-6  # of costs, which are of the order of one
# Angle heavy - X - H in degrees of an sp3-like atom with one neighbour.
ANGLE = {"C": 109.5, "N": 109.0, "O": 107.0, "S": 96.0}
CONTACT = {"H": 2.2, "C": 2.4, "N": 2.3, "O": 2.2, "F": 2.2, "S": 2.6, "Cl": 2.6, "Br": 2.8, "I": 3.0}  # to hydrogen
OTHER = 2.6  # the same for elements that only hosts have
NEARBY = 5.0  # Angstrom from a molecule to the farthest atoms of a host that matter to its hydrogens
HYDROGEN_BOND = 1.7  # Angstrom: contact of a hydrogen on N or O with an acceptor
AZIMUTHS = np.radians(np.arange(0, 360, 15))
SWEEPS = 2


@dataclass
class Frame:
    """A molecule under construction: heavy atoms first, hydrogens appended as they are placed."""

    symbols: list[str]
    positions: np.ndarray
    bonds: dict[int, dict[int, int]]  # atom -> neighbour -> order, heavy atoms only
    kinds: tuple[str, ...]
    placed: dict[int, np.ndarray]  # heavy atom -> its hydrogens [h, 3]
    host: Host | None = None  # fixed atoms that hydrogens keep off

    def pi(self, atom: int) -> int:
        """Number of pi bonds the atom takes part in (nitro and azide nitrogen count as one)."""
        return 1 if "+" in self.kinds[atom] else int(self.kinds[atom][-1])

    def conjugated(self, atom: int) -> bool:
        """Whether a lone pair on the atom can delocalise into a neighbour."""
        return any(self.pi(k) and self.symbols[k] != "S" for k in self.bonds[atom])


def place(
    symbols, positions, bonds, kinds, hydrogens, known: dict[int, np.ndarray] | None = None, host: Host | None = None
) -> np.ndarray:
    """Positions [sum(hydrogens), 3] in Angstrom, in the order of their heavy atoms.

    symbols and kinds per heavy atom, positions [atoms, 3], bonds (i, j, order), hydrogens per heavy atom; `known`
    ones, atom -> [h, 3], stay where they are. Hydrogens keep off the atoms of `host`.
    """
    frame = _frame(symbols, positions, bonds, kinds, host)
    frame.placed.update({atom: x for atom, x in (known or {}).items() if len(x)})
    waiting = []
    for atom, count in enumerate(hydrogens):
        if count and atom not in frame.placed:
            options = _options(frame, atom, count)
            if len(options) == 1:
                frame.placed[atom] = options[0]
            else:
                waiting.append(atom)
    waiting.sort(key=lambda a: (frame.pi(a) == 0, hydrogens[a] == 1, a))  # polar hydrogens settle last
    for _ in range(1 + SWEEPS):
        for atom in waiting:
            frame.placed.pop(atom, None)
            frame.placed[atom] = _best(frame, atom, hydrogens[atom])
    parts = [frame.placed[a] for a in sorted(frame.placed)]
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def place_at(
    symbols,
    positions,
    bonds,
    kinds,
    placed: dict[int, np.ndarray],
    atom: int,
    count: int,
    host: Host | None = None,
) -> np.ndarray:
    """Positions [count, 3] of the hydrogens of one atom, where all others have theirs: `placed`, atom -> [h, 3]."""
    frame = _frame(symbols, positions, bonds, kinds, host)
    frame.placed.update({a: x for a, x in placed.items() if len(x) and a != atom})
    return _best(frame, atom, count) if count else np.zeros((0, 3))


def _frame(symbols, positions, bonds, kinds, host: Host | None) -> Frame:
    neighbours: dict[int, dict[int, int]] = {a: {} for a in range(len(symbols))}
    for i, j, order in bonds:
        neighbours[i][j] = neighbours[j][i] = order
    x = np.asarray(positions, float)
    return Frame(list(symbols), x, neighbours, tuple(kinds), {}, None if host is None else host.near(x, NEARBY))


def _best(frame: Frame, atom: int, count: int) -> np.ndarray:
    options = _options(frame, atom, count)
    if len(options) == 1:
        return options[0]
    cost = _cost(frame, atom, options)
    # The first of equally good options: three hydrogens turned by a third only swap names; rounding must not choose.
    return options[int(np.argmax(cost <= cost.min() + EQUAL))]


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(math.sqrt(v @ v), 1e-9)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two vectors (3,); NumPy's own prepares for every shape and takes twenty times as long."""
    (x, y, z), (u, v, w) = a.tolist(), b.tolist()
    return np.array([y * w - z * v, z * u - x * w, x * v - y * u])


def _perpendicular(axis: np.ndarray, preferred: np.ndarray | None = None) -> np.ndarray:
    """The unit vector normal to `axis` that is nearest to the `preferred` direction."""
    for v in (preferred, *np.eye(3)[np.argsort(np.abs(axis))]):
        if v is not None:
            normal = v - axis * (v @ axis)
            if normal @ normal > 0.04 * (v @ v):
                return _unit(normal)
    return np.eye(3)[0]


def _options(frame: Frame, atom: int, count: int) -> np.ndarray:
    """Every geometrically sensible placement of the atom's hydrogens [options, count, 3]."""
    symbol, ends = frame.symbols[atom], list(frame.bonds[atom])
    towards = [_unit(frame.positions[k] - frame.positions[atom]) for k in ends]
    if not ends:
        directions = _alone(symbol, count)
    elif len(ends) == 1:
        directions = _around_axis(frame, atom, ends[0], towards[0], count)
    elif len(ends) == 2:
        directions = _on_bend(frame, atom, towards, count)
    else:
        # The normal makes equal angles with all three bonds, in three-membered rings too.
        normal = _unit(_cross(towards[1] - towards[0], towards[2] - towards[0]))
        above = float(np.dot(normal, sum(towards[:3])))
        sides = (1, -1) if abs(above) < 0.2 else (-math.copysign(1, above),)
        directions = np.array([[side * normal] for side in sides])
    return frame.positions[atom] + X_H[symbol] * directions


def _alone(symbol: str, count: int) -> np.ndarray:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / math.sqrt(3)
    return corners[:count][None]


def _on_bend(frame: Frame, atom: int, towards: list[np.ndarray], count: int) -> np.ndarray:
    total = towards[0] + towards[1]
    back = -_unit(total) if np.linalg.norm(total) > 0.1 else _perpendicular(towards[0])
    normal = _perpendicular(back, _cross(*towards))
    if count == 2:
        bend = math.degrees(math.acos(np.clip(np.dot(*towards), -1, 1)))
        half = math.radians(np.clip(54.0 + 0.06 * (109.5 - bend), 52.0, 58.0))  # small rings open H-C-H
        return np.array([[back * math.cos(half) + s * normal * math.sin(half) for s in (1, -1)]])
    if frame.pi(atom) or frame.symbols[atom] == "B" or (frame.symbols[atom] == "N" and frame.conjugated(atom)):
        return back[None, None]
    half = math.radians(55.0)
    return np.array([[back * math.cos(half) + s * normal * math.sin(half)] for s in (1, -1)])


def _reference(frame: Frame, atom: int, end: int) -> tuple[np.ndarray | None, bool]:
    """Direction to a substituent beyond `end`, walking along linear atoms, and whether a cumulene turns it by 90."""
    turned, before = False, atom
    while True:
        further = [k for k in frame.bonds[end] if k != before]
        if len(further) == 1 and frame.pi(end) == 2:
            turned = turned != (frame.bonds[end][before] == 2)
            before, end = end, further[0]
            continue
        tips = [frame.positions[k] for k in further] + list(frame.placed.get(end, ()))
        return (tips[0] - frame.positions[end] if tips else None), turned


def _around_axis(frame: Frame, atom: int, end: int, towards: np.ndarray, count: int) -> np.ndarray:
    """Directions about the bond to the only neighbour; azimuth 0 is cis to one of the neighbour's substituents."""
    symbol, pi = frame.symbols[atom], frame.pi(atom)
    if pi == 2:
        return -towards[None, None]
    substituent, turned = _reference(frame, atom, end)
    x = _perpendicular(towards, substituent)
    y = _cross(towards, x)
    planar = pi == 1 or symbol == "B" or (symbol == "N" and frame.conjugated(atom))
    azimuths = AZIMUTHS
    if planar and substituent is not None:
        azimuths = np.radians([90.0, 270.0] if turned and pi else [0.0, 180.0])
    if planar:
        tilt, turns = math.radians(120.0 if symbol in "CB" or count == 2 else 111.0), [0.0, 180.0]
    else:
        tilt, turns = math.radians(ANGLE.get(symbol, 109.5)), [0.0, 120.0, 240.0]
    phi = azimuths[:, None] + np.radians(turns[:count])[None]
    radial = np.cos(phi)[..., None] * x + np.sin(phi)[..., None] * y
    return math.cos(tilt) * towards + math.sin(tilt) * radial


def _cost(frame: Frame, atom: int, options: np.ndarray) -> np.ndarray:
    """Repulsion from all atoms not on the same centre, pull of acceptors, torsional preference [options]."""
    symbols, positions, polar = _surroundings(frame, atom)
    cost = np.zeros(len(options))
    if symbols:
        donor = frame.symbols[atom] in "NO"
        contact = np.array([CONTACT.get(s, OTHER) for s in symbols])
        pull = np.zeros(len(symbols))
        if donor:
            acceptor = np.array([s in ("N", "O", "F") for s in symbols])
            contact = np.where(acceptor, HYDROGEN_BOND, contact)
            pull = 8.0 * acceptor - 6.0 * polar
        d = np.maximum(np.linalg.norm(options[:, :, None] - positions[None, None], axis=-1), 0.3)
        cost += ((contact / d) ** 12 - pull / d).sum((1, 2))
    if len(frame.bonds[atom]) == 1:
        cost += _torsion(frame, atom, next(iter(frame.bonds[atom])), options)
    return cost


def _surroundings(frame: Frame, atom: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Symbols, positions and polarity (hydrogen on N or O) of all atoms except the centre and its neighbours, those
    of the host included."""
    near = {atom, *frame.bonds[atom]}
    far = [k for k in range(len(frame.symbols)) if k not in near]
    hydrogens = [(x, frame.symbols[k] in "NO") for k, rows in frame.placed.items() if k != atom for x in rows]
    positions = [frame.positions[k] for k in far] + [x for x, _ in hydrogens]
    polar = np.array([False] * len(far) + [p for _, p in hydrogens], bool)
    x, symbols = np.array(positions).reshape(-1, 3), [frame.symbols[k] for k in far] + ["H"] * len(hydrogens)
    if frame.host is not None:
        x = np.concatenate([x, frame.host.positions])
        symbols += [chemical_symbols[z] for z in frame.host.numbers]
        polar = np.concatenate([polar, frame.host.polar])
    return symbols, x, polar


def _torsion(frame: Frame, atom: int, end: int, options: np.ndarray) -> np.ndarray:
    """Staggered to single bonds, eclipsed with double bonds; OH and NH in the plane of an unsaturated neighbour."""
    tips = [(frame.positions[k], frame.bonds[end][k] > 1) for k in frame.bonds[end] if k != atom]
    tips += [(x, False) for x in frame.placed.get(end, ())]
    axis = _unit(frame.positions[end] - frame.positions[atom])
    out = np.zeros(len(options))
    in_plane = frame.pi(end) == 1 and frame.symbols[atom] in "NOS"
    for tip, double in tips:
        x = _perpendicular(axis, tip - frame.positions[end])
        arms = options - frame.positions[atom]
        phi = np.arctan2(arms @ _cross(axis, x), arms @ x)
        if in_plane:
            out += (2.0 * np.sin(phi) ** 2).sum(1)
        else:
            out += (0.3 * (1 + (-1 if double else 1) * np.cos(3 * phi))).sum(1)
    return out
