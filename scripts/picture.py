"""Draw the first molecules of an SDF as docs/molecules.png.

python -m scripts.picture results/benchmark/generated/molecules.sdf
"""

import sys
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import Draw


def main(source: str, count: int = 24) -> None:
    """Draw the first `count` molecules of the SDF `source`."""
    molecules = [m for m in Chem.SDMolSupplier(source, removeHs=True) if m is not None][:count]
    for molecule in molecules:
        molecule.RemoveAllConformers()  # for a 2D layout instead of a projection of the 3D structure
    picture = Draw.MolsToGridImage(molecules, molsPerRow=8, subImgSize=(190, 150), returnPNG=True)
    Path("docs/molecules.png").write_bytes(getattr(picture, "data", picture))


if __name__ == "__main__":
    main(sys.argv[1])
