"""Write a checkpoint folder from a fit: averaged weights and chemical potentials.

    python -m scripts.organic.export NAME [checkpoints/organic]         # reads training/fit-NAME/state.pt
    python -m scripts.organic.export NAME checkpoints/organic-cc cc     # H C N O alone, by the coupled-cluster teacher
scripts/organic/card.py and scripts/organic/cc_card.py measure the checkpoints and write their cards.
"""

import json
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import ase.io
import torch
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.potential import Potential, fit_chemical_potentials, mace, save_folder
from gendesign.potential.domain import Domain
from gendesign.train.label import read_frames
from gendesign.train.start import with_elements

BUNDLED = Path("checkpoints/organic")
RARE_SHARDS = 30
DOMAIN = Domain(("molecules",), "neutral organic molecules and pairs of them in vacuum", excluded=("cells",))
GFN2 = "GFN2-xTB (tblite), spin-polarised open shells, electronic temperature 300 K"
CC = "ANI-1ccx, mean of eight networks (CCSD(T)*/CBS); torn structures and atoms by GFN2-xTB, shifted to its zero"
CC_DOMAIN = replace(DOMAIN, about="neutral closed-shell organic molecules and pairs of them in vacuum")
CC_ELEMENTS = ("H", "C", "N", "O")


def rare_minima() -> list[Atoms]:
    """The last step towards its minimum of each molecule with rare elements: chemical potentials need these as well."""
    last: dict[str, Atoms] = {}
    for path in sorted(Path("training/real-rare").glob("shard-*.extxyz"))[:RARE_SHARDS]:
        last |= {frame.info["molecule"]: frame for frame in read_frames([path]) if frame.info["kind"] == "path"}
    return [Atoms(frame.numbers, frame.positions) for frame in last.values()]


def reduced(net: torch.nn.Module, symbols: Collection[str]) -> torch.nn.Module:
    """The network with the elements `symbols` alone; its predictions for them are the same."""
    whole = Potential(net, "fit", "", "", "")
    known = zip(map(int, net.atomic_numbers), net.atomic_energies_fn.atomic_energies.flatten().tolist(), strict=True)
    architecture, weights = with_elements(whole, {z: e for z, e in known if chemical_symbols[z] in symbols})
    smaller = mace.from_plain(architecture)
    smaller.load_state_dict(weights)
    return smaller


def main(name: str, out: str = str(BUNDLED), labels: str = "all") -> None:
    """Export the fit `name` to the folder `out`; labels: `all` by GFN2-xTB, or `cc`."""
    cc = {"all": False, "cc": True}[labels]
    folder = Path("training") / f"fit-{name}"
    architecture = json.loads((folder / "settings.json").read_text())["architecture"]
    saved = torch.load(folder / "state.pt", weights_only=True)
    net = mace.from_plain(architecture)
    net.load_state_dict(saved["net"])
    net.load_state_dict(saved["average"], strict=False)
    references = [*ase.io.read(BUNDLED / "reference.extxyz", index=":"), *rare_minima()]
    if cc:
        net = reduced(net, CC_ELEMENTS)
        references = [atoms for atoms in references if set(atoms.get_chemical_symbols()) <= set(CC_ELEMENTS)]
    energies = Potential(net.requires_grad_(False), name, "", "", "").evaluate(references).energy.tolist()
    save_folder(
        net,
        Path(out),
        name=Path(out).name,
        licence="MIT",
        citation="gendesign (this repository)",
        chemical_potentials=fit_chemical_potentials(references, energies),
        teacher=CC if cc else GFN2,
        training={"fit": name, "steps": saved["step"]},
        domain=(CC_DOMAIN if cc else DOMAIN).to_config(),
    )
    print(f"exported {name} at step {saved['step']} to {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
