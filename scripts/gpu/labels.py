"""Labels of molecules in a compact file, 206 bytes for a label of 18 atoms.

    python -m scripts.gpu.labels organic gpu-kit [every=N]    # all labels of training/, or every N-th; also organic-cc
    python -m scripts.gpu.labels rounding FILE.extxyz ...     # what the rounding costs, by `organic`
Positions are multiples of 0.0001 Angstrom relative to the atom before, forces float16, energies float64; every byte
plane is compressed by LZMA. `read` returns a gendesign.train.dataset.Dataset.
"""

import lzma
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from gendesign.errors import UserError
from gendesign.potential import load_mace, mace
from gendesign.train.dataset import Dataset
from gendesign.train.label import read_frames
from scripts.organic.labels import coupled_cluster_labels, gfn2_labels, joined, subset, test_sets

STEP = 1e-4  # Angstrom, of stored positions: float16 would be 40 times as coarse in a molecule of 12 Angstrom
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1}]


def pack(data: Dataset, path: Path) -> int:
    """Write the molecules of `data`; returns the bytes of the file. Raises UserError for crystals."""
    if data.pbc.any():
        raise UserError("labels of crystals cannot be packed; give folders of molecules")
    first = np.repeat(data.pointer[:-1].numpy(), np.diff(data.pointer.numpy()))
    places = np.rint(data.positions.double().numpy() / STEP).astype(np.int64)
    jumps = np.diff(places - places[first], axis=0, prepend=np.zeros((1, 3), dtype=np.int64))
    forces = data.forces.numpy().astype(np.float16)
    if not np.isfinite(forces).all():
        raise UserError("a label has forces beyond 65,504 eV/Angstrom; leave it out")
    kinds, kind = np.unique(data.kind, return_inverse=True)
    arrays = {
        "positions": ((jumps << 1) ^ (jumps >> 63)).astype(np.uint32),  # small numbers of both signs have high bytes 0
        "forces": forces.view(np.uint16),
        "numbers": data.numbers.numpy().astype(np.uint8),
        "counts": np.diff(data.pointer.numpy()).astype(np.uint16),
        "energy": data.energy.numpy(),
        "kind": kind.astype(np.uint8),
    }
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as handle:
        np.savez(handle, kinds=kinds.astype("U"), **{key: _squeezed(value) for key, value in arrays.items()})
    os.replace(partial, path)
    return path.stat().st_size


