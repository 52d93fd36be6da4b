"""Write a checkpoint folder from a fit: averaged weights and chemical potentials.

    python -m scripts.organic.export NAME [FOLDER]        # reads training/fit-NAME/state.pt; default
    checkpoints/organic
scripts/organic/card.py measures the checkpoint and writes its card.
"""

import json
import sys
from pathlib import Path

import ase.io
import torch
from ase import Atoms

from gendesign.potential import Potential, fit_chemical_potentials, mace, save_folder
from gendesign.potential.domain import Domain
from gendesign.train.label import read_frames

BUNDLED = Path("checkpoints/organic")
RARE_SHARDS = 30
DOMAIN = Domain(("molecules",), "neutral organic molecules and pairs of them in vacuum", excluded=("cells",))


def rare_minima() -> list[Atoms]:
    """The last step towards its minimum of each molecule with rare elements: chemical potentials need these as well."""
    last: dict[str, Atoms] = {}
    for path in sorted(Path("training/real-rare").glob("shard-*.extxyz"))[:RARE_SHARDS]:
        last |= {frame.info["molecule"]: frame for frame in read_frames([path]) if frame.info["kind"] == "path"}
    return [Atoms(frame.numbers, frame.positions) for frame in last.values()]


def main(name: str, out: str = str(BUNDLED)) -> None:
    """Export the fit `name` to the folder `out`."""
    folder = Path("training") / f"fit-{name}"
    architecture = json.loads((folder / "settings.json").read_text())["architecture"]
    saved = torch.load(folder / "state.pt", weights_only=True)
    net = mace.from_plain(architecture)
    net.load_state_dict(saved["net"])
    net.load_state_dict(saved["average"], strict=False)
    references = [*ase.io.read(BUNDLED / "reference.extxyz", index=":"), *rare_minima()]
    energies = Potential(net.requires_grad_(False), name, "", "", "").evaluate(references).energy.tolist()
    save_folder(
        net,
        Path(out),
        name=Path(out).name,
        licence="MIT",
        citation="gendesign (this repository)",
        chemical_potentials=fit_chemical_potentials(references, energies),
        teacher="GFN2-xTB (tblite), spin-polarised open shells, electronic temperature 300 K",
        training={"fit": name, "steps": saved["step"]},
        domain=DOMAIN.to_config(),
    )
    print(f"exported {name} at step {saved['step']} to {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
