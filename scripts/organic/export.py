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

from gendesign.potential import Potential, fit_chemical_potentials, mace, save_folder
from gendesign.potential.domain import Domain

BUNDLED = Path("checkpoints/organic")
DOMAIN = Domain(("molecules",), "neutral organic molecules and pairs of them in vacuum", excluded=("cells",))


def main(name: str, out: str = str(BUNDLED)) -> None:
    """Export the fit `name` to the folder `out`."""
    folder = Path("training") / f"fit-{name}"
    architecture = json.loads((folder / "settings.json").read_text())["architecture"]
    saved = torch.load(folder / "state.pt", weights_only=True)
    net = mace.from_plain(architecture)
    net.load_state_dict(saved["net"])
    net.load_state_dict(saved["average"], strict=False)
    references = ase.io.read(BUNDLED / "reference.extxyz", index=":")
    energies = Potential(net.requires_grad_(False), name, "", "", "").evaluate(references).energy.tolist()
    save_folder(
        net,
        Path(out),
        name="organic",
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