def read(path: Path) -> Dataset:
    """The labels of a packed file, each molecule with its first atom at the origin."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with scripts/gpu/pack.sh")
    with np.load(path) as content:
        counts = _expanded(content["counts"], np.uint16).astype(np.int64)
        pointer = np.concatenate([[0], np.cumsum(counts)])
        code = _expanded(content["positions"], np.uint32).astype(np.int64).reshape(-1, 3)
        places = np.cumsum((code >> 1) ^ -(code & 1), axis=0)
        n = len(counts)
        return Dataset(
            torch.tensor(places * STEP, dtype=torch.float32),
            torch.tensor(_expanded(content["forces"], np.uint16).view(np.float16).astype(np.float32).reshape(-1, 3)),
            torch.tensor(_expanded(content["numbers"], np.uint8), dtype=torch.long),
            torch.tensor(_expanded(content["energy"], np.float64)),
            torch.tensor(pointer),
            torch.zeros(n, 3, 3),
            torch.zeros(n, 3, dtype=torch.bool),
            torch.full((n, 3, 3), torch.nan),
            content["kinds"][_expanded(content["kind"], np.uint8)],
        )


def _squeezed(values: np.ndarray) -> np.ndarray:
    """The byte planes of `values`, from the lowest byte on, compressed."""
    planes = np.ascontiguousarray(values).ravel().view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
    return np.frombuffer(lzma.compress(planes, lzma.FORMAT_RAW, filters=FILTERS), dtype=np.uint8)


def _expanded(packed: np.ndarray, dtype: type) -> np.ndarray:
    planes = np.frombuffer(lzma.decompress(packed.tobytes(), lzma.FORMAT_RAW, filters=FILTERS), dtype=np.uint8)
    return np.ascontiguousarray(planes.reshape(np.dtype(dtype).itemsize, -1).T).ravel().view(dtype).copy()


def isolated(data: Dataset) -> dict[int, float]:
    """Energies (eV) of isolated atoms by atomic number: structures of one atom."""
    single = torch.nonzero(data.pointer.diff() == 1).flatten()
    return dict(sorted(zip(data.numbers[data.pointer[single]].tolist(), data.energy[single].tolist(), strict=True)))


def thinned(data: Dataset, every: int) -> Dataset:
    """Every `every`-th structure, and all isolated atoms."""
    single = data.pointer.diff().numpy() == 1
    return subset(data, np.flatnonzero(single | (np.arange(len(data)) % every == 0)))


def rounding(data: Dataset, folder: Path) -> dict[str, float]:
    """Errors that the rounding of a packed file brings: eV/Angstrom of forces, meV of energies, by `organic`.

    positions_*: the change of the potential's forces and energies from the rounding of positions, where the labels stay
    those of the exact positions. forces_*: the rounding of the labels themselves.
    """
    path = folder / "rounding.npz"
    net, known = load_mace("organic", device="cpu").net, []
    for k in range(len(data)):
        numbers = data.numbers[data.pointer[k] : data.pointer[k + 1]]
        known.append(bool(torch.isin(numbers, net.atomic_numbers.long()).all()))
    data = subset(data, np.flatnonzero(known))
    size = pack(data, path)
    packed = read(path)
    path.unlink()
    energy, forces = [], []
    for chosen in torch.arange(len(data)).split(32):
        pair = []
        for one in (data, packed):
            batch, _, _ = one.batch(chosen)
            pair.append(mace.predict(net, batch, one.edges(batch, chosen, float(net.r_max))))
        energy.append(pair[1].energy - pair[0].energy)
        forces.append((pair[1].forces - pair[0].forces).flatten())
    moved, shift, label = torch.cat(forces), torch.cat(energy), (packed.forces - data.forces).flatten()
    return {
        "labels": len(data), "bytes_per_label": size / len(data), "atoms_per_label": len(data.numbers) / len(data),
        "positions_force_rms": float(moved.square().mean().sqrt()), "positions_force_max": float(moved.abs().max()),
        "positions_energy_rms_mev": 1000 * float(shift.square().mean().sqrt()),
        "forces_rms": float(label.square().mean().sqrt()), "forces_max": float(label.abs().max()),
    }  # fmt: skip


def pack_all(job: str, folder: Path, every: int = 1) -> dict[str, int]:
    """Pack the labels of `organic` or `organic-cc` with their test sets into `folder`; bytes by file."""
    tests = list(test_sets("cc" if job == "organic-cc" else "all").values())
    parts = {f"{job}-test": joined(tests)} if tests else {}
    if job == "organic-cc":
        parts[job], parts["replay"], _ = coupled_cluster_labels()
    else:
        parts[job] = gfn2_labels()
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, data in parts.items():
        data = data if name.endswith("-test") else thinned(data, every)
        sizes[name] = pack(data, folder / f"{name}.npz")
        print(f"{name}: {len(data)} labels, {len(data.numbers) / len(data):.1f} atoms a label, "
              f"{sizes[name] / 2**20:.1f} MiB, {sizes[name] / len(data):.0f} bytes a label")  # fmt: skip
    return sizes


def main(target: str, *words: str) -> None:
    """Pack the labels of a job, or print what rounding costs."""
    if target == "rounding":
        frames = read_frames([Path(word) for word in words])
        for key, value in rounding(Dataset.from_frames(frames), Path(tempfile.mkdtemp())).items():
            print(f"{key:26s}{value:.6g}")
    elif target in ("organic", "organic-cc"):
        every = next((int(word.removeprefix("every=")) for word in words if word.startswith("every=")), 1)
        pack_all(target, Path(words[0]), every)
    else:
        raise UserError(f"no labels of {target!r}; give organic or organic-cc")


if __name__ == "__main__":
    main(*sys.argv[1:])
