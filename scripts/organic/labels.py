"""The labels under training/ as data sets for a fit, read once and kept as tensors."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers

from gendesign.structure.labels import labels_of
from gendesign.train.dataset import Dataset
from gendesign.train.label import read_frames

ROOT = Path("training")
GFN2 = ("train", "modes", "wide", "turned", "hot", "builds", "dimer", "visited-*")
REAL = ("dimers", "conjugated", "qm9", "rare", "rotated", "builds", "moses")
FOLDERS = (*GFN2, *(f"real-{kind}" for kind in REAL))
COPIES = {"dimer": 3, "hot": 4}  # rare kinds that are important for short-range repulsion and stability
CC_COPIES = {"turned": 3}  # torsion barriers are what coupled cluster is for
TORN = ("violent", "fragment", "build", "dimer", "atom", "hot", "pair")
MAX_FORCE = 200.0  # eV/Angstrom; beyond it the pair repulsion of the network decides


def files(folders: Iterable[str]) -> list[Path]:
    """The shards of `folders` (patterns) under training/."""
    return [path for folder in folders for path in sorted(ROOT.glob(f"{folder}/shard-*.extxyz"))]


def cached(name: str, paths: list[Path], keep=lambda frame: True) -> Dataset:
    """The frames of `paths` that `keep` accepts, from training/NAME-HASH.pt if it was made from the same files."""
    text = "".join(f"{path} {path.stat().st_size}\n" for path in paths)
    cache = ROOT / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pt"
    if not cache.exists():
        data = Dataset.from_frames([frame for path in paths for frame in read_frames([path]) if keep(frame)])
        content = {f.name: getattr(data, f.name) for f in fields(data) if not f.name.startswith("_")}
        partial = cache.with_suffix(f".{os.getpid()}")  # several processes of one fit may make it at once
        torch.save({**content, "kind": data.kind.tolist()}, partial)
        partial.rename(cache)
    content = torch.load(cache, weights_only=True)
    return Dataset(**{**content, "kind": np.array(content["kind"])})


def subset(data: Dataset, chosen: np.ndarray) -> Dataset:
    """The structures `chosen` (indices, repetitions allowed) of `data`."""
    first, last = data.pointer[chosen], data.pointer[chosen + 1]
    atoms = torch.cat([torch.arange(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)])
    pointer = torch.cat([torch.zeros(1, dtype=torch.long), (last - first).cumsum(0)])
    rows = torch.as_tensor(chosen)
    return Dataset(data.positions[atoms], data.forces[atoms], data.numbers[atoms], data.energy[rows], pointer,
                   data.cell[rows], data.pbc[rows], data.stress[rows], data.kind[chosen])  # fmt: skip


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Several data sets one after the other."""
    names = [f.name for f in fields(Dataset) if f.name not in ("pointer", "kind") and not f.name.startswith("_")]
    counts = torch.cat([part.pointer.diff() for part in parts])
    pointer = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    content = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Dataset(**content, pointer=pointer, kind=np.concatenate([part.kind for part in parts]))


def gfn2_labels() -> Dataset:
    """Every label by GFN2-xTB; each folder is read once and cached."""
    folders = sorted({path.parent.name for path in files(FOLDERS)})
    return joined([cached(f"labels-{folder}", files((folder,)), _bounded) for folder in folders])


def all_labels() -> Dataset:
    """Every label by GFN2-xTB, with COPIES of rare kinds."""
    return copied(gfn2_labels())


def copied(data: Dataset, copies: Mapping[str, int] = COPIES) -> Dataset:
    """`data` with the structures of some kinds several times."""
    return subset(data, np.repeat(np.arange(len(data)), [copies.get(str(kind), 1) for kind in data.kind]))


def _bounded(frame: Atoms) -> bool:
    return float(np.abs(labels_of(frame)[1]).max()) < MAX_FORCE


def isolated_atoms() -> dict[int, float]:
    """Energy (eV) of every isolated atom that was labelled, by atomic number."""
    frames = read_frames(files(("dimer", "real-dimers")))
    return dict(sorted((int(f.numbers[0]), labels_of(f)[0]) for f in frames if len(f) == 1))


def ani_labels() -> Dataset:
    """Every label by ANI-1ccx."""
    return cached("cc", files(("cc/real-*", "cc/turned")))


def coupled_cluster_labels() -> tuple[Dataset, Dataset, dict[int, float]]:
    """(labels by ANI-1ccx, torn structures of H C N O by GFN2-xTB, isolated atoms).

    The two methods have different zeros. Element by element the least-squares difference over the structures that both
    labelled is added to the energies of GFN2-xTB, isolated atoms among them, so that bonds still break as in `organic`.
    """
    cc, old = ani_labels(), gfn2_labels()
    atoms = isolated_atoms()
    shift = _shift(cc, old)
    table = torch.zeros(120, dtype=torch.float64)
    for number, value in shift.items():
        table[number] = value
    known = torch.zeros(120, dtype=torch.bool)
    known[[atomic_numbers[symbol] for symbol in "HCNO"]] = True
    inside = torch.zeros(len(old)).index_add_(0, _systems(old), (~known[old.numbers]).float()) == 0
    chosen = np.flatnonzero(inside.numpy() & np.isin(old.kind, TORN))
    torn = subset(old, chosen)
    torn.energy.index_add_(0, _systems(torn), table[torn.numbers])
    return copied(cc, CC_COPIES), torn, {number: atoms[number] + value for number, value in shift.items()}


def _systems(data: Dataset) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(data)), data.pointer.diff())


def _shift(cc: Dataset, old: Dataset) -> dict[int, float]:
    """Least-squares energy (eV) by atomic number of ANI-1ccx beyond GFN2-xTB, over structures labelled by both."""

    def keys(data: Dataset) -> dict[bytes, int]:
        ends = zip(data.pointer[:-1].tolist(), data.pointer[1:].tolist(), strict=True)
        return {data.positions[a:b].numpy().tobytes(): k for k, (a, b) in enumerate(ends)}

    first, second = keys(cc), keys(old)
    both = [(first[key], second[key]) for key in first if key in second]
    numbers = [atomic_numbers[symbol] for symbol in "HCNO"]
    counts = np.zeros((len(both), len(numbers)))
    for row, (k, _) in enumerate(both):
        atoms = cc.numbers[cc.pointer[k] : cc.pointer[k + 1]].numpy()
        counts[row] = [(atoms == number).sum() for number in numbers]
    difference = np.array([float(cc.energy[i] - old.energy[j]) for i, j in both])
    return dict(zip(numbers, np.linalg.lstsq(counts, difference, rcond=None)[0].tolist(), strict=True))


def test_sets(labels: str = "all") -> dict[str, Dataset]:
    """The frozen test sets: of the enumerated molecules, and of QM9 and MOSES."""
    names = {"cc": "cc/test"} if labels == "cc" else {"test": "test", "real": "real-test"}
    return {title: cached(f"test-{title}", paths) for title, folder in names.items() if (paths := files((folder,)))}
