"""Write reference candidates of every generator to tests/data/golden, which reveal changes of behaviour.

    python -m scripts.golden            # only after an intended change, which CHANGELOG.md mentions

tests/test_golden.py makes the same candidates and compares them within tolerances.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import ase.io
from ase import Atoms

from gendesign import cli

GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "golden"
COMMON = ("dtype=float64", "seed=7", "workers=0", "screening=null")
# Small, but with every stage of a usual run; in double precision, so that different processors agree.
CASES = {
    "simgen": ("n=3", "generator.n_heavy_atoms=5-6", "relaxation=null"),
    "simgen_shape": ("n=2", "generator/prior=circle", "generator.n_heavy_atoms=8", "relaxation=null"),
    "perovskite": (
        "generator=perovskite",
        "n=4",
        "generator.composition.cation=MA",
        "generator.start.cells=1",
        "generator.evolution.share=0.25",
        "relaxation.max_steps=20",
    ),
    "agent": ("generator=agent", "n=3", "relaxation=null"),  # soft modes end elsewhere on another processor
}


def made(name: str, folder: Path) -> list[Atoms]:
    """The candidates of a case, from a run of the command line into `folder`."""
    words = ["generate", *COMMON, *CASES[name], f"output={folder}"]
    if status := cli.main(words):
        raise RuntimeError(f"gendesign {' '.join(words)} ended with status {status}")
    return ase.io.read(folder / "candidates.extxyz", ":")


def main() -> None:
    """Write the candidates of all cases."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        with TemporaryDirectory() as folder:
            ase.io.write(GOLDEN / f"{name}.extxyz", made(name, Path(folder) / "run"))
        print(f"{GOLDEN / name}.extxyz", file=sys.stderr)


if __name__ == "__main__":
    main()
