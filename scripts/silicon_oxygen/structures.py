"""Make the structures of `silicon-oxygen`: melts and quenches, crystals, defects, slabs, clusters and dimers.

    python -m scripts.silicon_oxygen.structures all            # every kind, resumable, one process
    python -m scripts.silicon_oxygen.structures slab 0 3       # shards 0 to 2 of a kind
Shard i of a kind depends on i alone. Writes training/silox/structures/KIND/shard-NNNNN.extxyz; label.py labels them.
`kind` in info is the class in tables of errors, `group` what is held out as a whole.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from gendesign.train.label import label_shards
from scripts.silicon_oxygen import clusters, crystals
from scripts.silicon_oxygen.melts import all_melts, snapshots

ROOT = Path("training/silox")
STRUCTURES = ROOT / "structures"
VARIANTS, PER_SHARD = 16, 10
EQUATION = np.linspace(-0.15, 0.15, 9)  # strains of edges, of the undistorted polymorphs


def melt(index: int) -> list[Atoms]:
    """One trajectory of melts.py."""
    return snapshots(all_melts()[index])


def polymorph(index: int) -> list[Atoms]:
    """Distorted copies of one polymorph, in cells of about 60 atoms."""
    name = list(crystals.POLYMORPHS)[index]
    atoms, out = crystals.enlarged(crystals.POLYMORPHS[name](), 72), []
    for k in range(VARIANTS):
        frame = crystals.distorted(atoms, np.random.default_rng([1, index, k]))
        frame.info = {"kind": f"{crystals.material(frame)} crystal", "group": f"{name}-{k}"}
        out.append(frame)
    return out


def equation(index: int) -> list[Atoms]:
    """One undistorted polymorph in small cells, compressed and stretched."""
    name, out = list(crystals.POLYMORPHS)[index], []
    for strain in EQUATION:
        frame = crystals.enlarged(crystals.POLYMORPHS[name](), 16)
        frame.set_cell(frame.cell * (1 + strain), scale_atoms=True)
        frame.info = {"kind": f"{crystals.material(frame)} equation", "group": f"{name}-equation"}
        out.append(frame)
    return out


def _several(make: Callable[[np.random.Generator], Atoms], kind: str, stream: int, index: int) -> list[Atoms]:
    out = []
    for k in range(index * PER_SHARD, (index + 1) * PER_SHARD):
        frame = make(np.random.default_rng([stream, k]))
        frame.info = {"kind": f"{crystals.material(frame)} {kind}", "group": f"{kind}-{k}"}
        out.append(frame)
    return out


def cluster(index: int) -> list[Atoms]:
    """Random clusters in boxes."""
    numbers = range(index * PER_SHARD, (index + 1) * PER_SHARD)
    return [clusters.cluster(np.random.default_rng([4, k]), k) for k in numbers]


def dimer(index: int) -> list[Atoms]:
    """The isolated atoms and all dimers."""
    return clusters.isolated() + clusters.dimers()


KINDS: dict[str, tuple[Callable[[int], list[Atoms]], int]] = {
    "dimer": (dimer, 1),
    "equation": (equation, len(crystals.POLYMORPHS)),
    "polymorph": (polymorph, len(crystals.POLYMORPHS)),
    "defect": (partial(_several, crystals.defective, "defect", 2), 12),
    "slab": (partial(_several, crystals.slab, "slab", 3), 10),
    "cluster": (cluster, 15),
    "melt": (melt, len(all_melts())),
}


def main(kind: str, *span: str) -> None:
    """Make the shards of one kind or of all."""
    for name in KINDS if kind == "all" else (kind,):
        make, count = KINDS[name]
        first, last = map(int, span) if span else (0, count)
        label_shards(make, range(first, min(last, count)), STRUCTURES / name, workers=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
