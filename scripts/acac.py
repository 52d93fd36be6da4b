"""The acetylacetone benchmark: fit to 500 geometries at 300 K, test at 300 and 600 K, a torsion and a proton transfer.

    python -m scripts.acac DATA_FOLDER OUTPUT [key=value of gendesign train ...]
DATA_FOLDER holds the published files (arXiv 2205.06643). Prints RMSEs and the published ones of MACE (arXiv
2206.07697).
"""

import json
import sys
import time
from pathlib import Path

from gendesign import cli

TESTS = {
    "test_MD_300K.xyz": (0.9, 5.1),
    "test_MD_600K.xyz": (4.6, 22.4),
    "test_dihedral.xyz": (None, None),
    "test_H_transfer.xyz": (None, None),
}
ATOMS = 15


def main(data: str, output: str, *keys: str) -> int:
    """Train, test and print the table; the exit status of the training."""
    folder, start = Path(data), time.perf_counter()
    tests = ",".join(str(folder / name) for name in TESTS)
    files = [str(folder / name) for name in ("train_300K.xyz", "isolated_atoms.xyz")]
    status = cli.main(["train", *files, f"output={output}", "name=acac", "split=frame", "test_share=0",
                       f"test=[{tests}]", *keys])  # fmt: skip
    if status:
        return status
    table = json.loads((Path(output) / "errors.json").read_text())
    print("| test | n | energy RMSE, meV | MACE | force RMSE, meV/Angstrom | MACE |\n|---|---|---|---|---|---|")
    for name, published in TESTS.items():
        (row,) = table[name].values()
        energy, forces = ATOMS * row["energy_rmse_mev_atom"], row.get("force_rmse_mev_a")
        cells = [name.removeprefix("test_").removesuffix(".xyz"), str(row["n"]), f"{energy:.2f}", published[0],
                 "no labels" if forces is None else f"{forces:.1f}", published[1]]  # fmt: skip
        print("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    print(f"{time.perf_counter() - start:.0f} s in this run")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
