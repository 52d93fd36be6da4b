"""Molecules drawn as parts: which blocks and single atoms one is assembled from, and how they keep together and apart.

The parts of a molecule are those of one reference of about its size, each block replaced by one of the same number of
atoms from any reference. The sampler moves blocks as rigid bodies: after every step the atoms of a block are replaced
by its geometry, superposed on them (Kabsch, Acta Cryst. A 32, 922, 1976).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from gendesign.generate.simgen.blocks import GEMINAL, KINDS, Block, Parts
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import uniform

NEAR_IN_SIZE = 2  # heavy atoms by which a reference may differ from the molecule it lends its parts to
FEWEST = 20  # references to draw from, also where few have the right size
RARE = 0.002  # share of the bonds between parts below which a pair of elements is not joined
CONTACT = 2.25  # Angstrom that atoms of two parts keep unless they are bonded; less than any 1,3 distance
FARTHER = 3.0  # times the pull of `Cohesion`: parts come from farther away than single atoms
STIFFNESS = 10.0  # per Angstrom: half of that between free atoms, as more atoms act on each


@dataclass(frozen=True)
class Layout:
    """Parts of molecules, slot by slot (molecules, largest): atomic numbers (0: no atom), the number of the part, which
    atoms belong to blocks, open places of these, how many heteroatoms each atom may be joined to, kinds of the
    atoms of blocks, and their positions (molecules, largest, 3) within the block.

    references (molecules,): whose parts were drawn. unsaturation (molecules,): rings plus pi bonds to expect.
    `blocks`: of each molecule the first slot and the block, for each of its blocks.
    """

    numbers: Tensor
    part: Tensor
    rigid: Tensor
    open: Tensor
    hetero: Tensor
    kinds: Tensor
    template: Tensor
    references: Tensor
    unsaturation: Tensor
    blocks: tuple[tuple[tuple[int, Block], ...], ...]


@dataclass(frozen=True)
class Assembly:
    """Draws layouts from the `parts` of references; `weights` (references,) say how often each is drawn.

    joins (kinds, kinds): which kinds of atoms (blocks.py) may be bonded between parts.
    """

    parts: Sequence[Parts]
    weights: Sequence[float]
    blocks: dict[tuple[bool, int], list[Block]]
    singles: np.ndarray
    joins: Tensor

    @classmethod
    def of(cls, parts: Sequence[Parts], weights: Sequence[float], own: Sequence[Parts] = ()) -> "Assembly":
        """From the parts of all references, with blocks from `own` in place of theirs."""
        blocks: dict[tuple[bool, int], list[Block]] = {}
        for block in (block for whole in own or parts for block in whole.blocks):
            blocks.setdefault((block.ring, len(block)), []).append(block)
        singles = np.array([z for whole in parts for z in whole.singles] or [6])
        counts = torch.zeros(KINDS, KINDS)
        for i, j in (bond for whole in (*parts, *own) for bond in whole.bonds):
            counts[i, j] += 1
            counts[j, i] += 1
        joins = counts >= max(1.0, RARE * float(counts.sum()) / 2)
        if own:  # blocks that came without their bonds, such as a file of rings, may take any
            joins |= _of_new_kinds(counts, own)
        return cls(parts, weights, blocks, singles, joins)

    def drawn(self, key: Tensor, sizes: Tensor) -> Layout:
        """Parts for molecules of `sizes` (molecules,) atoms from their random keys (molecules,)."""
        most = int(sizes.max())
        longest = max(map(len, self.parts))  # of all its parts each may be drawn, removed and placed
        draws = uniform(key, Purpose.PARTS, 4 * most + 3 * longest + 8).cpu().numpy()
        rows = [self._molecule(int(n), iter(u)) for n, u in zip(sizes.tolist(), draws, strict=True)]
        return _padded([row[0] for row in rows], rows, most, key.device)

    def _molecule(self, n: int, u) -> tuple[list[Block | int], int, float]:
        """Parts in random order, the reference, the unsaturation."""
        lengths = np.array([len(whole) for whole in self.parts])
        near = np.flatnonzero(np.abs(lengths - n) <= NEAR_IN_SIZE)
        if len(near) < FEWEST:
            near = np.argsort(np.abs(lengths - n), kind="stable")[:FEWEST]
        weights = np.cumsum(np.asarray(self.weights, float)[near])
        reference = int(near[min(int(np.searchsorted(weights / weights[-1], next(u))), len(near) - 1)])
        whole = self.parts[reference]
        blocks = [self._alike(block, next(u)) for block in whole.blocks]
        blocks.sort(key=len, reverse=True)
        while sum(map(len, blocks)) > n:
            blocks.pop()
        singles = list(whole.singles)
        while sum(map(len, blocks)) + len(singles) > n:
            singles.pop(int(next(u) * len(singles)))
        while sum(map(len, blocks)) + len(singles) < n:
            singles.append(int(self.singles[int(next(u) * len(self.singles))]))
        everything: list[Block | int] = [*blocks, *singles]
        order = np.argsort([next(u) for _ in everything], kind="stable")
        return [everything[k] for k in order], reference, whole.unsaturation * n / len(whole)

    def _alike(self, block: Block, u: float) -> Block:
        """A ring system for a ring system, a group for a group, of the nearest number of atoms that there is."""
        sizes = [(abs(n - len(block)), n) for ring, n in self.blocks if ring == block.ring]
        if not sizes:
            return block
        pool = self.blocks[block.ring, min(sizes)[1]]
        return pool[int(u * len(pool))]


def _padded(molecules: Sequence[Sequence[Block | int]], rows: Sequence, most: int, device: torch.device) -> Layout:
    count = len(molecules)
    numbers, part = torch.zeros(count, most, dtype=torch.long), torch.zeros(count, most, dtype=torch.long)
    rigid, places = torch.zeros(count, most, dtype=torch.bool), torch.zeros(count, most, dtype=torch.long)
    hetero, kinds = torch.full((count, most), GEMINAL), torch.zeros(count, most, dtype=torch.long)
    template = torch.zeros(count, most, 3, dtype=torch.float64)
    starts: list[list[tuple[int, Block]]] = [[] for _ in molecules]
    for m, molecule in enumerate(molecules):
        slot = 0
        for number, item in enumerate(molecule):
            n = len(item) if isinstance(item, Block) else 1
            here = slice(slot, slot + n)
            part[m, here] = number
            if isinstance(item, Block):
                starts[m].append((slot, item))
                numbers[m, here], rigid[m, here] = torch.as_tensor(item.numbers), True
                hetero[m, here], kinds[m, here] = torch.as_tensor(item.hetero), torch.as_tensor(item.kinds)
                places[m, here], template[m, here] = torch.as_tensor(item.open), torch.as_tensor(item.positions)
            else:
                numbers[m, here] = item
            slot += n
    unsaturation = torch.tensor([row[2] for row in rows], dtype=torch.float64)
    references = torch.tensor([row[1] for row in rows])
    tensors = [t.to(device) for t in (numbers, part, rigid, places, hetero, kinds, template, references, unsaturation)]
    return Layout(*tensors, tuple(map(tuple, starts)))


def _of_new_kinds(counts: Tensor, own: Sequence[Parts]) -> Tensor:
    """Pairs (kinds, kinds) of a kind that no reference joins, but a block of `own` has, with carbon."""
    kinds = {int(k) for whole in own for block in whole.blocks for k in block.kinds}
    pairs = torch.zeros_like(counts, dtype=torch.bool)
    for kind in kinds:
        if not counts[kind].any():
            pairs[kind, 6] = pairs[6, kind] = True
    return pairs


@dataclass(frozen=True)
class RigidBlocks:
    """The constraint that blocks keep their geometry: atoms (blocks, largest) of a swarm, -1 where a block has fewer;
    template (blocks, largest, 3) about the mean."""

    atoms: Tensor
    template: Tensor

    @classmethod
    def of(cls, swarm: Swarm, layout: Layout) -> "RigidBlocks":
        """For all particles of `swarm`, whose molecules are laid out as `layout`, family by family."""
        families = swarm.n_molecules // len(layout.numbers)
        molecule = swarm.molecule // families
        rows = layout.rigid[molecule, swarm.slot].nonzero()[:, 0]
        block = swarm.system[rows] * swarm.largest + layout.part[molecule, swarm.slot][rows]
        _, which, count = block.unique(return_inverse=True, return_counts=True)
        order = torch.argsort(which, stable=True)
        first = torch.cumsum(count, 0) - count
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device) - first[which[order]]
        largest = int(count.max()) if len(count) else 1
        atoms = torch.full((len(count), largest), -1, device=rows.device)
        atoms[which, place] = rows
        template = swarm.positions.new_zeros(len(count), largest, 3)
        template[which, place] = layout.template[molecule, swarm.slot][rows].to(template)
        return cls(atoms, template)

    def __call__(self, swarm: Swarm) -> Swarm:
        """The swarm with every block superposed on its atoms."""
        if not len(self.atoms):
            return swarm
        present = (self.atoms >= 0)[..., None]
        x = torch.where(present, swarm.positions[self.atoms.clamp_min(0)], 0.0)
        mean = x.sum(1, keepdim=True) / present.sum(1, keepdim=True)
        about = torch.where(present, x - mean, 0.0)
        u, _, vt = torch.linalg.svd(self.template.transpose(1, 2) @ about)
        flip = torch.ones(len(u), 3, dtype=u.dtype, device=u.device)
        flip[:, 2] = torch.linalg.det(u @ vt).sign()
        moved = self.template @ (u * flip[:, None]) @ vt + mean
        rows = self.atoms[present[..., 0]]
        return swarm.at(swarm.positions.index_put((rows,), moved[present[..., 0]]))


@dataclass(frozen=True)
class Joints:
    """The repulsion that leaves each atom its open places and two parts at most one bond, and the pull between parts
    that are apart.

    Atoms of two parts keep CONTACT apart unless they may be bonded: they are the nearest such pair of their parts, and
    among the nearest partners of either as many as it has open places.
    """

    part: Tensor  # (systems, largest), -1: no atom
    rigid: Tensor  # (systems, largest)
    places: Tensor  # (systems, largest), of blocks
    hetero: Tensor  # (systems, largest), heteroatoms that a carbon may be joined to
    kinds: Tensor  # (systems, largest), of atoms of blocks
    cohesion: Cohesion
    joins: Tensor  # as of Assembly

    @classmethod
    def of(cls, swarm: Swarm, layout: Layout, cohesion: Cohesion, joins: Tensor) -> "Joints":
        """For all particles of `swarm`."""
        repeats = swarm.n_systems // len(layout.numbers)
        rows = torch.arange(len(layout.numbers), device=layout.part.device).repeat_interleave(repeats)
        part = torch.where(layout.numbers > 0, layout.part, -1)[rows]
        return cls(
            part,
            layout.rigid[rows],
            layout.open[rows],
            layout.hetero[rows],
            layout.kinds[rows],
            cohesion,
            joins.to(part.device),
        )

    def allowed(self, swarm: Swarm) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Distances (systems, largest, largest), which pairs belong to two parts, which of those may be bonded, and the
        open places (systems, largest)."""
        x = swarm.padded(swarm.positions)
        distance = torch.cdist(x, x)
        apart = (self.part[:, :, None] != self.part[:, None]) & (self.part[:, :, None] >= 0) & (self.part[:, None] >= 0)
        places = torch.where(self.rigid, self.places, _VALENCE.to(x.device)[swarm.padded(swarm.numbers)])
        numbers = swarm.padded(swarm.numbers)
        usable = apart & self._joinable(numbers) & (places[:, :, None] > 0) & (places[:, None] > 0)
        far = distance.masked_fill(~usable, torch.inf)
        n = x.shape[1]
        pair = self.part.clamp_min(0)[:, :, None] * n + self.part.clamp_min(0)[:, None]
        nearest = far.new_full((len(x), n * n), torch.inf)
        nearest.scatter_reduce_(1, pair.flatten(1), far.flatten(1), "amin")
        usable &= far <= torch.gather(nearest, 1, pair.flatten(1)).view_as(far)
        ranked = far.masked_fill(~usable, torch.inf)
        rank = ranked.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
        within = usable & (rank < places[:, :, None])
        other = (numbers != 6) & (numbers > 0)
        among = ranked.masked_fill(~other[:, None], torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
        limited = (numbers == 6)[:, :, None] & other[:, None]
        within &= ~limited | (among < self.hetero[:, :, None])
        return distance, apart, within & within.transpose(1, 2), places

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The repulsion (atoms, 3) at the noise level `sigma` in Angstrom."""
        distance, apart, may, places = self.allowed(swarm)
        missing = torch.where(apart & ~may, (CONTACT - distance).clamp_min(0.0), 0.0)
        weight = STIFFNESS * missing / distance.clamp_min(1e-6)
        x = swarm.padded(swarm.positions)
        force = weight.sum(-1, keepdim=True) * x - weight @ x
        if sigma <= self.cohesion.below and self.cohesion.strength > 0:
            force = force + self._pull(swarm, x, distance, apart, may, places)
        return force[swarm.system, swarm.slot]

    def _joinable(self, numbers: Tensor) -> Tensor:
        """Which pairs (systems, largest, largest) the references join."""
        kinds = torch.where(self.rigid, self.kinds, numbers)
        return self.joins[kinds[:, :, None], kinds[:, None]]

    def _pull(self, swarm: Swarm, x: Tensor, distance: Tensor, apart: Tensor, may: Tensor, places: Tensor) -> Tensor:
        bonded = may & (distance < self.cohesion.bond)
        free = places > bonded.sum(-1)
        numbers = swarm.padded(swarm.numbers)
        open_pairs = apart & free[:, :, None] & free[:, None] & self._joinable(numbers)
        same = (self.part[:, :, None] == self.part[:, None]) & (self.part[:, None] >= 0)
        return FARTHER * self.cohesion.between(x, distance.masked_fill(~open_pairs, torch.inf), bonded | same)


_VALENCE = torch.tensor([0] + [VALENCE.get(chemical_symbols[z], 0) for z in range(1, 100)])
