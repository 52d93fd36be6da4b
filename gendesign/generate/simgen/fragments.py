"""Fragments that a molecule grows on or that it links: fixed atoms, and where the new ones join them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from rdkit import Chem
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.simgen.prior import fade, strength
from gendesign.generate.simgen.skeleton import VALENCE, FixedAtoms
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.bonds import perceive
from gendesign.structure.counter_random import normal
from gendesign.structure.files import read_structures
from gendesign.structure.superposition import aligned_rmsd

BOND = 1.5  # Angstrom from an attachment to the first new atom
WALL = {1: 1.95, 0: 2.15}  # Angstrom that new atoms keep from hydrogens and from heavy atoms of the fragments
STIFFNESS = 20.0  # per Angstrom within the walls, as of the repulsion between free atoms
HOLD = 4.0  # per Angstrom: the first new atom at each attachment
STEP = 1.27  # Angstrom that one more atom carries a chain further
SLACK = 0.15  # Angstrom by which fragments may be drawn together
OVERLAP = 1.0  # Angstrom: nearer atoms of two fragments overlap


@dataclass(frozen=True)
class Fragments:
    """Fragments, one hydrogenated structure each, in place, and the hydrogens that new atoms replace.

    `source` is a file or the structures themselves; `attachments` counts all their atoms from 0; of a heavy atom, its
    first hydrogen is replaced. One fragment grows at each of its attachments; several are linked, each by at least one.
    Raises UserError for fragments that overlap, that are no molecules, and for attachments without hydrogen.

    `molecules`: with their hydrogens, bonds perceived from the coordinates. `fixed`: what the bond search must find
    again. `anchors` (attachments, 3): where the first new atom at each attachment belongs, in Angstrom.
    """

    source: str | Sequence[Atoms]
    attachments: Sequence[int]
    molecules: list[Chem.Mol] = field(init=False, repr=False, compare=False)
    fixed: FixedAtoms = field(init=False, repr=False, compare=False)
    anchors: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "molecules", self._read())
        fixed, anchors = self._attached()
        object.__setattr__(self, "fixed", fixed)
        object.__setattr__(self, "anchors", anchors)

    @property
    def path(self) -> str:
        """What messages call the source."""
        return self.source if isinstance(self.source, str) else "fragments"

    @property
    def walls(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (atoms, 3) that new atoms keep off, and how far (atoms,)."""
        hydrogens = [x for rows in self.fixed.hydrogen_positions for x in rows]
        positions = np.array([*self.fixed.positions, *hydrogens])
        return positions, np.array([WALL[0]] * len(self.fixed) + [WALL[1]] * len(hydrogens))

    @property
    def unsaturation(self) -> float:
        """Rings plus pi bonds of all fragments."""
        return float(sum(1 + sum(_valence(a) - 2 for a in mol.GetAtoms()) / 2 for mol in self.molecules))

    def sizes(self) -> tuple[int, int]:
        """Fewest and most new atoms that suit: a little more than a straight chain between the anchors of several
        fragments; 3 to 8 on one, or more where it has many attachments."""
        if len(self.molecules) == 1:
            n = len(self.anchors)
            return max(3, n), max(8, n + 5)
        distance = np.linalg.norm(self.anchors[:, None] - self.anchors[None], axis=-1)
        # more than two are joined by a star from the middle; too short a chain pulls at the fragments, a long one bends
        steps = (float(distance.max()) - SLACK) * (len(distance) / 2) / STEP
        straight = 1 + max(0, math.ceil(steps))
        return straight, straight + 2

    def _read(self) -> list[Chem.Mol]:
        if isinstance(self.source, str):
            structures = [c.atoms for c in read_structures([self.source])]
        else:
            structures = list(self.source)
        molecules = []
        for number, atoms in enumerate(structures, start=1):
            perceived = perceive(Atoms(atoms.numbers, atoms.positions))
            if perceived.mol is None:
                raise UserError(
                    f"{self.path}, structure {number} is no molecule: {perceived.reason}; "
                    "give each fragment with all its hydrogens, those to be replaced too"
                )
            Chem.Kekulize(perceived.mol, clearAromaticFlags=True)
            molecules.append(perceived.mol)
        return molecules

    def _attached(self) -> tuple[FixedAtoms, np.ndarray]:
        """The atoms that stay, and the anchors (attachments, 3) of the new ones."""
        numbers: list[int] = []
        positions: list[np.ndarray] = []
        kept: list[np.ndarray] = []  # positions of the hydrogens that each heavy atom keeps
        replaced: list[tuple[int, np.ndarray]] = []  # heavy atom of all fragments, position of the hydrogen
        orders: dict[tuple[int, int], int] = {}
        offset = 0
        for mol in self.molecules:
            x = mol.GetConformer().GetPositions()
            heavy = [a for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
            place = {a.GetIdx(): len(numbers) + k for k, a in enumerate(heavy)}
            for atom in heavy:
                hydrogens = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]
                chosen = self._replaced(atom, hydrogens, offset)
                numbers.append(atom.GetAtomicNum())
                positions.append(x[atom.GetIdx()])
                kept.append(x[[h for h in hydrogens if h not in chosen]])
                replaced += [(place[atom.GetIdx()], x[h]) for h in chosen]
            orders.update(_orders(mol, place))
            offset += mol.GetNumAtoms()
        heavy_positions = np.array(positions)
        self._refuse(offset, len(replaced), numbers, heavy_positions)
        centres = heavy_positions[[i for i, _ in replaced]]
        directions = np.array([hydrogen for _, hydrogen in replaced]) - centres
        anchors = centres + BOND * directions / np.linalg.norm(directions, axis=1)[:, None]
        open_bonds = np.bincount([i for i, _ in replaced], minlength=len(numbers))
        fixed = FixedAtoms(np.array(numbers), heavy_positions, orders, tuple(open_bonds.tolist()), tuple(kept))
        return fixed, anchors

    def _replaced(self, atom: Chem.Atom, hydrogens: Sequence[int], offset: int) -> list[int]:
        """Which `hydrogens` of an atom the attachments name; those before this fragment number `offset` atoms."""
        chosen = [h for h in hydrogens if offset + h in self.attachments]
        if offset + atom.GetIdx() in self.attachments:
            remaining = [h for h in hydrogens if h not in chosen]
            if not remaining:
                raise UserError(
                    f"attachment {offset + atom.GetIdx()} ({atom.GetSymbol()}) of {self.path} has no hydrogen "
                    f"to replace; choose from {self._choices()}"
                )
            chosen.append(remaining[0])
        return chosen

    def _refuse(self, n_atoms: int, n_replaced: int, numbers: list[int], positions: np.ndarray) -> None:
        if outside := [a for a in self.attachments if not 0 <= a < n_atoms]:
            raise UserError(f"attachment {outside[0]} is beyond the {n_atoms} atoms of {self.path}; count from 0")
        if n_replaced < len(set(self.attachments)) or not self.attachments:
            raise UserError(
                f"attachments={list(self.attachments)} of {self.path}: give the hydrogens to replace, or the atoms "
                f"that bear them, from {self._choices()}"
            )
        if unknown := {Chem.GetPeriodicTable().GetElementSymbol(z) for z in numbers} - set(VALENCE):
            raise UserError(
                f"{self.path} holds {', '.join(sorted(unknown))}; fragments are made of {' '.join(VALENCE)}"
            )
        owner = np.repeat(range(len(self.molecules)), [m.GetNumHeavyAtoms() for m in self.molecules])
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        distance[owner[:, None] == owner[None]] = np.inf
        if len(self.molecules) > 1 and distance.min() < OVERLAP:
            raise UserError(
                f"fragments of {self.path} overlap: two atoms are {distance.min():.2f} Angstrom apart; move them apart"
            )
        stops = np.cumsum([m.GetNumAtoms() for m in self.molecules]).tolist()
        for number, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True), start=1):
            if not any(start <= attachment < stop for attachment in self.attachments):
                raise UserError(f"{self.path}: fragment {number} has no attachment; give one hydrogen of each fragment")

    def _choices(self) -> str:
        """The hydrogens that can be replaced, in words."""
        offset, choices = 0, []
        for mol in self.molecules:
            for atom in mol.GetAtoms():
                hydrogens = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]
                if atom.GetAtomicNum() > 1 and hydrogens:
                    numbers = ", ".join(str(offset + h) for h in hydrogens)
                    choices.append(f"{numbers} (on {atom.GetSymbol()} {offset + atom.GetIdx()})")
            offset += mol.GetNumAtoms()
        return "; ".join(choices[:12])


