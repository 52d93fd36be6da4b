"""Label structures by ANI-1ccx, the coupled-cluster teacher of `organic-cc`.

    gendesign install ani1ccx
    python -m scripts.organic.coupled_cluster        # training/real-*/ -> training/cc/
ANI-1ccx (Smith et al., Nat. Commun. 10, 2903, 2019) is valid for closed-shell H C N O near its training data. So torn
structures, fragments and random builds are left out, as is every structure about which its eight networks disagree by
more than MAX_SPREAD. The table that is printed counts them.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from tqdm import tqdm  # noqa: E402

from gendesign.potential import load_potential  # noqa: E402
from gendesign.potential.batching import in_batches  # noqa: E402
from gendesign.potential.protocol import PotentialLike  # noqa: E402
from gendesign.train.label import read_frames, write_frames  # noqa: E402

ROOT, OUT = Path("training"), Path("training/cc")
SOURCES = ("real-qm9", "real-conjugated", "real-rotated", "real-moses", "turned", "real-test")
KINDS = ("path", "thermal", "turned")
ELEMENTS = {"H", "C", "N", "O"}
# eV per square root of the number of atoms: standard deviation of the eight energies. ANI's own active learning called
# a structure new from 0.23 kcal/mol (0.010 eV) on (Smith et al., J. Chem. Phys. 148, 241733, 2018).
MAX_SPREAD = 0.03
MAX_FORCE = 20.0  # eV/Angstrom
MAX_ATOMS = 1000  # in one call


def usable(frame: Atoms, test: bool) -> bool:
    """Whether ANI-1ccx is asked about a structure."""
    kinds = ("qm9-", "moses-") if test else KINDS
    return str(frame.info["kind"]).startswith(kinds) and set(frame.get_chemical_symbols()) <= ELEMENTS


def evaluated(frames: list[Atoms], model: PotentialLike) -> Iterator[tuple[Atoms, float, np.ndarray, float]]:
    """Every frame with its energy (eV), its forces (atoms, 3), and the standard deviation of the eight energies."""
    for part in in_batches(frames, MAX_ATOMS):
        answer = model.evaluate(part)
        assert answer.standard_deviation is not None
        forces = torch.split(answer.forces, [len(frame) for frame in part])
        rows = zip(part, answer.energy.tolist(), forces, answer.standard_deviation.tolist(), strict=True)
        yield from ((frame, energy, force.numpy(), spread) for frame, energy, force, spread in rows)


def labelled(frames: list[Atoms], model: PotentialLike, counts: Counter) -> list[Atoms]:
    """The frames with coupled-cluster labels (eV, eV/Angstrom), without those that the networks disagree about."""
    out = []
    for frame, energy, force, spread in evaluated(frames, model):
        kind = frame.info["kind"]
        sure = spread / len(frame) ** 0.5 < MAX_SPREAD and np.abs(force).max() < MAX_FORCE
        counts[kind, "kept" if sure else "left out"] += 1
        if sure:
            new = Atoms(frame.numbers, frame.positions, info={"kind": kind, "molecule": frame.info["molecule"]})
            new.info["teacher"] = "ANI-1ccx, mean of eight networks"
            new.calc = SinglePointCalculator(new, energy=energy, forces=force)
            out.append(new)
    return out


def main() -> None:
    """Label every shard that has none yet."""
    model, counts = load_potential("ani1ccx", device="cpu", dtype="float64"), Counter()
    for source in SOURCES:
        folder = OUT / ("test" if source == "real-test" else source)
        folder.mkdir(parents=True, exist_ok=True)
        for path in tqdm(sorted((ROOT / source).glob("shard-*.extxyz")), desc=source, unit="shard"):
            if not (folder / path.name).exists():
                frames = [f for f in read_frames([path]) if usable(f, source == "real-test")]
                write_frames(folder / path.name, labelled(frames, model, counts) if frames else [])
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:15s} {what:10s} {count:,}")


if __name__ == "__main__":
    main()
