"""Copy the protein-ligand complexes that come with PoseBusters: `python -m gendesign.campaign.pockets FOLDER`.

Each complex NAME becomes NAME.pdb, the protein without one ligand, and NAME.sdf, that ligand in its pocket.
"""

import shutil
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from gendesign.errors import UserError

COMPLEXES = ("1ia1", "1of6", "1s3v", "1uou")  # of the Protein Data Bank


def copy_pockets(folder: Path) -> list[Path]:
    """Write the files into `folder`. Raises UserError where PoseBusters has no such data."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in COMPLEXES:
        source = files("posebusters") / "datasets" / "pdb" / name
        for file, ending in ((f"{name}_protein_one_lig_removed.pdb", "pdb"), (f"{name}_ligand.sdf", "sdf")):
            if not (source / file).is_file():
                raise UserError(f"this version of PoseBusters has no {file}; give files of your own")
            with as_file(source / file) as path:
                written.append(Path(shutil.copyfile(path, folder / f"{name}.{ending}")))
    return written


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    words = sys.argv[1:] if words is None else words
    if len(words) != 1:
        print("usage: python -m gendesign.campaign.pockets FOLDER", file=sys.stderr)
        return 2
    print("\n".join(map(str, copy_pockets(Path(words[0])))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