def _orders(mol: Chem.Mol, place: Mapping[int, int]) -> dict[tuple[int, int], int]:
    """Orders of the bonds between heavy atoms, by their places among those of all fragments."""
    orders = {}
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        if all(a.GetIdx() in place for a in ends):
            charged = {a.GetFormalCharge() for a in ends} == {1, -1}  # written pentavalent in the bond search
            i, j = sorted(place[a.GetIdx()] for a in ends)
            orders[i, j] = int(bond.GetBondTypeAsDouble()) + charged
    return orders


def _valence(atom: Chem.Atom) -> int:
    return VALENCE.get(atom.GetSymbol(), 1)


@dataclass(frozen=True)
class Joining:
    """The prior of atoms that grow on fragments or link them; a score of the sampler.

    The first new atoms are held at the anchors, one each. The others are drawn to the path between the anchors, or,
    where one fragment grows, to a ball that touches its anchor. `walls` (atoms, 3) are positions that new atoms keep
    off by `reach` (atoms,), in Angstrom. `walls` (atoms, 3) are positions that new atoms keep
    off by `reach` (atoms,), in Angstrom.
    """

    anchors: Tensor
    walls: Tensor
    reach: Tensor
    linking: bool

    @classmethod
    def of(cls, fragments: Fragments) -> "Joining":
        """The prior for these fragments."""
        walls, reach = fragments.walls
        return cls(
            torch.tensor(fragments.anchors), torch.tensor(walls), torch.tensor(reach), len(fragments.molecules) > 1
        )

    def goals(self, swarm: Swarm) -> tuple[Tensor, Tensor]:
        """Where every atom is drawn to (atoms, 3), and whether it is held there: the first at each anchor."""
        anchors = self.anchors.to(swarm.positions)
        rank = swarm.slot - swarm.n_fixed  # among the new atoms
        count = (swarm.sizes - swarm.n_fixed)[swarm.molecule]
        held = (rank >= 0) & (rank < len(anchors))
        centre = anchors.mean(0)
        anchor = anchors[rank.clamp_min(0) % len(anchors)]
        if not self.linking:
            # a ball of that many atoms beyond the anchor, away from the fragments
            walls = self.walls.to(anchor)
            outwards = anchor - walls[torch.cdist(anchor, walls).argmin(-1)]
            outwards = outwards / outwards.norm(dim=-1, keepdim=True).clamp_min(1e-6)
            radius = 0.9 * (count / len(anchors)).to(anchor)[:, None].sqrt()
            return torch.where(held[:, None], anchor, anchor + outwards * radius), held
        # further atoms are spread evenly between their anchor and the middle
        further = ((count - len(anchors)) / len(anchors)).clamp_min(0).to(anchor)
        step = (rank // len(anchors)).to(anchor)
        along = (step / (further + 1.0)).clamp(0, 1)[:, None]
        few = (count < len(anchors))[:, None]  # one atom between two anchors stands in the middle
        return torch.where(few, centre, anchor + along * (centre - anchor)), held

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3); the particles of a molecule share theirs, fixed atoms stay."""
        goal, held = self.goals(swarm)
        width = torch.where(held, 0.2, scale * (1.0 if self.linking else 1.6))[:, None]
        blur = width * swarm.of_slots(normal(swarm.slot_keys, Purpose.START_POSITIONS, 3))
        return torch.where(swarm.free[:, None], goal + blur, swarm.positions)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        goal, held = self.goals(swarm)
        new = (swarm.sizes - swarm.n_fixed)[swarm.molecule]
        weak = strength(new) * fade(sigma)
        pull = torch.where(held, HOLD, weak)[:, None] * (goal - swarm.positions)
        apart = swarm.positions[:, None] - self.walls.to(goal)[None]
        r = apart.norm(dim=-1).clamp_min(1e-6)
        inside = (self.reach.to(goal)[None] - r).clamp_min(0) * ~held[:, None]
        return pull + STIFFNESS * (inside / r)[..., None].mul(apart).sum(1)


def displacement(atoms: Atoms, fixed: FixedAtoms) -> float:
    """RMSD (Angstrom) of the fragments' heavy atoms, the first of `atoms`, from where they are fixed, superposed."""
    return aligned_rmsd(atoms.positions[: len(fixed)], fixed.positions)
