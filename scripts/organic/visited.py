"""One round of active learning: label the structures that the generator and the relaxation visit with a checkpoint.

    python -m scripts.organic.visited ROUND N [POTENTIAL]        # N attempts -> training/visited-ROUND
Every hydrogenated copy and every exchange of elements is stored after its rough relaxation, and every result after its
full relaxation. train.py reads all training/visited-* folders.
"""

import os
import sys
import warnings
from functools import partial
from pathlib import Path

warnings.filterwarnings("ignore")

import ase.io  # noqa: E402
from ase import Atoms  # noqa: E402

from gendesign.structure.bonds import perceive  # noqa: E402
from gendesign.train.label import label_shards, write_frames  # noqa: E402
from gendesign.train.teachers.semiempirical import gfn2_label  # noqa: E402
from scripts.organic.molecules import graph_key  # noqa: E402
from scripts.organic.structures import in_test  # noqa: E402

LABELS_PER_SHARD = 200


def visited(round_: int, count: int, source: Path, potential: str = "organic") -> None:
    """Write the structures that `count` attempts visit to `source`, after every batch."""
    from gendesign import SimGen, load_potential, relax
    from gendesign.generate.simgen import finisher

    seen: list[Atoms] = []
    relaxed_roughly = finisher.relaxed_roughly

    def recording(*args):
        out = relaxed_roughly(*args)
        seen.extend(p.atoms for group in out for p in group)
        return out

    finisher.relaxed_roughly = recording
    model = load_potential(potential)
    for elements, share in ((("C", "N", "O"), 0.75), (("C", "N", "O", "S", "F", "Cl"), 0.25)):
        generator = SimGen(model, n_heavy_atoms="5-14", elements=elements)
        for first in range(0, round(count * share), 15):
            indices = range(first, min(first + 15, round(count * share)))
            done = relax(list(generator.generate(indices, seed=900_000 + round_)), model)
            seen.extend(c.atoms for c in done if c.failure is None)
            write_frames(source, [Atoms(a.numbers, a.positions, info={"kind": "visited"}) for a in seen])
            print(f"{elements}: {indices.stop} attempts, {len(seen)} structures", flush=True)


def label_slice(index: int, path: Path) -> list[Atoms]:
    """Labels of the structures of slice `index` that do not belong to the test set."""
    out = []
    for frame in ase.io.read(path, index=slice(index * LABELS_PER_SHARD, (index + 1) * LABELS_PER_SHARD)):
        mol = perceive(frame).mol
        if mol is not None:
            frame.info["molecule"] = graph_key(mol)
            if mol.GetNumHeavyAtoms() >= 9 and in_test(graph_key(mol)):
                continue
        answer = gfn2_label(frame)
        out += [] if answer is None else [answer]
    return out


if __name__ == "__main__":
    round_, count = int(sys.argv[1]), int(sys.argv[2])
    folder = Path("training") / f"visited-{round_}"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "unlabelled.extxyz"
    if not source.exists():
        visited(round_, count, source, *sys.argv[3:])
    total = len(ase.io.read(source, index=":"))
    label_shards(
        partial(label_slice, path=source),
        range(-(-total // LABELS_PER_SHARD)),
        folder,
        workers=int(os.environ.get("WORKERS", "2")),
    )
